"""Recorded conversations with llama.cpp's server: ours answers in the same shape, and says the same where it can.

Where it differs on purpose: what a client did wrong is 400 and not 500, an error's code is a word or null as at
OpenAI, a model nobody has is 404, and without its key the server lists no models.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from reference import reference

KEY = "sk-this-is-the-secret-key"
# Only llama.cpp's own server has these.
OWN_ENDPOINTS = ("/completion",)


def recorded(name: str) -> list[dict[str, Any]]:
    found = json.loads(reference(f"golden/server-transcripts/{name}.json").read_text())
    return [each for each in found if each["request"]["path"] not in OWN_ENDPOINTS]


@pytest.fixture(scope="module")
def stories(start_server: Callable[..., Any]) -> Any:
    return start_server("--model", reference("gguf/stories260K.gguf"))


@pytest.fixture(scope="module")
def embedding(start_server: Callable[..., Any]) -> Any:
    return start_server()


@pytest.fixture(scope="module")
def keyed(start_server: Callable[..., Any]) -> Any:
    return start_server("--model", reference("gguf/stories260K.gguf"), "--api-key", KEY, "--cors", "http://localhost")


def missing(expected: Any, found: Any, place: str = "") -> list[str]:
    """Where `found` lacks a field of `expected` or has another type there."""
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return [f"{place} is {type(found).__name__}"]
        lacks = [f"{place}.{key}" for key in expected if key not in found]
        return lacks + [
            w for key in expected if key in found for w in missing(expected[key], found[key], f"{place}.{key}")
        ]
    if isinstance(expected, list):
        if not isinstance(found, list) or (expected and not found):
            return [f"{place} is {found!r}"]
        return missing(expected[0], found[0], f"{place}[0]") if expected else []
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return [] if isinstance(found, int | float) else [f"{place} is {found!r}"]
    return [] if isinstance(found, type(expected)) else [f"{place} is {found!r}"]


def chunks(text: str) -> list[Any]:
    return [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: ") and line != "data: [DONE]"]


def replay(server: Any, entry: dict[str, Any]) -> httpx.Response:
    asked = entry["request"]
    body = asked["body"]
    content = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
    with server.http() as client:
        return client.request(asked["method"], asked["path"], headers=asked["headers"], content=content)


def check(entry: dict[str, Any], answer: httpx.Response) -> None:
    if entry["status"] >= 400:
        wanted = 400 if entry["status"] in (500, 501) else entry["status"]
        assert answer.status_code == wanted, answer.text
        error = dict(entry["response"]["error"])
        del error["code"]
        assert missing({"error": error}, answer.json()) == []
        return
    assert answer.status_code == 200, answer.text
    if isinstance(entry["response"], dict):
        assert missing(entry["response"], answer.json()) == []
        return
    if not entry["response"]:
        return
    ours, theirs = chunks(answer.text), chunks(entry["response"])
    assert answer.text.endswith("data: [DONE]\n\n")
    assert answer.headers["content-type"].startswith("text/event-stream")
    with_choices = [chunk for chunk in ours if chunk["choices"]]
    assert missing(theirs[0], with_choices[1 if "delta" in with_choices[0]["choices"][0] else 0]) == []
    theirs[-1].pop("usage", None)  # here only where a client asks, in a chunk of its own: clients add up what they get
    assert missing(theirs[-1], with_choices[-1]) == []


@pytest.mark.parametrize("number", range(21))
def test_stories(stories: Any, number: int) -> None:
    entry = recorded("stories260K")[number]
    if entry["request"]["path"] == "/v1/embeddings":
        # A server with an embedding model beside the language model embeds with it.
        assert replay(stories, entry).status_code == 200
        return
    if entry["request"]["path"] == "/v1/models":
        entry["response"]["data"][0]["meta"] = {}
    answer = replay(stories, entry)
    check(entry, answer)
    body, theirs = entry["request"]["body"] or {}, entry["response"]
    if entry["request"]["path"] in ("/tokenize", "/detokenize"):
        assert answer.json() == theirs
    # Ours runs in int8, which keeps the likeliest token wherever the text goes on as a story.
    if isinstance(body, dict) and entry["status"] == 200 and body.get("prompt") == "Once upon a time":
        ours = answer.json()["choices"] if not body.get("stream") else [c["choices"][0] for c in chunks(answer.text)]
        said = theirs["choices"] if isinstance(theirs, dict) else [c["choices"][0] for c in chunks(theirs)]
        assert "".join(choice["text"] for choice in ours) == "".join(choice["text"] for choice in said)
        assert ours[-1]["finish_reason"] == said[-1]["finish_reason"]


@pytest.mark.parametrize("number", range(12))
def test_embeddings(embedding: Any, number: int) -> None:
    entry = recorded("embeddings-tiny-bert")[number]
    asked = entry["request"]["body"]
    if isinstance(asked, dict) and str(asked.get("input")).strip("[")[:1].isdigit():
        asked["token_ids"] = "model"  # so few ids could be those of OpenAI's vocabulary as well
    answer = replay(embedding, entry)
    if (entry["request"]["body"] or {}).get("model") == "anything":
        assert answer.status_code == 404
        return
    if entry["request"]["path"] == "/v1/models":
        entry["response"]["data"][0]["meta"] = {}
    if entry["request"]["path"] == "/v1/completions":
        assert answer.status_code == 404  # no language model is here; the message says how to get one
        return
    check(entry, answer)
    if entry["status"] == 200 and "usage" in entry["response"]:
        assert answer.json()["usage"]["prompt_tokens"] == entry["response"]["usage"]["prompt_tokens"]


@pytest.mark.parametrize("number", range(6))
def test_api_key(keyed: Any, number: int) -> None:
    entry = recorded("api-key")[number]
    answer = replay(keyed, entry)
    if entry["request"]["path"] == "/v1/models":
        assert answer.status_code == 401
        return
    check(entry, answer)
    if entry["request"]["method"] == "OPTIONS":
        assert answer.headers["access-control-allow-origin"] == entry["headers"]["Access-Control-Allow-Origin"]
