"""Open indexes of the repositories that a server was given, and nothing outside of them.

An index stays open between requests and is opened anew when a newer version was published. Queries are embedded with
the manager's models, so that several repositories of one model share it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turboprop.api import MODES, Index, Mode, Unit
from turboprop.code.read import decode, normalise_newlines
from turboprop.errors import IndexMismatchError, IndexNotFoundError, UsageError
from turboprop.index.lance_table import sql_text
from turboprop.index.projection import project
from turboprop.index.schema import PATH
from turboprop.models.tokenizer import clean_text
from turboprop.repository import GivenModel, checked_repo
from turboprop.types import Hit, IndexStatus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turboprop.embed.model import EmbeddingModel
    from turboprop.index.build import Progress
    from turboprop.index.manifest import Manifest
    from turboprop.runtime.jobs import Job
    from turboprop.runtime.manager import ModelManager

LONGEST_QUERY = 10_000
MOST_HITS = 200
MAP_POINTS = 5_000
"""Points of a map: more cannot be told apart on a screen."""
_STATUS_SECONDS = 3.0
"""How long a look at all files of a repository counts; one takes 60 ms for 2,000 files."""


@dataclass(frozen=True, slots=True)
class RepoHit:
    """A hit, and the repository that it is in."""

    repo: str
    hit: Hit


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


class _Opened:
    """An index that requests are using; closed when the last of them is done and it is not the current one."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.users = 0
        self.retired = False
        self.manifest: Manifest | None = None
        self.map: tuple[MapPoint, ...] | None = None


class Repository:
    """One repository. Thread-safe."""

    def __init__(self, name: str, root: Path, manager: ModelManager) -> None:
        self.name, self.root = name, root
        self._manager = manager
        self._lock = threading.Lock()
        self._current: _Opened | None = None
        self._status: tuple[float, IndexStatus] | None = None
        self._same_space: weakref.ref[EmbeddingModel] | None = None

    @contextmanager
    def opened(self) -> Iterator[Index]:
        """The index as it is now; it stays that version while the body runs. Raises `IndexNotFoundError`."""
        with self._using() as opened:
            yield opened.index

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
        """As `Index.search`, with the manager's model. Raises `UsageError` for a query or limit that cannot be."""
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
            vector = None if mode == "lexical" else self._vector(index, query)
            return index.search(query, limit, mode, filters=globs, languages=languages, by=by, vector=vector)

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
        with self._using() as opened:
            known = self._manifest(opened).files.get(path)
        if known is None:
            raise IndexNotFoundError(f"{path} is not an indexed file of {self.name}")
        place = self.root / path
        try:
            # A file may have become a link to elsewhere since it was indexed.
            if not place.resolve(strict=True).is_relative_to(self.root) or not place.is_file():
                raise IndexNotFoundError(f"{path} leads out of {self.name} now")
            text = normalise_newlines(decode(place.read_bytes())[0])
        except (OSError, ValueError) as error:
            raise IndexNotFoundError(f"{path} cannot be read any more; bring the index up to date") from error
        lines = text.removesuffix("\n").split("\n")
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
        with self._using() as opened:
            return dict(Counter(file.language for file in self._manifest(opened).files.values()))

    def map(self) -> tuple[MapPoint, ...]:
        """Chunks on a plane where what lies close means alike; of many, every n-th."""
        with self._using() as opened:
            if opened.map is None:
                reader = opened.index.reader
                columns = ["path", "start_line", "end_line", "symbol"]
                rows = reader.rows_where("true", columns)
                rows = rows[:: -(-len(rows) // MAP_POINTS) or 1]
                places = project(reader.vectors([row["_rowid"] for row in rows])).tolist()
                points = []
                for row, (x, y) in zip(rows, places, strict=True):
                    points.append(MapPoint(row["path"], row["start_line"], row["end_line"], row["symbol"], x, y))
                opened.map = tuple(points)
            return opened.map

    def chunk_at(self, path: str, line: int) -> dict[str, Any] | None:
        """The indexed chunk at a line of a file, by column."""
        with self.opened() as index:
            rows = index.reader.rows_where(f"{PATH} = {sql_text(path)}")
        found = (row for row in rows if row["start_line"] <= line <= row["end_line"])
        return min(found, key=lambda row: row["end_line"] - row["start_line"], default=None)

    def update(self, job: Job | None = None) -> None:
        """Bring the index up to date, or make it, with its own model or the default one. `job` is told how far it
        is and may call it off; what is whole is kept then."""

        def progress(now: Progress) -> None:
            if job is not None:
                job.report(now.files, now.files_total, f"{now.chunks} chunks")

        with self._manager.embedding(self._model_name()) as lease:
            Index.create(self.root, models=GivenModel(lease.model), progress=progress).close()
        self._status = None

    def is_indexed(self) -> bool:
        """Whether there is an index to search."""
        try:
            with self.opened():
                return True
        except IndexNotFoundError:
            return False

    def close(self) -> None:
        """Let go of the index; a search would open it again."""
        with self._lock:
            self._retire()

    def _model_name(self) -> str | None:
        try:
            with self.opened() as index:
                return index.model_name
        except (IndexNotFoundError, IndexMismatchError):
            return None

    @contextmanager
    def _using(self) -> Iterator[_Opened]:
        with self._lock:
            opened = self._fresh()
            opened.users += 1
        try:
            yield opened
        finally:
            with self._lock:
                opened.users -= 1
                if opened.retired and opened.users == 0:
                    opened.index.close()

    def _fresh(self) -> _Opened:
        """Called with the lock held."""
        if self._current is not None:
            try:
                if self._current.index.reader.is_current():
                    return self._current
            except (IndexNotFoundError, OSError):
                pass  # it was removed, or made anew with another model
            self._retire()
        self._current = _Opened(Index.open(self.root))
        return self._current

    def _retire(self) -> None:
        opened, self._current = self._current, None
        if opened is not None:
            opened.retired = True
            if opened.users == 0:
                opened.index.close()

    def _manifest(self, opened: _Opened) -> Manifest:
        if opened.manifest is None:
            opened.manifest = opened.index.reader.manifest()
        return opened.manifest

    def _vector(self, index: Index, query: str) -> NDArray[np.float32]:
        spec = index.reader.header.spec
        with self._manager.embedding(spec.model) as lease:
            if self._same_space is None or self._same_space() is not lease.model:
                if lease.model.fingerprint != spec.fingerprint:
                    raise IndexMismatchError(
                        f"the index of {self.name} was made with {spec.model} ({spec.fingerprint[:16]}), and the "
                        f"model of that name here is another ({lease.model.fingerprint[:16]}); index again"
                    )
                self._same_space = weakref.ref(lease.model)
            return lease.model.embed_query(query)


class Repositories:
    """The repositories that were given at start, by name. Raises `UsageError` for a path that is no folder."""

    def __init__(self, manager: ModelManager, paths: Sequence[str | Path]) -> None:
        roots = list(dict.fromkeys(checked_repo(path) for path in paths))
        count = Counter(root.name for root in roots)
        names = {root: root.name if count[root.name] == 1 else str(root) for root in roots}
        self._by_name = {name: Repository(name, root, manager) for root, name in names.items()}

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
        """The best of all of them: the first of each, the better score first, then the second of each."""
        found = []
        for repository in self:
            hits = repository.search(query, limit, mode, **narrowing)
            found.append([RepoHit(repository.name, hit) for hit in hits])
        ranks = zip_longest(*found)
        ordered = (sorted((one for one in rank if one), key=lambda one: -one.hit.score) for rank in ranks)
        return [one for rank in ordered for one in rank][:limit]

    def close(self) -> None:
        """Close every index."""
        for repository in self:
            repository.close()
