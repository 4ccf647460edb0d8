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


@pytest.mark.parametrize("number", [512, 2**31 - 1])
def test_an_id_that_is_none_is_400(writing_server, number: int) -> None:
    with writing_server.http() as client:
        answer = client.post("/v1/completions", json={"prompt": [1, number], "max_tokens": 1})
    assert answer.status_code == 400, answer.text
    assert str(number) in answer.json()["error"]["message"]


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
        {"messages": [{"role": "user", "content": 7}]},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"messages": [{"role": "user", "content": "x"}], "n": 9},
        {"messages": [{"role": "user", "content": "x"}], "temperature": -1},
        {"messages": [{"role": "user", "content": "x"}], "temperature": "hot"},
        {"messages": [{"role": "user", "content": "x"}], "max_tokens": 0},
        {"messages": [{"role": "user", "content": "x"}], "logit_bias": {"99999": 1}},
        {"messages": [{"role": "user", "content": "x"}], "stop": ["a"] * 17},
        {"messages": [{"role": "user", "content": "x"}], "top_logprobs": 2},
        {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_schema"}},
        {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "yaml"}},
        {"messages": [{"role": "user", "content": "word " * 3000}]},
        {"messages": [{"role": "user", "content": "x"}], "grammar": "root ::= nothing"},
        {"messages": [{"role": "user", "content": "x"}], "grammar": "root ::= root"},
        {"messages": [{"role": "user", "content": "x"}], "grammar": 'root ::= "a" root'},
        {"messages": [{"role": "user", "content": "x"}], "grammar": "root ::= root", "stream": True},
        {"messages": [{"role": "user", "content": "x"}], "model": "minilm"},
        {"messages": [{"role": "user", "content": "x"}], "stream": True, "mirostat": 2},
        {"messages": [{"role": "user", "content": "x"}], "functions": [{"name": "f"}]},
        {"messages": [{"role": "user", "content": "x"}], "modalities": ["text", "audio"]},
        {"messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {"mood": "dark"}},
    ],
)
def test_what_the_client_did_wrong_is_400(writing_server, body: dict[str, object]) -> None:
    with writing_server.http() as client:
        answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            None,
            "images",
        ),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content", "valid string or array"),
        ({"messages": [{"role": "user", "content": [{"type": 7}]}]}, "messages.0.content.0.type", "string"),
        ({"messages": [], "functions": [{}]}, None, "messages"),
        ({"messages": [{"role": "user", "content": "x"}], "functions": [{}]}, "functions", "tools"),
        ({"messages": [{"role": "user", "content": "x"}], "audio": {"voice": "x"}}, "audio", "no audio"),
    ],
)
def test_an_error_names_the_part_that_is_wrong(writing_server, body, param: str | None, said: str) -> None:
    with writing_server.http() as client:
        error = client.post("/v1/chat/completions", json=body).json()["error"]
    assert said in error["message"]
    assert param is None or error["param"] == param


@pytest.mark.parametrize(
    ("body", "ignored"),
    [
        (
            {"verbosity": "low", "modalities": ["text"], "prompt_cache_retention": "24h"},
            "verbosity, prompt_cache_retention",
        ),
        ({"cache_prompt": True, "keep_alive": "5m", "unheard": [{}]}, "cache_prompt, keep_alive, unheard"),
        ({"functions": [], "best_of": 1, "mirostat": 0, "tools": []}, "functions, best_of, mirostat"),
        (
            {"chat_template_kwargs": {"enable_thinking": False}, "stop": "", "top_p": 0, "max_completion_tokens": -1},
            None,
        ),
        ({"stop": ["", "."], "logit_bias": {"5": -100, "6": 1.5}, "response_format": {"type": "text"}}, None),
        ({"stream_options": {"include_usage": None, "new": 1}}, "stream_options.new"),
    ],
)
def test_what_changes_nothing_is_passed_over_and_named(writing_server, body, ignored: str | None) -> None:
    messages = [
        {"role": "developer", "content": []},
        {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "annotations": [],
            "audio": None,
            "function_call": None,
            "tool_calls": [],
        },
        {"role": "user", "content": ""},
    ]
    with writing_server.http() as client:
        answer = client.post("/v1/chat/completions", json={"messages": messages, "max_tokens": 2, **body})
    assert answer.status_code == 200, answer.text
    told = set(answer.headers["x-turboprop-ignored"].split(", "))
    assert told == {
        "messages.1.content.0.cache_control",
        "messages.2.annotations",
        "messages.2.audio",
        "messages.2.function_call",
        *(ignored.split(", ") if ignored else ()),
    }
    assert any("messages.content.cache_control" in line for line in writing_server.log)


def test_several_answers(writing_server) -> None:
    ask = {"model": "STORIES260K", "messages": [{"role": "user", "content": "a"}], "max_tokens": 4, "seed": 3, "n": 3}
    client = writing_server.client()
    whole = client.chat.completions.create(**ask)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    texts = [choice.message.content for choice in whole.choices]
    assert len(set(texts)) > 1
    alone = client.chat.completions.create(**{**ask, "n": 1})
    assert alone.choices[0].message.content == texts[0]
    assert alone.usage.prompt_tokens == whole.usage.prompt_tokens
    long = {**ask, "messages": [{"role": "user", "content": "Once upon a time there was a dog. " * 8}]}
    client.chat.completions.create(**long)
    usage = client.chat.completions.create(**long).usage  # each answer finds the prompt cached
    assert 0 < usage.prompt_tokens_details.cached_tokens <= usage.prompt_tokens
    parts = list(client.chat.completions.create(**ask, stream=True))
    streamed = ["", "", ""]
    for part in parts:
        streamed[part.choices[0].index] += part.choices[0].delta.content or ""
    assert streamed == texts


def test_usage_is_told_once_and_only_when_asked(writing_server) -> None:
    client = writing_server.client()
    chat = {"model": "stories260k", "messages": [{"role": "user", "content": "a"}], "max_tokens": 2}
    text = {"model": "stories260K.gguf:latest", "prompt": ["a", "b"], "max_tokens": 2}
    for create, body in ((client.chat.completions.create, chat), (client.completions.create, text)):
        assert all(part.usage is None for part in create(**body, stream=True))
        parts = list(create(**body, stream=True, stream_options={"include_usage": True}))
        assert [part.usage is not None for part in parts] == [False] * (len(parts) - 1) + [True]
        assert parts[-1].choices == []
        assert parts[-1].usage == create(**body).usage


def test_an_answer_that_was_begun_is_continued(writing_server) -> None:
    client = writing_server.client()
    ask = {"model": "stories260K", "max_tokens": 6, "temperature": 0}
    messages = [{"role": "user", "content": "Tell"}, {"role": "assistant", "content": "Once upon a time"}]
    text = "User: Tell\nAssistant:Once upon a time"
    begun = client.chat.completions.create(messages=messages, **ask).choices[0].message.content
    assert begun == client.completions.create(prompt=text, **ask).choices[0].text


def test_bias_and_echo(writing_server) -> None:
    client = writing_server.client()
    ask = {"model": "stories260K", "prompt": "Once upon a time", "max_tokens": 3, "temperature": 0}
    with writing_server.http() as http:
        (comma, *_) = http.post("/tokenize", json={"content": ","}).json()["tokens"][-1:]
    plain = client.completions.create(**ask).choices[0].text
    assert plain.startswith(",")
    assert not client.completions.create(**ask, logit_bias={str(comma): -100}).choices[0].text.startswith(",")
    assert client.completions.create(**ask, echo=True).choices[0].text == ask["prompt"] + plain
    streamed = client.completions.create(**ask, echo=True, stream=True)
    assert "".join(part.choices[0].text for part in streamed) == ask["prompt"] + plain
    for more in ({"echo": True, "logprobs": 1}, {"suffix": "."}, {"echo": True, "prompt": [1, 2]}):
        with pytest.raises(openai.BadRequestError, match=r"echo|fill"):
            client.completions.create(**{**ask, **more})


def test_control_tokens_of_a_prompt_are_meant_and_bytes_are_the_tokens(start_server, chat_folder) -> None:
    client = start_server("--model", chat_folder()).client()
    marked = "<|im_start|>user\nhi<|im_end|>\n"
    counts = {
        special: client.completions.create(
            model="chat", prompt=marked, max_tokens=1, extra_body={"parse_special": special}
        ).usage.prompt_tokens
        for special in (True, False)
    }
    assert counts[True] == len("user\nhi\n") + 2
    assert counts[False] == len(marked)
    chat = client.chat.completions.create(
        model="chat",
        messages=[{"role": "user", "content": "a"}],
        max_tokens=40,
        seed=1,
        temperature=2,
        logprobs=True,
        top_logprobs=5,
    ).choices[0]
    # A byte-level vocabulary: each token has one byte, or is a control token.
    tokens = [one for each in chat.logprobs.content for one in (each, *each.top_logprobs)]
    assert all(len(one.bytes) == 1 or one.token.startswith("<|") for one in tokens)
    assert any(one.bytes[0] >= 128 for one in tokens)


def test_filling_in(start_server, infill_folder, writing_server) -> None:
    client = start_server("--model", infill_folder).client()
    answer = client.completions.create(model="chat", prompt="def f(", suffix="return a", max_tokens=2)
    assert answer.usage.prompt_tokens == len("def f(") + len("return a") + 3
    with pytest.raises(openai.BadRequestError, match="no tokens for filling in"):
        writing_server.client().completions.create(model="stories260K.gguf", prompt="a", suffix="b")


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
