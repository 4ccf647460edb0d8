"""A process that runs what may crash: started, watched, limited and ended from here.

Native runtimes abort, hang or run out of memory on files that look sound. In a worker they take nothing of
ours with them: the caller gets an `EngineError`, and may start another. What the worker is asked to do is
its module's business; this file knows frames (worker_frames.py) and processes alone.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from turboprop.engines.worker_frames import Frame, FrameError, read_frame, write_frame
from turboprop.errors import EngineError

_SECRET = ("TOKEN", "SECRET", "PASSWORD", "API_KEY", "APIKEY", "CREDENTIAL")
_END_SECONDS = 5.0
"""A worker that was told to end and has not is killed."""
_LOG_LINES = 200
_LOGGED = re.compile(r"[\d.]+ ([A-Z]) ")
"""What a line of llama.cpp's log begins with: seconds, then a letter for its level."""
_TELLING = re.compile("error|assert|fail|alloc|terminate", re.IGNORECASE)
_OVER = -1
"""Stands among the requests once no answer will come any more."""


class Worker:
    """A running worker. `ask` may be called from any thread; answers are sorted by request.

    `module` is run with `-m`; `load` is its first message. Raises `EngineError` where it does not answer
    `ready` within `load_seconds`. `memory` in bytes bounds its address space, None leaves it.
    """

    def __init__(self, module: str, load: Mapping[str, Any], *, memory: int | None, load_seconds: float) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="turboprop-"))  # mode 0700
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._answers: dict[int, queue.SimpleQueue[Frame | None]] = {0: queue.SimpleQueue()}
        self._next = 1
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._failure: str | None = None
        limit = [] if memory is None else [str(memory)]
        try:
            self._process = subprocess.Popen(
                # -P: a worker started inside a cloned repository must not import the repository's modules.
                [sys.executable, "-P", "-m", module, str(self._folder), *limit],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for us; we end the worker in order
            )
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise EngineError(f"a worker process cannot be started: {error}") from error
        self._finalizer = weakref.finalize(self, _end, self._process, self._folder, self._owner, 0.0)
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._requests: BinaryIO = self._process.stdin  # type: ignore[assignment]
        # The threads hold no reference to this object: letting go of it ends the worker.
        self._readers = (
            threading.Thread(target=_read_log, args=(self._process.stderr, self._log), daemon=True),
            threading.Thread(target=_read_answers, args=(self._process.stdout, self._answers, self._lock), daemon=True),
        )
        for reader in self._readers:
            reader.start()
        try:
            with Conversation(self, 0) as conversation:
                self._send(Frame({"type": "load", "id": 0, **load}), load_seconds)
                conversation.receive(load_seconds, "loading the model")
        except BaseException:
            self._finalizer()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def folder(self) -> Path:
        """Its private folder, which may be gone already."""
        return self._folder

    @property
    def alive(self) -> bool:
        """Whether a request may be tried."""
        return self._failure is None and self._owner == os.getpid() and self._process.poll() is None

    def ask(self, header: Mapping[str, Any], payload: bytes = b"", *, seconds: float) -> Conversation:
        """Send a request; its answers come from what this returns. `seconds` is for the sending."""
        with self._lock:
            if not (ended := _OVER in self._answers):
                number = self._next
                self._next += 1
                self._answers[number] = queue.SimpleQueue()
        if ended:
            raise self._died("waiting for requests")
        conversation = Conversation(self, number)
        try:
            self._send(Frame({**header, "id": number}, payload), seconds)
        except BaseException:
            conversation.close()
            raise
        return conversation

    def close(self) -> None:
        """End the process, in order if it lets us; a second call does nothing."""
        self._failure = self._failure or "was closed"
        if self._finalizer.detach() is not None:
            _end(self._process, self._folder, self._owner, _END_SECONDS)
        for reader in self._readers:
            reader.join(_END_SECONDS)

    def _send(self, frame: Frame, seconds: float) -> None:
        if self._owner != os.getpid():
            raise EngineError("this model belongs to the process that this one was forked from; load it again here")
        if self._failure is not None:
            raise EngineError(f"the worker process {self._failure}")
        # A worker that has stopped reading leaves us blocked in the pipe until it is killed.
        late = threading.Timer(seconds, self._process.kill)
        late.daemon = True
        late.start()
        try:
            with self._lock:
                write_frame(self._requests, frame)
        except FrameError as error:
            raise EngineError(f"a request cannot be sent to the worker process: {error}") from error
        except (OSError, ValueError):
            raise self._died("taking a request") from None
        finally:
            late.cancel()

    def _died(self, doing: str) -> EngineError:
        """The error for a worker that is gone, and the end of what is left of it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        code = self._process.poll()
        self._failure = self._failure or _how_it_ended(code)
        self._finalizer()
        self._readers[0].join(_END_SECONDS)
        return EngineError(f"the worker process {self._failure} while {doing}{self._last_words()}")

    def _stuck(self, doing: str, seconds: float) -> EngineError:
        self._failure = f"did not answer for {seconds:.0f} seconds and was ended"
        self._finalizer()
        return EngineError(f"the worker process {self._failure} while {doing}{self._last_words()}")

    def _reason_in_log(self) -> str:
        """What the worker printed, once it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self._readers[0].join(_END_SECONDS)
        return self._last_words()

    def _last_words(self) -> str:
        """The line that sounds like the reason: of an abort the last, of llama.cpp's own errors the first."""
        lines = list(self._log)
        aborts = [line for line in lines if not _LOGGED.match(line) and _TELLING.search(line)]
        errors = [_LOGGED.sub("", line) for line in lines if (logged := _LOGGED.match(line)) and logged[1] == "E"]
        reason = [*aborts[-1:], *errors[:1]]
        return f" (it said: {reason[0][:300]})" if reason else ""


class Conversation:
    """The answers to one request. A context manager: leaving it before the last answer cancels the request."""

    def __init__(self, worker: Worker, number: int) -> None:
        self._worker = worker
        self._number = number
        self._queue = worker._answers[number]
        self._over = False

    def receive(self, seconds: float, doing: str) -> Frame:
        """The next answer. Raises `EngineError` where the worker reports one, is gone, or lets `seconds` pass."""
        try:
            frame = self._queue.get(timeout=seconds)
        except queue.Empty:
            self._over = True
            raise self._worker._stuck(doing, seconds) from None
        if frame is None:
            self._over = True
            raise self._worker._died(doing)
        if frame.kind in ("done", "ready"):
            self._over = True
        if frame.kind == "error":
            self._over = True
            why = self._worker._reason_in_log() if self._number == 0 else ""
            raise EngineError(f"{frame.header.get('message')}"[:1000] + why)
        return frame

    def wake(self) -> None:
        """Let a `receive` that waits in another thread end with an error."""
        self._queue.put(Frame({"type": "error", "message": "cancelled"}))

    def cancel(self) -> None:
        """Ask for the end; the answers until then still come."""
        if not self._over and self._worker.alive:
            with contextlib.suppress(EngineError):
                self._worker._send(Frame({"type": "cancel", "request": self._number}), _END_SECONDS)

    def close(self) -> None:
        self.cancel()
        with self._worker._lock:
            self._worker._answers.pop(self._number, None)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _environment() -> dict[str, str]:
    """Ours, without secrets and without what would steer the native library."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LLAMA_", "GGML_")) and not any(word in name.upper() for word in _SECRET)
    }
    # Without it an abort starts a debugger on the process, which can hang.
    return kept | {"GGML_NO_BACKTRACE": "1"}


def _read_answers(stream: BinaryIO, answers: dict[int, queue.SimpleQueue[Frame | None]], lock: threading.Lock) -> None:
    frame: Frame | None
    while True:
        try:
            frame = read_frame(stream)
        except (FrameError, OSError, ValueError):
            frame = None
        with lock:
            if frame is None:
                for waiting in answers.values():
                    waiting.put(None)
                answers[_OVER] = queue.SimpleQueue()
                break
            number = frame.header.get("id")
            waiting_for = answers.get(number) if isinstance(number, int) else None
        if waiting_for is not None:  # else its reader has gone
            waiting_for.put(frame)
    stream.close()


def _read_log(stream: BinaryIO, log: deque[str]) -> None:
    with contextlib.suppress(OSError, ValueError):
        while line := stream.readline(2000):
            log.append(line.decode("utf-8", "replace").strip())
    stream.close()


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "broke off its answers"
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"was ended by {name}"
    return f"ended with exit code {code}"


def _end(process: subprocess.Popen[bytes], folder: Path, owner: int, patience: float) -> None:
    """Close its input, give it `patience` seconds, kill it, delete its folder."""
    if os.getpid() != owner:  # a fork of ours must not end what is not its own
        return
    if patience <= 0:
        process.kill()  # before the pipe is closed, which can wait for a worker that does not read
    with contextlib.suppress(OSError, ValueError):
        if process.stdin:
            process.stdin.close()
    try:
        process.wait(patience or _END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)
