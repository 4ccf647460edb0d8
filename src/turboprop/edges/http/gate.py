"""The limits of a request on its way in, and what the metrics know of it on its way out."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from turboprop.edges.http.failures import RequestError, failure, told_to

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from turboprop.edges.http.state import ServerState

_FREE = ("/", "/health", "/ready", "/metrics")
"""What is answered however much is at work."""


class Gate:
    """ASGI middleware behind the guard."""

    def __init__(self, app: ASGIApp, state: ServerState) -> None:
        self._app = app
        self._state = state
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                told = [(name.encode(), text.encode()) for name, text in scope.get("told", {}).items()]
                message = {**message, "headers": [*message.get("headers", []), *told]}
            await send(message)

        counted = scope["path"] not in _FREE
        self._running += counted
        self._state.running = self._running
        try:
            await self._admit(scope, receive, observed, counted)
        finally:
            self._running -= counted
            self._state.running = self._running
            # The pattern of the route; what a client made up is one label.
            route = scope.get("route")
            path = getattr(route, "path", None) or "other"
            metrics = self._state.metrics
            metrics.count("tp_requests_total", method=_method(scope), path=path, status=str(status))
            metrics.time("tp_request_seconds", time.perf_counter() - started, path=path)

    async def _admit(self, scope: Scope, receive: Receive, send: Send, counted: bool) -> None:
        limits = self._state.limits
        if counted and self._running > limits.requests:
            full = failure(429, f"{limits.requests} requests are at work or wait; try again", "queue_full")
            await full.response()(scope, receive, send)
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > limits.body_bytes:
            await _too_large(limits.body_bytes).failure.response()(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, self._bounded(receive), watched)
        except ClientDisconnect:
            return
        except Exception as error:
            found = told_to(self._state, error)
            if begun:  # half an answer cannot be taken back; the connection is closed
                raise
            await found.response()(scope, receive, send)

    def _bounded(self, receive: Receive) -> Receive:
        """`receive` that refuses a body which is too long, or takes too long."""
        limits = self._state.limits
        seen = 0
        whole = False
        deadline = time.monotonic() + limits.body_seconds

        async def bounded() -> Message:
            nonlocal seen, whole
            if whole:  # what comes now is the client's leaving, however late
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                late = f"the body did not arrive within {limits.body_seconds:g} s"
                raise RequestError(408, late, "body_timeout") from None
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if seen > limits.body_bytes:
                    raise _too_large(limits.body_bytes)
            return message

        return bounded


def _too_large(most: int) -> RequestError:
    return RequestError(413, f"the body is larger than {most} bytes", "body_too_large")


def _method(scope: Scope) -> str:
    method = str(scope["method"])
    return method if method in ("GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT", "PATCH") else "other"
