"""What a caller may read of a repository: its files as they are now, and nothing else."""

from __future__ import annotations

import codecs
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.code import inside
from turboprop.code.inside import is_inside, lines_inside, read_inside
from turboprop.errors import IndexNotFoundError, UsageError

Write = Callable[[dict[str, str]], Path]


def test_lines_as_they_are_now(write_files: Write) -> None:
    root = write_files({"src/a.py": "one\n\ntwo\n"})
    assert lines_inside(root, "src/a.py") == ["one", "", "two"]
    (root / "b.py").write_bytes(b"caf\xe9\r\nlast")
    assert lines_inside(root, "b.py") == ["café", "last"]


@pytest.mark.parametrize(
    ("mark", "codec"),
    [
        (b"", "utf-8"),
        (b"", "cp1252"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_every_encoding_that_is_indexed(write_files: Write, mark: bytes, codec: str) -> None:
    root = write_files({"other.py": ""})
    (root / "a.py").write_bytes(mark + "größe = 1\r\nende = 2\r\n".encode(codec))
    assert read_inside(root, "a.py") == "größe = 1\nende = 2\n"


def test_nothing_outside_and_nothing_that_hangs(
    write_files: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_files({"a.py": "x = 1\n", "src/b.py": "y = 2\n", ".env": "KEY = 1\n"})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text("KEY = 1\n")
    (root / "link.py").symlink_to(outside / "secret.py")
    (root / "hidden.py").symlink_to(".env")  # inside, but not what was indexed
    (root / "folder").symlink_to(outside)
    (root / "endless.py").symlink_to("/dev/zero")
    (root / "process.py").symlink_to("/proc/self/environ")
    (root / "loop.py").symlink_to(root / "loop.py")
    os.mkfifo(root / "pipe.py")
    monkeypatch.chdir(root)  # the name of a socket may have 100 bytes
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.py")
        for path in (
            *("link.py", "hidden.py", "folder/secret.py", "endless.py", "process.py", "loop.py", "pipe.py"),
            *("socket.py", "../outside/secret.py", "src/../../outside/secret.py", "src/../a.py", "./a.py", "/a.py"),
            *(str(outside / "secret.py"), f"{root}/a.py", "src//b.py", "src", "src/", "a.py/", "gone.py", "gone/a.py"),
            *("", ".", "..", "/", "a\0b", "\udce9.py", "\ud800.py", "a" * 5_000, "a/" * 5_000),
        ):
            with pytest.raises(IndexNotFoundError):
                read_inside(root, path)
            assert not is_inside(root, path), path
    assert read_inside(root, "src/b.py") == "y = 2\n"
    assert is_inside(root, "src/b.py")
    monkeypatch.setattr(inside, "MOST_BYTES", 3)
    with pytest.raises(UsageError, match="more than 3 bytes"):
        read_inside(root, "a.py")


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b.py", "link", "\0", "~", "\\"]), max_size=6))
def test_no_path_leaves_the_repository(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    top = tmp_path_factory.mktemp("paths")
    root = top / "r"
    (root / "a" / "a").mkdir(parents=True)
    for folder in (top, root, root / "a", root / "a" / "a"):
        (folder / "b.py").write_text("in" if folder != top else "out")
    (root / "link").symlink_to(top)
    try:
        assert read_inside(root, "/".join(parts)) == "in"
    except IndexNotFoundError:
        assert "/".join(parts) not in ("b.py", "a/b.py", "a/a/b.py")


def test_a_folder_that_becomes_a_link_meanwhile(write_files: Write, tmp_path: Path) -> None:
    root = write_files({"src/a.py": "inside\n"})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.py").write_text("outside\n")
    (root / "link").symlink_to(outside)
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            for one, other in (("src", "kept"), ("link", "src"), ("src", "link"), ("kept", "src")):
                os.rename(root / one, root / other)

    changing = threading.Thread(target=change)
    changing.start()
    read = set()
    try:
        for _ in range(3_000):
            try:
                read.add(read_inside(root, "src/a.py"))
            except IndexNotFoundError:
                read.add("refused")
    finally:
        done.set()
        changing.join()
    assert read <= {"inside\n", "refused"}
