"""Unpacking a model that was brought in one archive (.tar, .tar.gz, .tar.xz, .zip), trusting none of it."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING

from turboprop.errors import ModelFormatError
from turboprop.files import NotRegularFileError, open_regular
from turboprop.models.catalog import safe_member

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")
# A model's repository has some dozens of files; an archive with more entries than this is not one.
_MAX_MEMBERS = 10_000
_MAX_TIMES = 50
"""Times its own size that an archive may unpack to: weights shrink to 0.9 and JSON to 0.2, zeros to 0.001."""
_ANYWAY = 64 << 20
"""Bytes that any archive may unpack to."""
_MAX_READ = 4 << 20
"""Bytes that are read at once: an archive's list of 10,000 names, or a name of tar's, which may state any length."""
_BLOCK = 1 << 20


class _RefusedError(Exception):
    """What is wrong with the archive, as the end of a sentence that begins with its name."""


def is_archive(path: Path) -> bool:
    return path.name.endswith(SUFFIXES)


def unpack(path: Path, folder: Path) -> Path:
    """Unpack into an empty folder; returns it, or the one folder at the top of the archive.

    Only regular files come out. A link, a device, a name that leaves the folder, two names that are one where case
    does not count, more bytes than the disk has free or than an archive of this size holds: `ModelFormatError`, and
    the caller throws the folder away.
    """
    try:
        with open_regular(path, follow=True) as file:
            _unpack(file, path, folder)
    except _RefusedError as error:
        raise ModelFormatError(f"{path} {error}; refused") from None
    except NotRegularFileError:
        raise ModelFormatError(f"{path} is no regular file; give the archive itself") from None
    except (
        *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError),
        *(NotImplementedError, RuntimeError, ValueError, OverflowError),
    ) as error:
        # The modules for gzip and bzip2 raise an OSError without a number for damaged bytes.
        if isinstance(error, OSError) and error.errno not in (None, errno.EEXIST, errno.ENOTDIR):
            raise
        raise ModelFormatError(f"{path} is damaged or no archive ({error}); bring it again") from error
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _unpack(file: IO[bytes], path: Path, folder: Path) -> None:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    most = max(_ANYWAY, _MAX_TIMES * size)
    free = shutil.disk_usage(folder).free
    left = most
    taken: set[str] = set()
    members = _zip_members(file) if path.suffix == ".zip" else _tar_members(file, path, most)
    for name, length, source in members:
        left -= length
        if most - left > free:
            raise _RefusedError("unpacks to more than the disk has room for")
        if left < 0:
            raise _RefusedError(f"({size} bytes) unpacks to more than {most} bytes, which no model does")
        if (one := unicodedata.normalize("NFC", name).casefold()) in taken:
            raise _RefusedError(f"holds {name!r} twice, or a name that differs by case alone")
        taken.add(one)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with source, target.open("xb") as out:
            _copy_exactly(source, out, length)


def _copy_exactly(source: IO[bytes], out: IO[bytes], size: int) -> None:
    left = size
    while block := source.read(min(_BLOCK, left + 1)):
        left -= len(block)
        if left < 0:
            raise _RefusedError("holds a file that is larger than it says")
        out.write(block)
    if left:
        raise EOFError("a file of it ends early")


def _checked(name: str, regular: bool) -> str:
    name = name.removeprefix("./")
    if not regular:
        raise _RefusedError(f"holds {name!r}, a link or a special file (pack it with links followed: tar -h)")
    if not safe_member(name):
        raise _RefusedError(f"holds {name!r}, which would leave the folder")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise _RefusedError(f"holds {name!r}, which is no UTF-8") from None
    return name


class _Bounded(io.RawIOBase):
    """What an archive is read through: no more at once, nor in all, than it may take."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file = file
        self._most = most

    def read(self, size: int | None = -1) -> bytes:
        wanted = _MAX_READ + 1 if size is None or size < 0 else size
        if wanted <= _MAX_READ:
            self._check(self._file.tell() + wanted)
        data = self._file.read(min(wanted, _MAX_READ + 1))
        if len(data) > _MAX_READ:
            raise _RefusedError(f"has a name or a list of names of more than {_MAX_READ} bytes")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET:
            self._check(offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def _check(self, place: int) -> None:
        if place > self._most:
            raise _RefusedError(f"unpacks to more than {self._most} bytes, which no model does")


def _tar_members(file: IO[bytes], path: Path, most: int) -> Iterator[tuple[str, int, IO[bytes]]]:
    opened: IO[bytes] = file
    if path.name.endswith((".gz", ".tgz")):
        opened = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]
    elif path.name.endswith(".xz"):
        opened = lzma.LZMAFile(file)  # noqa: SIM115  the caller closes the file
    elif path.name.endswith(".bz2"):
        opened = bz2.BZ2File(file)
    # Headers take 512 bytes an entry, and the end of the archive is filled up.
    bounded = _Bounded(opened, most + 4096 * _MAX_MEMBERS)
    with tarfile.open(fileobj=bounded, mode="r:") as archive:
        for count, member in enumerate(archive):
            if count >= _MAX_MEMBERS:
                raise _RefusedError(f"has more than {_MAX_MEMBERS} entries")
            if member.isdir():
                continue
            name = _checked(member.name, member.isreg() and not member.issparse())
            source = archive.extractfile(member)
            assert source is not None  # of a regular file
            yield name, member.size, source


def _zip_members(file: IO[bytes]) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(_Bounded(file, 1 << 62)) as archive:
        members = archive.infolist()
        if len(members) > _MAX_MEMBERS:
            raise _RefusedError(f"has more than {_MAX_MEMBERS} entries")
        for member in members:
            if member.is_dir():
                continue
            if member.flag_bits & 1:
                raise _RefusedError(f"holds {member.filename!r}, which is encrypted (pack it without a password)")
            mode = member.external_attr >> 16
            name = _checked(member.filename, not mode or stat.S_ISREG(mode) or not stat.S_IFMT(mode))
            yield name, member.file_size, archive.open(member)
