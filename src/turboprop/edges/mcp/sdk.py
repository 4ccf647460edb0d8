"""The official SDK, whichever is installed: 1.x registers handlers by the type of a request, 2.x by its method.

Above this file requests and results are dictionaries as the protocol writes them, so they are the same for both.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import anyio

from turboprop import __version__

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

Answer = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Method and parameters to the result. Raises `RequestError`."""
INVALID_PARAMS = -32602
NOT_FOUND = -32002
"""JSON-RPC's code for wrong parameters, and the protocol's for a resource that is not there."""
_REQUESTS = {
    "tools/list": ("ListToolsRequest", "ListToolsResult", "PaginatedRequestParams"),
    "tools/call": ("CallToolRequest", "CallToolResult", "CallToolRequestParams"),
    "resources/list": ("ListResourcesRequest", "ListResourcesResult", "PaginatedRequestParams"),
    "resources/templates/list": (
        "ListResourceTemplatesRequest",
        "ListResourceTemplatesResult",
        "PaginatedRequestParams",
    ),
    "resources/read": ("ReadResourceRequest", "ReadResourceResult", "ReadResourceRequestParams"),
    "prompts/list": ("ListPromptsRequest", "ListPromptsResult", "PaginatedRequestParams"),
    "prompts/get": ("GetPromptRequest", "GetPromptResult", "GetPromptRequestParams"),
}


class RequestError(Exception):
    """A request that is answered by an error of the protocol."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def protocol_server(name: str, title: str, instructions: str, answer: Answer) -> Any:
    """A server of the installed SDK that answers every request by `answer`."""
    if _major() >= 2:
        return _of_2(name, title, instructions, answer)
    return _of_1(name, instructions, answer)


async def run_stdio(server: Any) -> None:
    """Serve on standard input and output until the client leaves."""
    from mcp.server.stdio import stdio_server

    logging.getLogger("mcp").setLevel(logging.WARNING)  # 1.x tells of every request on standard error
    # 1.x closes the streams that it reads and writes; the command line still flushes its own at the end.
    own = [_duplicate(sys.stdin.fileno(), "r"), _duplicate(sys.stdout.fileno(), "w")] if _major() < 2 else []
    async with stdio_server(*own) as (read, write):
        await server.run(read, write, server.create_initialization_options())


def http_app(server: Any, path: str, hosts: list[str], origins: list[str], most_bytes: int) -> Starlette:
    """An ASGI application that serves streamable HTTP at `path` for these hosts and origins."""
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.server.transport_security import TransportSecuritySettings
    from starlette.applications import Starlette
    from starlette.routing import Route

    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins
    )
    limited = "max_request_body_size" in inspect.signature(StreamableHTTPSessionManager).parameters
    more: Any = {"max_request_body_size": most_bytes} if limited else {}
    manager = StreamableHTTPSessionManager(app=server, security_settings=security, **more)

    class Served:
        """A class, as starlette would take a function for an endpoint of its own kind."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if not limited and (refused := _refused_by_length(scope, most_bytes)):
                await refused(scope, receive, send)
            else:
                await manager.handle_request(scope, receive, send)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with manager.run():
            yield

    return Starlette(routes=[Route(path, endpoint=Served())], lifespan=lifespan)


def _major() -> int:
    return int(version("mcp").split(".")[0])


def _duplicate(number: int, mode: str) -> Any:
    return anyio.wrap_file(open(os.dup(number), mode, encoding="utf-8"))


def _refused_by_length(scope: Scope, most_bytes: int) -> Response | None:
    """What refuses a body that may be too large, for an SDK that takes any."""
    from starlette.responses import PlainTextResponse

    length = dict(scope["headers"]).get(b"content-length", b"0" if scope["method"] != "POST" else b"")
    if not length.isdigit():
        return PlainTextResponse("say the Content-Length", 411)
    return PlainTextResponse("the request is too large", 413) if int(length) > most_bytes else None


def _of_1(name: str, instructions: str, answer: Answer) -> Any:
    import mcp.types
    from mcp.server.lowlevel import Server
    from mcp.shared import exceptions

    types: Any = mcp.types
    error_type: Any = exceptions.McpError  # type: ignore[attr-defined,unused-ignore]
    server: Any = Server(name, version=__version__, instructions=instructions)

    def handler(method: str, result: Any) -> Any:
        async def handle(request: Any) -> Any:
            params = request.params.model_dump(mode="json", by_alias=True) if request.params else {}
            try:
                return types.ServerResult(result.model_validate(await answer(method, params)))
            except RequestError as error:
                raise error_type(types.ErrorData(code=error.code, message=str(error))) from None

        return handle

    for method, (request, result, _) in _REQUESTS.items():
        server.request_handlers[getattr(types, request)] = handler(method, getattr(types, result))
    return server


def _of_2(name: str, title: str, instructions: str, answer: Answer) -> Any:
    import mcp_types
    from mcp.server.lowlevel import Server
    from mcp.shared.exceptions import MCPError

    types: Any = mcp_types
    server: Any = Server(name, version=__version__, title=title, instructions=instructions)

    def handler(method: str, result: Any) -> Any:
        async def handle(_: Any, params: Any) -> Any:
            written = params.model_dump(mode="json", by_alias=True) if params is not None else {}
            try:
                return result.model_validate(await answer(method, written))
            except RequestError as error:
                raise MCPError(error.code, str(error)) from None

        return handle

    for method, (_, result, params) in _REQUESTS.items():
        server.add_request_handler(method, getattr(types, params), handler(method, getattr(types, result)))
    return server
