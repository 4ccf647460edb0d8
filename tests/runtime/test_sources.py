from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from turboprop.errors import IndexNotFoundError, UsageError
from turboprop.runtime import sources
from turboprop.runtime.sources import source_lines


def test_lines_as_they_are_now(write_files: Callable[[dict[str, str]], Path]) -> None:
    root = write_files({"src/a.py": "one\n\ntwo\n"})
    assert source_lines(root, "src/a.py") == ["one", "", "two"]
    (root / "b.py").write_bytes(b"caf\xe9\r\nlast")
    assert source_lines(root, "b.py") == ["café", "last"]


def test_nothing_outside_and_nothing_that_hangs(
    write_files: Callable[[dict[str, str]], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_files({"a.py": "x = 1\n"})
    (tmp_path / "secret.py").write_text("KEY = 1\n")
    (root / "link.py").symlink_to(tmp_path / "secret.py")
    (root / "loop.py").symlink_to(root / "loop.py")
    os.mkfifo(root / "pipe.py")
    for path in (
        "link.py",
        "loop.py",
        "pipe.py",
        "../secret.py",
        str(tmp_path / "secret.py"),
        "gone.py",
        "",
        ".",
        "a\0b",
    ):
        with pytest.raises(IndexNotFoundError):
            source_lines(root, path)
    monkeypatch.setattr(sources, "MOST_BYTES", 3)
    with pytest.raises(UsageError, match="more than 3 bytes"):
        source_lines(root, "a.py")
