"""`/api/events`: what the server has, at once and whenever it changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from turboprop.edges.http.search_api import StatusAnswer, status_answer
from turboprop.edges.http.state import state_of
from turboprop.edges.http.streams import PING, EventStream, sse, told_errors

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState

_LOOK_SECONDS = 1.0
_WAITS = 5
"""A look is waited for in so many parts, so that the end of the server is seen in a fifth of a second."""
_PING_LOOKS = 10
_MEMORY_NOISE = 32_000_000
"""Bytes by which the memory of the process may differ from what was told; 60 searches moved it by 4 MB."""


async def events(request: Request) -> Response:
    """Server-sent events `status`: repositories as they were last seen, jobs, loaded models, memory."""
    state = state_of(request)
    told = told_errors(state, _told(state), "error")
    return EventStream(told, AsyncExitStack(), stall_seconds=state.limits.stall_seconds)


async def _told(state: ServerState) -> AsyncGenerator[bytes]:
    last: StatusAnswer | None = None
    quiet = 0
    while not state.ending:
        now = await state.in_thread(status_answer, state, state.workspace, look=False)
        quiet += 1
        if last is None or _differs(now, last):
            last, quiet = now, 0
            yield sse(now, "status")
        elif quiet % _PING_LOOKS == 0:
            yield PING
        for _ in range(_WAITS):
            if not state.ending:
                await asyncio.sleep(_LOOK_SECONDS / _WAITS)


def _differs(now: StatusAnswer, last: StatusAnswer) -> bool:
    """Whether it is worth telling: not that time went by or that a request uses a model."""
    moved = abs(now["memory"]["process_rss"] - last["memory"]["process_rss"])
    return moved > _MEMORY_NOISE or _lasting(now) != _lasting(last)


def _lasting(answer: StatusAnswer) -> tuple[Any, ...]:
    models = [{**model, "in_use": 0, "idle_seconds": 0.0} for model in answer["models"]]
    models.sort(key=lambda model: str(model["name"]))
    repos = [{**repo, "job": _lasting_job(repo["job"])} for repo in answer["repos"]]
    return repos, models, answer["memory"]["budget"], answer["memory"]["used"]


def _lasting_job(job: Any) -> Any:
    return job and {**job, "rate": 0.0, "eta": None}
