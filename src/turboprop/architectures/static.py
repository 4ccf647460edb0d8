"""Static embedding models (potion and other models of model2vec, `StaticEmbedding`): a row for each token, averaged.

Reference: `model2vec.StaticModel`. The embedding matrix is `embeddings`, or `embedding.weight` where
sentence-transformers wrote it. In the vocabulary-quantised form it has fewer rows than tokens: `mapping` [tokens] gives
the row of a token and `weights` [tokens] what the row is multiplied with.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Literal

from turboprop.architectures.ops import AveragingOps, T


def hyperparameters(source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> None:
    """None: the table's shape is all."""


def weight_names(hp: None, origin: Literal["hf", "gguf"], stored: Container[str]) -> dict[str, str]:
    """Canonical name to the checkpoint's name."""
    older = "embedding.weight" in stored and "embeddings" not in stored
    optional = {"table.rows": "mapping", "table.factors": "weights"}
    return {
        "table": "embedding.weight" if older else "embeddings",
        **{canonical: name for canonical, name in optional.items() if name in stored},
    }


def head_names(hp: None, origin: Literal["hf", "gguf"], stored: Container[str]) -> None:
    """It writes no text."""


def forward(ops: AveragingOps[T], hp: None) -> T:
    """The vectors."""
    return ops.mean("table", "table.rows", "table.factors")
