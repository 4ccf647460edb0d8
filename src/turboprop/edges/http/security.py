"""Who may ask: Host and Origin (DNS rebinding, other sites' pages), the user, the key, and the headers of every answer.

A page of another site can make a browser send requests here, and a name that its owner points at 127.0.0.1 makes
this server part of that site. So the Host must be a name of this machine, and an Origin must be the server's own or
one that was allowed; neither can be set by a page. That holds for the server's own user all the more: it is that
user's browser which is made to ask.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from turboprop.edges.http.failures import Failure, failure
from turboprop.edges.http.protocol import OWN_USER
from turboprop.errors import UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from turboprop.edges.http.state import ServerOptions

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
OPEN_PATHS = frozenset({"/", "/health", "/ready", "/favicon.ico"})
"""What needs no key: the page itself, which asks for one, and whether the server lives."""
_OPEN_PREFIX = "/assets/"
_FORWARDED = frozenset([b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip"])
_FORWARDED_PREFIXES = (b"x-forwarded-", b"x-original-", b"x-envoy-", b"cf-connecting-", b"tailscale-")
"""What proxies add: the request is that of somebody behind the proxy, whoever runs it."""
_METHODS = "GET, POST, DELETE, OPTIONS"
_EVERY_ANSWER = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode("ascii")),
]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def checked_origin(origin: str) -> str:
    """An origin as browsers write it. Raises `UsageError` for anything else, `*` included."""
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise UsageError(f"--cors takes an origin such as http://localhost:3000, not {origin!r}")
    return f"{parts.scheme}://{parts.netloc}".lower()


class Guard:
    """ASGI middleware, the outermost. Raises `UsageError` for a host beyond this machine without a key of its own."""

    def __init__(self, app: ASGIApp, options: ServerOptions) -> None:
        if not is_loopback(options.host) and not options.api_key:
            raise UsageError(
                f"--host {options.host} can be reached from other machines: give an API key with --api-key or "
                "TP_API_KEY, or leave --host away"
            )
        if options.api_key is not None and not options.api_key.strip():
            raise UsageError("the API key is empty; leave --api-key away, and the server makes one")
        if options.api_key is not None and options.no_key:
            raise UsageError("there is an API key (--api-key or TP_API_KEY) and --no-key; leave one of them away")
        self._app = app
        self._loopback = is_loopback(options.host)
        self._origins = frozenset(checked_origin(origin) for origin in options.cors)
        own = {options.host.strip("[]").lower(), *(name.lower() for name in options.allowed_hosts)}
        if not self._loopback:
            own |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self._hosts = LOOPBACK_NAMES | own
        # Digests have one length, whatever the key's.
        self._key = None if options.no_key else _digest((options.api_key or options.start_key).encode())
        self._trusts_own_user = options.trusts_own_user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = _single_headers(scope)
        origin = headers.get(b"origin")
        allowed = self._allowed_origin(origin, headers, scope)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                cors = _cors_headers(origin) if origin is not None and allowed == "cors" else []
                message = {**message, "headers": [*message.get("headers", []), *_EVERY_ANSWER, *cors]}
            await send(message)

        refused = self._refusal(headers, allowed)
        if refused is not None:
            await refused.response({"Vary": "Origin"})(scope, receive, with_headers)
        elif scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await _answer_preflight(with_headers)
        elif self._needs_key(scope, headers) and not self._has_key(headers):
            unknown = failure(401, self._wanted(), "invalid_api_key")
            await unknown.response({"WWW-Authenticate": "Bearer"})(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)

    def _refusal(self, headers: dict[bytes, bytes | None], allowed: str | None) -> Failure | None:
        host = headers.get(b"host")
        if host is None or not self._is_own_host(host):
            return failure(403, "the Host header names another machine; --allow-host NAME allows one", "wrong_host")
        if allowed is None:
            return failure(403, "requests from this origin are not allowed; --cors ORIGIN allows one", "wrong_origin")
        return None

    def _is_own_host(self, host: bytes) -> bool:
        name = _host_name(host)
        if name is None:
            return False
        # A server for other machines is reached by any of its addresses; an address cannot be rebound.
        return name in self._hosts or (not self._loopback and _is_address(name))

    def _allowed_origin(self, origin: bytes | None, headers: dict[bytes, bytes | None], scope: Scope) -> str | None:
        """`own`, `cors`, or None where a page of another site asks."""
        if origin is None:
            if b"origin" in headers:
                return None  # sent twice
            # A browser that sends no Origin (for images, scripts) still says when another site asked.
            site = headers.get(b"sec-fetch-site", b"none")
            navigation = headers.get(b"sec-fetch-mode") == b"navigate" and scope["method"] == "GET"
            return "own" if site in (b"none", b"same-origin") or navigation else None
        text = origin.decode("latin-1").lower()
        host = headers.get(b"host")
        if host is not None and text in (
            f"{scheme}://{host.decode('latin-1').lower()}" for scheme in ("http", "https")
        ):
            return "own"
        return "cors" if text in self._origins else None

    def _needs_key(self, scope: Scope, headers: dict[bytes, bytes | None]) -> bool:
        path = scope["path"]
        if self._key is None or path in OPEN_PATHS or path.startswith(_OPEN_PREFIX):
            return False
        own = self._trusts_own_user and scope.get("state", {}).get(OWN_USER) is True
        return not own or any(name in _FORWARDED or name.startswith(_FORWARDED_PREFIXES) for name in headers)

    def _wanted(self) -> str:
        if self._trusts_own_user:
            return (
                "this server answers its own user alone; others, and requests that a proxy forwards, need the key of "
                "the link that `tp serve` printed: Authorization: Bearer KEY"
            )
        return "this server wants its API key: Authorization: Bearer KEY"

    def _has_key(self, headers: dict[bytes, bytes | None]) -> bool:
        scheme, _, given = (headers.get(b"authorization") or b"").partition(b" ")
        if scheme.lower() != b"bearer":  # Anthropic's clients
            given = headers.get(b"x-api-key") or b""
        return hmac.compare_digest(_digest(given.strip()), self._key or b"")


def _single_headers(scope: Scope) -> dict[bytes, bytes | None]:
    """Headers by name; None for one that came twice, which is how caches and guards are made to disagree."""
    found: dict[bytes, bytes | None] = {}
    for name, value in scope["headers"]:
        found[name] = None if name in found else value
    return found


def _host_name(host: bytes) -> str | None:
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        return name if bracket and (not rest or (rest[0] == ":" and rest[1:].isdecimal())) else None
    name, colon, port = text.partition(":")
    return name.removesuffix(".") if name and (not colon or port.isdecimal()) else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _cors_headers(origin: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]


async def _answer_preflight(send: Send) -> None:
    headers = [
        (b"access-control-allow-methods", _METHODS.encode()),
        (b"access-control-allow-headers", b"Authorization, Content-Type, X-Api-Key"),
        (b"access-control-max-age", b"600"),
        (b"content-length", b"0"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
