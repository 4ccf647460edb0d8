"""llama.cpp's server as a child process of ours, asked over HTTP on a Unix socket.

llama.cpp aborts, hangs or takes all memory on files that look sound. In a child it takes nothing of ours with it: the
caller gets an `EngineError` that says how it ended, and may start another.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from turboprop.errors import EngineError

CHILD = "turboprop.engines.llamacpp_child"
_SOCKET = "s.sock"
_LONGEST_PATH = 60
"""Bytes of the temporary folder: a socket's whole path has at most 107 on Linux and 103 on macOS."""
_POLL_SECONDS = 0.02
_END_SECONDS = 5.0
_ASK_SECONDS = 60.0
_SECRET = ("TOKEN", "SECRET", "PASSWORD", "API_KEY", "APIKEY", "CREDENTIAL")
_LOG_LINES = 200
_LOGGED = re.compile(r"[\d.]+ ([A-Z]) ")
"""What a line of llama.cpp's log begins with: seconds, then a letter for its level."""
_TELLING = re.compile("error|assert|fail|alloc|terminate", re.IGNORECASE)
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_DISPENSABLE = {
    "--offline",
    "--no-slots",
    "--no-webui",
    "--no-jinja",
    "--cache-ram",
    "--swa-full",
    "--fit",
}
"""What an older llama-server that does not know it does without."""


class RefusedError(EngineError):
    """The server refused a request and goes on."""


class _Log(deque[str]):
    unconstrained = 0
    """How often llguidance gave up in it: the server goes on then, and keeps no schema."""


class LlamaServer:
    """A running server. Requests may come from any thread; the model has one slot, so they wait for each other.

    `options` are llama-server's, in pairs or alone. `program` is a llama-server of the user's own, None the package.
    `memory` in bytes bounds its address space, None leaves it. Raises `EngineError` where it has not loaded the model
    within `load_seconds`.
    """

    def __init__(
        self, options: Sequence[str], program: Path | None, *, memory: int | None, load_seconds: float
    ) -> None:
        self._key = secrets.token_hex(32)
        self._owner = os.getpid()
        self._failure: str | None = None
        self.log = _Log(maxlen=_LOG_LINES)
        """Its last lines."""
        options = ["--host", _SOCKET, *(known_options(program, options) if program else options)]
        place = tempfile.gettempdir()
        place = place if len(place) < _LONGEST_PATH else os.sep + "tmp"
        self._folder = Path(tempfile.mkdtemp(prefix=f"turboprop-{self._owner}-", dir=place))  # mode 0700
        limit = "" if memory is None else str(memory)
        try:
            self._process = subprocess.Popen(
                # -P: a child started inside a cloned repository must not import the repository's modules.
                [sys.executable, "-P", "-m", CHILD, str(self._folder), limit, str(program or ""), *options],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=_environment() | {"LLAMA_API_KEY": self._key},
                start_new_session=True,  # Ctrl-C is for us; we end the child
            )
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise EngineError(f"a process for llama.cpp cannot be started: {error}") from error
        self._finalizer = weakref.finalize(self, _end, self._process, self._folder, self._owner)
        assert self._process.stderr
        # The thread holds no reference to this object: letting go of it ends the child.
        self._reader = threading.Thread(target=_read_log, args=(self._process.stderr, self.log), daemon=True)
        self._reader.start()
        try:
            self._wait_until_loaded(load_seconds)
        except BaseException:
            self._finalizer()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether a request may be tried."""
        return self._failure is None and self._owner == os.getpid() and self._process.poll() is None

    def ask(self, path: str, body: Mapping[str, Any], seconds: float, doing: str) -> Any:
        """The JSON of an answer. Raises `EngineError` as `Answers` does."""
        with contextlib.closing(Answers(self, path, body, seconds, doing)) as answers:
            return next(answers)

    def close(self) -> None:
        """End the process; a second call does nothing."""
        self._failure = self._failure or "was closed"
        self._finalizer()
        self._reader.join(_END_SECONDS)

    def connect(self, seconds: float) -> _Connection:
        """A connection of its own. Raises `EngineError` where none can be tried."""
        if self._owner != os.getpid():
            raise EngineError("this model belongs to the process that this one was forked from; load it again here")
        if self._failure is not None:
            raise EngineError(f"llama.cpp's process {self._failure}")
        return _Connection(str(self._folder / _SOCKET), self._key, seconds)

    def died(self, doing: str) -> EngineError:
        """The error for a server that broke off, and the end of what is left of it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self._failure = self._failure or _how_it_ended(self._process.poll())
        self._finalizer()
        return EngineError(f"llama.cpp's process {self._failure} while {doing}{self._last_words()}")

    def stuck(self, doing: str, seconds: float) -> EngineError:
        """The error for a server that lets time pass, and its end."""
        self._failure = f"did not answer for {seconds:.0f} seconds and was ended"
        self._finalizer()
        return EngineError(f"llama.cpp's process {self._failure} while {doing}{self._last_words()}")

    def _wait_until_loaded(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            connection = self.connect(max(0.1, until - time.monotonic()))
            try:
                connection.request("GET", "/health")
                if connection.getresponse().status == http.client.OK:
                    return
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            if self._process.poll() is not None:
                failure = _how_it_ended(self._process.poll())
                raise EngineError(f"llama.cpp cannot load the model: its process {failure}{self._last_words()}")
            time.sleep(_POLL_SECONDS)
        raise self.stuck("loading the model", seconds)

    def _last_words(self) -> str:
        """The line that sounds like the reason: of an abort the last, of llama.cpp's own errors the first."""
        self._reader.join(_END_SECONDS)
        lines = list(self.log)
        aborts = [line for line in lines if not _LOGGED.match(line) and _TELLING.search(line)]
        errors = [_LOGGED.sub("", line) for line in lines if (logged := _LOGGED.match(line)) and logged[1] == "E"]
        reason = [*errors[:1], *aborts[-1:]] if errors else aborts[-1:]
        return f" (it said: {'; '.join(reason)[:400]})" if reason else ""


class Answers:
    """The answers to one request: the JSON objects of a stream, else the one there is.

    Closing it, from any thread, ends the request; so does letting go of it. Raises `RefusedError` with what the server
    says, and `EngineError` where the server is gone or lets `seconds` (which may be set anew) pass.
    """

    def __init__(self, server: LlamaServer, path: str, body: Mapping[str, Any], seconds: float, doing: str) -> None:
        self._server = server
        self._connection = server.connect(seconds)
        self._doing = doing
        self._body = json.dumps(body)
        self._path = path
        self._response: http.client.HTTPResponse | None = None
        self._closed = False
        self.seconds = seconds

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        connection = self._connection
        try:
            if self._response is None:
                connection.request("POST", self._path, self._body)
                connection.wait(self.seconds)
                self._response = connection.getresponse()
                if self._response.getheader("Content-Type", "").partition(";")[0] != "text/event-stream":
                    return self._only(self._response)
            while True:
                connection.wait(self.seconds)
                line = self._response.readline()
                if not line and not self._closed:
                    raise http.client.IncompleteRead(b"")
                if not line or line.startswith(b"data: [DONE]"):
                    raise StopIteration
                kind, _, text = line.partition(b": ")
                if kind in (b"data", b"error"):
                    answer = json.loads(text)
                    if kind == b"error" or "error" in answer:
                        raise RefusedError(f"llama.cpp failed while {self._doing}: {_message(answer)}")
                    return answer
        except TimeoutError:
            self.close()
            raise self._server.stuck(self._doing, self.seconds) from None
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            if self._closed:  # from another thread
                raise StopIteration from None
            self.close()
            raise self._server.died(self._doing) from None

    def _only(self, response: http.client.HTTPResponse) -> Any:
        answer = json.loads(response.read())
        if response.status != http.client.OK:
            raise RefusedError(f"llama.cpp refused {self._doing}: {_message(answer)}")
        return answer

    def close(self) -> None:
        self._closed = True
        self._connection.end()

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self._connection.end()


def _message(answer: Any) -> str:
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    return str(error.get("message", error) if isinstance(error, dict) else error)[:500]


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, key: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._socket_path = path
        self._key = key

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)

    def request(self, method: str, url: str, body: Any = None, *_: Any, **__: Any) -> None:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json", "Connection": "close"}
        super().request(method, url, body, headers)
        self._kept = self.sock

    def wait(self, seconds: float) -> None:
        """How long the next bytes may take."""
        self._kept.settimeout(seconds)

    def end(self) -> None:
        """Hang up, and wake who reads."""
        kept = getattr(self, "_kept", None)
        if kept is not None:
            with contextlib.suppress(OSError):
                kept.shutdown(socket.SHUT_RDWR)
        self.close()


@lru_cache(maxsize=8)
def _asked(program: Path, stamp: int, option: str) -> str:
    """What a program prints for one option. Raises `EngineError` where it cannot be run."""
    wrong = f"TP_LLAMA_SERVER names {program}, which"
    try:
        done = subprocess.run(
            [program, option],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=_environment(),
            timeout=_ASK_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"{wrong} cannot be run ({error}); correct it, or unset it to use xllamacpp") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        raise EngineError(f"{wrong} ended with exit code {done.returncode} when asked for {option}: {last:.200}")
    return done.stdout + done.stderr


def said_by(program: Path, option: str) -> str:
    """What a program of the user's prints for one option; asked once a version. Raises `EngineError`."""
    if sys.platform == "win32" or program.is_dir() or not os.access(program, os.X_OK):
        raise EngineError(
            f"TP_LLAMA_SERVER names {program}, which is no program that can be run here; correct it, or "
            "unset it to use the package xllamacpp"
        )
    return _asked(program, program.stat().st_mtime_ns, option)


def known_options(program: Path, options: Sequence[str]) -> list[str]:
    """Of the options those that a program has. Raises `EngineError` where it lacks one that is needed."""
    known = set(_OPTION.findall(said_by(program, "--help")))
    kept: list[str] = []
    drop = False
    for part in options:
        if part.startswith("--") and (drop := part not in known) and part not in _DISPENSABLE:
            raise EngineError(
                f"TP_LLAMA_SERVER names {program}, which has no option {part}: take a newer llama-server, or unset "
                "it to use the package xllamacpp"
            )
        if not drop:
            kept.append(part)
    return kept


def _environment() -> dict[str, str]:
    """Ours, without secrets and without what would steer the native library."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LLAMA_", "GGML_")) and not any(word in name.upper() for word in _SECRET)
    }
    # OpenMP's threads wait for each other by spinning: on a busy core each spins away what another needs to go on.
    # GGML_NO_BACKTRACE: else an abort starts a debugger on the process, which can hang.
    return {"OMP_WAIT_POLICY": "passive", **kept, "GGML_NO_BACKTRACE": "1"}


def _read_log(stream: BinaryIO, log: _Log) -> None:
    with contextlib.suppress(OSError, ValueError):
        while line := stream.readline(2000):
            log.append(line.decode("utf-8", "replace").strip())
            log.unconstrained += "llg error" in log[-1]
    stream.close()


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "broke off its answer"
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"was ended by {name}"
    return f"ended with exit code {code}"


def _end(process: subprocess.Popen[bytes], folder: Path, owner: int) -> None:
    """Kill it: nothing that it does is worth waiting for. Delete its folder."""
    if os.getpid() != owner:  # a fork of ours must not end what is not its own
        return
    process.kill()
    process.wait()
    with contextlib.suppress(OSError, ValueError):
        if process.stdin:
            process.stdin.close()
    shutil.rmtree(folder, ignore_errors=True)
