"""The repositories that a server was started with: their names, what may be read of them, their refresh."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.code.inside import lines_inside
from turboprop.errors import IndexBusyError, IndexNotFoundError, TurboPropError, UsageError
from turboprop.index.manifest import index_tables
from turboprop.index.schema import INDEX_FOLDER
from turboprop.settings import Settings, load_settings
from turboprop.workspace.index import Index
from turboprop.workspace.location import checked_repo
from turboprop.workspace.merged import repository_names
from turboprop.workspace.pool import IndexPool

if TYPE_CHECKING:
    from turboprop.index.build import Progress
    from turboprop.types import IndexSummary

REFRESH_SECONDS = 30.0
"""A search starts a refresh in the background where the last one is so long ago; looking at 10,000 unchanged files
takes about a second of one core."""
CLOSE_SECONDS = 1.5
"""For a refresh to end; clients kill a server two seconds after they left it."""


class _ClosedError(Exception):
    """Nobody is served any more."""


@dataclass(slots=True)
class Refresh:
    """What the background work on a repository is at. `state`: idle, waiting, running or failed."""

    state: str = "idle"
    progress: Progress | None = None
    error: str = ""
    ended: float = 0.0
    last: IndexSummary | None = None

    @property
    def busy(self) -> bool:
        """Whether it is not over yet."""
        return self.state in ("waiting", "running")


@dataclass(slots=True)
class Repository:
    """One repository under the name that a caller gives it."""

    name: str
    root: Path
    refresh: Refresh = field(default_factory=Refresh)


class Repositories:
    """Everything that the tools touch goes through here, so nothing outside of the given folders can be reached.

    `model` is the embedding model of new indexes and of searches; None takes what each index was made with. `refresh`
    brings indexes up to date in the background, and with `create` makes those that are missing. A server that has an
    `IndexPool` gives it, so that models are held once; it closes it itself. Raises `UsageError` where a path is no
    folder.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        model: str | None = None,
        refresh: bool = True,
        create: bool = True,
        pool: IndexPool | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._given = settings  # else each repository has its own
        self.settings = settings or load_settings()
        self._model = model
        self._refreshing = refresh
        self._create = create
        self._own_pool = pool is None
        self._pool = pool or IndexPool()
        self._wanted = threading.Condition()
        self._queue: list[Repository] = []
        self._thread: threading.Thread | None = None
        self._closed = False
        roots = list(dict.fromkeys(checked_repo(path) for path in paths))
        if not roots:
            raise UsageError("a server needs at least one repository; give one with --repo")
        self.all = [Repository(name, root) for name, root in zip(repository_names(roots), roots, strict=True)]

    def named(self, name: str | None) -> Repository:
        """The repository of a name; without one the only one. Raises `UsageError`."""
        names = ", ".join(repository.name for repository in self.all)
        if name is None or name == "":
            if len(self.all) == 1:
                return self.all[0]
            raise UsageError(f"several repositories are served; name one with repo: {names}")
        for repository in self.all:
            if name in (repository.name, str(repository.root)):
                return repository
        raise UsageError(f"the repository {name!r} is not served; there are: {names}")

    @contextmanager
    def index(self, repository: Repository) -> Iterator[Index]:
        """The index as it is published; a refresh begins beside it where one is due.

        Raises `IndexNotFoundError`, naming the progress where the index is being made.
        """
        due = time.monotonic() - repository.refresh.ended > REFRESH_SECONDS
        if self._refreshing and (due or not repository.refresh.ended) and (self._create or _has_index(repository)):
            self.start_refresh(repository)
        with self.open(repository) as index:
            yield index

    @contextmanager
    def open(self, repository: Repository) -> Iterator[Index]:
        """The same without a refresh."""
        with ExitStack() as stack:
            try:
                index = stack.enter_context(self._pool.open(repository.root, self._model, settings=self._given))
            except IndexNotFoundError as error:
                raise IndexNotFoundError(self._why_no_index(repository)) from error
            yield index

    def start_refresh(self, repository: Repository) -> bool:
        """Bring an index up to date in the background; False where that is under way already."""
        with self._wanted:
            if self._closed or repository.refresh.busy:
                return False
            repository.refresh.state = "waiting"
            self._queue.append(repository)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="refresh indexes", daemon=True)
                self._thread.start()
            self._wanted.notify()
            return True

    def read(self, repository: Repository, index: Index, path: str) -> tuple[str, list[str]]:
        """The path as the index writes it, and the file's lines as they are now.

        Only indexed files can be read. Raises `UsageError` for another, and as `lines_inside` does.
        """
        files = index.reader.manifest().files
        wanted = path if path in files else path.replace("\\", "/").removeprefix("./")
        if wanted not in files:
            raise UsageError(f"{wanted!r} is not an indexed file; give a path as search_code prints it")
        return wanted, lines_inside(repository.root, wanted)

    def close(self) -> None:
        """Let go of indexes and models. A refresh ends where it next tells of its progress; what it did is kept."""
        with self._wanted:
            self._closed = True
            self._queue.clear()
            self._wanted.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)
        if self._own_pool:
            self._pool.clear()

    def _work(self) -> None:
        while True:
            with self._wanted:
                while not self._queue and not self._closed:
                    self._wanted.wait()
                if self._closed:
                    return
                repository = self._queue.pop(0)
            refresh = repository.refresh
            refresh.state, refresh.error = "running", ""

            def tell(progress: Progress, refresh: Refresh = refresh) -> None:
                if self._closed:
                    raise _ClosedError
                refresh.progress = progress

            try:
                refresh.last = self._pool.update(repository.root, self._model, progress=tell, settings=self._given)
                refresh.state = "idle"
            except _ClosedError:
                return
            except IndexBusyError:
                refresh.state = "idle"  # another process does the work
            except TurboPropError as error:
                refresh.state, refresh.error = "failed", str(error)
            except Exception as error:  # the thread serves every repository: it must outlive a defect in one
                refresh.state, refresh.error = "failed", f"unexpected {type(error).__name__}: {error}"
            refresh.progress, refresh.ended = None, time.monotonic()

    def _why_no_index(self, repository: Repository) -> str:
        refresh = repository.refresh
        if refresh.busy:
            at = refresh.progress
            how_far = f" ({at.files} of {at.files_total} files)" if at else ""
            return f"the index of {repository.name} is being made{how_far}; ask again in a while, or see index_status"
        why = f" Making it failed: {refresh.error}" if refresh.error else ""
        return f"{repository.name} has no index yet; make one with the tool reindex, or with `tp index`.{why}"


def _has_index(repository: Repository) -> bool:
    return bool(index_tables(repository.root / INDEX_FOLDER))
