"""A repository and how it is indexed: where, which files of it, with what model."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.code.walk import shown, walk
from turboprop.errors import IndexMismatchError, IndexNotFoundError, RepositoryIndexError, UsageError
from turboprop.index.lock import wait_until_free
from turboprop.index.manifest import index_tables
from turboprop.index.schema import INDEX_FOLDER
from turboprop.settings import Settings
from turboprop.types import IndexScope, IndexSummary

if TYPE_CHECKING:
    from turboprop.embed.model import EmbeddingModel
    from turboprop.index.build import Progress


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


def index_scope(settings: Settings, *, limit: int | None = None, max_filesize: int | None = None) -> IndexScope:
    """Which files are asked for; None means as the settings say. Raises `UsageError`."""
    if limit is not None and limit < 1:
        raise UsageError(f"--limit must be at least 1, not {limit}")
    return IndexScope(max_filesize or settings.max_filesize, limit or settings.limit, settings.exclude)


def check_not_empty(root: Path, directory: Path, scope: IndexScope) -> None:
    """Raise `UsageError` where there is nothing to index: an index may be emptied, but not begun empty."""
    try:
        if index_tables(directory):
            return
    except RepositoryIndexError:  # there is one, whatever is wrong with it
        return
    found = walk(root, max_filesize=scope.max_filesize, exclude=scope.exclude)
    if not found.files:
        left = f" ({len(found.skipped)} left out; see `tp index --dry-run`)" if found.skipped else ""
        raise UsageError(f"{root} holds no files to index{left}")


def bring_up_to_date(
    root: Path,
    directory: Path,
    model: EmbeddingModel,
    scope: IndexScope,
    rebuild: bool,
    progress: Callable[[Progress], None] | None,
    memory: int | None = None,
    *,
    wait: bool = True,
) -> IndexSummary:
    """Bring the index of a repository up to its files, within `memory` bytes.

    Another writer is waited for a moment, unless `wait` is false. Raises `IndexBusyError` where that takes longer,
    and `MemoryBudgetError` where the memory is too little.
    """
    from turboprop.embed.documents import IndexingEmbedder  # what only looks for changes does without them
    from turboprop.index.budget import memory_budget
    from turboprop.index.build import update

    if wait:
        wait_until_free(directory)  # before the walk: what the other brings in is compared with the files of now
    found = walk(root, max_filesize=scope.max_filesize, exclude=scope.exclude)
    if memory is not None:
        model.embed_documents(["def warm_up(): pass"])  # the first call makes the kernels' own copy of the weights
    budget = memory_budget(memory, model.name, model.dimensions)
    summary = update(
        directory,
        found.files,
        IndexingEmbedder(model, batch_tokens=budget.tokens),
        budget=budget,
        rebuild=rebuild,
        scope=scope,
        skipped=Counter(str(skipped.reason) for skipped in found.skipped),
        progress=progress,
    )
    return replace(summary, notes=tuple(found.notes))


def recorded_model(directory: Path) -> str | None:
    """The model of the table that was written last, where this user chose it; None also for a trusted table of
    someone else, whose model is only a name to compare with."""
    try:
        tables = index_tables(directory)
    except (IndexMismatchError, IndexNotFoundError):
        return None
    return tables[0].spec.model if tables and tables[0].made_here else None
