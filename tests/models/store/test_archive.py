"""Archives that lie, burst or point elsewhere."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import random
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from models.bounded import run_bounded
from turboprop.errors import ModelFormatError, TurboPropError
from turboprop.models.store import archive as store_archive
from turboprop.models.store.archive import unpack

UNPACK = """
from pathlib import Path
from turboprop.models.store.archive import unpack
print(unpack(Path(sys.argv[1]), Path(sys.argv[2])))
"""
limits_memory = pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "to").mkdir()
    return tmp_path / "to"


def tar_of(path: Path, *entries: tuple[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zip_of(path: Path, *entries: tuple[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, kind)
    return path


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".zip"])
def test_sound_archives(tmp_path: Path, folder: Path, suffix: str) -> None:
    entries = [("m/config.json", b"{}"), ("m/a/b.bin", bytes(range(256)) * 5000), ("m/empty", b"")]
    modes = {".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz", ".tar.bz2": "w:bz2"}
    path = tmp_path / f"m{suffix}"
    if suffix == ".zip":
        zip_of(path, *entries)
    else:
        tar_of(path, *entries, mode=modes.get(suffix, "w"))
    assert unpack(path, folder) == folder / "m"
    assert {name: (folder / name).read_bytes() for name, _ in entries} == dict(entries)


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.parametrize(
    "names", [("a", "a"), ("a", "A"), ("Straße", "STRASSE"), ("é", "e\u0301"), ("a", "a/b"), ("a/b", "a")]
)
def test_names_that_meet(tmp_path: Path, folder: Path, suffix: str, names: tuple[str, str]) -> None:
    make = zip_of if suffix == ".zip" else tar_of
    with pytest.warns(UserWarning) if suffix == ".zip" and names == ("a", "a") else contextlib.nullcontext():
        path = make(tmp_path / f"m{suffix}", *((name, b"x") for name in names))
    with pytest.raises(ModelFormatError):
        unpack(path, folder)


@limits_memory
def test_a_small_archive_of_zeros(tmp_path: Path, folder: Path) -> None:
    zeros = bytes(200 << 20)
    for path in (
        tar_of(tmp_path / "m.tar.gz", ("model.safetensors", zeros), mode="w:gz"),
        tar_of(tmp_path / "m.tar.xz", ("model.safetensors", zeros), mode="w:xz"),
        tar_of(tmp_path / "m.tar.bz2", ("model.safetensors", zeros), mode="w:bz2"),
        zip_of(tmp_path / "m.zip", ("model.safetensors", zeros)),
        zip_of(tmp_path / "n.zip", *((f"{n}", zeros[: 30 << 20]) for n in range(4))),
    ):
        printed = run_bounded(UNPACK, str(path), str(folder), megabytes=400)
        assert printed.startswith("ModelFormatError")
        assert "which no model does" in printed
        assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= 64 << 20


@limits_memory
def test_a_name_of_a_gigabyte(tmp_path: Path, folder: Path) -> None:
    """tar's long names and its further headers are read whole, whatever length they state."""
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        path = tmp_path / "m.tar.gz"
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, 1 << 30
        with gzip.open(path, "wb", 1) as stream:
            stream.write(info.tobuf(tarfile.GNU_FORMAT))
            for _ in range(1024):
                stream.write(bytes(1 << 20))
        printed = run_bounded(UNPACK, str(path), str(folder), megabytes=400)
        assert printed.startswith("ModelFormatError"), printed


@limits_memory
def test_entries_by_the_hundred_thousand(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "m.tar.gz"
    info = tarfile.TarInfo("folder")
    info.type = tarfile.DIRTYPE
    with gzip.open(path, "wb", 1) as stream:
        stream.write(info.tobuf(tarfile.GNU_FORMAT) * 300_000)
    assert "10000 entries" in run_bounded(UNPACK, str(path), str(folder), megabytes=400)
    zip_of(tmp_path / "m.zip", *((f"{n}", b"") for n in range(10_001)))
    assert "10000 entries" in run_bounded(UNPACK, str(tmp_path / "m.zip"), str(folder), megabytes=400)
    assert not any(folder.iterdir())


def test_a_sparse_file(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "m.tar"
    info = tarfile.TarInfo("model.safetensors")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:398] = b"%011o\0" % 0
    header[483:495] = b"%011o\0" % (1 << 32)
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(bytes(header) + bytes(10_240))
    with pytest.raises(ModelFormatError, match="special file"):
        unpack(path, folder)


def test_an_encrypted_zip(tmp_path: Path, folder: Path) -> None:
    path = zip_of(tmp_path / "m.zip", ("config.json", b"{}"))
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + at] |= 1
    path.write_bytes(data)
    with pytest.raises(ModelFormatError, match="encrypted"):
        unpack(path, folder)


def test_a_zip_packed_in_a_way_that_is_not_known(tmp_path: Path, folder: Path) -> None:
    path = zip_of(tmp_path / "m.zip", ("config.json", b"{}"))
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        struct.pack_into("<H", data, data.index(signature) + at, 93)
    path.write_bytes(data)
    with pytest.raises(ModelFormatError):
        unpack(path, folder)


def test_a_list_of_names_without_end(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "m.zip"
    size = 1 << 28
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, size, 0, 0))
    with pytest.raises(ModelFormatError, match="list of names"):
        unpack(path, folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_as_an_archive(tmp_path: Path, folder: Path) -> None:
    for name in ("m.tar", "m.zip", "m.tar.gz"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(ModelFormatError, match="regular file"):
            unpack(tmp_path / name, folder)


@pytest.mark.skipif(sys.platform == "win32", reason="names are not bytes there")
def test_a_name_that_is_no_text(tmp_path: Path, folder: Path) -> None:
    path = tar_of(tmp_path / "m.tar", ("a\udcff", b"x"))
    with pytest.raises(ModelFormatError, match="no UTF-8"):
        unpack(path, folder)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz", ".tar.bz2", ".zip"])
def test_damaged_archives(tmp_path: Path, suffix: str) -> None:
    """Whatever the bytes are, a typed error or files inside of the folder."""
    modes = {".tar.gz": "w:gz", ".tar.xz": "w:xz", ".tar.bz2": "w:bz2"}
    path = tmp_path / f"m{suffix}"
    entries = [("config.json", b'{"a": 1}' * 50), ("a/model.safetensors", random.Random(0).randbytes(3000))]
    if suffix == ".zip":
        zip_of(path, *entries)
    else:
        tar_of(path, *entries, mode=modes.get(suffix, "w"))
    sound, chance = path.read_bytes(), random.Random(suffix)
    for number in range(300):
        data = bytearray(sound)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(data))
            if chance.random() < 0.15:
                del data[place:]
                break
            data[place : place + 4] = chance.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"../."])
        path.write_bytes(data)
        folder = tmp_path / f"to-{number}" / "inner"
        folder.mkdir(parents=True)
        with contextlib.suppress(TurboPropError):
            unpack(path, folder)
        assert [entry.name for entry in folder.parent.iterdir()] == ["inner"]
        assert not any(entry.is_symlink() for entry in folder.rglob("*"))


def test_more_than_the_disk_has(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar_of(tmp_path / "m.tar", ("a", bytes(1000)), ("b", bytes(1000)))
    usage = store_archive.shutil.disk_usage(folder)
    monkeypatch.setattr(store_archive.shutil, "disk_usage", lambda _: usage._replace(free=1500))
    with pytest.raises(ModelFormatError, match="room"):
        unpack(path, folder)
