"""`/v1/responses`, through OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

from generate.conftest import CHATML

MODEL = "stories260K.gguf"
TOOL: Any = {
    "type": "function",
    "name": "go",
    "parameters": {"type": "object", "properties": {"to": {"enum": ["a", "b"]}}, "required": ["to"]},
}


def test_an_answer_whole_and_streamed(writing_server) -> None:
    client = writing_server.client()
    ask: dict[str, Any] = {"model": MODEL, "input": "Hey", "max_output_tokens": 6, "temperature": 0}
    whole = client.responses.create(**ask)
    chat = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Hey"}], max_tokens=6, temperature=0
    )
    assert whole.output_text == chat.choices[0].message.content
    assert (whole.status, whole.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert whole.usage.total_tokens == chat.usage.total_tokens
    events = list(client.responses.create(**ask, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:4]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.output_text == whole.output_text


def test_what_was_said_before(writing_server) -> None:
    client = writing_server.client()
    ask: dict[str, Any] = {"model": MODEL, "max_output_tokens": 6, "temperature": 0}
    first = client.responses.create(input="Hey", **ask)
    after = client.responses.create(input="More", previous_response_id=first.id, **ask)
    items: list[Any] = [{"role": "user", "content": "Hey"}, *first.output, {"role": "user", "content": "More"}]
    told = client.responses.create(input=items, **ask)
    assert after.output_text == told.output_text
    assert after.usage.input_tokens == told.usage.input_tokens > first.usage.input_tokens
    forgotten = client.responses.create(input="Hey", store=False, **ask)
    for number in (forgotten.id, "resp_0"):
        with pytest.raises(openai.NotFoundError, match="not kept"):
            client.responses.create(input="More", previous_response_id=number, **ask)


def test_what_is_kept_is_given_again(writing_server) -> None:
    client = writing_server.client()
    items: list[Any] = [
        {"role": "user", "content": "Hey"},
        {"type": "function_call", "call_id": "c1", "name": "go", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "gone"},
    ]
    ask: dict[str, Any] = {"model": MODEL, "max_output_tokens": 6}
    first = client.responses.create(input=items, **ask)
    assert client.responses.retrieve(first.id).to_dict() == first.to_dict()
    streamed = list(client.responses.create(input="Hey", stream=True, **ask))[-1].response
    assert client.responses.retrieve(streamed.id).output_text == streamed.output_text
    listed = list(client.responses.input_items.list(first.id, limit=2, order="asc"))
    assert [item.type for item in listed] == ["message", "function_call", "function_call_output"]
    assert listed[0].content[0].text == "Hey"
    assert [item.id for item in client.responses.input_items.list(first.id)] == [item.id for item in listed[::-1]]
    client.responses.delete(first.id)
    for ask_again in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError, match="not kept"):
            ask_again(first.id)


def test_a_stream_that_fails_says_so_in_turn(writing_server) -> None:
    endless = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"], "additionalProperties": False}
    form: Any = {"format": {"type": "json_schema", "name": "endless", "schema": endless}}
    events = list(writing_server.client().responses.create(model=MODEL, input="Hey", text=form, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1].response.status == "failed"
    assert "refers to itself" in events[-1].response.error.message


def test_tools(start_server: Callable[..., Any], chat_folder: Callable[..., Any]) -> None:
    client = start_server("--model", chat_folder(CHATML)).client()
    ask: dict[str, Any] = {"model": "chat", "tools": [TOOL, {"type": "web_search"}]}
    answer = client.responses.with_raw_response.create(input="x", tool_choice="required", **ask)
    assert answer.headers["x-turboprop-tools-not-offered"] == "web_search"
    whole = answer.parse()
    (call,) = whole.output
    assert (call.type, call.name) == ("function_call", "go")
    assert json.loads(call.arguments)["to"] in ("a", "b")
    named: Any = {"type": "function", "name": "go"}
    with client.responses.stream(input="x", tool_choice=named, **ask) as stream:
        kinds = [event.type for event in stream]
        (streamed,) = stream.get_final_response().output
    assert "response.function_call_arguments.done" in kinds
    assert streamed.name == "go"
    stay: Any = {**TOOL, "name": "stay"}
    allowed: Any = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "stay"}]}
    (other,) = client.responses.create(model="chat", input="x", tools=[TOOL, stay], tool_choice=allowed).output
    assert other.name == "stay"
    told: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "there"}]
    after = client.responses.create(model="chat", input=told, previous_response_id=whole.id, max_output_tokens=1)
    assert after.usage.input_tokens > 50


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"background": True}, "background"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "item_reference"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "images"),
        ({"tool_choice": "required"}, "no tools"),
        ({"tool_choice": {"type": "web_search"}, "tools": [TOOL]}, "web_search"),
        ({"tool_choice": {"type": "function"}, "tools": [TOOL]}, "by name"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [{"type": "mcp", "name": "go"}]}, "tools": [TOOL]}, "mcp"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "no"}]}}, "'no'"),
        ({"tools": [{**TOOL, "name": "go there"}]}, "tools.0.name"),
        ({"input": [{"type": "function_call", "name": "<|im_end|>", "arguments": "{}"}]}, "input.0.name"),
    ],
)
def test_what_is_not_done_is_named(writing_server, more: Any, said: str) -> None:
    with writing_server.http() as client:
        answer = client.post("/v1/responses", json={"model": MODEL, "input": "x", **more})
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
