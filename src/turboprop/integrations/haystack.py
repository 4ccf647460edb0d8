"""Haystack: embedders of texts and documents, and an index as a retriever. Needs `haystack-ai`.

Components keep names and options, as `to_dict` has them; `warm_up`, which a pipeline calls, loads the model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from turboprop.embed.model import EmbeddingModel, Overlong
from turboprop.integrations.framework import about, framework
from turboprop.workspace.index import Index

with framework("haystack-ai"):
    from haystack import Document, component, default_from_dict, default_to_dict


class _Embedder:
    """What both embedders are made of."""

    def __init__(self, model: str | None = None, **options: Any) -> None:
        self.model = model
        self.options = options
        self._loaded: EmbeddingModel | None = None

    def warm_up(self) -> EmbeddingModel:
        """Load the model; a second call does nothing."""
        if self._loaded is None:
            self._loaded = EmbeddingModel.load(self.model, **self.options)
        return self._loaded


@component
class TurboPropTextEmbedder(_Embedder):
    """The vector of a query. `options` are those of `EmbeddingModel.load`; a long text is cut."""

    def to_dict(self) -> dict[str, Any]:
        """What a pipeline writes down."""
        written: dict[str, Any] = default_to_dict(self, model=self.model, **self.options)
        return written

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TurboPropTextEmbedder:
        """The component of what `to_dict` wrote."""
        made: TurboPropTextEmbedder = default_from_dict(cls, data)
        return made

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """`embedding`, the query's vector."""
        return {"embedding": self.warm_up().embed_query(text).tolist()}


@component
class TurboPropDocumentEmbedder(_Embedder):
    """The vectors of documents. `options` are those of `EmbeddingModel.load`; `overlong` says what becomes of
    documents over the model's length, and `meta_fields` are put before a document's text."""

    def __init__(
        self,
        model: str | None = None,
        *,
        overlong: Overlong = "truncate",
        meta_fields: list[str] | None = None,
        **options: Any,
    ) -> None:
        _Embedder.__init__(self, model, **options)  # `component` makes another class of this one, which super() misses
        self.overlong: Overlong = overlong
        self.meta_fields = meta_fields or []

    def to_dict(self) -> dict[str, Any]:
        """What a pipeline writes down."""
        written: dict[str, Any] = default_to_dict(
            self, model=self.model, overlong=self.overlong, meta_fields=self.meta_fields, **self.options
        )
        return written

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TurboPropDocumentEmbedder:
        """The component of what `to_dict` wrote."""
        made: TurboPropDocumentEmbedder = default_from_dict(cls, data)
        return made

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """`documents` with their vectors; those that were given stay as they are."""
        texts = ["\n".join(self._parts(document)) for document in documents]
        vectors = self.warm_up().embed_documents(texts, overlong=self.overlong).tolist()
        return {
            "documents": [
                replace(document, embedding=vector) for document, vector in zip(documents, vectors, strict=True)
            ]
        }

    def _parts(self, document: Document) -> list[str]:
        meta = [str(document.meta[name]) for name in self.meta_fields if document.meta.get(name)]
        return [*meta, document.content or ""]


@component
class TurboPropRetriever:
    """An index as a retriever: the `top_k` best pieces of code, with path and lines in their meta.

    `repo` is the repository's folder; `wishes` are further arguments of `Index.search`.
    """

    def __init__(self, repo: str, top_k: int = 10, wishes: dict[str, Any] | None = None) -> None:
        self.repo, self.top_k, self.wishes = str(repo), top_k, wishes or {}
        self._index: Index | None = None

    def warm_up(self) -> Index:
        """Open the index; a second call does nothing."""
        if self._index is None:
            self._index = Index.open(self.repo)
        return self._index

    def to_dict(self) -> dict[str, Any]:
        """What a pipeline writes down."""
        written: dict[str, Any] = default_to_dict(self, repo=self.repo, top_k=self.top_k, wishes=self.wishes)
        return written

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TurboPropRetriever:
        """The component of what `to_dict` wrote."""
        made: TurboPropRetriever = default_from_dict(cls, data)
        return made

    @component.output_types(documents=list[Document])
    def run(self, query: str, top_k: int | None = None) -> dict[str, Any]:
        """`documents`, best first."""
        hits = self.warm_up().search(query, top_k or self.top_k, **self.wishes)
        return {"documents": [Document(content=hit.text, meta=about(hit), score=hit.score) for hit in hits]}
