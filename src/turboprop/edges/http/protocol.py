"""One connection: whose it is, how long its requests may take, and which of them are one request to everybody.

A proxy or a filter in front of the server may read a head otherwise than the server does where the standard leaves
room: then what it took for a body is a request of its own (request smuggling). So a head is taken in one form only.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from turboprop.edges.http.failures import failure
from turboprop.edges.http.peer import user_of

if TYPE_CHECKING:
    from turboprop.edges.http.limits import Limits

OWN_USER = "own_user"
"""In a scope's `state`: whether a process of the server's own user is at the other end."""
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LENGTH = re.compile(rb"^content-length:(.*)$", re.IGNORECASE | re.MULTILINE)
_CODING = re.compile(rb"^transfer-encoding:", re.IGNORECASE | re.MULTILINE)

_BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
)


def wrong_with_head(head: bytes) -> str | None:
    """What is wrong with the head of a request, the empty line at its end included; None for a sound one.

    h11, which parses it as well, refuses what no reader takes. This refuses what readers take differently
    (RFC 9112, 2.2, 3.2, 5.2, 6.1 and 6.3).
    """
    if head.count(b"\n") != head.count(b"\r\n") or head.count(b"\r") != head.count(b"\r\n"):
        return "a line of the head does not end with CR LF"
    if _CONTROL.search(head):
        return "the head has control characters"
    if b"\r\n " in head or b"\r\n\t" in head:
        return "a header goes on in the next line"
    lengths = _LENGTH.findall(head)
    if len(lengths) > 1 or b"," in b"".join(lengths):
        return "there are several values of Content-Length"
    method, target, version = (*head.partition(b"\r\n")[0].split(b" "), b"", b"", b"")[:3]
    if _CODING.search(head):
        if lengths:
            return "there are both Content-Length and Transfer-Encoding"
        if version == b"HTTP/1.0":
            return "HTTP/1.0 has no Transfer-Encoding"
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        return "the version is neither HTTP/1.1 nor HTTP/1.0"
    if not target.startswith(b"/") and (method, target) != (b"OPTIONS", b"*"):
        return "the address does not begin with /, as it does for all but proxies"
    return None


class StrictConnection(h11.Connection):
    """h11's parser, with heads that are taken in one form only. `wrong` is what the last refusal was for."""

    wrong: str | None = None

    def next_event(self) -> Any:
        """As h11's. Raises `h11.RemoteProtocolError`."""
        waiting = self.trailing_data[0] if self.their_state is h11.IDLE else b""
        event = super().next_event()
        if isinstance(event, h11.Request):
            head = waiting[: len(waiting) - len(self.trailing_data[0])]
            self.wrong = wrong_with_head(head)
            if self.wrong is not None:
                raise h11.RemoteProtocolError(self.wrong)
        return event


class ServerProtocol(H11Protocol):
    """uvicorn's protocol over `StrictConnection`. It asks for the user at the other end, once, and waits for no head,
    and for the rest of no body that was answered already, as long as the client likes."""

    conn: StrictConnection
    limits: Limits
    tell_user: bool

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.conn = StrictConnection(h11.SERVER, self.config.h11_max_incomplete_event_size or 65_536)
        self._rest: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        user = user_of(transport.get_extra_info("socket")) if self.tell_user else None
        self.app_state = {**self.app_state, OWN_USER: user is not None and user == os.geteuid()}
        self._no_head = self.loop.call_later(self.limits.header_seconds, self._refuse_slow_head)

    def connection_lost(self, exc: Exception | None) -> None:
        self._no_head.cancel()
        self._end_of_rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        between = self.cycle is None or self.cycle.response_complete
        super().data_received(data)
        if self._rest is not None and self.conn.their_state is not h11.SEND_BODY:
            self._end_of_rest()
        if self.cycle is not None and not self.cycle.response_complete:
            self._no_head.cancel()
        elif between and self._no_head.cancelled():
            # A later request on this connection has begun; its head has the same time.
            self._no_head = self.loop.call_later(self.limits.header_seconds, self._refuse_slow_head)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            # Closing at once would reset the connection, and a client that still sends would not see the answer.
            self._rest = self.loop.call_later(self.limits.rest_seconds, self.transport.close)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Answer what is no request, where an answer can still be begun, and hang up."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            why = f": {self.conn.wrong}" if self.conn.wrong else ""
            body = json.dumps(failure(400, f"this is no sound HTTP request{why}", "bad_http").body()).encode("ascii")
            # Not through h11, which takes no body where the method was HEAD; nothing follows on this connection.
            self.transport.write(_BAD_REQUEST % (len(body), body))
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _end_of_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _refuse_slow_head(self) -> None:
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
