"""Downloading a model from the hub into the Hugging Face cache that its other users share.

A download asks what the repository holds, chooses what a loader needs, checks the disk, fetches the
files in parallel (each resumed and checked, see `hub_transfer`) and makes them visible at the end: links
in `snapshots/<commit>/`, then `refs/<revision>`. Until then no reader sees any of it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import constants

from turboprop.errors import DownloadError, ModelFormatError, ModelNotFoundError
from turboprop.files import replace_file
from turboprop.models.hub.cache import download_record, hub_cache_dir, record_file, repo_dir
from turboprop.models.hub.client import (
    RetryPolicy,
    UnreachableError,
    complete_file,
    endpoint,
    file_url,
    list_repository,
    prepare_session,
    request_headers,
)
from turboprop.models.hub.files import RemoteFile, choose_files
from turboprop.models.hub.missing import not_here_message
from turboprop.models.hub.transfer import StoppedError, Transfer, fetch_blob
from turboprop.models.store.contents import missing_files
from turboprop.progress import Transfers
from turboprop.settings.records import RecordError, read_record, write_record

if TYPE_CHECKING:
    from turboprop.models.hub.client import Listing
    from turboprop.models.naming import HubReference
    from turboprop.progress import DownloadProgress
    from turboprop.settings import Settings

# Four files at once hide the latency of the small ones; a large one fills the line by itself.
_PARALLEL = 4
# Room that must be left on the disk afterwards: below it other programs start to fail.
_SPARE_BYTES = 64 << 20


def download_model(
    reference: HubReference,
    settings: Settings,
    *,
    progress: DownloadProgress | None = None,
    retry: RetryPolicy | None = None,
) -> Path:
    """Fetch a model and return its folder, or its GGUF file (the first part of a split).

    Raises `ModelNotFoundError` (no such model or file; offline; no route: then with the ways to bring it
    by hand), `ModelUnsupportedError`, `ModelFormatError` and `DownloadError`. After any of them, and
    after Ctrl-C, what had arrived stays as `*.incomplete` for the next try and nothing else is visible.
    """
    told = Transfers(progress)
    retry = retry or RetryPolicy()
    if settings.offline or constants.HF_HUB_OFFLINE:
        raise ModelNotFoundError(not_here_message(reference, settings.models_dir, "offline mode is on"))
    try:
        listing = list_repository(reference.repo, reference.revision, retry, told.message)
        files = _files_to_fetch(reference, listing, retry, told)
        _check_pins(reference, files)
        _check_disk(reference.repo, files)
        _fetch_all(reference.repo, listing.commit, files, retry, told)
    except UnreachableError as error:
        raise ModelNotFoundError(not_here_message(reference, settings.models_dir, str(error))) from error
    finally:
        told.finish()
    snapshot = _place(reference, listing.commit, files)
    _record(reference, listing.commit, files, settings.models_dir)
    ggufs = [file.name for file in files if file.name.endswith(".gguf")]
    return snapshot / ggufs[0] if ggufs else snapshot


def _files_to_fetch(
    reference: HubReference, listing: Listing, retry: RetryPolicy, progress: Transfers
) -> list[RemoteFile]:
    if listing.repo and listing.repo.casefold() != reference.repo.casefold():
        progress.message(f"{reference.repo} is called {listing.repo} now")
    by_name = {file if isinstance(file, str) else file.name: file for file in listing.files}
    chosen = choose_files(reference.repo, list(by_name), reference.file)
    return [complete_file(reference.repo, listing.commit, by_name[name], retry, progress.message) for name in chosen]


def _check_pins(reference: HubReference, files: list[RemoteFile]) -> None:
    pins = reference.row.sha256 if reference.row else {}
    for file in files:
        if file.name in pins and file.sha256 != pins[file.name]:
            raise DownloadError(
                f"{reference.repo}:{file.name} on {endpoint()} has sha256 {file.etag}, but this "
                f"catalogue knows {pins[file.name]}: it was replaced there, or HF_ENDPOINT serves another "
                "file. Nothing was downloaded; bring the right files with `tp model import PATH`"
            )


def _blob(repo: str, file: RemoteFile) -> Path:
    return repo_dir(repo) / "blobs" / file.etag


def _check_disk(repo: str, files: list[RemoteFile]) -> None:
    need = 0
    for file in {file.etag: file for file in files}.values():
        blob = _blob(repo, file)
        if not blob.exists():
            partial = blob.with_name(blob.name + ".incomplete")
            need += file.size - min(file.size, partial.stat().st_size if partial.exists() else 0)
    cache = hub_cache_dir()
    if need > constants.MAX_HTTP_DOWNLOAD_SIZE:
        largest = max(file.size for file in files)
        if largest > constants.MAX_HTTP_DOWNLOAD_SIZE:
            raise DownloadError(
                f"{repo} has a file of {largest / 1e9:,.0f} GB; the hub serves files over 50 GB only through "
                f"its own tool: run `hf download {repo}` (same cache), then try again"
            )
    try:
        cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cache).free
    except OSError as error:
        raise DownloadError(
            f"cannot write the model cache {cache} ({error.strerror}); set HF_HOME to a folder you can write"
        ) from error
    if need + _SPARE_BYTES > free:
        raise DownloadError(
            f"{repo} needs {need / 1e9:,.2f} GB more, but {cache} has {free / 1e9:,.2f} GB free; make room "
            "(`tp model du` shows what models take), or set HF_HOME to a folder on another disk"
        )


def _fetch_all(repo: str, commit: str, files: list[RemoteFile], retry: RetryPolicy, progress: Transfers) -> None:
    """Fetch every distinct blob; the first failure stops the others and is raised.

    The threads are daemons and waited for with a timeout, so that Ctrl-C ends within a second even when a
    server is silent: an executor would be joined at exit until every socket has timed out.
    """
    distinct = {file.etag: file for file in files}
    progress.start({file.name: file.size for file in distinct.values()})
    transfer = Transfer(prepare_session(), request_headers(), retry, progress, threading.Event())
    waiting = queue.SimpleQueue[RemoteFile]()
    for file in sorted(distinct.values(), key=lambda file: -file.size):
        waiting.put(file)
    failures: list[BaseException] = []
    locks = hub_cache_dir() / ".locks" / repo_dir(repo).name

    def work() -> None:
        while not transfer.stop.is_set():
            try:
                file = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                lock = locks / f"{file.etag}.lock"
                fetch_blob(transfer, repo, file, file_url(repo, commit, file.name), _blob(repo, file), lock)
            except StoppedError:
                return
            except BaseException as error:  # handed to the caller's thread below
                failures.append(error)
                transfer.stop.set()

    threads = [
        threading.Thread(target=work, daemon=True, name=f"download-{number}")
        for number in range(min(_PARALLEL, len(distinct)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
                if failures:
                    break
    finally:
        transfer.stop.set()
        deadline = time.monotonic() + 1.0
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
    if failures:
        raise failures[0]


def _place(reference: HubReference, commit: str, files: list[RemoteFile]) -> Path:
    """Link the blobs into the snapshot under their names and point the revision at it."""
    root = repo_dir(reference.repo)
    snapshot = root / "snapshots" / commit
    placed = []
    for file in files:
        pointer = snapshot / file.name
        if not pointer.exists():
            _link(_blob(reference.repo, file), pointer)
            placed.append(pointer)
    try:
        weights = [file.name for file in files if file.name.endswith(".gguf")]
        missing = [] if weights else missing_files(snapshot)
        if missing:
            raise ModelFormatError(f"{reference.repo} lacks {', '.join(missing)}, so it cannot be loaded")
    except ModelFormatError:
        for pointer in placed:
            pointer.unlink(missing_ok=True)
        raise
    if reference.revision != commit:
        ref = root / "refs" / reference.revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        replace_file(ref, commit.encode())
    return snapshot


def _link(blob: Path, pointer: Path) -> None:
    """A relative symbolic link as huggingface_hub makes it; where there are none, a hard link or a copy."""
    pointer.parent.mkdir(parents=True, exist_ok=True)
    temporary = pointer.with_name(f".{uuid.uuid4().hex}")
    try:
        if constants.HF_HUB_DISABLE_SYMLINKS:
            raise OSError
        temporary.symlink_to(os.path.relpath(blob, pointer.parent))
    except OSError:
        try:
            temporary.hardlink_to(blob)
        except OSError:
            shutil.copyfile(blob, temporary)
    temporary.replace(pointer)


def _record(reference: HubReference, commit: str, files: list[RemoteFile], models_dir: Path) -> None:
    """Write down what the hub's metadata said, for `tp model verify` on systems without links."""
    record = record_file(reference.repo, models_dir)
    known: dict[str, object] = {}
    with contextlib.suppress(OSError, RecordError):
        before = read_record(record, download_record(reference.repo))
        if before.get("commit") == commit and isinstance(before.get("files"), dict):
            known = before["files"]
    known.update({file.name: {"size": file.size, "etag": file.etag} for file in files})
    # A store that cannot be written loses the record only: the cache's own blob names remain.
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        values = {"repo": reference.repo, "revision": reference.revision, "commit": commit, "files": known}
        write_record(record, download_record(reference.repo), values)
