"""Running the server: sockets, signals, the end."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import uvicorn

from turboprop.edges.http.app import create_app
from turboprop.edges.http.key_file import KeyFile
from turboprop.edges.http.peer import can_tell
from turboprop.edges.http.protocol import ServerProtocol
from turboprop.edges.http.security import is_loopback
from turboprop.edges.http.state import ServerOptions, ServerState
from turboprop.errors import TurboPropError, UsageError
from turboprop.printable import printable_name

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from types import FrameType

    from starlette.types import ASGIApp


_log = logging.getLogger("turboprop.http")


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
    protocol = type("Protocol", (ServerProtocol,), {"limits": limits, "tell_user": state.options.trusts_own_user})
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
    url = url_of(bound)
    kept = KeyFile(state.manager.settings.cache_home, url)

    def end(*_: object) -> None:
        server.should_exit = True  # of use before uvicorn has set handlers of its own

    # uvicorn raises the signal again when it is done, which would end the process with the signal's code.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, end)  # the terminal was closed, and `nohup` was not used
    try:
        is_kept = options.trusts_own_user and kept.write(options.start_key)
        told(f"serving at {url}; end it with Ctrl-C")
        for repository in state.workspace:
            told(f"searches in {printable_name(str(repository.root))}")
        for said in _who_is_served(options, url):
            told(said)
        if options.trusts_own_user and not is_kept:
            told(f"the key cannot be kept in {kept.path}; it stands in the link alone")
        load_at_start(state, told)
        server.run(sockets=[bound])
    finally:
        bound.close()
        kept.remove()
        state.close()


def _who_is_served(options: ServerOptions, url: str) -> Iterator[str]:
    """Who needs which key, in words."""
    if not is_loopback(options.host):
        yield "other machines can reach it, and the connection is not encrypted"
    if options.api_key is not None:
        yield "every request needs the API key"
    elif options.no_key:
        yield (
            "without a key: every user and container of this machine can read the repositories it serves, "
            "download models as you and delete them"
        )
    else:
        who = "your own programs need no key, others need" if can_tell() else "every request needs"
        yield f"{who} the one in this link:\n{url}/#key={options.start_key}"


def load_at_start(state: ServerState, told: Callable[[str], None]) -> None:
    """Load what the server was started with in the background, so that the first request does not wait for it."""

    def load() -> None:
        try:
            for name in state.names.started() or (state.names.embedding(),):
                state.manager.load(name, keep=True)
            state.ready = True
            told(f"ready; models may take {sum(state.manager.budgets.values()) / 1e9:.1f} GB of memory together")
        except TurboPropError as error:
            state.failed = str(error)
            told(f"a model cannot be loaded: {error}")

    threading.Thread(target=load, name="load at start", daemon=True).start()
