from __future__ import annotations

import json
import math
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from rerank.tiny_rerankers import DOCUMENTS, QUERY, RERANKERS
from turboprop import GenerationOptions, LanguageModel, Reranker

STORY = ", there was a little girl named Lily. She loved to play"


def test_completion(writing_server) -> None:
    answer = writing_server.client().completions.create(
        model="stories260K.gguf", prompt="Once upon a time", max_tokens=16, temperature=0
    )
    assert answer.choices[0].text == STORY
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.prompt_tokens == 5
    assert answer.usage.completion_tokens == 16


def test_completion_from_ids_and_of_several_prompts(writing_server) -> None:
    client = writing_server.client()
    ids = client.post("/../tokenize", cast_to=httpx.Response, body={"content": "Once upon a time", "add_special": True})
    tokens = json.loads(ids.text)["tokens"]
    answer = client.completions.create(model="stories260K.gguf", prompt=tokens, max_tokens=16, temperature=0)
    assert answer.choices[0].text == STORY
    several = client.completions.create(
        model="stories260K.gguf", prompt=["Once upon a time", "The"], max_tokens=4, temperature=0
    )
    assert [choice.index for choice in several.choices] == [0, 1]
    assert several.choices[0].text == ", there was a"
    assert several.usage.completion_tokens == 8


def test_streamed_completion_adds_up(writing_server) -> None:
    stream = writing_server.client().completions.create(
        model="stories260K.gguf",
        prompt="Once upon a time",
        max_tokens=16,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    parts = list(stream)
    assert "".join(part.choices[0].text for part in parts if part.choices) == STORY
    assert [part.choices[0].finish_reason for part in parts if part.choices][-1] == "length"
    assert parts[-1].choices == []
    assert parts[-1].usage.total_tokens == 21


def test_stop_seed_and_logprobs(writing_server) -> None:
    client = writing_server.client()
    stopped = client.completions.create(
        model="stories260K.gguf", prompt="Once upon a time", max_tokens=64, temperature=0, stop=["."]
    )
    assert stopped.choices[0].text == ", there was a little girl named Lily"
    assert stopped.choices[0].finish_reason == "stop"
    drawn = [
        client.completions.create(model="stories260K.gguf", prompt="Once", max_tokens=12, temperature=1.5, seed=seed)
        for seed in (7, 7, 8)
    ]
    assert drawn[0].choices[0].text == drawn[1].choices[0].text != drawn[2].choices[0].text
    told = (
        client.completions.create(
            model="stories260K.gguf", prompt="Once upon a time", max_tokens=4, temperature=0, logprobs=3
        )
        .choices[0]
        .logprobs
    )
    assert told.tokens == [",", " there", " was", " a"]
    assert told.token_logprobs[0] == pytest.approx(-0.0317, abs=0.02)
    assert [len(each) for each in told.top_logprobs] == [3] * 4


def test_chat(writing_server) -> None:
    messages = [{"role": "system", "content": "Book"}, {"role": "user", "content": "Hey"}]
    client = writing_server.client()
    whole = client.chat.completions.create(model="stories260K.gguf", messages=messages, max_tokens=8, temperature=0)
    stream = client.chat.completions.create(
        model="stories260K.gguf", messages=messages, max_tokens=8, temperature=0, stream=True
    )
    parts = list(stream)
    assert parts[0].choices[0].delta.role == "assistant"
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    assert text == whole.choices[0].message.content
    assert parts[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    with LanguageModel.load(str(writing_server.process.args[writing_server.process.args.index("--model") + 1])) as own:
        assert text == own.generate(messages, GenerationOptions(temperature=0, max_tokens=8)).text


def test_chat_logprobs(writing_server) -> None:
    answer = writing_server.client().chat.completions.create(
        model="stories260K.gguf",
        messages=[{"role": "user", "content": [{"type": "text", "text": "Hey"}]}],
        max_completion_tokens=3,
        temperature=0,
        logprobs=True,
        top_logprobs=2,
    )
    told = answer.choices[0].logprobs.content
    assert "".join(each.token for each in told) == answer.choices[0].message.content
    assert all(len(each.top_logprobs) == 2 and bytes(each.bytes).decode() == each.token for each in told)
    assert all(math.isfinite(each.logprob) for each in told)


def test_json_schema(writing_server) -> None:
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"], "additionalProperties": False}
    answer = writing_server.client().chat.completions.create(
        model="stories260K.gguf",
        messages=[{"role": "user", "content": "a number"}],
        max_tokens=60,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    )
    assert json.loads(answer.choices[0].message.content)["n"] in (1, 2)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": "x"},
        {"messages": []},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"messages": [{"role": "user", "content": "x"}], "n": 2},
        {"messages": [{"role": "user", "content": "x"}], "temperature": -1},
        {"messages": [{"role": "user", "content": "x"}], "temperature": "hot"},
        {"messages": [{"role": "user", "content": "x"}], "max_tokens": 0},
        {"messages": [{"role": "user", "content": "x"}], "logit_bias": {"5": 1}},
        {"messages": [{"role": "user", "content": "x"}], "stop": ["a"] * 17},
        {"messages": [{"role": "user", "content": "x"}], "top_logprobs": 2},
        {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_schema"}},
        {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "yaml"}},
        {"messages": [{"role": "user", "content": "word " * 3000}]},
        {"messages": [{"role": "user", "content": "x"}], "grammar": "root ::= nothing"},
        {"messages": [{"role": "user", "content": "x"}], "model": "minilm"},
        {"messages": [{"role": "user", "content": "x"}], "stream": True, "unheard": 1},
    ],
)
def test_what_the_client_did_wrong_is_400(writing_server, body: dict[str, object]) -> None:
    with writing_server.http() as client:
        answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_the_wrong_kind_of_model_is_said(writing_server) -> None:
    with pytest.raises(openai.BadRequestError, match="is a language model, and an embedding model"):
        writing_server.client().embeddings.create(model="stories260K.gguf", input="x")
    with pytest.raises(openai.NotFoundError):
        writing_server.client().completions.create(model="gpt-9", prompt="x")


def test_no_language_model_says_how_to_get_one(server) -> None:
    with pytest.raises(openai.NotFoundError, match="tp model download"):
        server.client().chat.completions.create(model=openai.omit, messages=[{"role": "user", "content": "x"}])


def test_tokens_there_and_back(writing_server) -> None:
    with writing_server.http() as client:
        ids = client.post("/tokenize", json={"content": "Once upon a time"}).json()["tokens"]
        assert client.post("/detokenize", json={"tokens": ids}).json()["content"].strip() == "Once upon a time"
        pieces = client.post("/tokenize", json={"content": "Once upon", "with_pieces": True}).json()["tokens"]
        assert "".join(piece["piece"] for piece in pieces) == " Once upon"
        assert client.post("/tokenize", json={"content": "hello", "model": "minilm"}).json()["tokens"] == [7592]
        assert client.post("/detokenize", json={"tokens": [10**6]}).status_code == 400


def test_rerank(writing_server) -> None:
    with writing_server.http() as client:
        answer = client.post(
            "/v1/rerank",
            json={"query": "bake bread", "documents": ["a car engine", "flour, water, yeast"], "top_n": 1},
        ).json()
        assert [row["index"] for row in answer["results"]] == [1]
        both = client.post(
            "/v1/rerank",
            json={"query": "bread", "documents": [{"text": "bread"}, "stone"], "return_documents": True},
        ).json()["results"]
        assert both[0]["document"] == {"text": "bread"}
        assert both[0]["relevance_score"] > both[1]["relevance_score"]


def test_rerank_with_a_reranker(start_server, tmp_path: Path) -> None:
    folder = RERANKERS["bert"].save(tmp_path / "cross-encoder")
    with Reranker.load(str(folder)) as reranker:
        wanted = 1 / (1 + np.exp(-reranker.scores(QUERY, DOCUMENTS)))
    with start_server("--model", folder).http() as client:
        body = {"model": folder.name, "query": QUERY, "documents": list(DOCUMENTS)}
        answer = client.post("/v1/rerank", json=body).json()
        found = {row["index"]: row["relevance_score"] for row in answer["results"]}
        np.testing.assert_allclose([found[index] for index in range(len(DOCUMENTS))], wanted, rtol=1e-4)
        assert answer["usage"]["total_tokens"] > 0
        assert client.post("/v1/embeddings", json={"model": folder.name, "input": "x"}).status_code == 400
        loaded = {model["kind"] for model in client.get("/api/status").json()["models"]}
        assert "reranker" in loaded
