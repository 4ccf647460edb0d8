"""Chroma: an embedding function, registered as `turboprop`, so a collection finds it again. Needs `chromadb`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from turboprop.embed.model import EmbeddingModel, Overlong
from turboprop.errors import UsageError
from turboprop.integrations.framework import framework

with framework("chromadb"):
    from chromadb import Documents, EmbeddingFunction
    from chromadb.utils.embedding_functions import register_embedding_function


@register_embedding_function
class TurboPropEmbeddingFunction(EmbeddingFunction[Documents]):
    """A local embedding model, loaded by the first text. `model` is a name; `dimensions`, `weights`, `engine` and
    `max_tokens` are as for `EmbeddingModel.load`, and `overlong` says what becomes of documents over its length."""

    def __init__(
        self,
        model: str | None = None,
        overlong: Overlong = "truncate",
        dimensions: int | None = None,
        weights: str | None = None,
        engine: str | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self._model = model
        self._overlong: Overlong = overlong
        self._options: dict[str, Any] = {
            "dimensions": dimensions,
            "weights": weights,
            "engine": engine,
            "max_tokens": max_tokens,
        }
        self._loaded: EmbeddingModel | None = None

    def _load(self) -> EmbeddingModel:
        if self._loaded is None:
            self._loaded = EmbeddingModel.load(self._model, **self._options)
        return self._loaded

    def __call__(self, input: Documents) -> list[NDArray[np.float32]]:  # noqa: A002  Chroma's word for it
        """One vector a document."""
        return list(self._load().embed_documents(input, overlong=self._overlong))

    def embed_query(self, input: Documents) -> list[NDArray[np.float32]]:  # noqa: A002
        """One vector a query."""
        return list(self._load().embed_queries(input, overlong="truncate"))

    @staticmethod
    def name() -> str:
        """What a collection records."""
        return "turboprop"

    def default_space(self) -> str:
        """Cosine: the models are trained for it."""
        return "cosine"

    def supported_spaces(self) -> list[str]:
        """All of Chroma's: most models give unit vectors."""
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        """What a collection records beside the name."""
        return {"model": self._model, "overlong": self._overlong, **self._options}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> TurboPropEmbeddingFunction:
        """The function of what `get_config` recorded."""
        return TurboPropEmbeddingFunction(**config)

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Raise `UsageError` where vectors of another space would be mixed with those that are there."""
        changed = [name for name in ("model", "dimensions") if old_config.get(name) != new_config.get(name)]
        if changed:
            raise UsageError(f"a collection keeps its {' and '.join(changed)}: make another collection")
