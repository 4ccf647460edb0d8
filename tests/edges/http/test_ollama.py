"""Ollama's interface, as its clients speak it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from turboprop.edges.http.limits import Limits
from turboprop.workspace.jobs import Job

MODEL = "stories260K.gguf"


def lines(answer: Any) -> list[dict[str, Any]]:
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_chat_whole_and_streamed(writing_server) -> None:
    options = {"num_predict": 6, "temperature": 0, "num_ctx": 4096}
    body = {"model": f"{MODEL}:latest", "messages": [{"role": "user", "content": "Hey"}], "options": options}
    with writing_server.http() as client:
        whole = client.post("/api/chat", json={**body, "stream": False})
        assert whole.headers["x-turboprop-ignored"] == "options.num_ctx"
        parts = lines(client.post("/api/chat", json=body))
    row = whole.json()
    assert (row["done"], row["done_reason"], row["eval_count"]) == (True, "length", 6)
    assert "".join(part["message"]["content"] for part in parts) == row["message"]["content"]
    assert [part["done"] for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1]["prompt_eval_count"] == row["prompt_eval_count"] > 0


def test_generate_raw_is_the_text_itself(writing_server) -> None:
    options = {"num_predict": 6, "temperature": 0}
    with writing_server.http() as client:
        raw = {"model": MODEL, "prompt": "Once upon a time", "raw": True, "stream": False, "options": options}
        assert client.post("/api/generate", json=raw).json()["response"] == ", there was a little g"
        text = "".join(part["response"] for part in lines(client.post("/api/generate", json={**raw, "stream": True})))
        assert text == ", there was a little g"
        loaded = client.post("/api/generate", json={"model": MODEL}).json()
        assert (loaded["done"], loaded["done_reason"]) == (True, "load")


def test_format_is_kept(writing_server) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}
    body = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "format": schema, "stream": False}
    with writing_server.http() as client:
        answer = json.loads(client.post("/api/chat", json=body).json()["message"]["content"])
    assert answer in ({"n": 1}, {"n": 2})


def test_embeddings_are_the_same_as_at_openai(writing_server) -> None:
    long = "word " * 600
    with writing_server.http() as client:
        wanted = client.post("/v1/embeddings", json={"model": "minilm", "input": ["a", long], "truncate": True}).json()
        found = client.post("/api/embed", json={"model": "minilm", "input": ["a", long]}).json()
        older = client.post("/api/embeddings", json={"model": "minilm", "prompt": "a"}).json()["embedding"]
        assert client.post("/api/embed", json={"model": "minilm", "input": long, "truncate": False}).status_code == 400
        assert client.post("/api/embed", json={"model": "minilm", "input": []}).json()["embeddings"] == []
    vectors = np.array([row["embedding"] for row in wanted["data"]])
    np.testing.assert_allclose(found["embeddings"], vectors, atol=1e-6)
    np.testing.assert_allclose(older, vectors[0], atol=1e-6)
    assert found["prompt_eval_count"] == wanted["usage"]["prompt_tokens"]


def test_models(writing_server) -> None:
    with writing_server.http() as client:
        assert client.get("/api/version").json()["version"].count(".") == 2
        names = [row["name"] for row in client.get("/api/tags").json()["models"]]
        assert {MODEL, "minilm"} <= set(names)
        assert MODEL in [row["model"] for row in client.get("/api/ps").json()["models"]]
        assert client.post("/api/show", json={"model": MODEL}).json()["capabilities"] == ["completion", "tools"]
        assert client.post("/api/show", json={"name": "minilm"}).json()["capabilities"] == ["embedding"]
        assert lines(client.post("/api/pull", json={"model": "minilm"}))[-1] == {"status": "success"}


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("chat", {"model": "nope", "messages": [{"role": "user", "content": "x"}]}, 404, "does not exist"),
        ("chat", {"model": MODEL, "messages": [{"role": "user", "images": ["AAAA"]}]}, 400, "images"),
        ("chat", {"model": MODEL, "messages": [{"role": "user", "content": 7}]}, 400, "messages.0.content"),
        ("chat", {"model": MODEL, "messages": [{"role": "user"}], "options": {"mirostat": 2}}, 400, "mirostat"),
        ("generate", {"model": MODEL, "prompt": "x", "template": "{{ .Prompt }}"}, 400, "template"),
        ("generate", {"model": MODEL, "prompt": "x", "format": "yaml"}, 400, "format"),
        ("generate", {"model": MODEL, "prompt": "x", "suffix": "y"}, 400, "fill"),
        ("show", {}, 400, "model"),
        ("pull", {"model": "llama3.2"}, 404, "no model"),
        ("embed", {"model": MODEL, "input": "x"}, 400, "embedding model"),
    ],
)
def test_errors_have_ollamas_shape(writing_server, path: str, body: Any, status: int, said: str) -> None:
    with writing_server.http() as client:
        answer = client.post(f"/api/{path}", json=body)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert said in answer.json()["error"]


def test_a_pull_ends_with_its_client_and_with_the_server(start_limited: Callable[..., Any]) -> None:
    limited = start_limited(Limits(), no_key=True)
    state = limited.state
    done = threading.Event()

    def work(job: Job) -> None:
        done.wait()

    state.jobs.start("download", "somebody/something", work)
    body = {"model": "somebody/something", "stream": False}
    try:
        with httpx.Client(base_url=limited.url) as client, pytest.raises(httpx.ReadTimeout):
            client.post("/api/pull", json=body, timeout=0.5)
        while state.running:
            time.sleep(0.01)
        threading.Timer(0.5, setattr, (state, "ending", True)).start()
        answer = httpx.post(f"{limited.url}/api/pull", json=body, timeout=None)
    finally:
        done.set()
    assert (answer.status_code, answer.json()) == (500, {"error": "the download was called off"})
