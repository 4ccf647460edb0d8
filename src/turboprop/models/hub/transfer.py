"""One file from the hub to one blob of the cache: resumed, checked, and in place by one rename.

huggingface_hub 2 downloads into a temporary file of its own process and deletes it on failure, so a
broken download starts again from nothing. Here the bytes go to `blobs/<etag>.incomplete`, under the
lock that huggingface_hub takes for that blob; after a break, a kill or a power cut the next try hashes
what is there and asks for the rest. The sha256 (LFS) or Git object id (small files) runs along with the
download and must be the one that the hub's metadata gave; only then is the file renamed to `<etag>`.

Always over plain HTTP with ranges, also where the hub offers Xet: its client neither resumes nor
speaks to a plain mirror, and the hub serves every Xet file over HTTP too.
"""

from __future__ import annotations

import errno
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import Timeout
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import WeakFileLock, hf_raise_for_status  # type: ignore[attr-defined]

from turboprop.errors import DownloadError
from turboprop.models.hub.client import RETRIED_STATUS, RetryPolicy, raise_for_user, retry_after
from turboprop.models.hub.http import httpx
from turboprop.models.hub.partial import PartialFile, WrongBytesError

if TYPE_CHECKING:
    from pathlib import Path

    from turboprop.models.hub.files import RemoteFile
    from turboprop.progress import Transfers

_PROGRESS_BYTES = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoppedError(Exception):
    """The user or a failure of another file has ended this download; what arrived is kept."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What all files of one download share."""

    client: httpx.Client
    headers: dict[str, str]
    retry: RetryPolicy
    progress: Transfers
    stop: threading.Event

    def pause(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise StoppedError


def fetch_blob(transfer: Transfer, repo: str, file: RemoteFile, url: str, blob: Path, lock: Path) -> None:
    """Bring one file to `blob`; does nothing where it is already. Raises `DownloadError`."""
    blob.parent.mkdir(parents=True, exist_ok=True)
    lock.parent.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        try:
            with WeakFileLock(lock, timeout=0.3):
                if blob.exists() and blob.stat().st_size == file.size:
                    transfer.progress.advance(file.name, file.size)
                    return
                _fetch_locked(transfer, repo, file, url, blob)
                return
        except Timeout:
            if not told:
                transfer.progress.message(f"another process is downloading {file.name}; waiting for it")
                told = True
            transfer.pause(0.0)
        except OSError as error:
            raise DownloadError(_disk_message(error, file, blob)) from error


def _disk_message(error: OSError, file: RemoteFile, blob: Path) -> str:
    if error.errno in _DISK_FULL:
        return (
            f"the disk is full: {file.name} ({file.size / 1e6:,.0f} MB) does not fit into {blob.parent}; "
            "make room, or set HF_HOME to a folder on another disk, and run it again (what arrived is kept)"
        )
    return f"cannot write {blob.parent}: {error.strerror or error}; set HF_HOME to a folder that you can write"


def _fetch_locked(transfer: Transfer, repo: str, file: RemoteFile, url: str, blob: Path) -> None:
    partial = blob.with_name(blob.name + ".incomplete")
    writer = PartialFile(partial, file, transfer.progress)
    try:
        _fetch_into(writer, transfer, repo, file, url)
        writer.close()
        partial.replace(blob)
    finally:
        writer.close()


def _fetch_into(writer: PartialFile, transfer: Transfer, repo: str, file: RemoteFile, url: str) -> None:
    failures = spoiled = 0
    while True:
        before = writer.position
        asked: float | None = None
        try:
            if writer.position < file.size:
                _stream(transfer, file, url, writer)
            writer.check()
            return
        except WrongBytesError as error:
            # A wrong byte may sit in what an earlier try left, so the second try starts from nothing.
            writer.restart()
            spoiled += 1
            if spoiled > 1:
                writer.path.unlink(missing_ok=True)
                raise DownloadError(
                    f"{repo}:{file.name} came twice with the wrong bytes ({error}); a proxy or a mirror may "
                    "change it on the way: try another network, or unset HF_ENDPOINT. Nothing of it was kept"
                ) from error
            transfer.progress.message(f"{file.name} came with the wrong bytes; fetching it once more")
            continue
        except HfHubHTTPError as error:
            status = error.response.status_code
            asked = retry_after(error.response)
            if status == 416 and writer.position:
                writer.restart()
            elif (
                status not in RETRIED_STATUS
                or failures >= len(transfer.retry.waits)
                or (asked or 0.0) > transfer.retry.longest
            ):
                raise_for_user(error, repo, "", file.name)
        except httpx.HTTPError as error:
            if failures >= len(transfer.retry.waits):
                raise DownloadError(
                    f"the connection broke again and again while {repo}:{file.name} was fetched ({error}); "
                    f"{writer.position / 1e6:,.1f} of {file.size / 1e6:,.1f} MB are here and kept: run it "
                    "again to go on"
                ) from error
        # A twentieth of the file, or 1 MB, is progress; less would let a server that drips keep us for ever.
        gained = writer.position - before
        failures = 0 if gained * 20 >= file.size or gained >= _PROGRESS_BYTES else failures + 1
        if asked:
            transfer.progress.message(f"the hub asks to wait {asked:.0f} s before it goes on with {file.name}")
        transfer.pause(max(transfer.retry.waits[max(failures - 1, 0)], asked or 0.0))


def _stream(transfer: Transfer, file: RemoteFile, url: str, writer: PartialFile) -> None:
    headers = dict(transfer.headers)
    if writer.position:
        headers["range"] = f"bytes={writer.position}-"
    with transfer.client.stream(
        "GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT, follow_redirects=True
    ) as response:
        hf_raise_for_status(response)
        encoded = response.headers.get("content-encoding", "identity") != "identity"
        if response.status_code == 206:
            match = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
            if encoded or match is None or int(match[1]) != writer.position:
                raise WrongBytesError("the server sent another part of the file than it was asked for")
        elif writer.position:
            writer.restart()
        for block in response.iter_bytes() if encoded else response.iter_raw():
            if transfer.stop.is_set():
                raise StoppedError
            writer.write(block)
    if writer.position < file.size:
        raise httpx.RemoteProtocolError(f"the connection ended after {writer.position} of {file.size} bytes")
