"""The one door to Lance: opening a version of a table, SQL literals, and rows as Arrow.

Importing this module loads nothing heavy; calling it loads lance, pyarrow and numpy (0.2 s).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turboprop.errors import IndexDamagedError, StorageError
from turboprop.index import schema
from turboprop.index.failures import translated
from turboprop.index.lease import unheld, version_file
from turboprop.index.terms_column import row_terms
from turboprop.types import Chunk

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def load_lance() -> Any:
    """The module `lance`, its log set to errors: its warnings are about its own plans, not the user's."""
    os.environ.setdefault("LANCE_LOG", "error")
    import lance

    return lance


def open_version(folder: Path, version: int | None = None) -> Any:
    """One version of a table (the newest without a number), as a `lance.LanceDataset`."""
    return load_lance().dataset(str(folder), version=version)


def delete_versions(dataset: Any, folder: Path, versions: Collection[int]) -> None:
    """Delete versions that no reader holds, and the files that only they needed; `dataset` is the newest version.

    Lance reads what describes every version for that. An old one of which that is damaged is forgotten, unless a reader
    holds it: nothing could open it, and for its sake no version would ever be deleted again.
    """
    try:
        with translated(folder.parent, "remove old versions"):
            _clean_up(dataset, versions)
    except IndexDamagedError:
        damaged = set(damaged_versions(dataset, folder))
        with unheld(folder, damaged.difference(versions)) as (free, _):  # the caller holds the others
            forgotten = damaged.intersection([*versions, *free])
            for version in forgotten:
                version_file(folder, version).unlink()
        if not forgotten:
            raise
        _clean_up(dataset, [version for version in versions if version not in forgotten])


def _clean_up(dataset: Any, versions: Collection[int]) -> None:
    if not versions:
        return
    # Under the writer's lock no one else has files in the making.
    dataset.cleanup_old_versions(versions=list(versions), delete_unverified=True, error_if_tagged_old_versions=False)


def damaged_versions(dataset: Any, folder: Path) -> list[int]:
    """The versions before that of `dataset` whose descriptions cannot be read; a millisecond for each."""
    return [
        version
        for version in (reference["version"] for reference in dataset.version_refs())
        if version < dataset.version and not _opens(folder, version)
    ]


def _opens(folder: Path, version: int) -> bool:
    try:
        with translated(folder.parent, "read an old version"):
            open_version(folder, version)
    except IndexDamagedError:
        # A writer may have deleted it meanwhile.
        return not version_file(folder, version).exists()
    except StorageError:  # too many open files, a disk that fails: nothing that the file could be blamed for
        return True
    return True


def sql_text(value: str) -> str:
    """A string literal for a Lance filter. A quote is doubled; nothing else is special in it."""
    return "'" + value.replace("'", "''") + "'"


def sql_in(column: str, values: Iterable[str]) -> str:
    """`column IN (...)` over string literals; `values` must not be empty."""
    return f"{column} IN ({','.join(sql_text(value) for value in values)})"


def row_batch(
    chunks: Sequence[Chunk], digests: Sequence[bytes], vectors: NDArray[np.float16], dimensions: int
) -> pa.RecordBatch:
    """Rows of the table from chunks and their vectors, float16 [n, dimensions]; NaN stands for one that waits for its
    vector."""
    import pyarrow as pa

    terms, weights, lengths = row_terms(chunks)
    row_schema = schema.arrow_schema(dimensions)
    columns = [
        _strings([chunk.path for chunk in chunks]),
        _strings([chunk.language for chunk in chunks]),
        _strings([chunk.kind for chunk in chunks]),
        _strings([chunk.symbol for chunk in chunks]),
        _strings([chunk.signature for chunk in chunks]),
        _strings([chunk.symbols or "" for chunk in chunks]),
        pa.array([chunk.start_line for chunk in chunks], pa.int32()),
        pa.array([chunk.end_line for chunk in chunks], pa.int32()),
        _strings([chunk.text for chunk in chunks]),
        _lists(terms, row_schema.field(schema.TERMS).type),
        _lists(weights, row_schema.field(schema.WEIGHTS).type),
        pa.array(lengths, pa.int32()),
        pa.array(digests, pa.binary(16)),
        *([vector_column(vectors)] if dimensions else []),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=row_schema)


def vector_column(vectors: NDArray[np.float16]) -> pa.Array:
    """Vectors, float16 [n, dimensions], as a column; null where they are NaN."""
    import numpy as np
    import pyarrow as pa

    waiting = np.isnan(vectors[:, 0])
    mask = pa.array(waiting) if waiting.any() else None
    flat = pa.array(np.where(waiting[:, None], np.float16(0), vectors).reshape(-1) if mask else vectors.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1], mask=mask)


def _lists(values: list[NDArray[Any]], kind: pa.ListType) -> pa.Array:
    """Arrays of different lengths as one list column."""
    import numpy as np
    import pyarrow as pa

    offsets = np.cumsum([0, *(len(value) for value in values)]).astype(np.int32)
    flat = np.concatenate(values) if values else np.empty(0)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, kind.value_type), type=kind)


def _strings(values: list[str]) -> pa.Array:
    """Arrow strings are UTF-8; a lone surrogate that slipped through becomes a question mark."""
    import pyarrow as pa

    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        return pa.array([value.encode("utf-8", "replace").decode() for value in values], pa.string())
