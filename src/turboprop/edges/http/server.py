"""Running the server: sockets, signals, the end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from turboprop.edges.http.app import create_app
from turboprop.edges.http.security import is_loopback
from turboprop.edges.http.state import ServerState
from turboprop.errors import TurboPropError, UsageError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import FrameType

    from starlette.types import ASGIApp


_log = logging.getLogger("turboprop.http")


class TimedProtocol(H11Protocol):
    """uvicorn waits for the head of a first request as long as the client likes; this one does not."""

    header_seconds = 20.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._no_head = self.loop.call_later(self.header_seconds, self._refuse_slow_head)

    def connection_lost(self, exc: Exception | None) -> None:
        self._no_head.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        between = self.cycle is None or self.cycle.response_complete
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._no_head.cancel()
        elif between and self._no_head.cancelled():
            # A later request on this connection has begun; its head has the same time.
            self._no_head = self.loop.call_later(self.header_seconds, self._refuse_slow_head)

    def _refuse_slow_head(self) -> None:
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()


class _Server(uvicorn.Server):
    """Tells the state when it is to end: streams that would go on for as long as a job does end then."""

    def __init__(self, config: uvicorn.Config, state: ServerState) -> None:
        super().__init__(config)
        self._state = state

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._state.ending = True
        super().handle_exit(sig, frame)
        if self.force_exit:  # a second Ctrl-C: what is cut off then is reported as if it had failed
            logging.getLogger("uvicorn.error").disabled = True


def bound_socket(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any. Raises `UsageError` where it cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # asyncio switches Nagle's algorithm off only where the protocol is named; with it every answer, whose head and
        # body are two writes, waits 40 ms for the client's delayed acknowledgement.
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise UsageError(f"there is no address {host!r} on this machine: {error}") from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(1_024)
    except OSError as error:
        made.close()
        raise UsageError(
            f"port {port} of {host} cannot be had ({error.strerror}): another server may have it; take --port"
        ) from error
    return made


def url_of(bound: socket.socket) -> str:
    """The address to open in a browser."""
    host, port = bound.getsockname()[:2]
    shown = "127.0.0.1" if host == "0.0.0.0" else "[::1]" if host == "::" else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"http://{shown}:{port}"


def make_server(
    state: ServerState,
    *,
    mounts: Mapping[str, ASGIApp] | None = None,
    lifespans: tuple[AbstractAsyncContextManager[Any], ...] = (),
) -> uvicorn.Server:
    """The server over a state, as it runs: its timeouts, its parser and no log of requests.

    Raises `UsageError` for options that are not safe, before anything listens.
    """
    app = create_app(state, mounts=mounts, lifespans=lifespans)
    app.middleware_stack = app.build_middleware_stack()
    limits = state.limits
    protocol = type("TimedProtocol", (TimedProtocol,), {"header_seconds": limits.header_seconds})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=limits.shutdown_seconds,
        h11_max_incomplete_event_size=65_536,
    )
    return _Server(config, state)


def serve(
    state: ServerState,
    *,
    told: Callable[[str], None] = _log.info,
    mounts: Mapping[str, ASGIApp] | None = None,
    lifespans: tuple[AbstractAsyncContextManager[Any], ...] = (),
) -> None:
    """Serve until SIGTERM or SIGINT, then let requests finish and close the state. `told` gets what a person should
    know, `mounts` and `lifespans` are as for `create_app`.

    Raises `UsageError` for an address that cannot be had and for a host beyond this machine without a key.
    """
    options = state.options
    server = make_server(state, mounts=mounts, lifespans=lifespans)
    bound = bound_socket(options.host, options.port)
    told(f"serving at {url_of(bound)}" + ("" if options.api_key else ", without a key") + "; end it with Ctrl-C")
    if not is_loopback(options.host):
        told("other machines can reach it, and the connection is not encrypted")
    load_at_start(state, told)

    def end(*_: object) -> None:
        server.should_exit = True  # of use before uvicorn has set handlers of its own

    # uvicorn raises the signal again when it is done, which would end the process with the signal's code.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        server.run(sockets=[bound])
    finally:
        bound.close()
        state.close()


def load_at_start(state: ServerState, told: Callable[[str], None]) -> None:
    """Load what the server was started with in the background, so that the first request does not wait for it."""

    def load() -> None:
        try:
            for name in state.names.started() or (state.names.embedding(),):
                state.manager.load(name, keep=True)
            state.ready = True
            told(f"ready; models may take {state.manager.budget / 1e9:.1f} GB of memory together")
        except TurboPropError as error:
            state.failed = str(error)
            told(f"a model cannot be loaded: {error}")

    threading.Thread(target=load, name="load at start", daemon=True).start()
