"""Readers of an index: one published version, never a half-written one; they never wait."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from turboprop.errors import IndexDamagedError, IndexMismatchError, IndexNotFoundError, UsageError
from turboprop.index import schema
from turboprop.index.failures import damaged, translated
from turboprop.index.integrity import StoredFile, check_regular, sample_damage
from turboprop.index.lance_table import open_version
from turboprop.index.lease import Lease, VersionGoneError
from turboprop.index.manifest import Header, Manifest, check_spec, index_tables, read_header, read_manifest, read_stored
from turboprop.index.reuse import vector_array
from turboprop.index.schema import IndexSpec, manifest_file, table_folder, table_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turboprop.index.adapter import Adapter
    from turboprop.index.history import History
    from turboprop.index.lexicon import Lexicon

REFINE_FACTOR = 5
"""IVF_RQ finds this many times the wanted rows, then the exact vectors order them: recall@10 at
100,000 x 768 rises from 0.96 to 1.00 for 2 ms."""

_OPEN_TRIES = 20
"""Each costs a version that was replaced between two lines of this process; a writer needs 40 ms for one."""
_HIT_COLUMNS = (
    schema.PATH,
    schema.LANGUAGE,
    schema.KIND,
    schema.SYMBOL,
    schema.SIGNATURE,
    schema.START_LINE,
    schema.END_LINE,
    schema.TEXT,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that a search found; `score` grows with relevance. Row ids hold within one reader."""

    row_id: int
    score: float


class IndexReader:
    """One published version of a table; `open` it, `close` it (or use it as a context manager)."""

    def __init__(self, directory: Path, header: Header, dataset: Any, lease: Lease) -> None:
        self._directory = directory
        self._dataset = dataset
        self._lease = lease
        self._lexicon: Lexicon | None = None
        self._history: History | None = None
        self._adapter: tuple[tuple[int, ...], Adapter | None] | None = None
        self.header = header

    @classmethod
    def open(cls, directory: Path, fingerprint: str | None = None, model: str = "") -> IndexReader:
        """The index of one model fingerprint, or without one the table that was written last.

        `model` is the name to speak of in an error. Raises `IndexNotFoundError`, `IndexMismatchError`
        (another model, or schema version) and `IndexDamagedError`.
        """
        path = _find_manifest(directory, fingerprint, model)
        for _ in range(_OPEN_TRIES):
            header, stored = read_stored(path)
            folder = table_folder(directory, header.table)
            try:
                lease = Lease.take(folder, header.version)
            except VersionGoneError:
                if read_header(path).version != header.version:
                    continue
                lease = Lease(None)  # the version that counts is missing: opening it says so
            try:
                return cls(directory, header, _opened(directory, folder, header, stored), lease)
            except BaseException as error:
                lease.close()
                if isinstance(error, IndexDamagedError) and read_header(path).version != header.version:
                    continue
                raise
        raise IndexDamagedError(f"the index in {directory} changes faster than it can be opened; try again")

    @property
    def rows(self) -> int:
        """How many chunks it holds."""
        return self.header.rows

    def check(self, spec: IndexSpec) -> None:
        """Raise `IndexMismatchError`, naming both, where the index was made with something else."""
        check_spec(self.header.spec, spec, self._directory)

    def manifest(self) -> Manifest:
        """The whole manifest, which may have moved on since this reader was opened."""
        return read_manifest(manifest_file(self._directory, self.header.table))

    def history(self) -> History | None:
        """What the index keeps of its repository's commits, None where that is nothing."""
        if self._history is None:
            from turboprop.index.history import History

            self._history = History.read(self._directory, [path for path, _ in self.lexicon.files])
        return self._history if self._history.commits else None

    def adapter(self) -> Adapter | None:
        """What `tp tune` learnt for the queries of this index, None where that is nothing, or nothing to be trusted.

        It is looked for each time, which takes 4 microseconds: a process that stays sees when one comes or goes.
        """
        try:
            stat = os.lstat(schema.adapter_file(self._directory, self.header.table))
        except OSError:
            self._adapter = None
            return None
        stamp = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        if self._adapter is None or self._adapter[0] != stamp:
            from turboprop.index.adapter import AdapterError, read_adapter

            try:
                found = read_adapter(self._directory, self.header)
                self._adapter = (stamp, None if found is None or found.is_identity else found)
            except AdapterError:  # `tp doctor` says why
                self._adapter = (stamp, None)
        return self._adapter[1]

    def vector_search(self, vector: NDArray[np.float32], limit: int, where: str | None = None) -> list[Candidate]:
        """The rows nearest to a vector, float32 [dimensions]; scores are cosine similarities.

        `where` is a Lance filter that holds before the nearest are taken.
        """
        import numpy as np

        query = np.asarray(vector, np.float32)
        if query.shape != (self.header.spec.dimensions,):
            raise ValueError(f"a query of the shape {list(query.shape)} on {self.header.spec.dimensions} dimensions")
        if not self.header.vectors or limit < 1 or not np.isfinite(query).all() or not query.any():
            return []
        nearest = {
            "column": schema.VECTOR,
            "q": query,
            "k": limit,
            "metric": "cosine",
            "refine_factor": REFINE_FACTOR,
        }
        with translated(self._directory, "search the index"):
            found = self._table.scanner(
                nearest=nearest, columns=["_distance"], with_row_id=True, filter=where, prefilter=True
            ).to_table()
        distances, row_ids = found["_distance"].to_numpy(), found["_rowid"].to_numpy()
        known = np.isfinite(distances)  # a vector of zeros has no direction
        return [
            Candidate(int(row_id), 1.0 - float(distance))
            for row_id, distance in zip(row_ids[known], distances[known], strict=True)
        ]

    @property
    def dataset(self) -> Any:
        """The opened version, a `lance.LanceDataset`; to be read only."""
        return self._table

    @property
    def lexicon(self) -> Lexicon:
        """Postings of this version; opened, or made anew, on first use."""
        if self._lexicon is None:
            from turboprop.index.lexicon_build import open_lexicon

            with translated(self._directory, "read the index"):
                self._lexicon = open_lexicon(self._directory, self.header.table, self._table)
        return self._lexicon

    def allowed(self, where: str) -> NDArray[np.bool_]:
        """Which rows of the lexicon meet a Lance condition, bool [rows]."""
        import numpy as np

        mask = np.zeros(self.lexicon.rows, np.bool_)
        with translated(self._directory, "search the index"):
            found = self._table.scanner(columns=[], filter=where, with_row_id=True).to_table()
        rows = self.lexicon.rows_of(found["_rowid"].to_numpy())
        mask[rows[rows >= 0]] = True
        return mask

    def fetch(self, row_ids: Sequence[int], columns: Sequence[str] = _HIT_COLUMNS) -> list[dict[str, Any]]:
        """The columns of rows, in the order asked for."""
        if not row_ids:
            return []
        table = self._take(row_ids, columns)
        rows = table.to_pylist()
        by_id = {row.pop("_rowid"): row for row in rows}
        return [by_id[row_id] for row_id in row_ids]

    def rows_where(self, where: str, columns: Sequence[str] = _HIT_COLUMNS) -> list[dict[str, Any]]:
        """The columns of all rows that meet a Lance condition, with their `_rowid`."""
        with translated(self._directory, "read the index"):
            found = self._table.scanner(columns=list(columns), filter=where, with_row_id=True).to_table()
        rows: list[dict[str, Any]] = found.to_pylist()
        return rows

    def texts(self, where: str | None) -> Iterator[tuple[NDArray[np.uint64], Any]]:
        """The ids and the texts (an Arrow array of strings) of all rows that meet a Lance condition, some thousands at
        a time."""
        with translated(self._directory, "search the index"):
            scanner = self._table.scanner(columns=[schema.TEXT], filter=where, with_row_id=True)
            for batch in scanner.to_batches():
                yield batch["_rowid"].to_numpy(), batch[schema.TEXT]

    def vectors(self, row_ids: Sequence[int]) -> NDArray[np.float16]:
        """The vectors of rows, float16 [n, dimensions], in the order asked for; zeros for one that has none yet."""
        import numpy as np

        if not row_ids or not self.header.spec.dimensions:
            return np.empty((len(row_ids), self.header.spec.dimensions), np.float16)
        table = self._take(row_ids, [schema.VECTOR])
        at = {row_id: place for place, row_id in enumerate(table["_rowid"].to_pylist())}
        vectors = vector_array(table[schema.VECTOR], self.header.spec.dimensions)
        return vectors[[at[row_id] for row_id in row_ids]]

    def cosines(self, row_ids: Sequence[int], vector: NDArray[np.float32]) -> NDArray[np.float64]:
        """The cosines of rows with a vector, float32 [dimensions], in the order asked for; NaN without one."""
        import numpy as np

        rows = self.vectors(row_ids).astype(np.float32)
        norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(vector)
        # Not `@`: see `search.candidates.cosine_statistics`.
        dots: NDArray[np.float64] = np.einsum("ij,j->i", rows, vector).astype(np.float64)
        return np.where(norms > 0, dots / np.maximum(norms, 1e-12), np.nan)

    def close(self) -> None:
        """Let go of the table; safe to call twice."""
        self._dataset = self._lexicon = None
        self._lease.close()

    def __enter__(self) -> IndexReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _table(self) -> Any:
        if self._dataset is None:
            raise UsageError("the index was closed; open it again to search in it")
        return self._dataset

    def _take(self, row_ids: Sequence[int], columns: Sequence[str]) -> Any:
        with translated(self._directory, "read the index"):
            return self._table.scanner(
                columns=list(columns),
                filter=f"_rowid IN ({','.join(str(int(row_id)) for row_id in row_ids)})",
                with_row_id=True,
            ).to_table()


def _opened(directory: Path, folder: Path, header: Header, stored: Mapping[str, StoredFile]) -> Any:
    """The dataset of a header, its files looked at and its rows counted.

    Raises `IndexDamagedError`, and `IndexUntrustedError` for a link among its files.
    """
    with translated(directory, "open the index"):
        check_regular(folder)
        if damage := sample_damage(folder, stored):
            raise damaged(directory, damage)
        dataset = open_version(folder, header.version)
        rows = int(dataset.count_rows())
    if rows != header.rows:
        raise damaged(directory, f"it has {rows} rows where its manifest says {header.rows}")
    return dataset


def _find_manifest(directory: Path, fingerprint: str | None, model: str) -> Path:
    if fingerprint is not None:
        path = manifest_file(directory, table_name(fingerprint))
        if not path.exists() and (others := index_tables(directory)):
            made = ", ".join(sorted({header.spec.model for header in others}))
            raise IndexMismatchError(
                f"the index in {directory} was made with {made}, not with {model or fingerprint}. "
                "Search with the model it was made with, or index with the other: `tp index --model NAME`"
            )
        return path
    tables = index_tables(directory)
    if not tables:
        raise IndexNotFoundError(f"there is no index in {directory}. Make one with `tp index`, or search with --build")
    return manifest_file(directory, tables[0].table)
