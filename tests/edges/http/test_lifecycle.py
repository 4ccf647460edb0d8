"""The end of a server, and of what its clients no longer want."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from reference import reference
from turboprop.edges.http.limits import Limits
from turboprop.edges.http.names import ServedModel

ADAPTERS = Path(__file__).parent.parent.parent / "models" / "checkpoint" / "adapters"
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
    assert counted < generated(writer) < 2 * counted  # nobody read it to its end, and it took what it took
    assert gauge(writer, 'tp_generations_total{finish="cancelled"}') == 1


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


def test_several_answers_take_one_slot_and_keep_it(start_limited: Callable[..., Any]) -> None:
    """Another one in turn would wait behind those that came meanwhile, and be sent away in the middle of its stream."""
    server = start_limited(Limits(generations=1), models=(str(reference("gguf/stories260K.gguf")),))
    ask = {**LONG, "max_tokens": 200, "n": 3, "stream": True}
    with httpx.Client(base_url=server.url, timeout=None) as client, ThreadPoolExecutor(4) as pool:
        with client.stream("POST", "/v1/completions", json=ask) as answer:
            lines = answer.iter_lines()
            first = next(lines)
            others = [
                pool.submit(httpx.post, f"{server.url}/v1/completions", json=LONG, timeout=None) for _ in range(4)
            ]
            while gauge(server, "tp_generations_waiting") != 3:
                pass
            told = [line.removeprefix("data: ") for line in (first, *lines) if line]
        assert sorted(each.result().status_code for each in others) == [200, 200, 200, 429]
    assert told.pop() == "[DONE]"
    choices = [choice for line in told for choice in json.loads(line)["choices"]]
    assert [choice["index"] for choice in choices if choice["finish_reason"]] == [0, 1, 2]


def test_errors_name_no_path_of_this_machine(start_limited: Callable[..., Any], tmp_path: Path) -> None:
    model = reference("gguf/stories260K.gguf")
    names = start_limited(Limits(), models=(str(model),)).state.names
    names.known()
    cache = names._settings.cache_home / "graphs" / "a.bin"
    said = names.without_paths(f"{model} and {model.parent / 'x'}: {cache} is damaged, see https://example.com/a/b")
    assert str(cache.parent) not in said
    assert str(model) not in said
    assert said.startswith("stories260K.gguf and ")
    assert "a.bin is damaged, see https://example.com/a/b" in said
    adapter = tmp_path / "mine"
    names._started.append(ServedModel("stories+lora:mine", f"{model}+lora:{adapter}", "language"))
    said = names.without_paths(f"{adapter / 'adapter_model.safetensors'} is damaged")
    assert said == "adapter_model.safetensors is damaged"


def test_errors_name_no_path_of_an_adapter(start_limited: Callable[..., Any], tmp_path: Path) -> None:
    adapter = tmp_path / "owner" / "adapter"
    shutil.copytree(ADAPTERS / "bert", adapter)
    (adapter / "adapter_model.safetensors").unlink()
    server = start_limited(Limits(), models=(f"minilm+lora:{adapter}",))
    answer = httpx.post(f"{server.url}/v1/embeddings", json={"input": "a"}, timeout=60)
    assert answer.status_code == 404
    assert "adapter_model.safetensors is not there" in answer.text
    assert str(tmp_path) not in answer.text
