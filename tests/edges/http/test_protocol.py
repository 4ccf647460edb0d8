"""What a connection carries is one request to everybody, and is not waited for as long as its client likes."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import h11
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.edges.http.limits import Limits
from turboprop.edges.http.protocol import StrictConnection, wrong_with_head

BODY = b'{"input": "hello"}'
HEAD = b"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
SECOND = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


def connect(server: Any) -> socket.socket:
    place = urlsplit(server.url)
    return socket.create_connection((place.hostname, place.port), timeout=60)


def everything(connection: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    found = b""
    try:
        while part := connection.recv(65_536):
            found += part
    except ConnectionResetError:  # it was closed while bytes were on their way to it
        pass
    return found


def said(server: Any, data: bytes) -> bytes:
    with connect(server) as connection:
        connection.sendall(data)
        return everything(connection)


def one(connection: socket.socket) -> int:
    """The status of the next answer, read to its end."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += connection.recv(65_536)
    head, _, body = found.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    while len(body) < int(length[1]):
        body += connection.recv(65_536)
    return int(head.split()[1])


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def test_sound_requests_are_answered_in_turn(server: Any) -> None:
    for framed in (LENGTH + b"\r\n" + BODY, CHUNKED + b"\r\n" + CHUNKS):
        assert statuses(said(server, HEAD + framed + SECOND)) == [200, 200]
    assert statuses(said(server, b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")) == [200]
    assert statuses(said(server, b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")) == [404]


TORN = {
    "length and chunked": HEAD + LENGTH + CHUNKED + b"\r\n" + CHUNKS,
    "chunked and length": HEAD + CHUNKED + LENGTH + b"\r\n" + CHUNKS,
    "chunked and length 0": HEAD + CHUNKED + b"content-length: 0\r\n\r\n" + CHUNKS,
    "length twice": HEAD + LENGTH + b"Content-Length: 0\r\n\r\n" + BODY,
    "length twice the same": HEAD + LENGTH + LENGTH + b"\r\n" + BODY,
    "length in a list": HEAD + b"Content-Length: 18, 18\r\n\r\n" + BODY,
    "length with a sign": HEAD + b"Content-Length: +18\r\n\r\n" + BODY,
    "length in hex": HEAD + b"Content-Length: 0x12\r\n\r\n" + BODY,
    "length with _": HEAD + b"Content-Length: 1_8\r\n\r\n" + BODY,
    "length of nothing": HEAD + b"Content-Length: \r\n\r\n" + BODY,
    "length without end": HEAD + b"Content-Length: " + b"1" * 30 + b"\r\n\r\n" + BODY,
    "xchunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS,
    "chunked, identity": HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n" + CHUNKS,
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    "gzip, chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "chunked twice": HEAD + CHUNKED + CHUNKED + b"\r\n" + CHUNKS,
    "chunked quoted": HEAD + b'Transfer-Encoding: "chunked"\r\n\r\n' + CHUNKS,
    "chunked after a tab": HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n" + CHUNKS,
    "chunked in HTTP/1.0": HEAD.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n" + CHUNKS,
    "folded": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKS,
    "folded by a tab": HEAD + b"X: y\r\n\tContent-Length: 18\r\n\r\n",
    "folded at the start": b"GET /health HTTP/1.1\r\n Host: localhost\r\n\r\n",
    "space before the colon": HEAD + b"Content-Length : 18\r\n\r\n" + BODY,
    "tab before the colon": HEAD + b"Transfer-Encoding\t: chunked\r\n\r\n" + CHUNKS,
    "no colon": HEAD + b"Content-Length 18\r\n\r\n" + BODY,
    "no name": HEAD + b": 18\r\n\r\n" + BODY,
    "LF": b"GET /health HTTP/1.1\nHost: localhost\n\n",
    "LF in one line": HEAD + b"X: y\nContent-Length: 18\r\n\r\n" + BODY,
    "LF at the end": HEAD + LENGTH + b"\n" + BODY,
    "CR in a value": HEAD + b"X: y\rContent-Length: 18\r\n\r\n" + BODY,
    "CR CR LF": HEAD + b"X: y\r\r\n\r\n",
    "NUL in a value": HEAD + b"X: a\x00b\r\n\r\n",
    "NUL in a name": HEAD + b"X\x00: b\r\n\r\n",
    "ESC in a value": HEAD + b"X: \x1b[2J\r\n\r\n",
    "DEL in a value": HEAD + b"X: \x7f\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two spaces": b"GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a tab": b"GET\t/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no version": b"GET /health\r\nHost: localhost\r\n\r\n",
    "version 2": b"GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n",
    "version 1.2": b"GET /health HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "empty lines": b"\r\n\r\n" + SECOND,
    "absolute": b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "absolute, own": b"GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "authority": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "relative": b"GET health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "asterisk": b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "wrong HEAD": b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n" + LENGTH + CHUNKED + b"\r\n",
    "wrong body of HEAD": b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED + b"\r\nzz\r\n",
    "chunk size without end": HEAD + CHUNKED + b"\r\n" + b"f" * 21 + b"\r\n",
    "chunk size with a sign": HEAD + CHUNKED + b"\r\n+12\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk size in 0x": HEAD + CHUNKED + b"\r\n0x12\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk size negative": HEAD + CHUNKED + b"\r\n-1\r\n",
    "chunk ends with LF": HEAD + CHUNKED + b"\r\n12\n" + BODY + b"\n0\n\n" + b"\r\n",
    "chunk longer than said": HEAD + CHUNKED + b"\r\n1\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk with a long extension": HEAD + CHUNKED + b"\r\n12;" + b"x" * 200_000 + b"\r\n",
}


@pytest.mark.parametrize("torn", TORN)
def test_what_readers_take_differently_is_refused_and_the_connection_closed(server: Any, torn: str) -> None:
    answer = said(server, TORN[torn] + SECOND)
    assert statuses(answer) == [400], answer[:300]
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


def test_a_refusal_is_worded(server: Any) -> None:
    body = said(server, TORN["length and chunked"]).partition(b"\r\n\r\n")[2]
    assert "both Content-Length and Transfer-Encoding" in json.loads(body)["error"]["message"]


def test_nothing_is_logged_or_left_by_them(server: Any) -> None:
    for torn in TORN.values():
        said(server, torn)
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert not [line for line in server.log if "Traceback" in line or "rror" in line], server.log


def test_a_chunk_that_breaks_while_an_answer_is_sent_ends_the_connection(writing_server: Any) -> None:
    body = json.dumps({"prompt": "Once", "max_tokens": 400, "stream": True}).encode()
    head = HEAD.replace(b"embeddings", b"completions") + CHUNKED + b"\r\n"
    with connect(writing_server) as connection:
        connection.sendall(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        connection.sendall(b"this is no request\r\n\r\n")
        assert statuses(everything(connection)) in ([], [400])
    assert httpx.get(f"{writing_server.url}/health").status_code == 200
    assert "Traceback" not in "".join(writing_server.log)


def test_a_broken_body_of_a_request_that_was_answered_ends_the_connection(server: Any) -> None:
    with connect(server) as connection:
        connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED + b"\r\n5\r\nhello\r\n")
        assert one(connection) == 404
        connection.sendall(b"zz\r\n" + SECOND)
        assert everything(connection) == b""
    assert "Traceback" not in "".join(server.log)


@pytest.mark.parametrize("framing", [b"Content-Length: 30000000\r\n", CHUNKED])
def test_the_rest_of_a_body_is_not_waited_for_once_it_was_answered(
    start_limited: Callable[..., Any], framing: bytes
) -> None:
    limited = start_limited(Limits(rest_seconds=0.3))
    with connect(limited) as connection:
        connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\n" + framing + b"\r\n")
        assert one(connection) == 404
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:
                connection.sendall(b"1\r\nx\r\n")
                time.sleep(0.01)
    with connect(limited) as connection:  # one whose rest comes goes on
        connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
        assert one(connection) == 404
        connection.sendall(b"hello")
        time.sleep(0.6)
        connection.sendall(SECOND)
        assert statuses(everything(connection)) == [200]


def test_answers_of_one_connection_are_not_mixed(server: Any) -> None:
    asked = b"".join(b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"health", b"nothing")[n % 2] for n in range(40))
    assert statuses(said(server, asked + SECOND)) == [200, 404] * 20 + [200]


def request_lines() -> st.SearchStrategy[bytes]:
    return st.sampled_from([b"GET / HTTP/1.1", b"POST /v1/models?a=b HTTP/1.1", b"GET /x HTTP/1.0", b"GET x HTTP/1.1"])


def header_lines() -> st.SearchStrategy[bytes]:
    names = st.sampled_from(
        [b"Host", b"Content-Length", b"content-length", b"TRANSFER-ENCODING", b"X", b"Content_Length"]
    )
    values = st.sampled_from([b"localhost", b"5", b"5, 5", b"chunked", b"5\r\n 6", b"a\tb", b"\x00", b"\x1f", b"\xff"])
    colons = st.sampled_from([b": ", b":", b" : ", b":\t"])
    return st.builds(lambda name, colon, value: name + colon + value, names, colons, values)


@given(
    request_lines(),
    st.lists(header_lines(), max_size=5),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\r\n"]),
)
def test_a_head_that_is_taken_has_one_meaning(line: bytes, headers: list[bytes], end: bytes) -> None:
    """Whatever is taken has, read line by line, at most one of the two headers that say where a body ends."""
    data = end.join([line, *headers, b"", b""])
    connection = StrictConnection(h11.SERVER)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return
    if not isinstance(event, h11.Request):
        return
    assert wrong_with_head(data) is None
    assert b"\r" not in data.replace(b"\r\n", b"")
    assert b"\n" not in data.replace(b"\r\n", b"")
    names = [row.partition(b":")[0].lower() for row in data.split(b"\r\n")[1:-2]]
    assert sum(name in (b"content-length", b"transfer-encoding") for name in names) <= 1
    assert not any(name != name.strip() for name in names)
    assert event.target.startswith(b"/")


def pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), 7):
        yield data[at : at + 7]


def test_a_head_that_comes_in_pieces_is_looked_at_whole() -> None:
    for torn in ("length and chunked", "length twice the same", "folded", "LF in one line"):
        connection = StrictConnection(h11.SERVER)
        with pytest.raises(h11.RemoteProtocolError):
            for piece in pieces(TORN[torn]):
                connection.receive_data(piece)
                while connection.next_event() is not h11.NEED_DATA:
                    pass
        assert connection.wrong
