"""Tools written into prompts, and calls read from answers, in the formats of the families."""

from __future__ import annotations

import json
from typing import Any

import llguidance
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.errors import UsageError
from turboprop.generate.tools import CallReader, call_schema, calls_in, written_out

NAMES = frozenset(("look", "go"))
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "x"}}\n</tool_call>'
BAR, SPACE = "\uff5c", "\u2581"
DEEPSEEK = {
    name: f"<{BAR}tool{SPACE}{name.replace(' ', SPACE)}{BAR}>"
    for name in ("calls begin", "call begin", "sep", "call end", "calls end")
}


@given(
    st.lists(st.sampled_from(["text ", "<tool", CALL, "<tool_call>no JSON</tool_call>", "<"]), max_size=6), st.data()
)
def test_calls_are_found_however_the_text_is_cut(parts: list[str], data: st.DataObject) -> None:
    whole = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    reader = CallReader(NAMES)
    shown, calls = "", []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        text, found = reader.push(whole[start:end])
        shown, calls = shown + text, calls + found
    text, found = reader.finish()
    assert shown + text == whole.replace(CALL, "")
    assert [json.loads(call.arguments) for call in calls + found] == [{"at": "x"}] * whole.count(CALL)


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("Hermes, Qwen", CALL),
        ("Granite 3", '<|tool_call|>[{"name": "look", "arguments": {"at": "x"}}]'),
        ("Llama 3", '{"name": "look", "parameters": {"at": "x"}}'),
        ("Llama 3 with a tag", '<|python_tag|>{"name": "look", "parameters": {"at": "x"}}'),
        ("Mistral", '[TOOL_CALLS][{"name": "look", "arguments": {"at": "x"}}]'),
        ("Mistral Small 3.2", '[TOOL_CALLS]look[CALL_ID]abcdefghi[ARGS]{"at": "x"}'),
        ("Phi 4 mini", '<|tool_call|>[{"name": "look", "arguments": {"at": "x"}}]<|/tool_call|>'),
        ("Phi 3.5", 'functools[{"name": "look", "arguments": {"at": "x"}}]'),
        (
            "DeepSeek R1",
            (
                f"{DEEPSEEK['calls begin']}{DEEPSEEK['call begin']}function{DEEPSEEK['sep']}look\n```json\n"
                f'{{"at": "x"}}\n```{DEEPSEEK["call end"]}{DEEPSEEK["calls end"]}'
            ),
        ),
        (
            "DeepSeek V3.1",
            (
                f"{DEEPSEEK['calls begin']}{DEEPSEEK['call begin']}look{DEEPSEEK['sep']}"
                f'{{"at": "x"}}{DEEPSEEK["call end"]}{DEEPSEEK["calls end"]}'
            ),
        ),
        ("gpt-oss", '<|channel|>commentary to=functions.look <|constrain|>json<|message|>{"at": "x"}<|call|>'),
        ("Qwen 3 Coder", "<tool_call>\n<function=look>\n<parameter=at>\nx\n</parameter>\n</function>\n</tool_call>"),
        ("Gemma 3", "```tool_code\nprint(look(at='x'))\n```"),
        ("FunctionGemma", "<start_function_call>call:look{at:<escape>x<escape>}<end_function_call>"),
        ("fenced", '```json\n{"name": "look", "arguments": {"at": "x"}}\n```'),
    ],
)
def test_the_formats_of_the_families(family: str, text: str) -> None:
    for step in (1, len(text)):
        reader, shown, calls = CallReader(NAMES), "", []
        for start in range(0, len(text), step):
            more, found = reader.push(text[start : start + step])
            shown, calls = shown + more, calls + found
        more, found = reader.finish()
        assert not (shown + more).strip()
        assert [(call.name, json.loads(call.arguments)) for call in calls + found] == [("look", {"at": "x"})]


@pytest.mark.parametrize(
    "text",
    [
        '[{"name": "look", "arguments": {}}, {"name": "go", "arguments": {}}]',
        '{"name": "look", "parameters": {}}; {"name": "go", "parameters": {}}',
        "[look(), go()]",
        "look[ARGS]{}[TOOL_CALLS]go[ARGS]{}",
    ],
)
def test_several_calls_at_once(text: str) -> None:
    assert [call.name for call in calls_in(text, NAMES)] == ["look", "go"]


@pytest.mark.parametrize(
    "text", ["", "look", '{"x": 1}', '{"name": "dream", "arguments": {}}', "look(1)", "__import__('os')", "[" * 9_999]
)
def test_what_is_no_call(text: str) -> None:
    assert calls_in(text, NAMES) == []
    reader = CallReader(NAMES)
    assert reader.push(text)[0] + reader.finish()[0] == text


@given(st.text(st.sampled_from("<>|[]{}()\"'=,:`abc_ ") | st.characters(), max_size=60))
def test_whatever_is_written_is_shown_or_a_call(text: str) -> None:
    reader = CallReader(NAMES)
    assert reader.push(text)[0] + reader.finish()[0] == text


def test_a_conversation_for_a_template_without_tools() -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": {"at": "x"}}}
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    made = written_out(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": "", "tool_calls": [call, call]},
            {"role": "tool", "content": "1"},
            {"role": "tool", "content": "2"},
        ],
        [tool],
    )
    assert [each["role"] for each in made] == ["system", "user", "assistant", "user"]
    assert made[0]["content"].startswith("Be brief.\n\n")
    assert json.dumps(tool["function"]) in made[0]["content"]
    assert made[2]["content"] == f"{CALL}\n{CALL}"
    assert made[3]["content"].count("<tool_response>") == 2
    assert written_out([{"role": "user", "content": "?"}], []) == [{"role": "user", "content": "?"}]


def test_the_schema_of_a_call_keeps_each_tools_definitions() -> None:
    def tool(name: str, values: list[str]) -> dict[str, Any]:
        parameters = {"type": "object", "properties": {"v": {"$ref": "#/$defs/V"}}, "$defs": {"V": {"enum": values}}}
        return {"type": "function", "function": {"name": name, "parameters": parameters}}

    schema = json.dumps(call_schema([tool("look", ["a"]), tool("go", ["b"])]))
    grammar = llguidance.LLMatcher.grammar_from_json_schema(schema)
    assert llguidance.LLMatcher.validate_grammar(grammar, None) == ""
    ids = json.loads(schema)["$defs"]
    assert [ids["0_V"], ids["1_V"]] == [{"enum": ["a"]}, {"enum": ["b"]}]


@pytest.mark.parametrize("arguments", ['{"a": 1e999}', '{"a": NaN}'])
def test_numbers_that_json_does_not_have_make_no_call(arguments: str) -> None:
    assert calls_in(f'{{"name": "look", "arguments": {arguments}}}', NAMES) == []
    assert calls_in("look(a=1e999)", NAMES) == []


def test_a_lone_surrogate_stays_spelled_out() -> None:
    (call,) = calls_in('{"name": "look", "arguments": {"a": "\\ud800 ä"}}', NAMES)
    assert call.arguments.encode()
    assert json.loads(call.arguments) == {"a": "\ud800 ä"}


def test_long_runs_between_objects_are_read_once() -> None:
    assert calls_in('{"name": "go"}' + "\n" * 60_000 + "x", NAMES) == []
    two = calls_in('{"name": "go"}\n\n; {"name": "look"}', NAMES)
    assert [call.name for call in two] == ["go", "look"]


def test_references_within_the_arguments_of_a_tool() -> None:
    node = {"type": "object", "properties": {"child": {"$ref": "#"}, "default": {"type": "object", "properties": {}}}}
    other = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"$ref": "#/properties/a"}}}
    tools = [
        {"type": "function", "function": {"name": name, "parameters": part}}
        for name, part in zip("ab", (node, other), strict=True)
    ]
    schema = call_schema(tools)
    assert schema["$defs"]["0"]["properties"]["child"] == {"$ref": "#/$defs/0"}
    assert schema["$defs"]["0"]["properties"]["default"]["additionalProperties"] is False
    assert schema["$defs"]["1"]["properties"]["b"] == {"$ref": "#/$defs/1/properties/a"}
    assert not llguidance.LLMatcher.validate_grammar(llguidance.LLMatcher.grammar_from_json_schema(schema))


def test_definitions_that_are_no_object_are_refused() -> None:
    with pytest.raises(UsageError, match="the tool look are no object"):
        call_schema([{"type": "function", "function": {"name": "look", "parameters": {"$defs": [1]}}}])
