"""The repositories that a server was given, by name, and nothing outside of them.

Indexes and models are the pool's, which opens and closes them. What is expensive to know of a published version is
kept here until a newer one is looked at.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from turboprop import limits
from turboprop.closing import Closing
from turboprop.code.inside import lines_inside
from turboprop.errors import BusyError, IndexNotFoundError, UsageError
from turboprop.index.history import last_changes
from turboprop.limits import Mode, Unit
from turboprop.models.tokenizer.load import clean_text
from turboprop.search.sureness import of_answer
from turboprop.types import Hit, IndexStatus, SearchFilter, Sureness
from turboprop.workspace.index import Index
from turboprop.workspace.jobs import Job, Jobs
from turboprop.workspace.location import Location, root_around
from turboprop.workspace.merged import RepoHit, repository_names
from turboprop.workspace.survey import Survey, survey
from turboprop.workspace.together import nearest_words, search_together

if TYPE_CHECKING:
    from turboprop.index.build import Progress
    from turboprop.search.grep import FileMatches
    from turboprop.search.patterns import Pattern
    from turboprop.search.symbols import Place
    from turboprop.settings import Settings
    from turboprop.workspace.pool import IndexPool

Freshness = Literal["quick", "all", "none", "background"]
FileState = Literal["indexed", "changed", "left out"]
T = TypeVar("T")
_MOST_SPANS = 300
"""Matches of a line that are told: the 900,000 of one of 900 kB took 5.6 s and 464 MB."""
BACKGROUND_SECONDS = 30.0
"""What a search may not wait for is brought in beside it, where that was last done so long ago; looking at 10,000
unchanged files takes about a second of one core."""


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
class MapFile:
    """An indexed file as a map shows it. `bytes` is its size, `changed` when a commit last changed it or, where there
    are no commits, when it was written, in seconds since the epoch; None where no commit tells."""

    path: str
    language: str
    bytes: int
    chunks: int
    changed: float | None


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file of a repository: `reason` says what changed, or by which rule it is left out."""

    path: str
    state: FileState
    language: str = ""
    chunks: int = 0
    reason: str = ""


@dataclass(slots=True)
class _Version:
    """What was asked of one published version."""

    table: str
    number: int
    languages: dict[str, int] | None = None
    map: tuple[MapFile, ...] | None = None
    questions: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen of the files, and what that says of the version that was published then."""

    seen: Survey
    status: IndexStatus


@dataclass(frozen=True, slots=True)
class Found:
    """Hits of several repositories, best first, and the names of those that could not be searched. `stale` counts the
    files by repository that changed and were not brought in. `sure` is the mark of the whole; where it is "nothing",
    `nearest` has words of the indexes that may have been meant. `vectors` is the share of the chunks that have a
    vector, where not all have: the others are found by their words alone."""

    hits: list[RepoHit]
    not_indexed: tuple[str, ...] = ()
    stale: Mapping[str, int] = field(default_factory=dict)
    sure: Sureness = "nothing"
    nearest: tuple[str, ...] = ()
    vectors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoundLines:
    """Lines by file, each with its repository, in the order of a search; `more` where the limit left some out. The rest
    is as in `Found`."""

    files: list[tuple[str, FileMatches]]
    more: bool = False
    not_indexed: tuple[str, ...] = ()
    stale: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoundPlaces:
    """Places of a name, each with its repository. The rest is as in `Found`."""

    places: list[tuple[str, Place]]
    not_indexed: tuple[str, ...] = ()
    stale: Mapping[str, int] = field(default_factory=dict)


class Repository:
    """One repository. Thread-safe. `job` is the last work on its index in the background."""

    def __init__(self, name: str, root: Path, workspace: Workspace) -> None:
        self.name, self.root = name, root
        self.job: Job | None = None
        self._workspace = workspace
        self._version = _Version("", 0)
        self._status: IndexStatus | None = None
        self._last: _Look | None = None

    def location(self) -> Location:
        """Where it is, with the settings as they are now."""
        return Location.at(self.root, settings=self._workspace.settings)

    @contextmanager
    def opened(self, freshness: Freshness = "none", *, create: bool = False) -> Iterator[Index]:
        """The index, with what changed brought in as `freshness` says. It stays open while the body runs, and moves on
        where another caller brings something in: what belongs to one version is read by one `reader`.

        "background" is as "quick", and what that leaves is brought in beside the caller. Raises `IndexNotFoundError`
        where there is none; with `create` one is begun then, in the background, and the error says how far it is.
        """
        with ExitStack() as stack:
            try:
                pool, model = self._workspace.pool, self._workspace.model
                index = stack.enter_context(pool.open(self.location(), model))
            except IndexNotFoundError as error:
                if create:
                    self._begin_update()
                raise IndexNotFoundError(self._why_no_index()) from error
            index.bring_in("quick" if freshness == "background" else freshness)
            if freshness == "background":
                self.bring_in_rest(index)
            yield index

    def bring_in_rest(self, index: Index) -> None:
        """Begin to bring in, in the background, what the last look at the files of its open index left."""
        if index.last_refresh.left or index.vectors_note:
            self._begin_update()

    def similar(self, path: str, line: int, limit: int = 10, *, freshness: Freshness = "quick") -> list[Hit]:
        """As `Index.similar`."""
        limits.HITS.check(limit)
        with self.opened(freshness) as index:
            return index.similar(path, line, limit, freshness="none")

    def source(self, path: str, start: int = 1, end: int | None = None) -> SourceLines:
        """Lines of a file that is indexed. Raises `IndexNotFoundError` for every other path, whatever it leads to."""
        if start < 1 or (end is not None and end < start):
            raise UsageError(f"lines {start} to {end} are none: they begin at 1, and the last is not before the first")
        with self.opened() as index:
            known = index.manifest().files.get(path)
        if known is None:
            raise IndexNotFoundError(f"{path} is not an indexed file of {self.name}")
        lines = lines_inside(self.root, path)
        last = min(len(lines), end if end is not None else len(lines))
        shown = lines[start - 1 : last]
        return SourceLines(path, known.language, min(start, len(lines)), last, len(lines), "\n".join(shown) + "\n")

    def status(self, *, look: bool = True) -> IndexStatus:
        """As `Index.status`; without `look` no file is looked at, and what changed is told as it was last seen."""
        with self.opened() as index:
            header, known = index.reader.header, self._status
            if look:
                known = self._look(index).status
            elif known is None or known.updated != header.updated:
                known = self._status = index.status(look=False)
            return replace(known, complete=header.complete)

    def files(self, *, look: bool = True) -> list[FileFacts]:
        """What a walk sees and what the index holds of it, in path order; a file that is gone has changed, too.
        Without `look` it is told as it was last seen, where there was a look at this version."""
        try:
            with self.opened() as index:
                last = self._last
                if look or last is None or last.status.updated != index.reader.header.updated:
                    last = self._look(index)
            seen, changed = last.seen, set(last.status.stale)
        except IndexNotFoundError:
            location = self.location()
            seen, changed = survey(location, location.scope()), set()
        known = seen.known.files if seen.known is not None else {}
        rows = [
            FileFacts(each.path, "left out", reason=str(each.reason) + (f" ({each.detail})" if each.detail else ""))
            for each in seen.walk.skipped
        ]
        there = {file.path for file in seen.walk.files}
        read = seen.known.left_out.values() if seen.known is not None else ()
        left_out = {each.path: each.reason for each in read if each.path in there and each.path not in changed}
        rows += [FileFacts(path, "left out", reason=reason) for path, reason in left_out.items()]
        for path in (there | set(known)) - left_out.keys():
            file = known.get(path)
            fresh = file is not None and path in there and path not in changed
            why = "gone" if path not in there else "not indexed yet" if file is None else "changed since"
            language, chunks = (file.language, file.chunks) if file else ("", 0)
            state: FileState = "indexed" if fresh else "changed"
            rows.append(FileFacts(path, state, language, chunks, "" if fresh else why))
        return sorted(rows, key=lambda row: row.path)

    def languages(self) -> dict[str, int]:
        """Files by language."""
        with self.opened() as index:
            version = self._version_of(index)
            if version.languages is None:
                version.languages = dict(Counter(file.language for file in index.manifest().files.values()))
            return version.languages

    def map(self) -> tuple[MapFile, ...]:
        """Every indexed file, in path order."""
        with self.opened() as index:
            version = self._version_of(index)
            if version.map is None:
                commits = last_changes(index.location.directory)
                manifest = index.manifest()
                version.map = tuple(
                    MapFile(
                        path,
                        file.language,
                        file.size,
                        file.chunks,
                        # No time is kept of a file that was written just before it was indexed.
                        commits.get(path) if commits else file.mtime_ns / 1e9 or manifest.header.updated,
                    )
                    for path, file in sorted(manifest.files.items())
                )
            return version.map

    def questions(self) -> tuple[str, ...]:
        """What the repository could be asked, taken from what its code says of itself; () where it says nothing."""
        from turboprop.search.examples import example_queries  # it parses, which no server does at its start

        with self.opened() as index:
            version = self._version_of(index)
            if version.questions is None:
                version.questions = tuple(example_queries(index.reader))
            return version.questions

    def update(self, job: Job | None = None) -> None:
        """Bring the index up to date, or make it, with its own model or the default one. `job` is told how far it
        is and may call it off; what is whole is kept then."""

        def progress(now: Progress) -> None:
            if job is not None:
                if now.waiting:
                    job.report(now.filled, now.waiting, "vectors")
                else:
                    job.report(now.files, now.files_total, "files")

        self._workspace.pool.update(self.location(), self._workspace.model, progress=progress)
        self._status = self._last = None

    def start_update(self) -> Job:
        """`update` in the background; where that is under way already, that job. Raises `BusyError`."""
        self.job = self._workspace.jobs.start("index", self.name, self.update)
        return self.job

    def _begin_update(self) -> None:
        """The same, unless it was done a moment ago, or too much is under way."""
        job = self.job
        if job is None or not job.status.ended or time.monotonic() - job.ended > BACKGROUND_SECONDS:
            with contextlib.suppress(BusyError):
                self.start_update()

    def _why_no_index(self) -> str:
        status = self.job.status if self.job is not None else None
        if status is not None and not status.ended:
            how_far = f" ({status.done:.0f} of {status.total:.0f} {status.message})" if status.total else ""
            return f"the index of {self.name} is being made{how_far}; ask again in a while"
        why = f" Making it failed: {status.error}" if status is not None and status.error else ""
        return f"there is no index of {self.name} yet; make one with `tp index`.{why}"

    def _look(self, index: Index) -> _Look:
        seen = survey(index.location, index.scope, index.manifest())
        last = self._last = _Look(replace(seen, sources={}), seen.status())  # megabytes of text that nobody reads again
        self._status = last.status
        return last

    def _version_of(self, index: Index) -> _Version:
        header, version = index.reader.header, self._version
        if (version.table, version.number) != (header.table, header.version):
            version = self._version = _Version(header.table, header.version)
        return version


class Workspace(Closing):
    """Repositories by name, with what they share: open indexes, models and work in the background.

    `paths` are folders of repositories, or folders inside of them. `model` makes new indexes and searches; None takes
    what each index was made with. `settings` hold for all of them; without, each has its own. Raises `UsageError` for
    a path that is no folder.
    """

    def __init__(
        self,
        pool: IndexPool,
        paths: Sequence[str | Path],
        *,
        model: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        self.pool, self.model, self.settings = pool, model, settings
        self.jobs = Jobs()
        roots = list(dict.fromkeys(root_around(path) for path in paths))
        names = zip(repository_names(roots), roots, strict=True)
        self._by_name = {name: Repository(name, root, self) for name, root in names}

    def __iter__(self) -> Iterator[Repository]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str | None) -> Repository:
        """One by its name or its folder; without one the only one. Raises `UsageError` that names them all."""
        if not self._by_name:
            raise UsageError("this server was started without a repository: tp serve --repo PATH")
        if not name:
            if len(self._by_name) > 1:
                raise UsageError(f"say which repository: {', '.join(self._by_name)}")
            return next(iter(self._by_name.values()))
        for repository in self:
            if name in (repository.name, str(repository.root)):
                return repository
        raise UsageError(f"there is no repository {name!r} here; there are: {', '.join(self._by_name)}")

    def search(
        self,
        query: str,
        limit: int = 10,
        mode: Mode = "hybrid",
        *,
        globs: Sequence[str] = (),
        languages: Sequence[str] = (),
        by: Unit = "chunk",
        regex: str = "",
        freshness: Freshness = "quick",
        only: str | None = None,
    ) -> Found:
        """The best of all repositories, or of the one that is named, in one order. One without an index is left out,
        unless none has one: then `IndexNotFoundError`."""
        limits.check_search(query, limit, mode, by)
        query = clean_text(query)
        with ExitStack() as stack:
            names: dict[Path, str] = {}
            indexes: list[Index] = []
            missing: dict[str, IndexNotFoundError] = {}
            for repository in self if only is None and len(self) > 1 else [self.get(only)]:
                try:
                    indexes.append(stack.enter_context(repository.opened(freshness)))
                except IndexNotFoundError as error:
                    missing[repository.name] = error
                    continue
                names[indexes[-1].repo] = repository.name
            if missing and not indexes:
                raise next(iter(missing.values()))
            wanted = SearchFilter.of(globs, languages, (), regex)
            found = search_together(indexes, query, limit, mode, wanted=wanted, by=by, freshness="none")
            stale = {names[index.repo]: index.last_refresh.changed for index in indexes if index.last_refresh.left}
            nearest = () if found else nearest_words(indexes, query)
            headers = {names[index.repo]: index.reader.header for index in indexes}
            vectors = {name: each.vectors / each.rows for name, each in headers.items() if each.vectors < each.rows}
        hits = [RepoHit(names[index.repo], hit) for index, hit in found]
        changed_files = {name: changed for name, changed in stale.items() if changed}
        return Found(hits, tuple(missing), changed_files, of_answer(hit for _, hit in found), nearest, vectors)

    def grep(
        self,
        pattern: Pattern,
        limit: int,
        *,
        globs: Sequence[str] = (),
        languages: Sequence[str] = (),
        freshness: Freshness = "quick",
        only: str | None = None,
        create: bool = False,
    ) -> FoundLines:
        """The first `limit` lines that match in all repositories, or in the one that is named, by file, as
        `Index.grep`, each with its first 300 matches. One without an index is left out, unless none has one: then
        `IndexNotFoundError`; with `create` it is begun."""
        from turboprop.search.grep import GrepOptions, first_lines, rank

        limits.LINES.check(limit)
        asked = _Asked(
            self,
            only,
            freshness,
            create,
            # It looks for changes itself, and knows then that kept texts are still those of the files.
            lambda index, how: index.grep(
                pattern,
                filters=globs,
                languages=languages,
                options=GrepOptions(spans=True, most=limit + 1, most_spans=_MOST_SPANS),
                freshness=how,
            ),
        )
        files = [(name, each) for name, found in asked.answers for each in found]
        files.sort(key=lambda each: rank(each[1]))
        kept = first_lines([each for _, each in files], limit)
        shown = [(name, each) for (name, _), each in zip(files, kept, strict=False)]
        more = sum(len(each.numbers) for _, each in files) > limit
        return FoundLines(shown, more, tuple(asked.missing), asked.stale)

    def symbols(
        self,
        name: str,
        limit: int = 20,
        asked: str = "definitions",
        *,
        globs: Sequence[str] = (),
        languages: Sequence[str] = (),
        freshness: Freshness = "quick",
        only: str | None = None,
        create: bool = False,
    ) -> FoundPlaces:
        """As `Index.symbols`, in all repositories or in the one that is named: the first places of each come first.
        One without an index is left out, as for `grep`."""
        every = _Asked(
            self,
            only,
            freshness,
            create,
            lambda index, how: index.symbols(name, limit, asked, filters=globs, languages=languages, freshness=how),
        )
        places = [(of, found[at]) for at in range(limit) for of, found in every.answers if at < len(found)]
        return FoundPlaces(places[:limit], tuple(every.missing), every.stale)

    def close(self, seconds: float | None = None) -> None:
        """Call off the work in the background and wait for its end, `seconds` at most; a second call does nothing.
        The pool is its owner's to close."""
        self.jobs.close(seconds)


class _Asked(Generic[T]):
    """What the index of each repository answers, or of the one that is named, by its name.

    `ask` gets an index and the freshness to ask it with. `missing` are those without an index; where none has one its
    `IndexNotFoundError` is raised. `stale` counts the files that changed and were not brought in.
    """

    def __init__(
        self,
        workspace: Workspace,
        only: str | None,
        freshness: Freshness,
        create: bool,
        ask: Callable[[Index, Literal["quick", "all", "none"]], T],
    ) -> None:
        self.answers: list[tuple[str, T]] = []
        self.missing: dict[str, IndexNotFoundError] = {}
        self.stale: dict[str, int] = {}
        chosen = list(workspace) if only is None and len(workspace) > 1 else [workspace.get(only)]
        for repository in chosen:
            try:
                with repository.opened(create=create) as index:
                    how: Literal["quick", "all", "none"] = "quick" if freshness == "background" else freshness
                    self.answers.append((repository.name, ask(index, how)))
                    if freshness == "background":
                        repository.bring_in_rest(index)
                    if index.last_refresh.left and index.last_refresh.changed:
                        self.stale[repository.name] = index.last_refresh.changed
            except IndexNotFoundError as error:
                self.missing[repository.name] = error
        if len(self.missing) == len(chosen):
            raise next(iter(self.missing.values()))
