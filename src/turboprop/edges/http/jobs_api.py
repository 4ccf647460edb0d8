"""`/api/index` and the events of jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from pydantic import StrictStr
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop.edges.http.failures import RequestError, failure
from turboprop.edges.http.schemas import RequestBody
from turboprop.edges.http.state import read_model, state_of
from turboprop.edges.http.streams import PING, EventStream, sse

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState
    from turboprop.workspace.jobs import Job, JobStatus

_LOOK_SECONDS = 0.2
_PING_LOOKS = 50
"""Every ten seconds something is sent, so that what stands between does not close the connection."""


class IndexRequest(RequestBody):
    repo: StrictStr | None = None


class JobAnswer(TypedDict):
    id: str
    state: str
    done: float
    total: float
    rate: float
    eta: float | None
    subject: str
    message: str
    error: str


class StartedAnswer(TypedDict):
    job: JobAnswer


def job_answer(status: JobStatus) -> JobAnswer:
    """A job as JSON has it."""
    return {
        "id": status.id,
        "state": status.state,
        "done": status.done,
        "total": status.total,
        "rate": status.rate,
        "eta": status.eta,
        "subject": status.subject,
        "message": status.message,
        "error": status.error,
    }


async def start_index(request: Request) -> Response:
    """Bring the index of a repository up to date in the background, or make it."""
    state = state_of(request)
    wanted = await read_model(request, IndexRequest)
    repository = state.workspace.get(wanted.repo)
    job = repository.start_update()
    return JSONResponse({"job": job_answer(job.status)})


async def index_events(request: Request) -> Response:
    """The progress of such a job as server-sent events: progress, and at the end done or error."""
    return _events(state_of(request), _found(request, "index"))


async def cancel_index(request: Request) -> Response:
    """Call it off; what is whole is kept."""
    return _cancelled(_found(request, "index"))


async def download_events(request: Request) -> Response:
    """The progress of a download, as for the index."""
    return _events(state_of(request), _found(request, "download"))


async def cancel_download(request: Request) -> Response:
    """Call it off; what has arrived is kept for the next try."""
    return _cancelled(_found(request, "download"))


def _found(request: Request, kind: str) -> Job:
    job = state_of(request).jobs.get(request.path_params["id"], kind)
    if job is None:
        raise RequestError(404, "there is no such job", "job_not_found", "id")
    return job


def _cancelled(job: Job) -> Response:
    job.cancel()
    return JSONResponse({"job": job_answer(job.status)})


def _events(state: ServerState, job: Job) -> Response:
    return EventStream(_told(state, job), AsyncExitStack(), stall_seconds=state.limits.stall_seconds)


async def _told(state: ServerState, job: Job) -> AsyncGenerator[bytes]:
    last: tuple[object, ...] = ()
    quiet = 0
    while not state.ending:
        status = job.status
        if status.ended:
            break
        now = (status.state, status.done, status.total, status.message)
        quiet += 1
        if now != last:
            last, quiet = now, 0
            yield sse(job_answer(status), "progress")
        elif quiet % _PING_LOOKS == 0:
            yield PING
        await asyncio.sleep(_LOOK_SECONDS)
    status = job.status
    if status.state == "failed":
        yield sse(failure(500, status.error, "job_failed").body(), "error")
    elif status.ended:
        yield sse(job_answer(status), "progress")
        yield sse(job_answer(status), "done")
