"""The engine of static models: rows of a matrix, averaged. numpy is all it takes.

A mean over tokens has no matrix product to speed up; what costs is reading rows from memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.contract import EngineOptions, Plan
from turboprop.errors import EngineError, ModelFormatError
from turboprop.models.checkpoint.tensors import whole_values
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.types import TokenBatch

# Rows that are gathered at a time: 16,384 of 256 features are 16 MB.
_ROWS = 1 << 14


class StaticEncoder:
    """Weighted rows, summed and divided by their count; unknown tokens take no part.

    `table` is float32 [rows, width], `rows` int32 [tokens] (the row of a token) and `factors` float32
    [tokens]; either may be None.
    """

    def __init__(
        self,
        table: NDArray[np.float32],
        rows: NDArray[np.int32] | None,
        factors: NDArray[np.float32] | None,
        unknown: int | None,
    ) -> None:
        self._table: NDArray[np.float32] | None = table
        self._rows = rows
        self._factors = factors
        self._unknown = unknown
        self._tokens = len(table) if rows is None else len(rows)
        self._dimensions = int(table.shape[1])

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def encode(self, batch: TokenBatch) -> NDArray[np.float32]:
        if self._table is None:
            raise EngineError("this model is closed; load it again")
        vectors = np.zeros((len(batch.lengths), self._dimensions), np.float32)
        ends = np.cumsum(batch.lengths)
        for index, end in enumerate(ends):
            ids = batch.ids[end - batch.lengths[index] + batch.skip : end]
            if len(ids) and not 0 <= ids.min() <= ids.max() < self._tokens:
                raise EngineError(f"the tokenizer gave the id {ids.max()} and the model has {self._tokens} tokens")
            if self._unknown is not None:
                ids = ids[ids != self._unknown]
            if len(ids):
                with np.errstate(over="ignore"):  # whoever takes the vectors looks whether they are finite
                    vectors[index] = self._total(ids) / len(ids)
        return vectors

    def _total(self, ids: NDArray[np.int32]) -> NDArray[np.float64]:
        assert self._table is not None
        total = np.zeros(self._dimensions, np.float64)
        for start in range(0, len(ids), _ROWS):
            some = ids[start : start + _ROWS]
            part = self._table[some if self._rows is None else self._rows[some]]
            if self._factors is None:
                total += part.sum(axis=0, dtype=np.float64)
            else:
                total += self._factors[some].astype(np.float64) @ part
        return total

    def close(self) -> None:
        self._table = None


def devices() -> list[str]:
    return ["cpu"]


def why_not(checkpoint: Checkpoint, purpose: str, options: EngineOptions) -> str | None:
    return None if checkpoint.family == "static" else "runs static models, and this is none"


def plan(checkpoint: Checkpoint, purpose: str, options: EngineOptions) -> Plan:
    return Plan("float32", sum(path.stat().st_size for path in checkpoint.weight_files))


def load_encoder(checkpoint: Checkpoint, options: EngineOptions) -> StaticEncoder:
    """Read the matrix. Raises `ModelFormatError` where tensors are missing, misshapen or not finite."""
    tensors = checkpoint.tensors
    name = next((name for name in ("embeddings", "embedding.weight") if name in tensors), None)
    if name is None:
        raise ModelFormatError(f"{checkpoint.name} lacks the tensor embeddings")
    table = whole_values(checkpoint.name, name, tensors[name], 2)
    rows = factors = None
    if "mapping" in tensors:
        # Row numbers stay below 2^24, where float32 still holds every integer.
        numbers = whole_values(checkpoint.name, "mapping", tensors["mapping"], 1)
        if not 0 <= numbers.min() <= numbers.max() < len(table):
            raise ModelFormatError(f"{checkpoint.name}: mapping points outside the {len(table)} rows of {name}")
        rows = numbers.astype(np.int32)
    if "weights" in tensors:
        factors = whole_values(checkpoint.name, "weights", tensors["weights"], 1)
        tokens = len(table) if rows is None else len(rows)
        if len(factors) != tokens:
            raise ModelFormatError(f"{checkpoint.name}: weights must be {tokens} finite values")
    return StaticEncoder(table, rows, factors, checkpoint.unknown_token)
