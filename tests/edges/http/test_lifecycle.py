"""The end of a server, and of what its clients no longer want."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from reference import reference

LONG = {"prompt": "Once upon a time", "max_tokens": 1500, "temperature": 1.0, "seed": 3}


def post(path: str, body: dict[str, object]) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
    return f"{head}\r\n\r\n".encode() + data


def connect(server: Any) -> socket.socket:
    place = urlsplit(server.url)
    return socket.create_connection((place.hostname, place.port), timeout=60)


def gauge(server: Any, name: str) -> float:
    for line in httpx.get(f"{server.url}/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    raise AssertionError(name)


def generated(server: Any) -> float:
    return gauge(server, "tp_generated_tokens_total")


@pytest.fixture
def writer(start_server: Callable[..., Any]) -> Iterator[Any]:
    server = start_server("--model", reference("gguf/stories260K.gguf"))
    yield server
    if server.process.poll() is None:
        server.stop()


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_ends_its_generation(writer: Any, streamed: bool) -> None:
    began = time.monotonic()
    assert httpx.post(f"{writer.url}/v1/completions", json=LONG, timeout=None).status_code == 200
    whole = time.monotonic() - began
    counted = generated(writer)
    with connect(writer) as connection:
        connection.sendall(post("/v1/completions", {**LONG, "stream": streamed}))
        if streamed:
            connection.recv(100)
        while gauge(writer, "tp_generations_running") == 0:
            pass
    left = time.monotonic()
    while gauge(writer, "tp_generations_running"):
        pass
    assert time.monotonic() - left < whole / 2
    assert generated(writer) == counted  # nobody read it to its end


def test_a_client_that_waits_and_leaves_is_forgotten(writer: Any) -> None:
    running = [connect(writer) for _ in range(9)]
    for connection in running:
        connection.sendall(post("/v1/completions", {**LONG, "stream": True}))
    while gauge(writer, "tp_generations_waiting") != 1:
        pass
    running[-1].close()
    while gauge(writer, "tp_generations_waiting"):
        pass
    for connection in running:
        connection.close()
    while gauge(writer, "tp_generations_running"):
        pass
    answer = httpx.post(f"{writer.url}/v1/completions", json={"prompt": "Once", "max_tokens": 2}, timeout=60)
    assert answer.status_code == 200


def test_more_than_may_wait_are_429(writer: Any) -> None:
    held = [connect(writer) for _ in range(32)]
    for connection in held:
        connection.sendall(post("/v1/completions", {**LONG, "stream": True}))
    while gauge(writer, "tp_generations_waiting") < 20:
        pass
    with ThreadPoolExecutor(16) as pool:

        def ask(_: int) -> int:
            try:
                return httpx.post(f"{writer.url}/v1/completions", json=LONG, timeout=1).status_code
            except httpx.TimeoutException:
                return 0

        answers = list(pool.map(ask, range(16)))
    assert 429 in answers
    for connection in held:
        connection.close()
    assert httpx.get(f"{writer.url}/health").status_code == 200


def test_sigterm_lets_requests_finish(writer: Any) -> None:
    found: list[httpx.Response] = []

    def ask() -> None:
        body = {**LONG, "max_tokens": 400}
        found.append(httpx.post(f"{writer.url}/v1/completions", json=body, timeout=60))

    def stream() -> None:
        body = {**LONG, "max_tokens": 400, "stream": True}
        found.append(httpx.post(f"{writer.url}/v1/completions", json=body, timeout=60))

    asking = [threading.Thread(target=work) for work in (ask, ask, stream)]
    for thread in asking:
        thread.start()
    while gauge(writer, "tp_generations_running") < 3:
        pass
    assert writer.stop() == 0
    for thread in asking:
        thread.join()
    assert [answer.status_code for answer in found] == [200] * 3
    whole = [answer for answer in found if "event-stream" not in answer.headers["content-type"]]
    assert all(answer.json()["usage"]["completion_tokens"] == 400 for answer in whole)
    (streamed,) = [answer for answer in found if answer not in whole]
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert not [line for line in writer.log if "Traceback" in line or "rror" in line], writer.log


def test_sigterm_lets_embeddings_finish(start_server: Callable[..., Any]) -> None:
    server = start_server()
    with ThreadPoolExecutor(8) as pool:
        texts = ["a text of some words " * 20] * 8

        def ask(number: int) -> int:
            body = {"input": [f"{number} {text}" for text in texts], "encoding_format": "base64"}
            return len(httpx.post(f"{server.url}/v1/embeddings", json=body, timeout=60).json()["data"])

        asked = [pool.submit(ask, number) for number in range(8)]
        arrived = 0
        while arrived < 8:  # each one runs or is done
            before = sum(each.done() for each in asked)
            arrived = before + int(gauge(server, "tp_requests_running"))
        assert server.stop() == 0
        assert [each.result() for each in asked] == [8] * 8


def test_a_port_that_is_taken_is_said(start_server: Callable[..., Any], server: Any) -> None:
    with pytest.raises(AssertionError, match=r"another server may have it"):
        start_server("--port", urlsplit(server.url).port)


def test_a_model_that_is_none_ends_it(start_server: Callable[..., Any]) -> None:
    with pytest.raises(AssertionError, match="no model is called"):
        start_server("--model", "nonesuch")
