"""Open indexes of the repositories that a server was given, and nothing outside of them.

The indexes are a pool's, which opens and closes them. What is expensive to know of a published version is kept here
until a newer one is looked at.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turboprop.code.inside import lines_inside
from turboprop.errors import IndexNotFoundError, UsageError
from turboprop.index.projection import project
from turboprop.models.tokenizer import clean_text
from turboprop.types import Hit, IndexStatus
from turboprop.workspace.index import MODES, Index, Mode, Unit
from turboprop.workspace.location import checked_repo
from turboprop.workspace.merged import RepoHit, interleaved, repository_names

if TYPE_CHECKING:
    from turboprop.index.build import Progress
    from turboprop.index.manifest import Manifest
    from turboprop.workspace.jobs import Job
    from turboprop.workspace.pool import IndexPool

LONGEST_QUERY = 10_000
MOST_HITS = 200
MAP_POINTS = 5_000
"""Points of a map: more cannot be told apart on a screen."""
_STATUS_SECONDS = 3.0
"""How long a look at all files of a repository counts; one takes 60 ms for 2,000 files."""


@dataclass(frozen=True, slots=True)
class SourceLines:
    """Lines `start_line` to `end_line` of a file that has `total_lines`, 1-based and inclusive."""

    path: str
    language: str
    start_line: int
    end_line: int
    total_lines: int
    text: str


@dataclass(frozen=True, slots=True)
class MapPoint:
    """A chunk and its place on the map, within -1 and 1."""

    path: str
    start_line: int
    end_line: int
    symbol: str
    x: float
    y: float


@dataclass(slots=True)
class _Version:
    """What was asked of one published version."""

    table: str
    number: int
    manifest: Manifest | None = None
    map: tuple[MapPoint, ...] | None = None


class Repository:
    """One repository. Thread-safe."""

    def __init__(self, name: str, root: Path, indexes: IndexPool) -> None:
        self.name, self.root = name, root
        self._indexes = indexes
        self._version = _Version("", 0)
        self._status: tuple[float, IndexStatus] | None = None

    def opened(self) -> AbstractContextManager[Index]:
        """The index as it is now; it stays that version while the body runs. Raises `IndexNotFoundError`."""
        return self._indexes.open(self.root)

    def search(
        self,
        query: str,
        limit: int = 10,
        mode: Mode = "hybrid",
        *,
        globs: Sequence[str] = (),
        languages: Sequence[str] = (),
        by: Unit = "chunk",
    ) -> list[Hit]:
        """As `Index.search`. Raises `UsageError` for a query or limit that cannot be."""
        if not 1 <= limit <= MOST_HITS:
            raise UsageError(f"limit must be from 1 to {MOST_HITS}, not {limit}")
        if mode not in MODES:
            raise UsageError(f"there is no search mode {mode!r}; there are: {', '.join(MODES)}")
        if len(query) > LONGEST_QUERY:
            raise UsageError(f"the query has {len(query)} characters and may have {LONGEST_QUERY}")
        if not query.strip():
            raise UsageError("the query is empty; say what to look for")
        query = clean_text(query)
        with self.opened() as index:
            return index.search(query, limit, mode, filters=globs, languages=languages, by=by)

    def similar(self, path: str, line: int, limit: int = 10) -> list[Hit]:
        """As `Index.similar`."""
        if not 1 <= limit <= MOST_HITS:
            raise UsageError(f"limit must be from 1 to {MOST_HITS}, not {limit}")
        with self.opened() as index:
            return index.similar(path, line, limit)

    def source(self, path: str, start: int = 1, end: int | None = None) -> SourceLines:
        """Lines of a file that is indexed. Raises `IndexNotFoundError` for every other path, whatever it leads to."""
        if start < 1 or (end is not None and end < start):
            raise UsageError(f"lines {start} to {end} are none: they begin at 1, and the last is not before the first")
        with self.opened() as index:
            known = self._manifest(index).files.get(path)
        if known is None:
            raise IndexNotFoundError(f"{path} is not an indexed file of {self.name}")
        lines = lines_inside(self.root, path)
        last = min(len(lines), end if end is not None else len(lines))
        shown = lines[start - 1 : last]
        return SourceLines(path, known.language, min(start, len(lines)), last, len(lines), "\n".join(shown) + "\n")

    def status(self) -> IndexStatus:
        """As `Index.status`, kept for some seconds."""
        kept = self._status
        if kept is not None and time.monotonic() - kept[0] < _STATUS_SECONDS:
            return kept[1]
        with self.opened() as index:
            status = index.status()
        self._status = (time.monotonic(), status)
        return status

    def languages(self) -> dict[str, int]:
        """Files by language."""
        with self.opened() as index:
            return dict(Counter(file.language for file in self._manifest(index).files.values()))

    def map(self) -> tuple[MapPoint, ...]:
        """Chunks on a plane where what lies close means alike; of many, every n-th."""
        with self.opened() as index:
            version = self._version_of(index)
            if version.map is None:
                reader = index.reader
                columns = ["path", "start_line", "end_line", "symbol"]
                rows = reader.rows_where("true", columns)
                rows = rows[:: -(-len(rows) // MAP_POINTS) or 1]
                places = project(reader.vectors([row["_rowid"] for row in rows])).tolist()
                points = []
                for row, (x, y) in zip(rows, places, strict=True):
                    points.append(MapPoint(row["path"], row["start_line"], row["end_line"], row["symbol"], x, y))
                version.map = tuple(points)
            return version.map

    def update(self, job: Job | None = None) -> None:
        """Bring the index up to date, or make it, with its own model or the default one. `job` is told how far it
        is and may call it off; what is whole is kept then."""

        def progress(now: Progress) -> None:
            if job is not None:
                job.report(now.files, now.files_total, f"{now.chunks} chunks")

        self._indexes.update(self.root, progress=progress)
        self._status = None

    def _manifest(self, index: Index) -> Manifest:
        version = self._version_of(index)
        if version.manifest is None:
            version.manifest = index.reader.manifest()
        return version.manifest

    def _version_of(self, index: Index) -> _Version:
        header, version = index.reader.header, self._version
        if (version.table, version.number) != (header.table, header.version):
            version = self._version = _Version(header.table, header.version)
        return version


class Repositories:
    """The repositories that were given at start, by name. Raises `UsageError` for a path that is no folder."""

    def __init__(self, indexes: IndexPool, paths: Sequence[str | Path]) -> None:
        roots = list(dict.fromkeys(checked_repo(path) for path in paths))
        names = zip(repository_names(roots), roots, strict=True)
        self._by_name = {name: Repository(name, root, indexes) for name, root in names}

    def __iter__(self) -> Iterator[Repository]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str | None) -> Repository:
        """One by its name; without one the only one. Raises `UsageError` that names them all."""
        if not self._by_name:
            raise UsageError("this server was started without a repository: tp serve --repo PATH")
        if name is None:
            if len(self._by_name) > 1:
                raise UsageError(f"say which repository: {', '.join(self._by_name)}")
            return next(iter(self._by_name.values()))
        if name not in self._by_name:
            raise UsageError(f"there is no repository {name!r} here; there are: {', '.join(self._by_name)}")
        return self._by_name[name]

    def search(self, query: str, limit: int = 10, mode: Mode = "hybrid", **narrowing: Any) -> list[RepoHit]:
        """The best of all of them, interleaved."""
        found = {one.name: one.search(query, limit, mode, **narrowing) for one in self}
        return interleaved(found, limit)
