"""`GET /v1/models`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from starlette.responses import JSONResponse
from typing_extensions import TypedDict

from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.state import state_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from turboprop.edges.http.names import ServedModel

_CREATED = int(time.time())


class ModelRow(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    meta: dict[str, Any]


class ModelList(TypedDict):
    object: Literal["list"]
    data: list[ModelRow]


async def list_models(request: Request) -> Response:
    """What is installed, the default embedding model first."""
    state = state_of(request)
    listed = await state.in_thread(state.names.listed)
    return JSONResponse({"object": "list", "data": [_row(model) for model in listed]})


async def retrieve_model(request: Request) -> Response:
    """One of them."""
    state = state_of(request)
    wanted = request.path_params["model"]
    target = await state.in_thread(state.names.any, wanted)
    for model in await state.in_thread(state.names.listed):
        if target in (model.name, model.target):
            return JSONResponse(_row(model))
    raise RequestError(404, f"the model {wanted!r} does not exist here", "model_not_found", "model")


def _row(model: ServedModel) -> ModelRow:
    return {
        "id": model.name,
        "object": "model",
        "created": _CREATED,
        "owned_by": "turboprop",
        "meta": {"kind": model.kind, **({"context": model.context} if model.context else {})},
    }
