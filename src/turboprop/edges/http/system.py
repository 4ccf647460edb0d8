"""Whether the server lives, what it does, and the page."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, PlainTextResponse, Response
from typing_extensions import TypedDict

from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.metrics import CONTENT_TYPE
from turboprop.edges.http.state import state_of
from turboprop.machine import peak_resident_bytes, resident_bytes

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from starlette.requests import Request

_MINIMAL = (
    b"<!doctype html><html lang=en><meta charset=utf-8><title>TurboProp</title><h1>TurboProp</h1>"
    b"<p>The server runs. Its interface is described in <a href=/openapi.json>/openapi.json</a>."
)
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}


class HealthAnswer(TypedDict):
    status: str


async def health(request: Request) -> Response:  # noqa: ARG001
    """Whether the server answers at all."""
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """Whether the models that it was started with are loaded."""
    state = state_of(request)
    if state.failed is not None:
        raise RequestError(503, state.failed, "model_failed")
    if not state.ready:
        raise RequestError(503, "the models are being loaded", "model_loading")
    return JSONResponse({"status": "ready"})


async def metrics(request: Request) -> Response:
    """Counts, times and gauges for Prometheus."""
    state = state_of(request)
    models = state.manager.status()
    gauges = [
        ("tp_requests_running", {}, float(state.running)),
        ("tp_generations_running", {}, float(state.generations.used)),
        ("tp_generations_waiting", {}, float(state.generations.waiting)),
        ("tp_embedding_tokens_waiting", {}, float(state.manager.waiting_tokens())),
        *_by_device("tp_models_memory_budget_bytes", state.manager.budgets),
        *_by_device("tp_models_memory_reserved_bytes", state.manager.reserved),
        ("tp_process_resident_bytes", {}, float(resident_bytes() or peak_resident_bytes() or 0)),
        *(
            ("tp_model_loaded", {"model": state.names.public(model.name), "kind": model.kind}, 1.0)
            for model in models
            if model.state == "loaded"
        ),
    ]
    return PlainTextResponse(state.metrics.text(gauges), media_type=CONTENT_TYPE)


def _by_device(name: str, values: Mapping[str, int]) -> list[tuple[str, dict[str, str], float]]:
    return [(name, {"device": device}, float(value)) for device, value in values.items()]


async def openapi(request: Request) -> Response:
    """This document."""
    return JSONResponse(request.app.state.openapi)


class Page:
    """The files of the page, read once: what is not there cannot be asked for, whatever the path says."""

    def __init__(self) -> None:
        folder = resources.files("turboprop.edges").joinpath("web")
        index = folder.joinpath("index.html")
        self._index = index.read_bytes() if index.is_file() else _MINIMAL
        assets = folder.joinpath("assets")
        self._files = dict(_files(assets, "")) if assets.is_dir() else {}

    async def index(self, request: Request) -> Response:  # noqa: ARG002
        """The page."""
        return Response(self._index, media_type="text/html", headers={"Cache-Control": "no-cache"})

    async def asset(self, request: Request) -> Response:
        """A file of the page."""
        name = request.path_params["name"]
        if name not in self._files:
            raise RequestError(404, "there is no such file")
        suffix = "." + name.rpartition(".")[2]
        kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(self._files[name], media_type=kind, headers={"Cache-Control": "no-cache"})


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        elif not entry.name.endswith((".py", ".pyc")):
            yield f"{prefix}{entry.name}", entry.read_bytes()
