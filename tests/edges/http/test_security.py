"""Who may ask, how much, and what is never told."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from click.testing import CliRunner

from turboprop.edges.http.limits import Limits
from turboprop.edges.http.security import Guard, checked_origin
from turboprop.edges.http.server import bound_socket
from turboprop.edges.http.state import ServerOptions
from turboprop.errors import UsageError
from turboprop.serve import serve

KEY = "sk-this-is-the-secret-key"
ORIGIN = "http://localhost:3000"


@pytest.fixture(scope="module")
def keyed(start_server: Callable[..., Any]) -> Any:
    return start_server("--cors", ORIGIN, "--allow-host", "box.example", TP_API_KEY=KEY)


def raw(server: Any, data: bytes, *, wait: float | None = 10) -> bytes:
    """What the server answers to bytes, until it closes the connection."""
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=wait) as connection:
        connection.sendall(data)
        found = b""
        try:
            while part := connection.recv(65_536):
                found += part
        except (TimeoutError, ConnectionResetError):
            pass
        return found


def test_the_key_is_wanted_and_never_told(keyed: Any) -> None:
    with keyed.http() as client:
        for path in ("/v1/models", "/metrics", "/openapi.json", "/api/status", "/nothing"):
            refused = client.get(path)
            assert refused.status_code == 401
            assert refused.json()["error"]["type"] == "authentication_error"
            assert refused.headers["www-authenticate"] == "Bearer"
        for path in ("/", "/health", "/ready"):
            assert client.get(path).status_code == 200
        for header in (f"Basic {KEY}", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer", "Bearer a b", KEY):
            assert client.get("/v1/models", headers={"Authorization": header}).status_code == 401
        assert client.get("/v1/models", params={"api_key": KEY}).status_code == 401
        assert client.get("/v1/models", headers={"Authorization": f"bearer {KEY}"}).status_code == 200
    with pytest.raises(openai.AuthenticationError):
        keyed.client("wrong").models.list()
    assert keyed.client(KEY).models.list().data
    assert KEY not in "".join(keyed.log)


def test_a_key_sent_twice_is_no_key(keyed: Any) -> None:
    host = urlsplit(keyed.url).netloc
    lines = [f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close"]
    lines += [f"Authorization: Bearer {key}" for key in (KEY, "other")]
    assert b" 401 " in raw(keyed, ("\r\n".join(lines) + "\r\n\r\n").encode()).split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:80", 403),
        ("localhost@evil.example", 403),
        ("localhost:80:80", 403),
        ("[::1", 403),
        ("", 403),
        ("192.168.1.7", 403),
        ("localhost", 200),
        ("LOCALHOST:1234", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:9", 200),
        ("localhost.", 200),
        ("box.example:80", 200),
    ],
)
def test_the_host_is_this_machine(keyed: Any, host: str, status: int) -> None:
    answer = raw(keyed, f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert int(answer.split()[1]) == status


def test_no_host_or_two_are_refused(keyed: Any) -> None:
    assert b" 400 " in raw(keyed, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").split(b"\r\n")[0]
    two = b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert raw(keyed, two).split()[1] in (b"400", b"403")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3001"}, 403),
        ({"Origin": "https://localhost:3000"}, 403),
        ({"Origin": ORIGIN}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
    ],
)
def test_pages_of_other_sites_are_refused(keyed: Any, headers: dict[str, str], status: int) -> None:
    with keyed.http(KEY) as client:
        answer = client.get("/v1/models", headers=headers)
        assert answer.status_code == status
        allowed = answer.headers.get("access-control-allow-origin")
        assert allowed == (ORIGIN if headers.get("Origin") == ORIGIN else None)
        own = client.post("/v1/embeddings", json={"input": "x"}, headers={"Origin": keyed.url})
        assert own.status_code == 200


def test_preflight(keyed: Any) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    with keyed.http() as client:
        granted = client.options("/v1/completions", headers={**asked, "Origin": ORIGIN})
        assert granted.status_code == 200
        assert granted.headers["access-control-allow-origin"] == ORIGIN
        assert "Authorization" in granted.headers["access-control-allow-headers"]
        refused = client.options("/v1/completions", headers={**asked, "Origin": "https://evil.example"})
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers


def test_every_answer_carries_its_policy(keyed: Any) -> None:
    with keyed.http(KEY) as client:
        for answer in (client.get("/"), client.get("/v1/models"), client.get("/nothing"), client.post("/")):
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'")
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "server" not in answer.headers


def test_too_large_a_body_is_413(keyed: Any) -> None:
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
    told = raw(keyed, f"{head}Content-Length: {10**12}\r\n\r\n".encode() + b"x" * 1000)
    assert told.split()[1] == b"413"
    with keyed.http(KEY) as client:

        def pieces() -> Any:
            for _ in range(40):
                yield b" " * 1_000_000

        with contextlib.suppress(httpx.WriteError):  # the server may hang up on what it does not want to read
            assert client.post("/v1/embeddings", content=pieces()).status_code == 413
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET " + b"/" * 1_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: local\x00host\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["tls", "version", "empty", "path", "header", "length", "lengths", "chunk", "nul", "bytes"],
)
def test_what_is_no_http_ends_the_connection(keyed: Any, data: bytes) -> None:
    answer = raw(keyed, data, wait=3)
    assert answer == b"" or answer.split()[1] in (b"400", b"403", b"404", b"405", b"431")
    with keyed.http() as client:
        assert client.get("/health").status_code == 200


def test_other_machines_need_a_key() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.7", "example.org"):
        with pytest.raises(UsageError, match="API key"):
            Guard(None, ServerOptions(host=host))
        Guard(None, ServerOptions(host=host, api_key="x"))
    for host in ("127.0.0.1", "localhost", "::1", "127.8.9.1"):
        Guard(None, ServerOptions(host=host))
    with pytest.raises(UsageError, match="empty"):
        Guard(None, ServerOptions(api_key=" "))
    done = CliRunner().invoke(serve, ["--host", "0.0.0.0", "--port", "0"])
    assert isinstance(done.exception, UsageError)


@pytest.mark.parametrize("origin", ["*", "null", "localhost:3000", "ftp://x", "http://", "http://x/path", "http://x?y"])
def test_an_origin_is_a_scheme_and_a_host(origin: str) -> None:
    with pytest.raises(UsageError, match="--cors"):
        checked_origin(origin)


def test_slow_heads_and_bodies_are_let_go(start_limited: Callable[[Limits], Any]) -> None:
    server = start_limited(Limits(header_seconds=0.3, body_seconds=0.3))
    assert raw(server, b"GET /health HT", wait=None) == b""
    late = raw(server, b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
    assert late.split()[1] == b"408"
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=None) as kept:
        kept.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in kept.recv(65_536)
        kept.sendall(b"GET /hea")
        while kept.recv(65_536):
            pass


def test_a_full_server_is_429_and_still_healthy(start_limited: Callable[[Limits], Any]) -> None:
    server = start_limited(Limits(requests=1))
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port)) as waiting:
        waiting.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
        while server.state.running == 0:
            time.sleep(0.01)
        refused = httpx.post(f"{server.url}/v1/embeddings", json={"input": "x"})
        assert refused.status_code == 429
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert int(refused.headers["retry-after"]) > 0
        assert httpx.get(f"{server.url}/health").status_code == 200
    while server.state.running:
        time.sleep(0.01)
    assert httpx.post(f"{server.url}/v1/embeddings", json={"input": "x"}, timeout=60).status_code == 200


def test_a_model_that_is_being_loaded_is_503(
    start_limited: Callable[[Limits], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from turboprop import EmbeddingModel

    load = EmbeddingModel.load.__func__

    def slow(cls: Any, *given: Any, **more: Any) -> Any:
        while not loaded:
            time.sleep(0.01)
        return load(cls, *given, **more)

    loaded: list[bool] = []
    monkeypatch.setattr(EmbeddingModel, "load", classmethod(slow))
    server = start_limited(Limits(load_seconds=0.05))
    assert httpx.get(f"{server.url}/ready").status_code == 503
    answer = httpx.post(f"{server.url}/v1/embeddings", json={"input": "x"}, timeout=60)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "model_loading"
    assert int(answer.headers["retry-after"]) > 0
    loaded.append(True)
    while httpx.get(f"{server.url}/ready").status_code != 200:
        time.sleep(0.02)
    assert httpx.post(f"{server.url}/v1/embeddings", json={"input": "x"}, timeout=60).status_code == 200


def test_small_answers_are_sent_at_once() -> None:
    with bound_socket("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP  # what asyncio asks for before it sets TCP_NODELAY


def test_what_is_mounted_is_behind_the_same_guards(start_limited: Callable[..., Any]) -> None:
    from starlette.responses import PlainTextResponse

    server = start_limited(Limits(body_bytes=100), {"/mcp": PlainTextResponse("mounted")}, api_key=KEY)
    key = {"Authorization": f"Bearer {KEY}"}
    assert httpx.get(f"{server.url}/mcp", headers=key).text == "mounted"
    assert httpx.get(f"{server.url}/mcp").status_code == 401
    assert httpx.get(f"{server.url}/mcp", headers={**key, "Host": "evil.example"}).status_code == 403
    assert httpx.get(f"{server.url}/mcp", headers={**key, "Origin": "https://evil.example"}).status_code == 403
    assert httpx.post(f"{server.url}/mcp", headers=key, content=b"x" * 101).status_code == 413


def test_errors_are_json_whatever_fails(keyed: Any) -> None:
    with keyed.http(KEY) as client:
        for answer in (client.get("/nothing"), client.put("/health"), client.post("/v1/embeddings", content=b"{")):
            assert set(json.loads(answer.text)["error"]) == {"message", "type", "param", "code"}
