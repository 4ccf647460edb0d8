"""What is wrong with the records of models: remembered hashes, what was known of a file when it came, downloads."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from turboprop.models.hub.cache import download_record, repo_dir
from turboprop.models.inventory import cached_repos
from turboprop.models.store.folder import MANIFEST, import_record, store_dir, stored_repos
from turboprop.models.store.hashes import MEMORY, MEMORY_FILE
from turboprop.settings.records import examine_leftovers, examine_record
from turboprop.types import CacheFault

if TYPE_CHECKING:
    from turboprop.settings import Settings


def examine_models(settings: Settings) -> list[CacheFault]:
    """Each fault goes when its path is removed: a hash is taken again, and what was known of a file is unknown.

    The models themselves are looked at by `store_verify`.
    """
    unknown = "tp model verify cannot tell whether the files are right"
    records = settings.models_dir / ".hub"
    faults = examine_record(settings.cache_home / MEMORY_FILE, MEMORY, "models are hashed at each start")
    with contextlib.suppress(OSError):
        for path in sorted(records.glob("*.json")):
            faults += examine_record(path, download_record(path.stem.replace("--", "/", 1)), unknown)
    for repo in stored_repos(settings.models_dir):
        faults += examine_record(store_dir(repo, settings.models_dir) / MANIFEST, import_record(repo), unknown)
    faults += examine_leftovers(records)
    for repo in cached_repos():
        with contextlib.suppress(OSError):
            for path in sorted((repo_dir(repo) / "blobs").glob("*.incomplete")):
                if path.is_symlink() or not path.is_file():
                    faults.append(CacheFault("download", f"{path.name} of {repo} is no file", path))
    return faults
