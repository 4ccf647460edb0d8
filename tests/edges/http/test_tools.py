"""Tools: offered through the template, called in the answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generate.conftest import CHATML
from turboprop.edges.http.tools import ToolCallReader

WITH_TOOLS = (
    "{% if tools %}{{ '<|im_start|>system\nCall as <tool_call>JSON</tool_call>: ' + tools|tojson + '<|im_end|>\n' }}"
    "{% endif %}" + CHATML
)
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "x"}}\n</tool_call>'
GRAMMAR = "root ::= " + json.dumps(CALL)
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]


@given(
    st.lists(st.sampled_from(["text ", "<tool", CALL, "<tool_call>no JSON</tool_call>", "<"]), max_size=6), st.data()
)
def test_calls_are_found_however_the_text_is_cut(parts: list[str], data: st.DataObject) -> None:
    whole = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    reader = ToolCallReader()
    shown = ""
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        shown += reader.push(whole[start:end])[0]
    shown += reader.finish()
    assert shown == whole.replace(CALL, "")
    assert [json.loads(call["function"]["arguments"]) for call in reader.calls] == [{"at": "x"}] * whole.count(CALL)
    assert len({call["id"] for call in reader.calls}) == len(reader.calls)


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


def test_a_template_without_tools_refuses_them(writing_server: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="has no tools"):
        writing_server.client().chat.completions.create(
            model="stories260K.gguf", messages=[{"role": "user", "content": "x"}], tools=TOOLS
        )


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


def test_a_model_behind_an_address_whose_template_has_no_tools_refuses_them(
    start_server: Callable[..., Any], smollm2_file: Path
) -> None:
    box = start_server("--model", smollm2_file)
    name = f"{box.url}/v1#{smollm2_file.name}"
    front = start_server("--model", name, TP_OFFLINE="0")
    ask: dict[str, Any] = {"model": name, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    with pytest.raises(openai.APIStatusError, match="has no tools"):
        front.client().chat.completions.create(tools=TOOLS, **ask)
    assert front.client().chat.completions.create(temperature=0, **ask).choices[0].message.content
    assert front.stop() == box.stop() == 0
