"""llama.cpp's endpoints. The shapes are those of its server, asked the same; the bodies of editors are what their
plugins send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

MODEL = "stories260K.gguf"
ENDED = {
    "index", "content", "tokens", "id_slot", "stop", "model", "tokens_predicted", "tokens_evaluated",
    "generation_settings", "prompt", "has_new_line", "truncated", "stop_type", "stopping_word",
    "tokens_cached", "timings",
}  # fmt: skip
TIMINGS = {
    "cache_n", "prompt_n", "prompt_ms", "prompt_per_token_ms", "prompt_per_second", "predicted_n", "predicted_ms",
    "predicted_per_token_ms", "predicted_per_second",
}  # fmt: skip
WANTED = [
    "content", "timings/prompt_n", "timings/prompt_ms", "timings/prompt_per_token_ms", "timings/prompt_per_second",
    "timings/predicted_n", "timings/predicted_ms", "timings/predicted_per_token_ms", "timings/predicted_per_second",
    "truncated", "tokens_cached",
]  # fmt: skip
"""What llama.vim asks for."""


def ask(server: Any, path: str, body: dict[str, Any]) -> Any:
    with server.http() as client:
        answer = client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


def events(server: Any, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    with server.http() as client, client.stream("POST", path, json={**body, "stream": True}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]


def test_a_text_is_continued(writing_server) -> None:
    asked = {"prompt": "Once upon a time", "n_predict": 6, "temperature": 0, "return_tokens": True}
    answer = ask(writing_server, "/completion", asked)
    assert set(answer) == ENDED
    assert set(answer["timings"]) == TIMINGS
    assert (answer["tokens_predicted"], len(answer["tokens"]), answer["stop_type"]) == (6, 6, "limit")
    parts = events(writing_server, "/completion", asked)
    assert [part["stop"] for part in parts] == [False] * (len(parts) - 1) + [True]
    assert "".join(part["content"] for part in parts) == answer["content"]
    assert [number for part in parts for number in part["tokens"]] == [*answer["tokens"], *parts[-1]["tokens"]]
    assert set(parts[0]) == {"index", "content", "tokens", "stop", "id_slot", "tokens_predicted", "tokens_evaluated"}
    assert parts[0]["tokens_evaluated"] == answer["tokens_evaluated"]
    assert set(parts[-1]) == ENDED
    word = answer["content"].split()[1]
    stopped = ask(writing_server, "/completion", {**asked, "n_predict": 20, "stop": [word]})
    assert (stopped["stop_type"], stopped["stopping_word"]) == ("word", word)


def test_several_prompts_probabilities_and_fields(writing_server) -> None:
    rows = ask(writing_server, "/completions", {"prompt": ["a", "b"], "n_predict": 2, "response_fields": ["index"]})
    assert rows == [{"index": 0}, {"index": 1}]
    answer = ask(writing_server, "/completion", {"prompt": "Once", "n_predict": 3, "n_probs": 2})
    likely = answer["completion_probabilities"]
    assert [set(row) for row in likely] == [{"id", "token", "bytes", "logprob", "top_logprobs"}] * 3
    assert [len(row["top_logprobs"]) for row in likely] == [2, 2, 2]
    token = ask(writing_server, "/completion", {"prompt": "Once upon", "n_predict": 1, "temperature": 0})["content"]
    (number,) = ask(writing_server, "/completion", {
        "prompt": "Once upon", "n_predict": 1, "temperature": 0, "return_tokens": True
    })["tokens"]  # fmt: skip
    without = {"prompt": "Once upon", "n_predict": 1, "temperature": 0, "logit_bias": [[number, False]]}
    assert ask(writing_server, "/completion", without)["content"] != token


def test_what_is_not_done_is_told_in_its_form(writing_server) -> None:
    with writing_server.http() as client:
        for path, body, said in (
            ("/completion", {"prompt": "a", "mirostat": 2}, "mirostat"),
            ("/completion", {}, "prompt"),
            ("/completion", {"prompt": "a", "logit_bias": [[False, False]]}, "logit_bias"),
            ("/infill", {"input_prefix": "a", "input_suffix": "b"}, "no tokens for filling in"),
            ("/embedding", {"content": "a", "embd_normalize": -1, "model": "minilm"}, "embd_normalize"),
        ):
            error = client.post(path, json=body)
            assert error.status_code == 400
            told = error.json()["error"]
            assert (set(told), told["code"], told["type"]) == (
                {"code", "message", "type"},
                400,
                "invalid_request_error",
            )
            assert said in told["message"]


def test_an_editor_fills_in(start_server, infill_folder: Path) -> None:
    server = start_server("--model", infill_folder)
    extra = [{"text": "def g():\n    pass\n", "time": 1, "filename": "g.py"}]
    vim = {
        "id_slot": 0, "input_prefix": "def f(a):\n", "input_suffix": "\n    return b\n", "input_extra": extra,
        "prompt": "    ", "n_predict": 8, "stop": [], "n_indent": 4, "top_k": 40, "top_p": 0.90,
        "samplers": ["top_k", "top_p", "infill"], "stream": False, "cache_prompt": True, "t_max_prompt_ms": 500,
        "t_max_predict_ms": 1000, "response_fields": WANTED,
    }  # fmt: skip
    assert set(ask(server, "/infill", vim)) == set(WANTED)
    warm = {**vim, "prompt": "", "n_predict": 0, "samplers": [], "response_fields": [""]}
    assert ask(server, "/infill", warm) == {}
    code = {key: value for key, value in vim.items() if key != "response_fields"}
    answer = ask(server, "/infill", {**code, "n_cmpl": 1, "model": infill_folder.name})
    assert set(answer) == ENDED
    assert not answer["truncated"]
    snippet = len("\n\n--- snippet ---\n\n")
    texts = len(extra[0]["text"]) + len(vim["input_prefix"]) + len(vim["input_suffix"]) + len(vim["prompt"])
    assert answer["tokens_evaluated"] == texts + snippet + 3
    # More than the context holds is cut, never refused.
    long = ask(server, "/infill", {**code, "input_extra": [{"text": "x" * 100_000}], "input_prefix": "y" * 50_000})
    context = ask_props(server)["default_generation_settings"]["n_ctx"]
    assert long["truncated"]
    assert long["tokens_evaluated"] == context - 8


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_answer_ends_at_a_line_with_less_indentation(start_server, chat_folder, end: str) -> None:
    server = start_server("--model", chat_folder())
    lines = ["x", "", "    y", "z", "    w"]
    grammar = "root ::= " + json.dumps(end.join(lines))
    answer = ask(server, "/completion", {"prompt": "a", "grammar": grammar, "n_indent": 4, "n_predict": 40})
    assert answer["content"] == end.join(lines[:3]) + end


def ask_props(server: Any) -> Any:
    with server.http() as client:
        return client.get("/props").json()


def test_tokens_and_templates(start_server, chat_folder) -> None:
    server = start_server("--model", chat_folder())
    text = "a <|im_start|> b"
    meant = ask(server, "/tokenize", {"content": text})["tokens"]
    spelt = ask(server, "/tokenize", {"content": text, "parse_special": False})["tokens"]
    assert len(spelt) == len(text) > len(meant)
    assert ask(server, "/tokenize", {}) == {"tokens": []}
    assert ask(server, "/detokenize", {}) == {"content": ""}
    said = [{"role": "user", "content": "hi"}]
    made = ask(server, "/apply-template", {"messages": said})["prompt"]
    assert "<|im_start|>" in made
    with server.http() as client:
        used = client.post("/v1/chat/completions", json={"messages": said, "max_tokens": 1}).json()["usage"]
    asked = ask(server, "/completion", {"prompt": made, "n_predict": 1})
    assert asked["tokens_evaluated"] == used["prompt_tokens"]


def test_what_the_server_is_set_to(writing_server) -> None:
    with writing_server.http() as client:
        props = client.get("/props", params={"model": MODEL}).json()
        assert props["default_generation_settings"]["n_ctx"] > 0
        assert props["model_alias"] == props["model_path"] == MODEL
        slots = client.get("/slots").json()
        assert len(slots) == props["total_slots"]
        assert not any(slot["is_processing"] for slot in slots)
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/props", params={"model": "nothing"}).status_code == 404


def test_vectors(writing_server) -> None:
    rows = ask(writing_server, "/embedding", {"content": ["a", "b"], "model": "minilm"})
    assert [(row["index"], len(row["embedding"]), len(row["embedding"][0])) for row in rows] == [
        (0, 1, 384),
        (1, 1, 384),
    ]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_predict(writing_server, count: int) -> None:
    """`n_predict` 0 has the prompt read: an editor does it while somebody types."""
    answer = ask(writing_server, "/completion", {"prompt": "Once", "n_predict": count})
    assert bool(answer["content"]) == bool(count)
    chat = {"messages": [{"role": "user", "content": "a"}], "n_predict": count}
    assert ask(writing_server, "/v1/chat/completions", chat)["usage"]["completion_tokens"] == 1
