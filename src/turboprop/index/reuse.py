"""Vectors that the table already holds, found by the digest of the embedded text.

An edited file embeds only its new chunks, a renamed one none. Costs 24 bytes of memory a row, and
nothing for a table without rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from turboprop.index import schema

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TAKE_ROWS = 1_000


class KnownVectors:
    """The vectors of one version of a table; rows deleted later are still found. `waiting`: some rows have none."""

    def __init__(self, dataset: Any, dimensions: int, waiting: bool = False) -> None:
        import numpy as np

        self._dataset = dataset
        self._dimensions = dimensions
        has_vector = f"{schema.VECTOR} IS NOT NULL" if waiting else None
        table = dataset.scanner(columns=[schema.DIGEST], filter=has_vector, with_row_id=True).to_table()
        digests = _digest_array(table[schema.DIGEST])
        order = np.argsort(digests[:, 0], kind="stable")
        self._digests = digests[order]
        self._row_ids = table["_rowid"].to_numpy()[order]

    def find(self, digests: Sequence[bytes]) -> dict[bytes, NDArray[np.float16]]:
        """The vectors, float16 [dimensions], of those digests that the table holds."""
        import numpy as np

        wanted: dict[int, bytes] = {}
        for digest in set(digests):
            first, second = np.frombuffer(digest, np.uint64)
            at = int(np.searchsorted(self._digests[:, 0], first))
            while at < len(self._digests) and self._digests[at, 0] == first:
                if self._digests[at, 1] == second:
                    wanted[int(self._row_ids[at])] = digest
                    break
                at += 1
        found: dict[bytes, NDArray[np.float16]] = {}
        row_ids = sorted(wanted)
        for start in range(0, len(row_ids), _TAKE_ROWS):
            part = row_ids[start : start + _TAKE_ROWS]
            table = self._dataset.scanner(
                columns=[schema.VECTOR],
                filter=f"_rowid IN ({','.join(map(str, part))})",
                with_row_id=True,
            ).to_table()
            vectors = vector_array(table[schema.VECTOR], self._dimensions)
            for row_id, vector in zip(table["_rowid"].to_pylist(), vectors, strict=True):
                found[wanted[row_id]] = vector
        return found


def vector_array(column: Any, dimensions: int) -> NDArray[np.float16]:
    """A vector column as float16 [rows, dimensions]; zeros where a row waits for its vector."""
    import numpy as np

    parts = []
    for chunk in column.chunks:
        part = chunk.flatten().to_numpy().reshape(-1, dimensions)  # without those that are null
        if chunk.null_count:
            whole = np.zeros((len(chunk), dimensions), np.float16)
            whole[chunk.is_valid().to_numpy(zero_copy_only=False)] = part
            part = whole
        parts.append(part)
    return np.concatenate(parts) if parts else np.empty((0, dimensions), np.float16)


def _digest_array(column: Any) -> NDArray[np.uint64]:
    """A column of 16-byte digests as uint64 [rows, 2]."""
    import numpy as np

    data = b"".join(column.to_pylist())
    return np.frombuffer(data, np.uint64).reshape(-1, 2)
