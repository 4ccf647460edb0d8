"""The Hugging Face cache of this machine, read without its library and without the network.

Layout: `models--owner--name/refs/<revision>` holds a commit; `snapshots/<commit>/` holds the files of
that commit, symbolic links to `blobs/<etag>` where the system has them; a blob's name is the sha256 of
its bytes for large files (LFS) and the Git object id for small ones. Importing `huggingface_hub` costs
0.3 s; these few lookups cost 0.1 ms.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.files import open_regular
from turboprop.models.store.contents import find_in_folder

if TYPE_CHECKING:
    from turboprop.models.naming import HubReference

SHA256_NAME = re.compile(r"[0-9a-f]{64}")
_LONGEST_REF = 256


def _expanded(value: str) -> Path:
    return Path(os.path.expandvars(value)).expanduser()


def hub_home() -> Path:
    """`HF_HOME`, else `$XDG_CACHE_HOME/huggingface`, as huggingface_hub decides it."""
    if value := os.environ.get("HF_HOME"):
        return _expanded(value)
    return _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"


def hub_cache_dir() -> Path:
    """Where huggingface_hub keeps repositories: `HF_HUB_CACHE`, else under `HF_HOME`."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := os.environ.get(variable):
            return _expanded(value)
    return hub_home() / "hub"


def repo_dir(repo: str, cache: Path | None = None) -> Path:
    """The folder of `owner/name` in the cache; it need not exist."""
    return (cache or hub_cache_dir()) / ("models--" + repo.replace("/", "--"))


def snapshots(repo: str, revision: str) -> list[Path]:
    """The snapshot of `revision` first, then the others, newest first."""
    root = repo_dir(repo) / "snapshots"
    try:
        folders = [entry for entry in root.iterdir() if entry.is_dir()]
    except OSError:
        return []
    folders.sort(key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
    try:
        with open_regular(repo_dir(repo) / "refs" / revision, follow=True) as file:
            commit = file.read(_LONGEST_REF).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        commit = revision
    folders.sort(key=lambda folder: folder.name != commit)
    if revision != "main":  # a pinned revision is that one or nothing
        folders = [folder for folder in folders if folder.name == commit]
    return folders


def find_in_hub_cache(reference: HubReference) -> Path | None:
    """A whole model of that name: its folder, or its GGUF file (the first part of a split)."""
    for snapshot in snapshots(reference.repo, reference.revision):
        if (path := find_in_folder(snapshot, reference.repo, reference.file)) is not None:
            return path
    return None


def blob_sha256(path: Path) -> str | None:
    """The sha256 that the cache recorded for one file of a snapshot; None where it recorded none."""
    try:
        target = path.readlink()
    except OSError:
        return None
    return target.name if SHA256_NAME.fullmatch(target.name) else None


def record_file(repo: str, models_dir: Path) -> Path:
    """Where a download of ours writes down the commit, sizes and hashes that the hub's metadata gave."""
    return models_dir / ".hub" / f"{repo.replace('/', '--')}.json"


def download_record(repo: str) -> str:
    """What that file is a record of."""
    return f"download of {repo}"
