"""The files of a table are what was written, told by a sample at once and by reading them all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.errors import IndexUntrustedError
from turboprop.index.integrity import BLOCK_BYTES, check_regular, find_damage, measure, sample_damage

SIZES = [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 5]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for number, size in enumerate(SIZES):
        (tmp_path / "data" / str(number)).write_bytes(os.urandom(size))
    return tmp_path


NAMES = [f"data/{number}" for number in range(len(SIZES))]


def test_what_was_written_is_sound(folder: Path) -> None:
    files = measure(folder, NAMES, {})
    assert [file.size for file in files.values()] == SIZES
    assert list(find_damage(folder, files)) == []
    assert sample_damage(folder, files) == ""


def test_a_known_file_is_not_read_again(folder: Path) -> None:
    files = measure(folder, NAMES, {})
    (folder / "data" / "1").unlink()
    assert measure(folder, NAMES, files) == files


@given(st.data())
def test_any_change_of_a_byte_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("files")
    content = bytearray(os.urandom(data.draw(st.integers(1, 2 * BLOCK_BYTES))))
    (folder / "x").write_bytes(content)
    files = measure(folder, ["x"], {})
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / "x").write_bytes(content)
    assert len(list(find_damage(folder, files))) == 1


@pytest.mark.parametrize("change", ["longer", "shorter", "gone", "last block", "folder", "link", "pipe"])
def test_a_sample_sees_it_too(folder: Path, change: str) -> None:
    files = measure(folder, NAMES, {})
    file = folder / "data" / "5"
    content = bytearray(file.read_bytes())
    if change == "last block":
        content[-1] ^= 1
    file.unlink()
    if change == "folder":
        file.mkdir()
    elif change == "link":
        (folder / "elsewhere").write_bytes(content)
        file.symlink_to(folder / "elsewhere")
    elif change == "pipe":
        os.mkfifo(file)
    elif change != "gone":
        file.write_bytes({"longer": content + b"x", "shorter": content[:-1]}.get(change, content))
    assert "data/5" in sample_damage(folder, files)
    assert len(list(find_damage(folder, files))) == 1


def test_the_middle_is_sampled_in_the_long_run(folder: Path) -> None:
    files = measure(folder, NAMES, {})
    file = folder / "data" / "5"
    content = bytearray(file.read_bytes())
    content[0] ^= 1
    file.write_bytes(content)
    assert any(sample_damage(folder, files) for _ in range(200))  # one of four blocks at a time: missed by 1e-25


def test_links_and_pipes_below_a_folder_are_refused(folder: Path) -> None:
    check_regular(folder)
    check_regular(folder / "nothing here")
    (folder / "data" / "deep").mkdir()
    (folder / "data" / "deep" / "link").symlink_to("/etc/passwd")
    with pytest.raises(IndexUntrustedError, match="link"):
        check_regular(folder)
    (folder / "data" / "deep" / "link").unlink()
    (folder / "way").symlink_to(folder / "data")
    with pytest.raises(IndexUntrustedError, match="way"):
        check_regular(folder)
    with pytest.raises(IndexUntrustedError, match="way"):
        check_regular(folder / "way")
