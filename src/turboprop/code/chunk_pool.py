"""Chunks made by processes beside this one.

A parser holds Python's lock for as long as it parses, so threads would take turns. A process of its own costs 0.4 s of
work and 60 MB, which pays for texts of `WORTH_BYTES` and more.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

import turboprop
from turboprop.closing import Closing
from turboprop.code.chunk import chunk_text
from turboprop.code.read import SourceText
from turboprop.types import Chunk

WORTH_BYTES = 2_000_000
"""Two seconds' work: a process has started and paid for itself in one."""
MOST_WORKERS = 3
"""With three, this process's own part (reading, terms, writing: 20 s of 50 for 30 MB) is what takes longest."""
_SIZE = 8


class ChunkPool(Closing):
    """`workers` processes that make chunks; texts are taken in the order in which they come.

    Where a process cannot be started or ends, this one makes the chunks: nothing is lost but time.
    """

    def __init__(self, workers: int) -> None:
        self.workers = min(max(workers, 1), MOST_WORKERS)
        self._idle: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        self._all = [_Worker.start() for _ in range(self.workers)]
        for worker in self._all:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(self.workers, "chunks")
        self._closed = False

    def submit(self, source: SourceText, max_chars: int) -> Callable[[], list[Chunk]]:
        """Begin to make the chunks of a text (`turboprop.code.chunk.chunk_text`); what is returned waits for them."""
        return self._threads.submit(self._chunks, source, max_chars).result

    def _chunks(self, source: SourceText, max_chars: int) -> list[Chunk]:
        task = (source.path, source.text, source.language, max_chars)
        worker = self._idle.get()
        try:
            if worker is not None:
                return worker.chunks(task)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            if worker is not None:
                worker.end()
            worker = None
        finally:
            self._idle.put(worker)
        return [] if self._closed else _chunks_of(task)

    def close(self) -> None:
        """End the processes, without waiting for what they are at."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._all:
            if worker is not None:
                worker.end()
        self._threads.shutdown()


_Task = tuple[str, str, str, int]


class _Worker:
    """A process that reads tasks from its standard input and writes chunks to its standard output, both pickled and
    behind their size: it ends when we do."""

    def __init__(self, process: subprocess.Popen[bytes], requests: IO[bytes], answers: IO[bytes]) -> None:
        self._process, self._requests, self._answers = process, requests, answers

    @classmethod
    def start(cls) -> Self | None:
        """None where no process can be started. A frozen program has no Python of its own to start: it would start
        itself."""
        if not sys.executable or getattr(sys, "frozen", False):
            return None
        source = str(Path(turboprop.__file__).parents[1])
        code = f"import sys; sys.path.append({source!r}); from turboprop.code.chunk_pool import work; work()"
        try:
            process = subprocess.Popen(
                # -P: nothing is imported from the folder that happens to be the current one.
                [sys.executable, "-P", "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # An interrupt is for the one whose work this is.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError:
            return None
        if process.stdin is None or process.stdout is None:
            raise AssertionError("both are pipes")
        return cls(process, process.stdin, process.stdout)

    def chunks(self, task: _Task) -> list[Chunk]:
        _send(self._requests, task)
        chunks: list[Chunk] = pickle.loads(_received(self._answers))  # noqa: S301  of our own process
        return chunks

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._requests, self._answers):
            with suppress(OSError):
                stream.close()


def work() -> None:
    """Be such a process."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    with suppress(OSError, EOFError):
        while True:
            _send(answers, _chunks_of(pickle.loads(_received(requests))))  # noqa: S301  of the process that we serve


def _chunks_of(task: _Task) -> list[Chunk]:
    path, text, language, max_chars = task
    return chunk_text(path, text, language, max_chars=max_chars)


def _send(stream: IO[bytes], value: object) -> None:
    content = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    stream.write(len(content).to_bytes(_SIZE, "little"))
    stream.write(content)
    stream.flush()


def _received(stream: IO[bytes]) -> bytes:
    head = stream.read(_SIZE)
    content = stream.read(int.from_bytes(head, "little"))
    if len(head) < _SIZE or len(content) < int.from_bytes(head, "little"):
        raise EOFError("the process at the other end has ended")
    return content
