"""An index made through an endpoint: what it records, and what happens when the endpoint goes, changes or lies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from engines import endpoint_server as wire
from engines.endpoint_server import MODEL, WIDTH, Answer, Asked, EndpointServer, serving, vector_of
from reference import reference
from turboprop import EmbeddingModel, Index, LanguageModel
from turboprop.edges.cli.entry import tp
from turboprop.engines import http_json
from turboprop.errors import EndpointError, IndexMismatchError, IndexUntrustedError
from turboprop.generate.options import GenerationOptions
from turboprop.index import build
from turboprop.workspace.diagnosis import diagnose
from turboprop.workspace.location import Location

Write = Callable[[dict[str, str]], Path]
FILES = {f"src/part_{n}.py": f"def part_{n}(x):\n    return x + {n}\n" for n in range(40)}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TP_REMOTE_API_KEY", "TP_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TP_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("TP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TP_SERVER", "0")
    monkeypatch.setattr(http_json, "WAITS", (0.01,))
    return tmp_path


@pytest.fixture
def server() -> Iterator[EndpointServer]:
    with serving() as server:
        yield server


def at(server: EndpointServer) -> str:
    return f"{server.url}/v1#{MODEL}"


def run(*words: str) -> Any:
    return CliRunner().invoke(tp, list(words))


def test_the_index_says_which_endpoint_made_it(write_files: Write, server: EndpointServer) -> None:
    root = write_files(FILES)
    with Index.create(root, at(server)) as index:
        header = index.reader.header
        assert (header.spec.model, header.spec.dimensions) == (at(server), WIDTH)
        assert header.vectors == header.rows == 40
        assert {"part_7"} & {hit.symbol for hit in index.search("part_7")}
    told = json.loads(run("status", str(root), "--json").output)
    assert (told["model"], told["dimensions"]) == (at(server), WIDTH)
    with Index.open(root) as index:  # by the name that it recorded
        np.testing.assert_allclose(index.embedding().embed_query("x"), vector_of("x"), atol=1e-6)


def test_a_server_that_dies_in_the_middle_loses_nothing(write_files: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TP_EMBEDDING_CACHE", "0")
    for name in ("FIRST_GROUP", "SMALLEST_GROUP", "LARGEST_GROUP"):
        monkeypatch.setattr(build, name, 8)
    state = {"left": 12}

    def respond(asked: Asked, number: int) -> Answer:
        if asked.body:
            state["left"] -= 1
        return wire.openai(asked, number) if state["left"] >= 0 else Answer(raw=b"", promise=9)

    root = write_files(FILES)
    with serving(respond) as server:
        with pytest.raises(EndpointError):
            Index.create(root, at(server))
        with Index.open(root) as index:
            kept = index.reader.header.rows
            assert index.search("part", mode="lexical")
        assert 0 < kept < 40
        state["left"] = 1_000
        before = len(server.texts)
        with Index.create(root, at(server)) as index:
            assert index.reader.header.vectors == 40
            assert index.summary is not None
            assert index.summary.embedded_chunks == 40 - kept
        assert len([text for text in server.texts[before:] if "part_" in text]) == 40 - kept


def test_a_search_without_the_endpoint_offers_words(write_files: Write) -> None:
    root = write_files(FILES)
    with serving() as server:
        Index.create(root, at(server)).close()
    gone = run("search", "part_7", "--repo", str(root))
    assert isinstance(gone.exception, EndpointError)
    assert "cannot be reached" in str(gone.exception)
    assert "--mode lexical" in str(gone.exception)
    words = run("search", "part_7", "--repo", str(root), "--mode", "lexical", "--no-refresh", "--output", "paths")
    assert (words.exit_code, words.output.split("\n")[0]) == (0, f"{root}/src/part_7.py") or "part_7" in words.output


def test_another_width_than_the_index_has(write_files: Write) -> None:
    width = WIDTH

    def respond(asked: Asked, number: int) -> Answer:
        return Answer(wire.embedding_answer(asked.body, width)) if asked.body else wire.openai(asked, number)

    root = write_files(FILES)
    with serving(respond) as server:
        Index.create(root, at(server)).close()
        width = 5
        with Index.open(root) as index, pytest.raises(IndexMismatchError, match=r"of 8 dimensions.* gives 5 now"):
            index.search("part")


def test_an_index_that_came_with_a_repository_connects_nowhere(
    write_files: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: EndpointServer
) -> None:
    root = write_files(FILES)
    Index.create(root, at(server)).close()
    asked = len(server.asked)
    monkeypatch.setenv("TP_HOME", str(tmp_path / "another user"))  # whose key signed nothing
    with pytest.raises(IndexUntrustedError):
        Index.open(root)
    assert run("trust", "--repo", str(root)).exit_code == 0
    with Index.open(root) as index:
        assert index.search("part_7", mode="lexical")
        with pytest.raises(IndexMismatchError, match=f"made with {server.url}"):
            index.search("part_7")  # its model is compared with the user's own
    assert len(server.asked) == asked


def test_the_doctor_asks_the_endpoints_of_the_user(home: Path, write_files: Write, server: EndpointServer) -> None:
    root = write_files(FILES)
    Index.create(root, at(server)).close()
    rows = [
        f'[[models]]\nname = "good"\nurl = "{server.url}/v1"\nmodel = "{MODEL}"\n',
        f'[[models]]\nname = "narrow"\nurl = "{server.url}"\nmodel = "{MODEL}"\ndimensions = 3\n',
        '[[models]]\nname = "gone"\nurl = "http://127.0.0.1:9/v1"\nmodel = "m"\n',
    ]
    (home / "config.toml").write_text("".join(rows))
    found = [each.problem for each in diagnose(Location.around(root)).findings if each.subject == "endpoint"]
    assert len(found) == 1
    assert "127.0.0.1:9 cannot be reached" in found[0]
    listed = run("model", "list", "--json")
    states = {each["name"]: each["state"] for each in json.loads(listed.output)}
    assert {states[name] for name in ("good", "narrow", "gone")} == {"endpoint"}
    told = run("model", "inspect", "good").output
    assert "OpenAI's interface" in told
    assert f"dimensions      {WIDTH}" in told
    info = run("model", "info", "good").output
    assert "from TP_REMOTE_API_KEY" in info
    refused = run("model", "path", "good")
    assert "no file of it is here" in str(refused.exception)


def recorded(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(reference(f"golden/server-transcripts/{name}.json").read_text())
    return found


@pytest.mark.parametrize("packed", [True, False], ids=["base64", "floats"])
def test_recorded_embeddings_of_a_real_server(packed: bool) -> None:
    answers = [each for each in recorded("embeddings-tiny-bert") if each["status"] == 200 and each["request"]["body"]]
    of_one = {
        bool(each["request"]["body"].get("encoding_format")): each["response"]
        for each in answers
        if each["request"]["body"]["input"] == "hello world"
    }
    of_two = next(each for each in answers if isinstance(each["request"]["body"]["input"], list))
    refusal = next(each["response"] for each in recorded("embeddings-tiny-bert") if each["status"] == 400)

    def respond(asked: Asked, number: int) -> Answer:
        if not asked.body:
            return Answer({}, 404)
        if asked.body.get("encoding_format") and not packed:
            return Answer(refusal, 400)
        two = asked.body["input"] == of_two["request"]["body"]["input"][::-1]  # the longer one is sent first
        return Answer({**of_two["response"], "data": _turned(of_two["response"]["data"])} if two else of_one[packed])

    wanted = np.array([row["embedding"] for row in of_two["response"]["data"]], np.float32)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    with serving(respond) as server:
        (Path(os.environ["TP_CONFIG"])).write_text(
            f'[[models]]\nname = "box"\nurl = "{server.url}/v1"\nmodel = "tiny-bert"\nparallel = 1\n'
        )
        with EmbeddingModel.load("box", self_test=False) as model:
            assert model.dimensions == 32
            np.testing.assert_allclose(model.embed_documents(["hello world"])[0], wanted[0], atol=1e-6)
            found = model.embed_documents(of_two["request"]["body"]["input"])
            np.testing.assert_allclose(found, wanted, atol=1e-6)


def _turned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "index": len(rows) - 1 - at} for at, row in enumerate(rows)]


def test_recorded_generations_of_a_real_server() -> None:
    answers = recorded("stories260K")
    streams = [each for each in answers if isinstance(each["response"], str) and "data:" in each["response"]]
    assert len(streams) == 3
    for each in streams:

        def respond(asked: Asked, number: int, raw: bytes = each["response"].encode()) -> Answer:
            if asked.body:
                return Answer(raw=raw, headers={"Content-Type": "text/event-stream"})
            return wire.openai(asked, number)

        events = [json.loads(line[6:]) for line in each["response"].split("\n") if line.startswith("data: {")]
        choices = [choice for event in events for choice in event.get("choices", [])]
        wanted = "".join(one.get("text") or (one.get("delta") or {}).get("content") or "" for one in choices)
        prompt: Any = each["request"]["body"].get("prompt") or each["request"]["body"]["messages"]
        with serving(respond) as server, LanguageModel.load(at(server)) as model:
            done = model.generate(prompt, GenerationOptions(temperature=0))
        assert done.text == wanted
        assert done.finish_reason == "length"
        stated = next((event["usage"] for event in events if event.get("usage")), None)
        if stated is not None:
            assert done.usage.generated_tokens == stated["completion_tokens"]


def test_the_recorded_refusal_of_a_key() -> None:
    refusal = next(each for each in recorded("api-key") if each["status"] == 401)

    def respond(asked: Asked, number: int) -> Answer:
        return Answer(refusal["response"], 401)

    with serving(respond) as server, pytest.raises(EndpointError, match=r"401: Invalid API Key.*TP_REMOTE_API_KEY"):
        EmbeddingModel.load(at(server))
