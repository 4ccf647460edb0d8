"""Processes that make chunks make those that this one makes, whatever happens to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from turboprop.code.chunk import chunk_text
from turboprop.code.chunk_pool import ChunkPool
from turboprop.code.read import SourceText

SOURCES = sorted((Path(__file__).parents[2] / "src/turboprop/code").glob("*.py"))
MAX_CHARS = 900


def texts() -> list[SourceText]:
    return [
        SourceText(path.name, "python", path.read_text(), digest="", encoding="utf-8", size=0, mtime_ns=0, inode=0)
        for path in SOURCES
    ]


@pytest.fixture
def pool() -> Iterator[ChunkPool]:
    with ChunkPool(2) as pool:
        yield pool


def processes(pool: ChunkPool) -> list[subprocess.Popen[bytes]]:
    return [worker._process for worker in pool._all if worker is not None]


def test_chunks_are_those_of_one_process_in_order(pool: ChunkPool) -> None:
    begun = [(text, pool.submit(text, MAX_CHARS)) for text in texts()]
    for text, chunks in begun:
        assert chunks() == chunk_text(text.path, text.text, text.language, max_chars=MAX_CHARS)
    assert all(process.poll() is None for process in processes(pool))


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_processes_that_are_killed_cost_no_chunk(pool: ChunkPool) -> None:
    begun = [(text, pool.submit(text, MAX_CHARS)) for text in texts()]
    for process in processes(pool):
        os.kill(process.pid, signal.SIGKILL)
    for text, chunks in begun:
        assert chunks() == chunk_text(text.path, text.text, text.language, max_chars=MAX_CHARS)


def test_without_a_python_to_start_chunks_are_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with ChunkPool(1) as pool:
        text = texts()[0]
        assert pool.submit(text, MAX_CHARS)() == chunk_text(text.path, text.text, "python", max_chars=MAX_CHARS)


def test_a_closed_pool_leaves_no_process(pool: ChunkPool) -> None:
    for text in texts():
        pool.submit(text, MAX_CHARS)
    started = processes(pool)
    pool.close()
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)
    pool.close()


def test_a_process_ends_with_the_one_that_it_serves() -> None:
    code = (
        "import sys, time; from turboprop.code.chunk_pool import ChunkPool;"
        "pool = ChunkPool(1); print(pool._all[0]._process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as served:
        assert served.stdout is not None
        worker = int(served.stdout.readline())
        served.kill()
    while _lives(worker):
        pass


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
