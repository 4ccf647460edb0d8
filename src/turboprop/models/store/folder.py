"""The local model store: models that were brought here by hand, whole or not at all.

Layout: `<data_home>/models/<owner>/<name>/` holds a model's files as the hub names them, and
`.turboprop.json` what was known of each when it came: `{"repo", "files": {name: {"size", "sha256"}}}`.
A model appears under its name by one rename, so a folder that is here is complete.
Downloads do not land here: they stay in the Hugging Face cache, which other programs share; `.hub/` only
records what the hub's metadata said of them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from turboprop.models.store.contents import find_in_folder, split_names
from turboprop.settings.records import RecordError, read_record, write_record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from turboprop.models.naming import HubReference

MANIFEST = ".turboprop.json"


def store_dir(repo: str, models_dir: Path) -> Path:
    """Where `owner/name` lies in the store; it need not exist."""
    owner, name = repo.split("/")
    return models_dir / owner / name


def find_in_store(reference: HubReference, models_dir: Path) -> Path | None:
    """A whole model of that name: its folder, or its GGUF file (the first part of a split)."""
    folder = store_dir(reference.repo, models_dir)
    return find_in_folder(folder, reference.repo, reference.file) if folder.is_dir() else None


def read_manifest(folder: Path) -> dict[str, dict[str, object]]:
    """What was known of each file when it came; empty for a folder that was put here by hand, or a damaged record."""
    try:
        files = read_record(folder / MANIFEST, import_record(f"{folder.parent.name}/{folder.name}")).get("files")
    except (OSError, RecordError):
        return {}
    return (
        {name: values for name, values in files.items() if isinstance(values, dict)} if isinstance(files, dict) else {}
    )


def import_record(repo: str) -> str:
    """What the manifest of a model in the store is a record of."""
    return f"import of {repo}"


def write_manifest(folder: Path, repo: str, files: dict[str, dict[str, object]]) -> None:
    """Record what is known of each file. Raises `OSError`."""
    write_record(folder / MANIFEST, import_record(repo), {"version": 1, "repo": repo, "files": files})


def stored_repos(models_dir: Path) -> list[str]:
    """Names of all repositories in the store, sorted."""
    found = []
    with contextlib.suppress(OSError):
        for owner in models_dir.iterdir():
            if not owner.name.startswith(".") and owner.is_dir():
                found += [f"{owner.name}/{entry.name}" for entry in owner.iterdir() if entry.is_dir()]
    return sorted(found)


@contextlib.contextmanager
def store_lock(models_dir: Path) -> Iterator[None]:
    """Alone in changing the store; puts right first what a killed process left between two renames."""
    import shutil
    import time

    from filelock import FileLock  # 15 ms, for changes only

    models_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(models_dir / ".lock"):
        for left in models_dir.glob(".incoming-*"):
            # An import that has not moved for a day was killed.
            if time.time() - left.stat().st_mtime > 86_400:
                shutil.rmtree(left, ignore_errors=True)
        for retired in models_dir.glob(".retired-*"):
            home = store_dir(retired.name.removeprefix(".retired-").replace("--", "/", 1), models_dir)
            if home.exists():
                shutil.rmtree(retired, ignore_errors=True)
            else:
                retired.rename(home)
        yield


def remove_from_store(reference: HubReference, models_dir: Path) -> int:
    """Take a model out (one GGUF file of several, or the whole folder); returns the bytes freed."""
    import shutil

    folder = store_dir(reference.repo, models_dir)
    with store_lock(models_dir):
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        there.discard(MANIFEST)
        if reference.file:
            names = set(split_names(reference.file))
        else:
            names = {name for name in there if not name.endswith(".gguf")}
        if there - names:
            freed = sum((folder / name).stat().st_size for name in names)
            # config.json comes before the rest in this order: without it a reader sees no model at all.
            for name in sorted(names, key=lambda name: name != "config.json"):
                (folder / name).unlink()
            known = {name: values for name, values in read_manifest(folder).items() if name not in names}
            write_manifest(folder, reference.repo, known)
            return freed
        freed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        # Out of sight first: a reader sees the whole model or none.
        gone = models_dir / f".incoming-removed-{reference.repo.replace('/', '--')}"
        folder.rename(gone)
        shutil.rmtree(gone)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()
    return freed
