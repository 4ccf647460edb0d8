"""The tools. A signature is a tool's schema and a docstring what the model is told; each returns short text.

Methods run in threads, so they may wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from turboprop import limits
from turboprop.code.inside import lines_inside
from turboprop.edges.mcp.arguments import a_list
from turboprop.edges.mcp.text import (
    SNIPPET_LINES,
    answer_text,
    hits_page,
    lines_page,
    matches_page,
    page_start,
    places_page,
    status_text,
)
from turboprop.errors import IndexNotFoundError, ModelNotFoundError, TurboPropError, UsageError
from turboprop.index.lock import is_being_written
from turboprop.models.inventory import language_model_name
from turboprop.printable import named, printable_message, quoted_name
from turboprop.search.patterns import Pattern
from turboprop.search.places import as_indexed
from turboprop.types import Hit
from turboprop.workspace.index import Index
from turboprop.workspace.together import nearest_words
from turboprop.workspace.workspace import Freshness, Repository, Workspace

Query = Annotated[
    str,
    Field(description="What the code does, an identifier, a path with a line, an error message or a traceback."),
    limits.QUERY,
]
Repo = Annotated[str | None, Field(description="Name of the repository, where several are served.")]
Cursor = Annotated[str | None, Field(description="Where to go on: the cursor that the last page ended with.")]
Limit = Annotated[int, Field(description="Hits of one page."), limits.HITS]
Lines = Annotated[int, Field(description="Lines shown of each hit; 0 shows the places alone.", ge=0, le=100)]
Paths = Annotated[
    list[str] | None,
    Field(description='Globs that narrow by path: "src/**", "!tests/**".', max_length=limits.MOST_PATTERNS),
    BeforeValidator(a_list),
]
Languages = Annotated[
    list[str] | None,
    Field(description='Narrow by language: "python", "go".', max_length=limits.MOST_PATTERNS),
    BeforeValidator(a_list),
]
Path = Annotated[
    str, Field(description="A file as search_code prints it, relative to the repository.", max_length=4096)
]
Mode = Annotated[limits.Mode, Field(description="By meaning and words, by meaning, or by words.")]
_NO_MODEL_HITS = 8
WAIT_SECONDS = 20.0
"""How long a call waits for an index that is being made; clients give a tool a minute (the SDK's default) or more."""
_LOOK_SECONDS = 1.0
"""Between two looks whether it is there, at most. Ten looks a second took a sixth of the processor from the run that
was waited for."""


class NotYetError(TurboPropError):
    """An index is still being made: said to the model as an answer, as nothing is wrong."""


class Tools:
    """One method a tool. `language_model` answers questions: its name, or what gives it; None for the one that is
    installed."""

    def __init__(
        self,
        workspace: Workspace,
        language_model: str | Callable[[], str] | None,
        *,
        refresh: bool = True,
        create: bool = True,
    ) -> None:
        self._workspace = workspace
        self._language_model = language_model
        self._freshness: Freshness = "background" if refresh else "none"
        self._create = refresh and create

    def begin(self) -> None:
        """Begin the indexes that are missing, and go on with those that are unfinished, in the background."""
        for repository in self._workspace if self._create else ():
            with suppress(TurboPropError), repository.opened(create=True) as index:
                repository.bring_in_rest(index)

    def search_code(
        self,
        query: Query,
        limit: Limit = 8,
        paths: Paths = None,
        languages: Languages = None,
        mode: Mode = "hybrid",
        lines: Lines = SNIPPET_LINES,
        regex: Annotated[
            str, Field(description="Only code with a line that matches.", max_length=limits.PATTERN.most)
        ] = "",
        repo: Repo = None,
        cursor: Cursor = None,
    ) -> str:
        """Find code by meaning and by words. Hits come best first, each as path:start-end, names, and its lines.

        A query may be a traceback or a path with a line. "(weak)" behind a hit says that little speaks for it,
        "(nothing)" that it is only the nearest there is.
        Where several repositories are served and none is named, all are searched, and each hit names its own.
        """
        if repo is None and len(self._workspace) > 1:
            return self._everywhere(query, limit, paths, languages, mode, lines, regex, cursor)

        def find(index: Index, most: int) -> list[Hit]:
            narrowing: dict[str, Any] = {"filters": paths or (), "languages": languages or (), "regex": regex}
            return index.search(query, most, mode, freshness="none", **narrowing)

        return self._hits(find, limit, lines, repo, cursor, query)

    def grep_code(
        self,
        pattern: Annotated[str, Field(description="A regular expression (RE2), or text with fixed."), limits.PATTERN],
        ignore_case: bool = False,
        fixed: bool = False,
        words: Annotated[bool, Field(description="Whole words alone.")] = False,
        limit: Annotated[int, Field(description="Lines of one page."), limits.LINES] = 60,
        paths: Paths = None,
        languages: Languages = None,
        repo: Repo = None,
        cursor: Cursor = None,
    ) -> str:
        """Find every line that matches a pattern exactly, as files are now; definitions come first, tests last."""
        start = page_start(cursor)
        self._wait(repo)
        found = self._workspace.grep(
            Pattern((pattern,), fixed=fixed, ignore_case=ignore_case, words=words),
            min(start + limit + 1, limits.LINES.most),
            globs=paths or (),
            languages=languages or (),
            freshness=self._freshness,
            only=repo,
            create=self._create,
        )
        several = repo is None and len(self._workspace) > 1
        page = matches_page([(name if several else "", each) for name, each in found.files], start, limit)
        return page + self._notes(sum(found.stale.values()), "")

    def find_symbol(
        self,
        name: Annotated[str, Field(description="A name, qualified or not, or words of one."), limits.NAME],
        asked: Annotated[
            Literal["definitions", "calls", "implementations"],
            Field(description="Where it is defined, what calls it, or which types extend or implement it."),
        ] = "definitions",
        limit: Limit = 20,
        paths: Paths = None,
        languages: Languages = None,
        repo: Repo = None,
    ) -> str:
        """List where a name is defined, called or implemented, from syntax trees: by name, not by type."""
        self._wait(repo)
        found = self._workspace.symbols(
            name,
            limit,
            asked,
            globs=paths or (),
            languages=languages or (),
            freshness=self._freshness,
            only=repo,
            create=self._create,
        )
        several = repo is None and len(self._workspace) > 1
        page = places_page([(of if several else "", each) for of, each in found.places])
        return page + self._notes(sum(found.stale.values()), "")

    def similar_code(
        self,
        path: Path,
        line: Annotated[int, Field(description="A line of the code to compare with.", ge=1)],
        limit: Limit = 8,
        paths: Paths = None,
        languages: Languages = None,
        lines: Lines = SNIPPET_LINES,
        repo: Repo = None,
        cursor: Cursor = None,
    ) -> str:
        """Find code like that at a line of an indexed file: duplicates, parallel implementations, other uses."""

        def find(index: Index, most: int) -> list[Hit]:
            return index.similar(
                named(path), line, most, filters=paths or (), languages=languages or (), freshness="none"
            )

        return self._hits(find, limit, lines, repo, cursor)

    def read_chunk(
        self,
        path: Path,
        start_line: Annotated[int, Field(description="First line.", ge=1)] = 1,
        end_line: Annotated[int | None, Field(description="Last line; without it, as many as fit.", ge=1)] = None,
        repo: Repo = None,
        cursor: Cursor = None,
    ) -> str:
        """Read lines of an indexed file as they are now, with their numbers."""
        repository = self._workspace.get(repo)
        with self.opened(repository) as index:
            files = index.manifest().files
        wanted = as_indexed(named(path), files)
        if wanted not in files:
            raise UsageError(f"{wanted!r} is not an indexed file; give a path as search_code prints it")
        lines = lines_inside(repository.root, wanted)
        return lines_page(wanted, lines, page_start(cursor) or start_line, end_line)

    def ask_code(
        self,
        question: Annotated[str, Field(description="A question about the repository."), limits.QUESTION],
        repo: Repo = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> str:
        """Answer a question from the code, with checked citations, by a language model on this machine (slow).

        Prefer search_code and read_chunk where you can judge the code yourself.
        """
        from turboprop.answer import AnsweredEvent, AnswerSession

        with self.opened(self._workspace.get(repo)) as index:
            try:
                models = self._workspace.pool.models
                given = self._language_model
                name = given() if callable(given) else language_model_name(given, models.settings)
                with models.language(name) as lease:
                    for event in AnswerSession(index, lease.model).ask(question):
                        if isinstance(event, AnsweredEvent):
                            return answer_text(event)
                        if stopped():
                            return "stopped"
            except ModelNotFoundError as error:
                hits = index.search(question, _NO_MODEL_HITS, freshness="none")
                told = f"No answer: {printable_message(str(error))}\nThe nearest places:"
                return f"{told}\n\n{hits_page(hits, 0, _NO_MODEL_HITS, 0)}"
        raise UsageError("the answer ended early; ask again")

    def index_status(self, repo: Repo = None) -> str:
        """What is indexed, how old it is, which files changed since, and what the background work is at."""
        chosen = list(self._workspace) if repo is None else [self._workspace.get(repo)]
        return "\n\n".join(self._status(repository) for repository in chosen)

    def reindex(
        self,
        repo: Repo = None,
        wait_seconds: Annotated[int, Field(description="Wait so long for its end at most.", ge=0, le=300)] = 20,
        stopped: Callable[[], bool] = lambda: False,
    ) -> str:
        """Bring the index up to date with the files now. Goes on in the background when it takes longer."""
        repository = self._workspace.get(repo)
        job = repository.start_update()
        until = time.monotonic() + wait_seconds
        while not job.status.ended and time.monotonic() < until and not stopped():
            time.sleep(0.05)
        return self._status(repository)

    def _hits(
        self,
        find: Callable[[Index, int], list[Hit]],
        limit: int,
        lines: int,
        repo: str | None,
        cursor: str | None,
        query: str = "",
    ) -> str:
        start = page_start(cursor)
        with self.opened(self._workspace.get(repo)) as index:
            hits = find(index, min(start + limit + 1, limits.HITS.most))
            nearest = nearest_words([index], query) if query and not hits else ()
            left, vectors = index.last_refresh, index.vectors_note
        page = hits_page(hits, start, limit, lines, nearest=nearest)
        return page + self._notes(left.changed if left.left else 0, vectors)

    def _everywhere(
        self,
        query: str,
        limit: int,
        paths: list[str] | None,
        languages: list[str] | None,
        mode: limits.Mode,
        lines: int,
        regex: str,
        cursor: str | None,
    ) -> str:
        start = page_start(cursor)
        most = min(start + limit + 1, limits.HITS.most)
        self._wait(None)
        found = self._workspace.search(
            query, most, mode, globs=paths or (), languages=languages or (), regex=regex, freshness=self._freshness
        )
        page = hits_page(
            [hit.hit for hit in found.hits], start, limit, lines, [hit.repo for hit in found.hits], found.nearest
        )
        for name in found.not_indexed:
            page += f"\n\nnote: {quoted_name(name)} has no index and was not searched; reindex makes one"
        few = ", ".join(f"{quoted_name(name)} {share:.0%}" for name, share in found.vectors.items())
        vectors = f"of the chunks so many have vectors, the others are found by words alone: {few}" if few else ""
        return page + self._notes(sum(found.stale.values()), vectors)

    def _notes(self, changed: int, vectors: str) -> str:
        notes = [vectors] if vectors else []
        if changed and self._freshness != "none":
            notes.append(f"{changed} files changed and are not in these hits yet; ask again in a while")
        return "".join(f"\n\nnote: {note}" for note in notes)

    @contextmanager
    def opened(self, repository: Repository) -> Iterator[Index]:
        """Its index as every tool asks it, waited for where it is being made."""
        self._wait(repository.name)
        with repository.opened(self._freshness, create=self._create) as index:
            yield index

    def _wait(self, repo: str | None) -> None:
        """Return once there is an index of each repository that is asked, or none is being made, or, where one of
        several is there, after `WAIT_SECONDS`. Raises `NotYetError` then where none is."""
        chosen = list(self._workspace) if repo is None and len(self._workspace) > 1 else [self._workspace.get(repo)]
        until = time.monotonic() + WAIT_SECONDS
        making = chosen
        while self._create:
            making = [repository for repository in making if self._is_made(repository)]
            if not making:
                return
            if time.monotonic() > until:
                break
            waited = time.monotonic() - until + WAIT_SECONDS
            time.sleep(min(_LOOK_SECONDS, max(0.05, waited)))
        if making and len(making) == len(chosen) and self._create:
            raise NotYetError(
                f"{' '.join(map(_being_made, making))} Nothing is wrong and nothing was searched yet: ask again in a "
                "while, or look with the tools of your own meanwhile."
            )

    def _is_made(self, repository: Repository) -> bool:
        """Whether the first index of a repository is being made now, here or by another process; begins it."""
        job = repository.job
        ended = job is not None and job.status.ended
        try:
            with repository.opened(create=True):
                return False
        except IndexNotFoundError:
            return not ended or is_being_written(repository.location().directory)

    def _status(self, repository: Repository) -> str:
        try:
            return status_text(repository, repository.status())
        except IndexNotFoundError as error:
            return f"{quoted_name(repository.name)}\n{printable_message(str(error))}"


def _being_made(repository: Repository) -> str:
    status = repository.job.status if repository.job is not None else None
    how_far = f": {status.done:,.0f} of {status.total:,.0f} {status.message}" if status and status.total else ""
    return f"The index of {quoted_name(repository.name)} is still being made{how_far}."
