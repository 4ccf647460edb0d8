"""Unpacking a model that was brought in one archive (.tar, .tar.gz, .tar.xz, .zip), trusting none of it."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from turboprop.errors import ModelFormatError
from turboprop.models.catalog import safe_member

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip")
# A model's repository has some dozens of files; an archive with more than this is not one.
_MAX_MEMBERS = 10_000


def is_archive(path: Path) -> bool:
    return path.name.endswith(SUFFIXES)


def unpack(path: Path, folder: Path) -> Path:
    """Unpack into an empty folder; returns it, or the one folder at the top of the archive.

    Only regular files come out. A link, a device, a name that leaves the folder, more bytes than the disk
    has free: `ModelFormatError`, and the caller throws the folder away.
    """
    try:
        members = _zip_members(path) if path.suffix == ".zip" else _tar_members(path)
        room = shutil.disk_usage(folder).free
        for count, (name, size, source) in enumerate(members):
            room -= size
            if count >= _MAX_MEMBERS or room < 0:
                raise ModelFormatError(f"{path} unpacks to more than the disk has room for; refused")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("xb") as out:
                _copy_exactly(source, out, size, path)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, FileExistsError, NotADirectoryError) as error:
        raise ModelFormatError(f"{path} is damaged or no archive ({error}); bring it again") from error
    entries = list(folder.iterdir())
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder


def _copy_exactly(source: IO[bytes], out: IO[bytes], size: int, path: Path) -> None:
    left = size
    while block := source.read(min(1 << 20, left + 1)):
        left -= len(block)
        if left < 0:
            raise ModelFormatError(f"{path} holds a file that is larger than it says; refused")
        out.write(block)


def _checked(path: Path, name: str, regular: bool) -> str:
    name = name.removeprefix("./")
    if not regular:
        raise ModelFormatError(
            f"{path} holds {name!r}, a link or a special file; refused (pack it with links followed: tar -h)"
        )
    if not safe_member(name):
        raise ModelFormatError(f"{path} holds {name!r}, which would leave the folder; refused")
    return name


def _tar_members(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            if member.isdir():
                continue
            name = _checked(path, member.name, member.isreg())
            source = archive.extractfile(member)
            if source is not None:
                yield name, member.size, source


def _zip_members(path: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.is_dir():
                continue
            mode = member.external_attr >> 16
            name = _checked(path, member.filename, not mode or stat.S_ISREG(mode) or not stat.S_IFMT(mode))
            yield name, member.file_size, archive.open(member)
