"""Long work in the background, with its progress, and a way to call it off."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from turboprop.errors import BusyError, TurboPropError

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
MOST_RUNNING = 8
"""Jobs of all kinds that may be queued or run."""
_KEPT = 64
"""Jobs that ended and are still told of."""
_log = logging.getLogger("turboprop.workspace")


class JobCancelledError(KeyboardInterrupt):
    """Ends the work of a job where it reports; a run of the index keeps what is whole, as after Ctrl-C."""


@dataclass(frozen=True, slots=True)
class JobStatus:
    """`done` of `total` in the job's unit, `rate` of it a second, `eta` in seconds. `error` is why it failed."""

    id: str
    kind: str
    subject: str
    state: JobState
    done: float
    total: float
    rate: float
    eta: float | None
    message: str = ""
    error: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "failed", "cancelled")


class Job:
    """One piece of work. `report` is for the work itself, from any thread; the rest for whoever watches."""

    def __init__(self, kind: str, subject: str) -> None:
        self.id = secrets.token_hex(8)
        self.kind, self.subject = kind, subject
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._state: JobState = "queued"
        self._done = self._total = 0.0
        self._message = self._error = ""
        self._started: float | None = None
        self.ended = 0.0
        """When it ended, by `time.monotonic`."""

    @property
    def status(self) -> JobStatus:
        """How it stands."""
        with self._lock:
            seconds = time.monotonic() - self._started if self._started is not None else 0.0
            rate = self._done / seconds if seconds > 0 else 0.0
            left = max(0.0, self._total - self._done)
            eta = left / rate if rate > 0 and self._state == "running" else None
            return JobStatus(
                self.id,
                self.kind,
                self.subject,
                self._state,
                self._done,
                self._total,
                rate,
                eta,
                self._message,
                self._error,
            )

    def report(self, done: float, total: float, message: str | None = None) -> None:
        """Say how far it is. Raises `JobCancelledError` where it was called off."""
        with self._lock:
            self._done, self._total = done, total
            if message is not None:
                self._message = message
        self.check()

    def check(self) -> None:
        """Raise `JobCancelledError` where it was called off."""
        if self._cancelled.is_set():
            raise JobCancelledError

    def cancel(self) -> None:
        """Call it off: it ends where it next reports. A second call, or one after the end, does nothing."""
        self._cancelled.set()

    def run(self, work: Callable[[Job], None]) -> None:
        """Do the work; its error becomes the job's."""
        with self._lock:
            self._state, self._started = "running", time.monotonic()
        state: JobState = "done"
        error = ""
        try:
            self.check()
            work(self)
        except JobCancelledError:
            state = "cancelled"
        except Exception as failed:
            # A cancelled transfer may end with the error of the thread that it was cancelled in.
            state = "cancelled" if self._cancelled.is_set() else "failed"
            error = str(failed) if isinstance(failed, TurboPropError) else f"unexpected {type(failed).__name__}"
            if not isinstance(failed, TurboPropError):
                _log.error("the job %s of %s failed", self.kind, self.subject, exc_info=failed)
        with self._lock:
            self._state, self._error = state, error if state == "failed" else ""
            self.ended = time.monotonic()
            if state == "done":
                self._done = self._total


class Jobs:
    """All jobs; those of one kind run one after the other. `close()` cancels what runs and waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._threads: list[threading.Thread] = []
        self._turns: dict[str, threading.Lock] = {}
        self._closed = False

    def start(self, kind: str, subject: str, work: Callable[[Job], None]) -> Job:
        """Begin work; where the same is under way already, that job. Raises `BusyError` where too much is."""
        with self._lock:
            active = [job for job in self._jobs.values() if not job.status.ended]
            for job in active:
                if (job.kind, job.subject) == (kind, subject):
                    return job
            if self._closed or len(active) >= MOST_RUNNING:
                raise BusyError(f"{len(active)} jobs are under way already; wait for one, or cancel one")
            job = Job(kind, subject)
            self._jobs[job.id] = job
            ended = [number for number, other in self._jobs.items() if other.status.ended]
            for number in ended[: max(0, len(ended) - _KEPT)]:
                del self._jobs[number]
            turn = self._turns.setdefault(kind, threading.Lock())
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            thread = threading.Thread(target=_in_turn, args=(turn, job, work), name=f"{kind} {subject}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return job

    def get(self, number: str, kind: str) -> Job | None:
        """A job by its id."""
        with self._lock:
            job = self._jobs.get(number)
        return job if job is not None and job.kind == kind else None

    def active(self, kind: str, subject: str) -> Job | None:
        """The job that is under way for something."""
        with self._lock:
            jobs = list(self._jobs.values())
        return next((j for j in jobs if (j.kind, j.subject) == (kind, subject) and not j.status.ended), None)

    @property
    def busy(self) -> bool:
        """Whether any is under way."""
        with self._lock:
            return any(not job.status.ended for job in self._jobs.values())

    def close(self, seconds: float | None = None) -> None:
        """Cancel everything and wait until it has ended, `seconds` at most."""
        with self._lock:
            self._closed = True
            jobs, threads = list(self._jobs.values()), list(self._threads)
        for job in jobs:
            job.cancel()
        until = None if seconds is None else time.monotonic() + seconds
        for thread in threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))


def _in_turn(turn: threading.Lock, job: Job, work: Callable[[Job], None]) -> None:
    with turn:
        job.run(work)
