"""Disks, clocks and permissions that change under an index: nothing is lost, and each says what to do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from turboprop import Index
from turboprop.errors import StorageError

Write = Callable[[dict[str, str]], Path]
FILES = {
    "src/bank.py": "def withdraw(amount):\n    '''Take money out of an account.'''\n    return -amount\n",
    "src/queue.py": "def enqueue(job):\n    '''Put a job at the end.'''\n    JOBS.append(job)\n",
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_an_index_on_a_read_only_disk_is_searched(disk: Path, write_files: Write) -> None:
    root = write_files(FILES)
    Index.create(root, index_dir=disk / "index").close()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    (root / "src/new.py").write_text("def fresh():\n    return 1\n")
    with Index.open(root, index_dir=disk / "index") as index:
        assert index.bring_in().left == "the index may not be written"
        assert index.search("take money out", limit=1)[0].path == "src/bank.py"
        assert index.status().stale == ("src/new.py",)
        with pytest.raises(StorageError, match="--index DIR"):
            index.update()
    done = subprocess.run(
        [sys.executable, "-m", "turboprop", "search", "put a job", "--repo", root, "--index", disk / "index"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "src/queue.py" in done.stdout
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    with Index.create(root, index_dir=disk / "index") as index:
        assert index.status().stale == ()


def test_a_clock_that_was_set_back(write_files: Write) -> None:
    root = write_files(FILES)
    Index.create(root).close()
    now, now_ns = time.time, time.time_ns
    day = 86_400
    clock = pytest.MonkeyPatch()
    clock.setattr(time, "time", lambda: now() - day)
    clock.setattr(time, "time_ns", lambda: now_ns() - day * 10**9)
    (root / "src/bank.py").write_text("def deposit(amount):\n    '''Bring money to the bank.'''\n    return amount\n")
    os.utime(root / "src/bank.py", (time.time(), time.time()))
    with Index.create(root) as index:
        assert index.summary is not None
        assert index.summary.embedded_chunks == 1
        assert index.search("deposit", limit=1)[0].symbol == "deposit"
    (root / "src/bank.py").write_text("def balance(amount):\n    '''Money that is there.'''\n    return amount\n")
    with Index.open(root) as index:
        assert index.bring_in().changed == 1
        assert index.search("balance", limit=1)[0].symbol == "balance"
        assert not index.search("deposit", limit=1, mode="lexical")
    clock.undo()
    with Index.create(root) as index:
        assert index.status().stale == ()


def test_a_file_system_without_locks(write_files: Write) -> None:
    fcntl = pytest.importorskip("fcntl")
    locks = pytest.MonkeyPatch()
    root = write_files(FILES)
    Index.create(root).close()

    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    (root / "src/new.py").write_text("def fresh():\n    return 1\n")
    locks.setattr(fcntl, "flock", refused)
    locks.setattr(fcntl, "lockf", refused)
    with Index.open(root) as index:
        assert index.search("take money out", limit=1)[0].path == "src/bank.py"
        with pytest.raises(StorageError, match=r"no file locks.*--index DIR"):
            index.update()
    locks.undo()
    with Index.create(root) as index:
        assert index.status().stale == ()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads every file")
def test_a_file_whose_permission_was_lost_keeps_its_chunks(write_files: Write) -> None:
    root = write_files(FILES)
    Index.create(root).close()
    (root / "src/bank.py").write_text("def other():\n    return 1\n")
    (root / "src/bank.py").chmod(0)
    with Index.create(root) as index:
        assert index.summary is not None
        assert index.summary.skipped == {"unreadable": 1}
        assert index.search("take money out", limit=1)[0].path == "src/bank.py"
    (root / "src/bank.py").chmod(0o600)
    with Index.create(root) as index:
        assert index.search("other", limit=1)[0].symbol == "other"


@pytest.mark.parametrize(("number", "stays"), [(errno.ENOSPC, True), (errno.EMFILE, True), (errno.EACCES, False)])
def test_a_rebuild_deletes_a_table_only_where_it_is_unusable(write_files: Write, number: int, stays: bool) -> None:
    root = write_files(FILES)
    Index.create(root).close()
    fault = pytest.MonkeyPatch()

    def failing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    fault.setattr("turboprop.index.recover.open_version", failing)
    try:
        if stays:
            with pytest.raises(StorageError):
                Index.create(root, rebuild=True)
        else:
            Index.create(root, rebuild=True).close()
    finally:
        fault.undo()
    with Index.open(root) as index:
        assert index.search("take money out", limit=1)[0].path == "src/bank.py"
