"""Pages of mapped files that are given up."""

from __future__ import annotations

import mmap
import sys
import threading
from pathlib import Path

import pytest

from turboprop.engines.resident import give_back_heap, give_up_pages, pages_given_up

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
SIZE = 8 << 20


def resident(path: Path) -> int:
    """Kilobytes of a mapped file that are resident."""
    name, here, total = str(path), False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.endswith((name, "]")) or "-" in line.split(" ")[0]:
            here = line.endswith(name)
        elif here and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


@pytest.fixture
def mapped(tmp_path: Path):
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        yield path, view


def test_pages_go_and_come_back(mapped: tuple[Path, mmap.mmap]) -> None:
    path, view = mapped
    before = sum(view[::4096])
    assert resident(path) > SIZE // 2048
    assert give_up_pages(path.parent) >= SIZE
    assert resident(path) < SIZE // 8192
    assert sum(view[::4096]) == before


def test_other_folders_are_left_alone(mapped: tuple[Path, mmap.mmap], tmp_path: Path) -> None:
    path, view = mapped
    sum(view[::4096])
    other = tmp_path / "weights.bin2"
    other.mkdir()
    assert give_up_pages(other) == 0
    assert resident(path) > SIZE // 2048


def test_a_mapping_that_can_be_written_keeps_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(SIZE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as view:
        view[5] = 7
        assert give_up_pages(tmp_path) == 0
        assert view[5] == 7


def test_no_thread_stays(mapped: tuple[Path, mmap.mmap]) -> None:
    path, view = mapped
    before = threading.active_count()
    with pages_given_up(path.parent):
        sum(view[::4096])
    assert resident(path) < SIZE // 8192
    with pages_given_up(None):
        pass
    assert threading.active_count() == before
    give_back_heap()
