from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from turboprop.errors import BusyError, UsageError
from turboprop.workspace.jobs import MOST_RUNNING, Job, Jobs, JobStatus


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    made = Jobs()
    yield made
    made.close()


def ended(job: Job) -> JobStatus:
    while not job.status.ended:
        time.sleep(0.001)
    return job.status


def test_a_job_tells_how_far_it_is(jobs: Jobs) -> None:
    go = threading.Event()

    def work(job: Job) -> None:
        job.report(1, 4, "a quarter")
        go.wait()
        job.report(4, 4)

    job = jobs.start("index", "here", work)
    while job.status.done != 1:
        time.sleep(0.001)
    status = job.status
    assert (status.state, status.total, status.message) == ("running", 4, "a quarter")
    assert status.rate > 0
    assert status.eta == pytest.approx(3 / status.rate)
    assert jobs.start("index", "here", work) is job
    assert jobs.active("index", "here") is job
    go.set()
    assert ended(job).state == "done"
    assert jobs.get(job.id, "index") is job
    assert jobs.get(job.id, "download") is None
    assert jobs.active("index", "here") is None


def test_a_job_that_fails_says_why(jobs: Jobs) -> None:
    def fail(job: Job) -> None:
        raise UsageError("there is nothing here")

    def stumble(job: Job) -> None:
        raise ZeroDivisionError("secret detail")

    assert ended(jobs.start("index", "one", fail)).error == "there is nothing here"
    status = ended(jobs.start("index", "two", stumble))
    assert (status.state, status.error) == ("failed", "unexpected ZeroDivisionError")


def test_a_cancelled_job_ends_where_it_reports(jobs: Jobs) -> None:
    begun = threading.Event()

    def work(job: Job) -> None:
        begun.set()
        while True:
            job.report(1, 2)
            time.sleep(0.001)

    running = jobs.start("index", "one", work)
    queued = jobs.start("index", "two", work)
    begun.wait()
    assert queued.status.state == "queued"
    queued.cancel()
    running.cancel()
    assert ended(running).state == "cancelled"
    assert ended(queued).state == "cancelled"


def test_too_many_are_refused(jobs: Jobs) -> None:
    def work(job: Job) -> None:
        while True:
            job.check()
            time.sleep(0.001)

    for number in range(MOST_RUNNING):
        jobs.start("download", str(number), work)
    with pytest.raises(BusyError, match="under way"):
        jobs.start("download", "one more", work)
    jobs.close()
    with pytest.raises(BusyError):
        jobs.start("download", "after the end", work)
