"""The server: listens for this user's clients and answers one search after the other, warm.

A request is one line of JSON, with the key from the state file, which only this user can read. The reply begins with
`yes` and a proof that stands in the same file, or with `replace` (another version or environment: this server ends)
or `no`. Then comes one line of JSON, and what was printed.

Threads of connections read, check and reply; the main thread runs the command lines, because folder, variables and
streams belong to the whole process.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import queue
import secrets
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from turboprop import __version__
from turboprop.edges.warm import place
from turboprop.edges.warm.client import hanging_process, search_head
from turboprop.edges.warm.render import Run, run_for
from turboprop.errors import TurboPropError
from turboprop.files import replace_file
from turboprop.machine import resident_bytes
from turboprop.runtime.manager import ModelManager
from turboprop.settings import load_settings
from turboprop.workspace.jobs import Job, Jobs
from turboprop.workspace.pool import IndexPool

if TYPE_CHECKING:
    from turboprop.index.build import Progress

MOST_WAITING = 16
"""Searches that wait for the one before; more are sent away, and run in their own process."""
MOST_CONNECTIONS = 64
REQUEST_BYTES = 4_000_000
REQUEST_SECONDS = 2.0
REPLY_SECONDS = 30.0
LOCK_SECONDS = 30.0
"""How long a new server waits for one that was replaced, or killed, to be gone; nobody waits for it meanwhile."""
HANGS_SECONDS = 3.0
"""A server that says nothing for so long is ended by the next one; it closes a connection in a millisecond."""
LAST_SECONDS = 5.0
"""For answers that are being sent when the server ends."""
_LOOK_SECONDS = 1.0


class _Job:
    """A request on its way from a connection's thread to the main one and back."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.request = request
        self.done = threading.Event()
        self.code: int | None = None
        self.frames: list[tuple[int, bytes]] = []


class Server:
    """One user's server. `serve` returns when it was idle for long, told to stop, or replaced."""

    def __init__(self, run: Run, identity: Mapping[str, Any], *, idle: float, loopback: bool = False) -> None:
        self._run = run
        self._idle = idle
        self._loopback = loopback or not hasattr(socket, "AF_UNIX")
        self._folder = place.folder()
        self._identity = identity
        self._fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode("ascii")).hexdigest()
        self._key, self._proof = secrets.token_hex(32), secrets.token_hex(16)
        # The server itself ends when it was idle for long: until then models go where others need their room.
        self._models = ModelManager(keep_alive=None)
        self._pool = IndexPool(self._models)
        self._background = Jobs()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()  # a signal's handler may put into this kind
        self._connections = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._ending = threading.Event()
        self._started = time.time()
        self._last_used = time.monotonic()
        self._answered = 0
        self._sources: dict[str, int] = {}
        self._was_upgraded()

    def serve(self, first: Mapping[str, Any] | None = None) -> None:
        """Warm up with a request, then answer others. Does nothing where another server is as good."""
        if not place.make_private(self._folder):
            return
        named = first.get("starting") if first is not None else None
        mark = os.path.join(self._folder, os.path.basename(named)) if isinstance(named, str) else None
        try:
            self._serve(first, mark)
        finally:
            if mark is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(mark)

    def _serve(self, first: Mapping[str, Any] | None, mark: str | None) -> None:
        """`mark` is the file that says that this server is starting."""
        lock = self._lock()
        if lock is None:
            return
        # What is imported later must not come from the folder of a client, which is the current one then.
        sys.path[:] = [os.path.abspath(entry) for entry in sys.path if entry]
        os.chdir(self._folder)
        with lock:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._end)
            if first is not None and not _called_off(mark):
                self._warm_up(first)
            if self._ending.is_set() or _called_off(mark):
                self._clear()
                return
            listener = self._listen()
            state = self._publish(listener)
            # `stop` takes the file away and then asks whom it finds: one of the two ends this server.
            if mark is not None:
                try:
                    os.unlink(mark)
                except FileNotFoundError:
                    self._end()
            threading.Thread(target=self._accept, args=(listener,), name="accept", daemon=True).start()
            try:
                self._work(state)
            finally:
                self._ending.set()
                self._withdraw(state)
                listener.close()
                self._send_away()
                self._background.close(LAST_SECONDS)  # what is done is published, and the next run goes on
                self._clear()

    def _lock(self) -> Any:
        """The right to be the server; None where one with the same identity has it."""
        from filelock import FileLock, Timeout

        lock = FileLock(os.path.join(self._folder, place.LOCK_FILE), thread_local=False)
        until = time.monotonic() + LOCK_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=0.1)
                return lock
            if _ended_hanging():  # of whatever version and environment: it would hold the lock for ever
                until = time.monotonic() + LOCK_SECONDS
                continue
            with contextlib.suppress(OSError, ValueError, AttributeError):
                state = json.loads((Path(self._folder) / place.STATE_FILE).read_text("ascii"))
                if state.get("identity") == self._fingerprint:
                    return None
        sys.stderr.write(f"another server is ending and has held the lock for {LOCK_SECONDS:.0f} s; giving up\n")
        return None

    def _warm_up(self, request: Mapping[str, Any]) -> None:
        with contextlib.suppress(Exception):  # the server is of use to others all the same
            self._render(request)
        # What lives after loading lives long; a collection would look through 200,000 objects in vain.
        gc.collect()
        gc.freeze()

    def _listen(self) -> socket.socket:
        path = os.path.join(self._folder, place.SOCKET_FILE)
        if not self._loopback:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # of a server that was killed: this one has the lock
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                listener.bind(path)
                os.chmod(path, 0o600)
                listener.listen(MOST_CONNECTIONS)
                return listener
            except OSError:  # a path of over 107 bytes, a file system without sockets
                listener.close()
        return socket.create_server(("127.0.0.1", 0), backlog=MOST_CONNECTIONS)

    def _publish(self, listener: socket.socket) -> str:
        port = None if listener.family != socket.AF_INET else listener.getsockname()[1]
        state = {
            "port": port,
            "key": self._key,
            "proof": self._proof,
            "pid": os.getpid(),
            "identity": self._fingerprint,
        }
        text = json.dumps(state)
        replace_file(os.path.join(self._folder, place.STATE_FILE), text.encode("ascii"), mode=0o600)
        return text

    def _accept(self, listener: socket.socket) -> None:
        while True:  # one that ends after a long search still answers: silence would have it killed by the next
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if not self._connections.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._attend, args=(connection,), name="connection", daemon=True).start()

    def _attend(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
                connection.settimeout(REQUEST_SECONDS)
                if connection.family == socket.AF_INET or place.peer_is_us(connection):
                    self._reply(connection)
        finally:
            self._connections.release()

    def _reply(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            line = stream.readline(REQUEST_BYTES)
        request = json.loads(line) if line.endswith(b"\n") else None
        if not isinstance(request, dict) or not secrets.compare_digest(str(request["key"]), self._key):
            return
        connection.settimeout(REPLY_SECONDS)
        match request["question"]:
            case "status":
                self._say(connection, self._status())
            case "stop":
                self._say(connection, {"pid": os.getpid()})
                self._end()
            case "search":
                self._search(connection, request)

    def _search(self, connection: socket.socket, request: Mapping[str, Any]) -> None:
        if request["identity"] != self._identity or self._was_upgraded():
            connection.sendall(b"replace\n")
            self._end()
            return
        if self._ending.is_set() or self._jobs.qsize() >= MOST_WAITING:
            connection.sendall(b"no\n")
            return
        job = _Job(request)
        self._jobs.put(job)
        connection.sendall(self._yes())
        job.done.wait()
        connection.sendall(b"".join((search_head(job.code, job.frames), *(content for _, content in job.frames))))

    def _say(self, connection: socket.socket, answer: Mapping[str, Any]) -> None:
        connection.sendall(self._yes() + json.dumps(answer).encode("ascii") + b"\n")

    def _yes(self) -> bytes:
        return f"yes {self._proof}\n".encode("ascii")

    def _status(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "version": __version__,
            "started": self._started,
            "answered": self._answered,
            "ends_in": max(0.0, self._idle - (time.monotonic() - self._last_used)),
            "memory": resident_bytes(),
            "indexes": self._pool.describe(),
        }

    def _work(self, state: str) -> None:
        """Run jobs until it is time to end."""
        path = Path(self._folder) / place.STATE_FILE
        while not self._ending.is_set():
            try:
                job = self._jobs.get(timeout=min(_LOOK_SECONDS, self._idle))
            except queue.Empty:
                if self._background.busy:
                    self._last_used = time.monotonic()
                if time.monotonic() - self._last_used > self._idle:
                    return
                try:
                    if path.read_text("ascii") != state:
                        return  # somebody put another server's state there
                except OSError:
                    return  # the folder was removed: nobody can find this server any more
                self._pool.let_go_of_outdated()
                continue
            if job is None:
                return
            try:
                if not load_settings().server:
                    return
                job.code, job.frames = self._render(job.request)
                self._answered += 1
            except Exception:
                traceback.print_exc()
                job.code = None
            finally:
                job.done.set()
                self._last_used = time.monotonic()

    def _render(self, request: Mapping[str, Any]) -> tuple[int | None, list[tuple[int, bytes]]]:
        """What a search ends with and prints; None for an error, which the client's own process meets and words."""
        try:
            services = {"open_index": self._pool.open, "in_background": self._in_background}
            code, frames = run_for(request, self._run, services)
        except TurboPropError:  # as with --debug
            return None, []
        except Exception:  # a defect, of which what is open here may be the cause
            traceback.print_exc()
            self._clear()
            return None, []
        return (code, frames) if code in (0, 1) else (None, [])

    def _in_background(self, subject: str, work: Callable[[ModelManager, Callable[[Progress], None]], None]) -> None:
        """Begin the rest of a `tp index --background`; where it is under way already nothing."""

        def run(job: Job) -> None:
            work(self._models, lambda now: job.report(now.filled, now.waiting))

        self._background.start("index", subject, run)

    def _clear(self) -> None:
        self._pool.clear()
        self._models.clear()

    def _withdraw(self, state: str) -> None:
        """Take the address away, unless it is another server's by now."""
        path = Path(self._folder) / place.STATE_FILE
        with contextlib.suppress(OSError):
            if path.read_text("ascii") == state:
                path.unlink()
                (Path(self._folder) / place.SOCKET_FILE).unlink()

    def _send_away(self) -> None:
        """Searches that wait go to their own processes; answers that are on their way are waited for."""
        with contextlib.suppress(queue.Empty):
            while True:
                if (job := self._jobs.get_nowait()) is not None:
                    job.done.set()
        until = time.monotonic() + LAST_SECONDS
        for _ in range(MOST_CONNECTIONS):
            self._connections.acquire(timeout=max(0.0, until - time.monotonic()))

    def _was_upgraded(self) -> bool:
        """Whether a module of this package that is loaded was written since it was first looked at."""
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == "turboprop" and (file := getattr(module, "__file__", None)):
                try:
                    written = os.stat(file).st_mtime_ns  # a hundred at each search
                except OSError:
                    return True
                if self._sources.setdefault(file, written) != written:
                    return True
        return False

    def _end(self, number: int = 0, frame: FrameType | None = None) -> None:  # noqa: ARG002  as signals call it
        self._ending.set()
        self._jobs.put(None)


def _called_off(mark: str | None) -> bool:
    """Whether `tp daemon stop` took the file of a server away that is starting."""
    return mark is not None and not os.path.exists(mark)


def _ended_hanging() -> bool:
    """Whether the server before this one said nothing for long, and is killed."""
    process = hanging_process(HANGS_SECONDS)
    if process is None:
        return False
    with contextlib.suppress(OSError):
        os.kill(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    return True
