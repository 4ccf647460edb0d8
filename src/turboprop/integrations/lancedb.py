"""LanceDB: an embedding function of its registry, by the name `turboprop`. Needs `lancedb`."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from turboprop.embed.model import EmbeddingModel, Overlong
from turboprop.integrations.framework import framework

with framework("lancedb"):
    from lancedb.embeddings import TextEmbeddingFunction, register


@register("turboprop")
class TurboPropFunction(TextEmbeddingFunction):
    """A local embedding model, loaded by the first text: `get_registry().get("turboprop").create(model="minilm")`.

    `model`, `dimensions`, `weights` and `engine` are as for `EmbeddingModel.load`; `overlong` says what becomes of
    texts over the model's length.
    """

    model: str | None = None
    dimensions: int | None = None
    weights: str | None = None
    engine: str | None = None
    overlong: Overlong = "truncate"

    @cached_property
    def _loaded(self) -> EmbeddingModel:
        wishes: dict[str, Any] = {"dimensions": self.dimensions, "weights": self.weights, "engine": self.engine}
        return EmbeddingModel.load(self.model, **wishes)

    def ndims(self) -> int:
        """Width of a vector."""
        return self._loaded.dimensions

    def generate_embeddings(self, texts: Any, *args: Any, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        """One vector a text."""
        return list(self._loaded.embed_documents(texts, overlong=self.overlong))

    def compute_query_embeddings(self, query: str, *args: Any, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        """The query's vector, alone in a list; models may have a prompt of their own for queries."""
        return [self._loaded.embed_query(query)]
