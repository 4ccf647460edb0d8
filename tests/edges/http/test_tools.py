"""Tools: offered through the template, called in the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from generate.conftest import CHATML

WITH_TOOLS = (
    "{% if tools %}{{ '<|im_start|>system\nCall as <tool_call>JSON</tool_call>: ' + tools|tojson + '<|im_end|>\n' }}"
    "{% endif %}" + CHATML
)
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "x"}}\n</tool_call>'
GRAMMAR = "root ::= " + json.dumps(CALL)
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture
def caller(start_server: Callable[..., Any], chat_folder: Callable[..., Path]) -> Any:
    server = start_server("--model", chat_folder(WITH_TOOLS))
    yield server
    assert server.stop() == 0


def test_a_model_calls_a_tool_and_is_told_what_came_of_it(caller: Any) -> None:
    client = caller.client()
    ask: dict[str, Any] = {"model": "chat", "tools": TOOLS, "max_tokens": 90, "extra_body": {"grammar": GRAMMAR}}
    messages: list[Any] = [{"role": "user", "content": "look"}]
    choice = client.chat.completions.create(messages=messages, **ask).choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("look", {"at": "x"})
    assert choice.message.content is None
    parts = list(client.chat.completions.create(messages=messages, stream=True, **ask))
    (streamed,) = [each for part in parts for each in part.choices[0].delta.tool_calls or []]
    assert streamed.function.name == "look"
    assert parts[-1].choices[0].finish_reason == "tool_calls"
    assert "tool_call" not in "".join(part.choices[0].delta.content or "" for part in parts)
    told = [*messages, choice.message.model_dump(exclude_none=True)]
    told.append({"role": "tool", "tool_call_id": call.id, "content": "a wall"})
    assert client.chat.completions.create(model="chat", messages=told, tools=TOOLS, max_tokens=2).choices


def test_a_template_without_tools_has_them_written_out(start_server: Callable[..., Any], chat_folder: Any) -> None:
    server = start_server("--model", chat_folder(CHATML))
    client = server.client()
    ask: dict[str, Any] = {"model": "chat", "tools": TOOLS, "max_tokens": 90, "extra_body": {"grammar": GRAMMAR}}
    messages: list[Any] = [{"role": "user", "content": "look"}]
    plain = client.chat.completions.create(model="chat", messages=messages, max_tokens=1)
    choice = client.chat.completions.create(messages=messages, **ask)
    assert choice.usage.prompt_tokens > plain.usage.prompt_tokens + 50  # the offer is in the prompt
    (call,) = choice.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("look", {"at": "x"})
    told = [*messages, choice.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "a wall"}]
    assert client.chat.completions.create(model="chat", messages=told, max_tokens=2).choices
    assert server.stop() == 0


def test_a_call_can_be_asked_for(start_server: Callable[..., Any], chat_folder: Any) -> None:
    """The model has random weights: what it writes is a call because nothing else can be written."""
    client = start_server("--model", chat_folder(CHATML)).client()
    parameters = {
        "type": "object",
        "properties": {"unit": {"enum": ["m", "ft"]}},
        "required": ["unit"],
    }
    tools: list[Any] = [
        {"type": "function", "function": {"name": name, "parameters": parameters}} for name in ("gauge", "guess")
    ]
    ask: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "x"}], "tools": tools, "seed": 1}
    named = {"type": "function", "function": {"name": "guess"}}
    for choice, names in (("required", {"gauge", "guess"}), (named, {"guess"})):
        whole = client.chat.completions.create(tool_choice=choice, **ask).choices[0]
        parts = list(client.chat.completions.create(tool_choice=choice, stream=True, **ask))
        (streamed,) = [each for part in parts for each in part.choices[0].delta.tool_calls or []]
        assert whole.finish_reason == parts[-1].choices[0].finish_reason == "tool_calls"
        for call in (whole.message.tool_calls[0], streamed):
            assert call.function.name in names
            arguments = json.loads(call.function.arguments)
            assert set(arguments) == {"unit"}
            assert arguments["unit"] in ("m", "ft")
    for wrong in ("required", {"type": "function", "function": {"name": "dream"}}):
        with pytest.raises(openai.BadRequestError, match="tool_choice"):
            client.chat.completions.create(
                **{**ask, "tools": tools if isinstance(wrong, dict) else []}, tool_choice=wrong
            )


def test_a_call_of_a_tool_that_was_not_offered_is_text(start_server: Callable[..., Any], chat_folder: Any) -> None:
    client = start_server("--model", chat_folder(CHATML)).client()
    other = [{"type": "function", "function": {"name": "other"}}]
    choice = client.chat.completions.create(
        model="chat",
        messages=[{"role": "user", "content": "x"}],
        tools=other,
        max_tokens=90,
        extra_body={"grammar": GRAMMAR},
    ).choices[0]
    assert choice.message.tool_calls is None
    assert choice.message.content == CALL


def test_a_server_whose_model_is_behind_an_address_passes_tools_on(
    caller: Any, start_server: Callable[..., Any]
) -> None:
    """Two of our servers: the second asks the first, which has the model, its template and its grammar."""
    name = f"{caller.url}/v1#chat"
    front = start_server("--model", name, TP_OFFLINE="0")
    client = front.client()
    ask: dict[str, Any] = {"model": name, "tools": TOOLS, "max_tokens": 90, "extra_body": {"grammar": GRAMMAR}}
    messages: list[Any] = [{"role": "user", "content": "look"}]
    choice = client.chat.completions.create(messages=messages, **ask).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("look", {"at": "x"})
    parts = list(client.chat.completions.create(messages=messages, stream=True, **ask))
    (streamed,) = [each for part in parts for each in part.choices[0].delta.tool_calls or []]
    assert (streamed.function.name, json.loads(streamed.function.arguments)) == ("look", {"at": "x"})
    told = [*messages, choice.message.model_dump(exclude_none=True)]
    told.append({"role": "tool", "tool_call_id": call.id, "content": "a wall"})
    plain: dict[str, Any] = {"messages": told, "tools": TOOLS, "max_tokens": 8, "temperature": 0}
    near = caller.client().chat.completions.create(model="chat", **plain)
    far = client.chat.completions.create(model=name, **plain)
    assert far.usage.prompt_tokens == near.usage.prompt_tokens
    assert far.choices[0].message.content == near.choices[0].message.content
    assert front.stop() == 0
