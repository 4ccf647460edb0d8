"""How readers keep the version that they opened: a shared lock on its manifest, no file of their own.

A reader locks the file in which Lance describes its version, which needs no right to write, and the
operating system drops the lock when the reader ends, however it ends. The writer deletes a version only
while it holds the same lock alone. No one waits: a reader that cannot have the lock reads again which
version counts, as the one that counts is never locked alone.

Where the system has no such locks (Windows, some network file systems), `fcntl` is missing or refuses,
readers hold nothing and the writer keeps old versions for a time instead. So it does on every file system that
machines share: one that is mounted without locks grants them all the same, and another machine's readers are not seen.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from turboprop.files import open_regular

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LATEST = 2**64 - 1
"""Lance names the file of version n by this minus n, so that a listing begins with the newest."""

_END = b"LANC"
# A pipe in the file's place is not waited for, a link is not followed.
_CAREFUL = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
_TAKEN = {errno.EAGAIN, errno.EACCES}
_MOUNTS = Path("/proc/self/mountinfo")
_SHARED = re.compile(
    r"nfs\d*|cifs|smb\w*|9p|virtiofs|vboxsf|ceph|lustre|gpfs|afs|beegfs|ocfs2|gfs2"
    r"|fuse\.(sshfs|glusterfs|ceph\S*|vmhgfs-fuse|s3fs|rclone|mergerfs)"
)
"""Types of file systems that several machines can have mounted."""


class VersionGoneError(Exception):
    """The version was removed, or is being removed: another one counts now."""


def version_file(folder: Path, version: int) -> Path:
    """The file in which Lance describes one version of the table in `folder`."""
    return folder / "_versions" / f"{LATEST - version:020}.manifest"


def is_whole(folder: Path, version: int) -> bool:
    """Whether the file of a version is there to its end, which Lance marks."""
    try:
        with open_regular(version_file(folder, version)) as file:
            file.seek(-len(_END), os.SEEK_END)
            return file.read() == _END
    except OSError:
        return False


class Lease:
    """A version that stays until `close`, or until the process ends."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path, version: int) -> Self:
        """Hold a version before it is opened. Raises `VersionGoneError`."""
        try:
            descriptor = os.open(version_file(folder, version), os.O_RDONLY | _CAREFUL)
        except FileNotFoundError:
            raise VersionGoneError from None
        except OSError:
            return cls(None)  # opening the table will say what is wrong
        try:
            if fcntl is None:
                raise OSError(errno.ENOSYS, "no locks")
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in _TAKEN:
                raise VersionGoneError from None
            return cls(None)
        # Between opening and locking the writer may have removed the name: then the file has none left.
        if os.fstat(descriptor).st_nlink == 0:
            os.close(descriptor)
            raise VersionGoneError
        return cls(descriptor)

    def close(self) -> None:
        """Let the version go; a second call does nothing."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def unheld(folder: Path, versions: Iterable[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Those versions that no reader holds, and those of which the system cannot tell.

    While the context lasts no reader can take the first ones, so they may be removed inside of it.
    """
    free: list[int] = []
    unknown: list[int] = []
    shared = is_shared(folder)
    with contextlib.ExitStack() as stack:
        for version in versions:
            try:
                # For writing, because locks over NFS ask for it.
                descriptor = os.open(version_file(folder, version), os.O_RDWR | _CAREFUL)
            except OSError:
                unknown.append(version)
                continue
            stack.callback(os.close, descriptor)
            try:
                if fcntl is None:
                    raise OSError(errno.ENOSYS, "no locks")
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _TAKEN:
                    unknown.append(version)
                continue
            (unknown if shared else free).append(version)
        yield free, unknown


def is_shared(folder: Path) -> bool:
    """Whether other machines can have the folder's file system too; False where the system does not tell."""
    try:
        device = folder.stat().st_dev
        wanted = f"{os.major(device)}:{os.minor(device)}"
        for line in _MOUNTS.read_text("utf-8", "replace").splitlines():
            # 36 35 98:0 /root /mount/point options optional fields - type source options
            before, _, after = line.partition(" - ")
            if before.split(" ")[2:3] == [wanted]:
                return _SHARED.fullmatch(after.split(" ")[0]) is not None
    except (OSError, AttributeError):
        pass
    return False
