"""LlamaIndex: embeddings, and an index as a retriever. Needs `llama-index-core`."""

from __future__ import annotations

from typing import Any

from turboprop.embed.model import EmbeddingModel, Overlong
from turboprop.integrations.framework import about, embedding_model, framework
from turboprop.workspace.index import Index

with framework("llama-index-core"):
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode


class TurboPropEmbedding(BaseEmbedding):
    """A local embedding model. `model` is one that is loaded, or a name with the options of `EmbeddingModel.load`.

    `overlong` says what becomes of texts over the model's length: LlamaIndex cuts documents into 1,024 tokens of its
    own counting, which is more than many models take, so it is `truncate` unless said otherwise.
    """

    _model: EmbeddingModel = PrivateAttr()
    _overlong: Overlong = PrivateAttr()

    def __init__(
        self,
        model: EmbeddingModel | str | None = None,
        *,
        overlong: Overlong = "truncate",
        embed_batch_size: int = 64,
        **options: Any,
    ) -> None:
        loaded = embedding_model(model, options)
        super().__init__(model_name=loaded.name, embed_batch_size=embed_batch_size)
        self._model = loaded
        self._overlong = overlong

    @classmethod
    def class_name(cls) -> str:
        """Its name in what LlamaIndex stores."""
        return "TurboPropEmbedding"

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._model.embed_documents(texts, overlong=self._overlong).tolist()
        return vectors

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._model.embed_query(query).tolist()
        return vector

    async def _aget_query_embedding(self, query: str) -> list[float]:
        vectors = await self._model.aembed([query], side="query", overlong="truncate")
        vector: list[float] = vectors[0].tolist()
        return vector

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = (await self._model.aembed(texts, overlong=self._overlong)).tolist()
        return vectors


class TurboPropRetriever(BaseRetriever):
    """An index as a retriever: the `limit` best pieces of code, with path and lines in their metadata.

    `wishes` are further arguments of `Index.search`.
    """

    def __init__(self, index: Index, limit: int = 10, **wishes: Any) -> None:
        self._index, self._limit, self._wishes = index, limit, wishes
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        hits = self._index.search(query_bundle.query_str, self._limit, **self._wishes)
        return [NodeWithScore(node=TextNode(text=hit.text, metadata=about(hit)), score=hit.score) for hit in hits]
