"""Where a repository and its index are, with the settings that hold there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turboprop.code.gitview import is_repository, is_submodule
from turboprop.code.walk import shown
from turboprop.errors import (
    IndexMismatchError,
    IndexNotFoundError,
    RepositoryIndexError,
    TurboPropError,
    UsageError,
)
from turboprop.index.manifest import index_tables
from turboprop.index.schema import INDEX_FOLDER
from turboprop.settings import PROJECT_FILE, Settings, load_settings
from turboprop.types import IndexScope


@dataclass(frozen=True, slots=True)
class Location:
    """One repository: `root` is its absolute folder, `directory` its index's, which need not exist.

    `below` is the folder that was asked for, relative to `root` with `/`; '' is the root itself.
    """

    root: Path
    directory: Path
    settings: Settings
    below: str = ""

    @classmethod
    def at(cls, folder: str | Path, index_dir: str | Path | None = None, settings: Settings | None = None) -> Location:
        """The repository whose root is this very folder. Raises `UsageError` unless it is one that can be read."""
        root = checked_repo(folder)
        settings = settings or load_settings(root)
        return cls(root, index_directory(root, index_dir, settings), settings)

    @classmethod
    def around(
        cls, folder: str | Path, index_dir: str | Path | None = None, settings: Settings | None = None
    ) -> Location:
        """The repository that a folder is in, as `root_around` finds it; with `index_dir` the one that this index is
        of, else the folder itself. Raises `UsageError` as `at` does."""
        here = checked_repo(folder)
        if index_dir is not None:
            given = index_directory(here, index_dir, settings or load_settings(here))
            root = _recorded_root(given) or here
            return cls(root, given, settings or load_settings(root), _below(root, here))
        root = _nearest_indexed(here)
        settings = settings or load_settings(root)
        return cls(root, index_directory(root, None, settings), settings, _below(root, here))

    def seen_from_here(self) -> str:
        """The current folder relative to the root, '' where it is the root or outside: paths are told as from there."""
        with contextlib.suppress(OSError):  # the current folder may be gone
            return _below(self.root, Path.cwd())
        return ""

    def scope(
        self, *, limit: int | None = None, max_filesize: int | None = None, include: Sequence[str] = ()
    ) -> IndexScope:
        """Which files are asked for; None means as the settings say, `include` adds to them. Raises `UsageError`."""
        if limit is not None and limit < 1:
            raise UsageError(f"--limit must be at least 1, not {limit}")
        settings = self.settings
        root = shown(str(self.root))
        included = tuple(dict.fromkeys((*settings.include, *include)))
        largest = max_filesize or settings.max_filesize
        return IndexScope(largest, limit or settings.limit, settings.exclude, root, included)

    def why_not_of(self, scope: IndexScope) -> str:
        """Why an index of that scope is not this repository's, '' where it is. The one in the repository's own place
        moves with it; any other is of the root that it was made from, or a search from another folder would replace
        it, and so it would where one folder of the repository has an index, too."""
        configured = self.settings.index.resolve() if self.settings.index is not None else None
        own = {self.root / INDEX_FOLDER, configured if configured and configured.is_relative_to(self.root) else None}
        if self.directory in own or scope.root == shown(str(self.root)):
            return ""
        return f"the index in {self.directory} is of {scope.root or 'another folder'}, not of {self.root}"

    def recorded_model(self) -> str | None:
        """The model of the table that was written last, where this user chose it; None also for a trusted table of
        someone else, whose model is only a name to compare with."""
        try:
            tables = index_tables(self.directory)
        except (IndexMismatchError, IndexNotFoundError):
            return None
        return tables[0].spec.model if tables and tables[0].made_here else None


def _below(root: Path, here: Path) -> str:
    return shown(here.relative_to(root).as_posix()) if here != root and here.is_relative_to(root) else ""


def _recorded_root(directory: Path) -> Path | None:
    """The repository that an index was made from, where it is still there; else None."""
    try:
        tables = index_tables(directory)
    except RepositoryIndexError:  # whoever opens it is told what is wrong
        return None
    # A stranger's index must not say which folder is read.
    root = tables[0].scope.root if tables and tables[0].made_here else ""
    return Path(root).resolve() if root and Path(root).is_dir() else None


def root_around(folder: str | Path) -> Path:
    """The nearest indexed folder, the given one or one above it; the given one where there is none.

    The search ends where a work tree (of Git, jj or Mercurial) does: what is around it does not index its files. A
    folder above whose index another user owns is passed over. Raises `UsageError` for a folder that cannot be read.
    """
    return _nearest_indexed(checked_repo(folder))


def _nearest_indexed(here: Path) -> Path:
    for root in (here, *here.parents):
        if _is_indexed(root, ours=root != here):
            return root
        if is_repository(str(root)) and not is_submodule(str(root)):
            break
    return here


def repository_here() -> Path | None:
    """The repository of the current folder, for a server that was given none: the indexed one, else the work
    tree. A home is neither, so it is not served or indexed because nobody named another folder."""
    root = root_around(".")
    if _is_indexed(root, ours=False):
        return root
    return work_tree_of(root)


def work_tree_of(folder: Path) -> Path | None:
    """The work tree (of Git, jj or Mercurial) that a folder is in."""
    return next((each for each in (folder, *folder.parents) if is_repository(str(each))), None)


def checked_repo(repo: str | Path) -> Path:
    """The repository's absolute path. Raises `UsageError` unless it is a folder that can be read."""
    root = _expanded(repo)
    try:
        if not root.is_dir():
            what = "is a file, not a folder" if root.exists() else "does not exist"
            raise UsageError(f"{root} {what}; give the repository's folder with --repo")
        next(root.iterdir(), None)
    except PermissionError as error:
        raise UsageError(f"the folder {root} cannot be read: {error.strerror}") from error
    return root.resolve()


def _is_indexed(root: Path, *, ours: bool) -> bool:
    """Whether an index lies there, or where the repository's settings put it; with `ours` of this user alone."""
    place = root / INDEX_FOLDER
    try:
        status = os.lstat(place)
    except OSError:
        place = root / PROJECT_FILE
        try:
            status = os.lstat(place)
        except OSError:
            return False
    if ours and hasattr(os, "geteuid") and status.st_uid != os.geteuid():
        return False
    if place.name == INDEX_FOLDER:
        return True
    try:
        configured = load_settings(root).index
    except TurboPropError:  # of a file around the folder, nobody asked for it
        if ours:
            return False
        raise
    return configured is not None and configured.is_dir()


def _expanded(path: str | Path) -> Path:
    """Raises `UsageError` for a path that no system takes, and for the home of a user who is not there."""
    try:
        if "\0" in str(path):
            raise UsageError("a path cannot hold the character NUL")
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{shown(str(path))} cannot be found: {error}") from error


def index_directory(root: Path, index_dir: str | Path | None, settings: Settings) -> Path:
    """Where the index of a repository lies. Raises `UsageError` for a place where none can be read.

    A folder that the user named may be reached by links; the repository's own `.turboprop` may not be one.
    """
    place = root / INDEX_FOLDER
    if index_dir is not None:
        place = _expanded(index_dir).resolve()
    elif settings.index is not None:
        place = settings.index.resolve()
    try:
        str(place).encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(
            f"the path {shown(str(place))} is not UTF-8, as the files of an index need it: put the index elsewhere "
            "with --index DIR, or, where only the locale is another one, set LC_ALL=C.UTF-8"
        ) from None
    try:
        os.scandir(place).close()
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        raise UsageError(f"{place} is no folder, and an index is one; give a folder with --index DIR") from None
    except OSError as error:
        raise UsageError(f"the index in {place} cannot be read: {error.strerror}; change its permissions") from error
    return place
