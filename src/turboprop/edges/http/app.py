"""The ASGI application: endpoints, guards around them, and what is mounted beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from turboprop.edges.http.endpoints import ENDPOINTS
from turboprop.edges.http.failures import ErrorShape, RequestError, answer_error, told_to
from turboprop.edges.http.gate import Gate
from turboprop.edges.http.openapi import document
from turboprop.edges.http.security import Guard
from turboprop.edges.http.state import ServerState
from turboprop.edges.http.system import Page

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from turboprop.edges.http.routes import Endpoint, Handler


def create_app(
    state: ServerState,
    *,
    mounts: Mapping[str, ASGIApp] | None = None,
    lifespans: tuple[AbstractAsyncContextManager[Any], ...] = (),
) -> Starlette:
    """The application over a server's state.

    `mounts` are ASGI applications by path (`{"/mcp": app}`), which see the whole path, behind the same guards;
    `lifespans` are entered while the server runs, for applications that want one.
    """
    page = Page()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:  # noqa: ARG001
        async with AsyncExitStack() as stack:
            for each in lifespans:
                await stack.enter_async_context(each)
            yield

    routes = [
        *_routes(ENDPOINTS),
        Route("/", page.index, methods=["GET"]),
        Route("/assets/{name:path}", page.asset, methods=["GET"]),
        *(Route(path, app) for path, app in (mounts or {}).items()),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, options=state.options), Middleware(Gate, state=state)],
        exception_handlers={RequestError: answer_error, HTTPException: answer_error, Exception: answer_error},
        lifespan=lifespan,
    )
    app.state.server = state
    app.state.openapi = document(ENDPOINTS, with_key=state.options.api_key is not None)
    return app


def _routes(endpoints: Sequence[Endpoint]) -> list[Route]:
    """One route a path, so that a wrong method is answered with all that there are."""
    by_path: dict[str, dict[str, Handler]] = {}
    for each in endpoints:
        handler = each.handler if each.error is None else _told_as(each.handler, each.error)
        by_path.setdefault(each.path, {})[each.method] = handler
    return [Route(path, _dispatched(handlers), methods=list(handlers)) for path, handlers in by_path.items()]


def _told_as(handler: Handler, shape: ErrorShape) -> Handler:
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except ClientDisconnect:
            raise
        except Exception as error:
            return told_to(request.app.state.server, error).response(shape=shape)

    return answer


def _dispatched(handlers: Mapping[str, Handler]) -> Handler:
    async def answer(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return answer
