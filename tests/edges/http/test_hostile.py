"""The server after requests that nobody means well with."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edges.http.hostile import attack_all
from reference import reference
from turboprop import Index
from turboprop.settings import load_settings


@pytest.fixture(scope="module")
def target(start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    repo: Path = tmp_path_factory.mktemp("hostile") / "repo"
    repo.mkdir()
    (repo / "a.py").write_text("def a():\n    return 1\n")
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    Index.create(repo, settings=load_settings()).close()
    model = reference("gguf/stories260K.gguf")
    return start_server("--repo", repo, "--model", "minilm", "--model", model)


def test_it_stays_up_and_keeps_its_memory(target: Any) -> None:
    # Until every thread has its own heap: 227, 275, 278 MB after 1,500, 4,500 and 9,000 requests.
    attack_all(target.url, range(5_000))
    before = target.resident_bytes
    found = attack_all(target.url, range(5_000, 9_000))
    assert not [outcome for outcome in found if outcome.startswith("5")], found
    assert "TimeoutError" not in found
    assert target.resident_bytes < before * 1.1
    with target.http() as client:
        assert client.get("/health").status_code == 200
        assert client.post("/v1/embeddings", json={"input": "still here"}).status_code == 200
        assert client.post("/v1/completions", json={"prompt": "Once", "max_tokens": 2}).status_code == 200
    assert not [line for line in target.log if "Traceback" in line], "".join(target.log)[-4000:]
    assert target.stop() == 0


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v1/chat/completions", '{"messages": [{"role": "user", "content": [%s]}]}', "messages.0.content"),
        ("/v1/chat/completions", '{"messages": [%s]}', "messages.0"),
        ("/v1/messages", '{"messages": [{"role": "user", "content": [%s]}]}', "messages.0.content"),
        ("/v1/responses", '{"input": [{"role": "user", "content": [%s]}]}', "input.0.content"),
        ("/v1/responses", '{"input": [{"type": "function_call_output", "output": [%s]}]}', "input.0.output"),
        ("/v1/embeddings", '{"input": ["x", %s]}', "input"),
        ("/v1/embeddings", '{"input": [[-1], [%s]]}', "input"),
        ("/api/embed", '{"model": "minilm", "input": [%s]}', "input"),
        ("/v1/completions", '{"prompt": ["x", %s]}', "prompt"),
    ],
)
def test_a_million_wrong_parts_cost_no_more_than_one(writing_server: Any, path: str, body: str, said: str) -> None:
    before = writing_server.resident_bytes
    with writing_server.http() as client:
        answer = client.post(path, content=body % ",".join(["1"] * 1_000_000))
    assert answer.status_code == 400, answer.text
    assert said in answer.text
    assert len(answer.text) < 1_000
    assert writing_server.resident_bytes < before + (200 << 20)  # 2.5 GB with an error for each


def test_many_wrong_fields_are_counted(writing_server: Any) -> None:
    fields = {str(number): number for number in range(100_000)}
    with writing_server.http() as client:
        for path, body in (
            ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "metadata": fields}),
            ("/api/search", {"query": "x", **fields}),
        ):
            answer = client.post(path, json=body)
            assert answer.status_code == 400
            assert "100000 fields" in answer.json()["error"]["message"]


def test_long_names_are_cut(writing_server: Any) -> None:
    long = "a" * (8 << 20)
    ask = {"model": "stories260K.gguf", "input": "x", "max_output_tokens": 1, long: 1}
    with writing_server.http() as client:
        answer = client.post("/v1/responses", json={**ask, "tools": [{"type": long}]})
        refused = client.post("/api/search", json={"query": "x", long: 1})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-turboprop-ignored"] == "a" * 100
    assert answer.headers["x-turboprop-tools-not-offered"] == "a" * 100
    assert refused.status_code == 400
    assert len(refused.text) < 1_000


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "9E+0400", "9" * 250 + "e99", "9" * 400 + ".0"])
def test_numbers_are_finite(writing_server: Any, number: str) -> None:
    body = '{"input": "x", "tools": [{"type": "function", "name": "f", "parameters": {"x": ?}}]}'
    other = '{"input": "x", "unheard": ?}'
    with writing_server.http() as client:
        answer = client.post("/v1/responses", content=body.replace("?", number))
        assert client.post("/v1/embeddings", content=other.replace("?", number)).status_code == 400
    assert answer.status_code == 400, answer.text
    assert number[:40] in answer.json()["error"]["message"]
