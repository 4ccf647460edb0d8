"""`/api/models`: list, download, load, unload, remove."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StrictStr
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.jobs_api import job_answer
from turboprop.edges.http.schemas import RequestBody
from turboprop.edges.http.search_api import LoadedRow, loaded_rows
from turboprop.edges.http.state import read_model, state_of
from turboprop.models.removal import remove_model
from turboprop.models.resolve import resolve
from turboprop.progress import ModelProgress

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState
    from turboprop.workspace.jobs import Job


class ModelRequest(RequestBody):
    model: Annotated[StrictStr, Field(min_length=1, max_length=300)]


class LibraryRow(TypedDict):
    name: str
    kind: Literal["embedding", "language", "reranker"]
    state: Literal["installed", "remote", "loaded", "downloading"]
    size_bytes: int
    dimensions: int | None
    context: int | None
    licence: str
    fits_memory: bool
    good_for: str


class LibraryAnswer(TypedDict):
    models: list[LibraryRow]


class LoadAnswer(TypedDict):
    model: LoadedRow | None


class RemovedAnswer(TypedDict):
    model: str
    freed: int


async def list_library(request: Request) -> Response:
    """All models that are known, and those that are loaded."""
    state = state_of(request)
    return JSONResponse({"models": await state.in_thread(_rows, state)})


def _rows(state: ServerState) -> list[LibraryRow]:
    loaded = {model.name: model for model in state.manager.status()}
    rows: list[LibraryRow] = []
    for known in state.names.known():
        if known.kind is None:
            continue
        now: Literal["installed", "remote", "loaded", "downloading"] = "installed" if known.local else "remote"
        if loaded.pop(known.canonical, None) is not None:
            now = "loaded"
        elif state.jobs.active("download", known.name) is not None:
            now = "downloading"
        rows.append(
            {
                "name": known.name,
                "kind": known.kind,
                "state": now,
                "size_bytes": known.size,
                "dimensions": (known.row.dimensions or None) if known.row else None,
                "context": (known.row.context or None) if known.row else None,
                "licence": known.row.licence if known.row else "",
                "fits_memory": known.fits_memory,
                "good_for": known.row.good_for if known.row else "",
            }
        )
    rows += [
        {
            "name": state.names.public(model.name),
            "kind": model.kind,
            "state": "loaded",
            "size_bytes": model.reserved,
            "dimensions": model.dimensions,
            "context": model.context,
            "licence": "",
            "fits_memory": True,
            "good_for": "",
        }
        for model in loaded.values()
    ]
    return rows


async def download_model(request: Request) -> Response:
    """Fetch a model in the background."""
    state = state_of(request)
    wanted = await read_model(request, ModelRequest)
    job = await state.in_thread(begin_download, state, wanted.model)
    return JSONResponse({"job": job_answer(job.status)})


def begin_download(state: ServerState, given: str) -> Job:
    """A download that runs in the background. Raises `ModelNotFoundError` for what can be no model."""
    name, target = state.names.downloadable(given)

    def work(job: Job) -> None:
        def told(now: ModelProgress) -> None:
            job.report(now.done_bytes, now.total_bytes, now.message or None)

        resolve(target, state.manager.settings, progress=told)
        state.names.known(fresh=True)

    return state.jobs.start("download", name, work)


async def load_model(request: Request) -> Response:
    """Load a model and keep it until it is unloaded."""
    state = state_of(request)
    wanted = await read_model(request, ModelRequest)
    target = await state.in_thread(state.names.any, wanted.model)
    await state.in_waiting_thread(state.manager.load, target, keep=True, wait=state.limits.load_seconds)
    return JSONResponse({"model": _loaded(state, target)})


async def unload_model(request: Request) -> Response:
    """Give its memory back."""
    state = state_of(request)
    wanted = await read_model(request, ModelRequest)
    target = await state.in_thread(state.names.any, wanted.model)
    await state.in_waiting_thread(state.manager.unload, target)
    return JSONResponse({"model": None})


async def delete_model(request: Request) -> Response:
    """Delete a model's files from this machine."""
    state = state_of(request)
    given = request.path_params["name"]
    target = await state.in_thread(state.names.any, given)
    if any(state.names.public(model.name) == state.names.public(target) for model in state.manager.status()):
        await state.in_waiting_thread(state.manager.unload, target)
    settings = state.manager.settings
    local = await state.in_thread(partial(resolve, target, settings, download=False))
    freed = await state.in_waiting_thread(remove_model, local, settings)
    state.names.forget()
    return JSONResponse({"model": given, "freed": freed})


def _loaded(state: ServerState, target: str) -> LoadedRow:
    public = state.names.public(target)
    for row in loaded_rows(state):
        if row["name"] == public:
            return row
    raise RequestError(503, f"{public} was unloaded again already", "model_loading")
