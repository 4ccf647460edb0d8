"""Anthropic's interface, as its clients speak it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from generate.conftest import CHATML

MODEL = "stories260K.gguf"
ASK = {"model": MODEL, "max_tokens": 6, "temperature": 0, "messages": [{"role": "user", "content": "Hey"}]}
TOOL = {
    "name": "go",
    "input_schema": {"type": "object", "properties": {"to": {"enum": ["a", "b"]}}, "required": ["to"]},
}


def events(answer: Any) -> list[dict[str, Any]]:
    found = [part.split("\n") for part in answer.text.strip().split("\n\n")]
    rows = [json.loads(data.removeprefix("data: ")) for _, data in found]
    assert [row["type"] for row in rows] == [name.removeprefix("event: ") for name, _ in found]
    return rows


def test_a_message_whole_and_streamed(writing_server) -> None:
    with writing_server.http() as client:
        whole = client.post("/v1/messages", json=ASK).json()
        rows = events(client.post("/v1/messages", json={**ASK, "stream": True}))
        openai = client.post("/v1/chat/completions", json=ASK).json()
    (block,) = whole["content"]
    assert block == {"type": "text", "text": openai["choices"][0]["message"]["content"]}
    assert (whole["stop_reason"], whole["usage"]["output_tokens"]) == ("max_tokens", 6)
    assert [row["type"] for row in rows][:2] == ["message_start", "content_block_start"]
    assert [row["type"] for row in rows][-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert "".join(row["delta"]["text"] for row in rows if row["type"] == "content_block_delta") == block["text"]
    usage = rows[-2]["usage"]
    prompt = openai["usage"]["prompt_tokens"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == prompt


def test_stop_sequences_and_what_is_begun(writing_server) -> None:
    messages = [{"role": "user", "content": "Tell"}, {"role": "assistant", "content": "Once upon a time"}]
    body = {
        **ASK,
        "messages": messages,
        "max_tokens": 60,
        "stop_sequences": ["."],
        "system": [{"type": "text", "text": "A"}],
    }
    with writing_server.http() as client:
        answer = client.post("/v1/messages", json=body).json()
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", ".")
    assert "." not in answer["content"][0]["text"]


def test_tools(start_server: Callable[..., Any], chat_folder: Callable[..., Any]) -> None:
    with start_server("--model", chat_folder(CHATML)).http() as client:
        body = {"model": "chat", "max_tokens": 90, "messages": [{"role": "user", "content": "x"}], "tools": [TOOL]}
        forced = {**body, "tool_choice": {"type": "any"}}
        whole = client.post("/v1/messages", json=forced).json()
        (call,) = whole["content"]
        assert (call["type"], call["name"], whole["stop_reason"]) == ("tool_use", "go", "tool_use")
        assert call["input"]["to"] in ("a", "b")
        rows = events(client.post("/v1/messages", json={**forced, "stream": True}))
        (start,) = [row["content_block"] for row in rows if row["type"] == "content_block_start"]
        (part,) = [row["delta"]["partial_json"] for row in rows if row["type"] == "content_block_delta"]
        assert (start["name"], set(json.loads(part))) == ("go", {"to"})
        counted = [
            client.post("/v1/messages/count_tokens", json=each).json()["input_tokens"]
            for each in ({"messages": body["messages"]}, {"messages": body["messages"], "tools": [TOOL]})
        ]
        assert counted[1] > counted[0] + 50
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "there"}]}
        told = [*body["messages"], {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
        assert client.post("/v1/messages", json={**body, "messages": told, "max_tokens": 1}).status_code == 200


@pytest.mark.parametrize(
    ("more", "status", "kind", "said"),
    [
        ({"model": "claude-x"}, 404, "not_found_error", "does not exist"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, 400, None, "images"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, 400, None, "video"),
        ({"messages": []}, 400, None, "messages"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "name": "<|im_end|>", "input": {}}]}]},
            400,
            None,
            "content.0.name",
        ),
        ({"mcp_servers": [{"url": "x"}]}, 400, None, "mcp_servers"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, 400, None, "web_search"),
        ({"tool_choice": {"type": "tool", "name": "dream"}}, 400, None, "dream"),
    ],
)
def test_errors_have_anthropics_shape(writing_server, more: Any, status: int, kind: str | None, said: str) -> None:
    with writing_server.http() as client:
        answer = client.post("/v1/messages", json={**ASK, **more})
    assert answer.status_code == status, answer.text
    found = answer.json()
    assert found["type"] == "error"
    assert found["error"]["type"] == (kind or "invalid_request_error")
    assert said in found["error"]["message"]


def test_the_key_of_anthropics_clients(start_server: Callable[..., Any]) -> None:
    with start_server("--api-key", "secret").http() as client:
        body = {"messages": [{"role": "user", "content": "x"}]}
        wrong = client.post("/v1/messages", json=body, headers={"X-Api-Key": "wrong"})
        assert wrong.status_code == 401
        assert client.post("/v1/messages", json=body, headers={"X-Api-Key": "secret"}).status_code == 404
