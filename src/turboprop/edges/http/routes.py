"""One row an endpoint: where it is, what answers it, and what the OpenAPI document says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from turboprop.edges.http.failures import ErrorShape

Handler = Callable[["Request"], Awaitable["Response"]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query or of the path. `schema` is JSON Schema."""

    name: str
    schema: dict[str, Any]
    required: bool = False
    place: Literal["query", "path"] = "query"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`body` is a pydantic class, `answer` a type that pydantic can describe; a `media` other than JSON has none.
    `statuses` are those of its errors besides the ones that every endpoint may give."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    handler: Handler
    summary: str
    body: type | None = None
    answer: Any = None
    media: str = "application/json"
    parameters: tuple[Parameter, ...] = ()
    statuses: tuple[int, ...] = ()
    streams: bool = False
    """With `"stream": true` it answers with server-sent events instead."""
    example: Any = None
    """Of its body."""
    shared: bool = False
    """Its handler answers at another path as well."""
    error: ErrorShape | None = None
    """Of an interface that tells errors otherwise than OpenAI's."""
