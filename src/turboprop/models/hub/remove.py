"""Taking a model out of the Hugging Face cache, and nothing that another model there still needs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.models.hub.cache import hub_cache_dir, repo_dir
from turboprop.models.store.contents import split_names

if TYPE_CHECKING:
    from turboprop.models.naming import HubReference


def remove_from_hub_cache(reference: HubReference) -> int:
    """Remove one GGUF file, or the folder model of a repository; returns the bytes freed.

    With the last model of a repository goes all of it, also what broken downloads left.
    """
    root = repo_dir(reference.repo)
    every = {_name(root, pointer) for pointer in _pointers(root)}
    if reference.file:
        names = set(split_names(reference.file))
    else:
        names = {name for name in every if not name.endswith(".gguf")}
    if every - names:
        return _remove_files(root, names)
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    _delete_revisions(reference.repo)
    if root.exists():
        shutil.rmtree(root)
    return size


def _pointers(root: Path) -> list[Path]:
    """The files of all snapshots; each snapshot is one folder below `snapshots`."""
    return [path for path in (root / "snapshots").glob("*/**/*") if path.is_file()]


def _name(root: Path, pointer: Path) -> str:
    return pointer.relative_to(root / "snapshots").as_posix().partition("/")[2]


def _remove_files(root: Path, names: set[str]) -> int:
    gone = [pointer for pointer in _pointers(root) if _name(root, pointer) in names]
    kept = {_blob(pointer) for pointer in _pointers(root) if pointer not in gone}
    freed = 0
    for pointer in gone:
        blob = _blob(pointer)
        size = blob.stat().st_size
        pointer.unlink()
        if blob not in kept and blob.parent == root / "blobs":
            blob.unlink()
            freed += size
    return freed


def _blob(pointer: Path) -> Path:
    """What a file of a snapshot links to (which may again be a link into a store of all repositories)."""
    return Path(os.path.normpath(pointer.parent / pointer.readlink())) if pointer.is_symlink() else pointer


def _delete_revisions(repo: str) -> None:
    """Let huggingface_hub delete: newer versions keep blobs in a place that repositories share.

    It is shown this repository alone, because it deletes by commit and a copy of a repository has the
    commits of the original.
    """
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    with contextlib.suppress(CacheNotFound):
        found = scan_cache_dir(hub_cache_dir())
        for cached in found.repos:
            if cached.repo_type == "model" and cached.repo_id == repo:
                commits = [revision.commit_hash for revision in cached.revisions]
                alone = dataclasses.replace(found, repos=frozenset({cached}))
                alone.delete_revisions(*commits).execute()
