"""Tokenized inputs of one call, and how the vectors of their parts become the vectors of its texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turboprop.types import TokenBatch


@dataclass(frozen=True, slots=True)
class PreparedInputs:
    """`inputs` are token ids to run, or texts for a model that tokenizes itself; `asked` goes with these.

    `owners` says for each which different text it is a part of, `where` for each
    text of the call which of the different ones it is. `width` is that of a finished vector, `shortened` how many texts
    of the call were cut."""

    inputs: list[Any]
    owners: list[int]
    where: list[int]
    skip: int
    cut: int | None
    width: int
    normalize: bool
    asked: tuple[tuple[str, str], ...] = ()
    shortened: int = 0

    @property
    def lengths(self) -> list[int]:
        """Tokens of each input; characters of a text."""
        return [len(ids) for ids in self.inputs]

    @property
    def tokens(self) -> int:
        """Tokens of all texts of the call; one that stands there twice counts twice."""
        each = np.zeros(max(self.owners, default=-1) + 1, np.int64)
        np.add.at(each, self.owners, self.lengths)
        return int(each[self.where].sum()) if self.where else 0

    def assemble(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """From finished vectors of the inputs, float32 [len(inputs), width], to those of the texts."""
        different = max(self.owners, default=-1) + 1
        if len(self.inputs) > different:
            vectors = _average(vectors, self.owners, different, normalize=self.normalize)
        return np.asarray(vectors[self.where], np.float32).reshape(len(self.where), self.width)


def token_batch(inputs: Sequence[Sequence[int]], skip: int) -> TokenBatch:
    """Pack inputs end to end."""
    lengths = np.array([len(ids) for ids in inputs], np.int32)
    return TokenBatch(np.concatenate([np.asarray(ids, np.int32) for ids in inputs]), lengths, skip)


def _average(vectors: NDArray[np.float32], owners: list[int], count: int, *, normalize: bool) -> NDArray[np.float32]:
    """float32 [inputs, width] to [count, width]. A text of one part keeps its vector to the bit: made unit length
    again it would move by rounding, and depend on whether another text of the call has several parts."""
    total = np.zeros((count, vectors.shape[1]), np.float32)
    np.add.at(total, np.array(owners), vectors)
    parts = np.bincount(owners, minlength=count)[:, None]
    lengths = np.maximum(np.linalg.norm(total, axis=1, keepdims=True), np.float32(1e-12)) if normalize else parts
    return np.where(parts > 1, total / lengths, total).astype(np.float32)
