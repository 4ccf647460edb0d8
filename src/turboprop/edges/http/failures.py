"""Errors as OpenAI's interface tells them, each with its status."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from turboprop import errors
from turboprop.edges.http.schemas import NOT_DONE
from turboprop.limits import OUT_OF_RANGE
from turboprop.printable import printable_message

if TYPE_CHECKING:
    from pydantic import ValidationError
    from starlette.requests import Request
    from starlette.responses import Response

    from turboprop.edges.http.state import ServerState

_log = logging.getLogger("turboprop.http")
_FIELD = re.compile(r"(?!(str|int|bool|float|none|dict|any)$)[a-z_$][A-Za-z0-9_]*")
"""Not what pydantic calls the members of a union: `str`, `list[TextPart]`, `function-after[...]`, `TextPart`."""
RETRY_AFTER = "2"
_MOST_ERRORS = 64
"""Pydantic makes all of its errors, 2.5 kB each, or none."""
_LONGEST_NAME = 100
# The most special class that fits counts: status, type, code.
_STATUS: dict[type[Exception], tuple[int, str, str | None]] = {
    errors.UsageError: (400, "invalid_request_error", None),
    errors.InputTooLongError: (400, "invalid_request_error", "context_length_exceeded"),
    errors.ModelUnsupportedError: (400, "invalid_request_error", "model_not_supported"),
    errors.ModelNotFoundError: (404, "not_found_error", "model_not_found"),
    errors.IndexNotFoundError: (404, "not_found_error", "index_not_found"),
    errors.IndexUntrustedError: (409, "conflict_error", "index_untrusted"),
    errors.IndexMismatchError: (409, "conflict_error", "index_mismatch"),
    errors.IndexBusyError: (409, "conflict_error", "index_busy"),
    errors.BusyError: (429, "rate_limit_error", "queue_full"),
    errors.ModelLoadingError: (503, "service_unavailable_error", "model_loading"),
    errors.EndpointError: (502, "server_error", "endpoint_failed"),
    errors.TurboPropError: (500, "server_error", None),
}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What a client is told. `param` names the field that is wrong, where one is."""

    status: int
    message: str
    type: str
    code: str | None = None
    param: str | None = None

    def body(self) -> dict[str, Any]:
        """The JSON object of an error."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def response(self, headers: Mapping[str, str] | None = None, shape: ErrorShape | None = None) -> Response:
        """The same as an answer, in the shape of another interface where one is given."""
        more = dict(headers or {})
        if self.status in (429, 503):
            more["Retry-After"] = RETRY_AFTER
        if self.status in (408, 413):
            more["Connection"] = "close"  # what is left of the body is not read
        return JSONResponse(shape.body(self) if shape else self.body(), self.status, more)


@dataclass(frozen=True, slots=True)
class ErrorShape:
    """How another interface tells errors: the JSON object of one, and the type that describes it."""

    body: Callable[[Failure], dict[str, Any]]
    answer: Any


class RequestError(Exception):
    """A request that is refused with the status given."""

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.failure = failure(status, message, code, param)


def failure(status: int, message: str, code: str | None = None, param: str | None = None) -> Failure:
    """A failure with the type that goes with its status."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return Failure(status, message, kind, code, param)


def failure_of(error: BaseException) -> Failure:
    """What an error means to a client; what nobody expected is logged and told without its details."""
    if isinstance(error, RequestError):
        return error.failure
    if isinstance(error, HTTPException):
        return failure(error.status_code, error.detail)
    for known in type(error).__mro__:
        if known in _STATUS:
            status, kind, code = _STATUS[known]
            if status == 500:
                _log.error("%s: %s", type(error).__name__, printable_message(str(error)))
            return Failure(status, str(error), kind, code)
    _log.error("unexpected %s", type(error).__name__, exc_info=error)
    return failure(500, "an unexpected error; the server's log has it")


def failure_of_fields(error: ValidationError) -> Failure:
    """What is wrong with the fields of a request."""
    if error.error_count() > _MOST_ERRORS:
        return failure(400, f"the body has {error.error_count()} fields that are wrong or unknown", "invalid_value")
    found = error.errors(include_url=False, include_input=False)
    # A value that fits no member of a union has an error of each; the one that got furthest names the part.
    rivals = [each for each in found if each["loc"][:1] == found[0]["loc"][:1]]
    first = max(rivals, key=lambda each: (each["type"] == NOT_DONE, len(_place(each["loc"]))))
    furthest = [each for each in rivals if len(_place(each["loc"])) == len(_place(first["loc"]))]
    same = [each for each in furthest if _place(each["loc"]) == _place(first["loc"])]
    name = ".".join(_common([_place(each["loc"]) for each in furthest]))
    if first["type"] == NOT_DONE:
        return failure(400, first["msg"], "unsupported_value", first["ctx"]["field"])
    if len(same) > 1 and first["type"] != OUT_OF_RANGE:
        wanted = list(dict.fromkeys(each["msg"].removeprefix("Input should be a valid ") for each in same))
        if all(each["msg"].startswith("Input should be a valid ") for each in same):
            return failure(400, f"{name}: Input should be a valid {' or '.join(wanted)}", "invalid_value", name)
    if first["type"] == "extra_forbidden":
        name = ".".join([*_place(first["loc"][:-1]), str(first["loc"][-1])[:_LONGEST_NAME]])
        return failure(400, f"there is no parameter {name!r}", "unknown_parameter", name)
    if first["type"] == "json_invalid":
        return failure(400, f"the body is no JSON: {first['msg']}", "invalid_json")
    whole = not name or first["type"] == OUT_OF_RANGE  # the sentence names what is wrong
    said = first["msg"] if whole else f"{name}: {first['msg']}"
    return failure(400, said, "invalid_value", name or None)


def _place(loc: tuple[int | str, ...]) -> list[str]:
    """Where a value stands. Of a union pydantic names the member tried, a type or a class; a client knows the field."""
    named = (part if isinstance(part, int) else part[:_LONGEST_NAME] for part in loc)
    return [str(part) for part in named if isinstance(part, int) or _FIELD.fullmatch(part)]


def _common(places: list[list[str]]) -> Iterator[str]:
    """What all places begin with."""
    for parts in zip(*places, strict=False):
        if len(set(parts)) > 1:
            return
        yield parts[0]


async def answer_error(request: Request, error: Exception) -> Response:
    """The handler of every error that leaves an endpoint."""
    headers = error.headers if isinstance(error, HTTPException) else None
    return told_to(request.app.state.server, error).response(headers)


def told_to(state: ServerState, error: BaseException) -> Failure:
    """The same without paths of this machine's models."""
    found = failure_of(error)
    return replace(found, message=state.names.without_paths(found.message))
