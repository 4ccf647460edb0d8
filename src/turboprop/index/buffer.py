"""Rows that wait to be written, as Arrow batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turboprop.index.lance_table import row_batch
from turboprop.types import Chunk

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

BATCH_ROWS = 512
"""Rows of one batch, whose fourteen columns have 13 kB of their own: with a batch for each of 50,000 small files, what
waited to be written took nine times the bytes of its rows."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Chunks of one file, with their digests and vectors, float16 [n, dimensions]."""

    chunks: Sequence[Chunk]
    digests: Sequence[bytes]
    vectors: NDArray[np.float16]

    @property
    def bytes(self) -> int:
        """Without the terms, which are counted with the batch."""
        return self.vectors.nbytes + sum(len(chunk.text) for chunk in self.chunks)


class RowBuffer:
    """Chunks of whole files, and of one that has not ended; `rows` and about how many `bytes` they are."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self.clear()

    def __bool__(self) -> bool:
        return bool(self._batches or self._waiting)

    def add(self, chunks: Sequence[Chunk], digests: Sequence[bytes], vectors: NDArray[np.float16]) -> None:
        """Take chunks of the file that has not ended."""
        rows = _Rows(chunks, digests, vectors)
        self._waiting.append(rows)
        self._waiting_rows += len(chunks)
        self.rows += len(chunks)
        self.bytes += rows.bytes
        if self._waiting_rows >= BATCH_ROWS:
            self._pack()

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Take whole rows as they are; no file may be open."""
        self._pack()
        self._batches.append(batch)
        self._whole_batches = len(self._batches)
        self.rows += batch.num_rows
        self.bytes += batch.nbytes

    def end_file(self) -> None:
        """What was added is of whole files."""
        self._whole_batches, self._whole_waiting = len(self._batches), len(self._waiting)

    def drop_open_file(self) -> None:
        """Forget what was added since a file has ended."""
        del self._batches[self._whole_batches :]
        del self._waiting[self._whole_waiting :]

    def batches(self) -> list[pa.RecordBatch]:
        """All rows, in their order."""
        self._pack()
        return self._batches

    def clear(self) -> None:
        """Forget everything."""
        self._batches: list[pa.RecordBatch] = []
        self._waiting: list[_Rows] = []
        self._whole_batches = self._whole_waiting = self._waiting_rows = 0
        self.rows = self.bytes = 0

    def _pack(self) -> None:
        """Make batches of the rows that wait: one of the whole files, and one of the file that has not ended."""
        import numpy as np

        for part in (self._waiting[: self._whole_waiting], self._waiting[self._whole_waiting :]):
            if part:
                batch = row_batch(
                    [chunk for rows in part for chunk in rows.chunks],
                    [digest for rows in part for digest in rows.digests],
                    np.concatenate([rows.vectors for rows in part]),
                    self._dimensions,
                )
                self._batches.append(batch)
                self.bytes += batch.nbytes - sum(rows.bytes for rows in part)
            if self._whole_waiting:
                self._whole_batches, self._whole_waiting = len(self._batches), 0
        self._waiting.clear()
        self._waiting_rows = 0
