"""LangChain: embeddings, and an index as a retriever. Needs `langchain-core`."""

from __future__ import annotations

from typing import Any

from turboprop.embed.model import EmbeddingModel, Overlong
from turboprop.integrations.framework import about, embedding_model, framework
from turboprop.workspace.index import Index

with framework("langchain-core"):
    from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from pydantic import ConfigDict, Field


class TurboPropEmbeddings(Embeddings):
    """A local embedding model. `model` is one that is loaded, or a name with the options of `EmbeddingModel.load`.

    `overlong` says what becomes of documents over the model's length; queries are cut.
    """

    def __init__(
        self, model: EmbeddingModel | str | None = None, *, overlong: Overlong = "error", **options: Any
    ) -> None:
        self.model = embedding_model(model, options)
        self.overlong: Overlong = overlong

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector a text."""
        vectors: list[list[float]] = self.model.embed_documents(texts, overlong=self.overlong).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of a query."""
        vector: list[float] = self.model.embed_query(text).tolist()
        return vector


class TurboPropRetriever(BaseRetriever):
    """An index as a retriever: the `k` best pieces of code, with path and lines in their metadata.

    `wishes` are further arguments of `Index.search`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    index: Index
    k: int = 10
    wishes: dict[str, Any] = Field(default_factory=dict)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002
    ) -> list[Document]:
        hits = self.index.search(query, self.k, **self.wishes)
        return [Document(page_content=hit.text, metadata=about(hit)) for hit in hits]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002
    ) -> list[Document]:
        hits = await self.index.asearch(query, self.k, **self.wishes)
        return [Document(page_content=hit.text, metadata=about(hit)) for hit in hits]
