"""Tools of a conversation: how they are written into a prompt, and how calls of them are read from an answer.

A model whose template has tools is told of them by the template and calls them in the format of its family. For any
other the conversation is written out here, in the format of Hermes and Qwen, which small models keep to best:
`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`. All formats are read whatever the template is, as a call
counts only where it names a tool that was offered.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turboprop.errors import UsageError

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_RESULT_OPEN, _RESULT_CLOSE = "<tool_response>", "</tool_response>"
_INSTRUCTIONS = (
    "You may call these functions, each a JSON object in a line of its own:\n{tools}\n\n"
    "To call one, write nothing but\n"
    f'{OPEN}\n{{"name": "NAME", "arguments": {{...}}}}\n{CLOSE}'
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that a model wrote. `arguments` is JSON text of an object."""

    name: str
    arguments: str


def written_out(messages: Iterable[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The conversation for a template that knows no tools: offered in the system message, calls and their results as
    text of the assistant and of the user."""
    made: list[dict[str, Any]] = []
    for message in messages:
        role, text = message["role"], message["content"]
        if role == "assistant" and message.get("tool_calls"):
            bare = [json.dumps(_bare(each), ensure_ascii=False) for each in message["tool_calls"]]
            calls = [f"{OPEN}\n{each}\n{CLOSE}" for each in bare]
            text = "\n".join([text, *calls] if text else calls)
        elif role == "tool":
            role, text = "user", f"{_RESULT_OPEN}\n{text}\n{_RESULT_CLOSE}"
            if made and made[-1]["role"] == "user" and made[-1]["content"].endswith(_RESULT_CLOSE):
                made[-1]["content"] += f"\n{text}"
                continue
        made.append({"role": role, "content": text})
    if tools:
        listed = "\n".join(json.dumps(each.get("function", each), ensure_ascii=False) for each in tools)
        told = _INSTRUCTIONS.replace("{tools}", listed)
        if made and made[0]["role"] == "system":
            made[0]["content"] = f"{made[0]['content']}\n\n{told}".lstrip()
        else:
            made.insert(0, {"role": "system", "content": told})
    return made


def call_schema(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON schema of a call of one of `tools`, for an answer that has to be one."""
    definitions: dict[str, Any] = {}
    choices = []
    for number, tool in enumerate(tools):
        function = tool["function"]
        parameters = dict(function.get("parameters") or {})
        own = f"{number}"
        for key in ("$defs", "definitions"):
            inner = parameters.pop(key, None) or {}
            if not isinstance(inner, Mapping):
                raise UsageError(f"the {key} of the tool {function['name']} are no object; describe each by its name")
            for name, each in inner.items():
                definitions[f"{own}_{name}"] = closed(_moved(each, own))
        arguments = closed({"type": "object", "properties": {}, **_moved(parameters, own)})
        if _refers_to(arguments, own) or any(_refers_to(each, own) for each in definitions.values()):
            definitions[own], arguments = arguments, {"$ref": f"#/$defs/{own}"}
        choices.append(
            {
                "type": "object",
                "properties": {"name": {"const": function["name"]}, "arguments": arguments},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    made: dict[str, Any] = choices[0] if len(choices) == 1 else {"anyOf": choices}
    return {**made, "$defs": definitions} if definitions else made


def calls_in(text: str, names: frozenset[str]) -> list[Call]:
    """The calls that a text is as a whole, in whichever format; empty where it is something else, or where one of
    them names a tool that is not among `names`."""
    text = text.strip()
    found = _json_calls(text) or _tagged_calls(text) or _python_calls(text)
    return found if all(call.name in names for call in found) else []


class CallReader:
    """Tells the calls from the text of an answer, however it is cut into pieces.

    What stands between the marks of a format, or is JSON from the first letter on, is held back until it is whole;
    what is no call after all is text.
    """

    def __init__(self, names: frozenset[str], *, forced: bool = False) -> None:
        """`names` are the tools that were offered; `forced`: the whole answer is one call."""
        self._names = names
        self._held = ""
        self._begun = False
        self._closing: str | None = "" if forced else None
        self._opening = ""

    def push(self, text: str) -> tuple[str, list[Call]]:
        """The text that may be shown now, and the calls that are whole."""
        self._held += text
        shown: list[str] = []
        calls: list[Call] = []
        while True:
            if self._closing is None and not self._open(shown):
                break
            if not self._closing:  # until the end
                break
            place = self._held.find(self._closing)
            if place < 0:
                break
            inner, self._held = self._held[:place], self._held[place + len(self._closing) :]
            found = calls_in(inner, self._names)
            if not found:
                shown.append(f"{self._opening}{inner}{self._closing}")
            calls += found
            self._closing = None
        return "".join(shown), calls

    def finish(self) -> tuple[str, list[Call]]:
        """What waited: calls, or text that was none."""
        text, self._held = self._held, ""
        if self._closing is not None and (found := calls_in(text, self._names)):
            return "", found
        return (self._opening if self._closing is not None else "") + text, []

    def _open(self, shown: list[str]) -> bool:
        """Show what stands before the next call; whether one begins."""
        if not self._begun:
            bare = self._held.lstrip()
            if not bare:
                return False
            marked = any(each.startswith(bare) or bare.startswith(each) for each, _ in _MARKS)
            if not marked and (bare[0] in "{[" or bare.startswith(_FENCES)):
                self._begun, self._closing, self._opening = True, "", ""
                return True
            if any(each.startswith(bare) for each in _FENCES):
                return False
        places = [(at, opening, closing) for opening, closing in _MARKS if (at := self._held.find(opening)) >= 0]
        if places:
            at, self._opening, self._closing = min(places, key=lambda each: (each[0], -len(each[1])))
            shown.append(self._held[:at])
            self._held = self._held[at + len(self._opening) :]
            self._begun = True
            return True
        keep = max(_overlap(self._held, opening) for opening, _ in _MARKS)
        cut = len(self._held) - keep
        if cut:
            self._begun = True
            shown.append(self._held[:cut])
            self._held = self._held[cut:]
        return False


def _deepseek_mark(*words: str) -> str:
    return f"<\uff5c{chr(0x2581).join(('tool', *words))}\uff5c>"


_DEEPSEEK_CALL, _DEEPSEEK_CALL_END = _deepseek_mark("call", "begin"), _deepseek_mark("call", "end")
_DEEPSEEK_SEPARATOR = _deepseek_mark("sep")
_MARKS = (
    (OPEN, CLOSE),  # Hermes, Qwen, Granite 4, SmolLM 3
    ("<|tool_call|>", "<|/tool_call|>"),  # Phi 4 mini; Granite 3 has no closing mark
    ("<tool_calls>", "</tool_calls>"),
    ("[TOOL_CALLS]", ""),  # Mistral
    ("<|python_tag|>", ""),  # Llama 3
    ("functools[", ""),  # Phi 3.5
    (_deepseek_mark("calls", "begin"), _deepseek_mark("calls", "end")),  # DeepSeek
    ("```tool_code", "```"),  # Gemma 3
    ("<start_function_call>", "<end_function_call>"),  # FunctionGemma
    ("<|channel|>commentary to=functions.", "<|call|>"),  # gpt-oss
    ("<|start|>assistant<|channel|>commentary to=functions.", "<|call|>"),
)
"""Where calls begin and end in the formats of the families; with no end mark they go on to the end of the answer."""
_FENCES = ("```json",)
_LONGEST = 1 << 16
"""Characters of calls that are not JSON as a whole."""
_PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?")
_HARMONY = re.compile(r"([\w.-]+)(?: ?<\|constrain\|> ?json)?<\|message\|>(\{.*\})", re.DOTALL)
_NAMED_JSON = re.compile(r"([\w.-]+)(?:\[CALL_ID\][\w-]+)?(?:\[ARGS\]|\s*)(\{.*\})", re.DOTALL)
_FUNCTION_GEMMA = re.compile(r"call:([\w.-]+)\{(.*)\}", re.DOTALL)


def _json_calls(text: str) -> list[Call]:
    text = text.removeprefix("```json").removesuffix("```").strip()
    if text.startswith('{"name"') and text.endswith("]"):  # after `functools[`, which was the mark
        text = f"[{text}"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        # Llama 3 puts several objects one behind the other.
        if len(text) > _LONGEST:
            return []
        parts = [part for part in re.split(r"(?<=\})[\s;]+(?=\{)", text) if part]
        if len(parts) < 2:
            return []
        try:
            value = [json.loads(part) for part in parts]
        except (ValueError, RecursionError):
            return []
    values = value if isinstance(value, list) else [value]
    return _sound([_call(each) for each in values])


def _call(value: Any) -> Call | None:
    if not isinstance(value, Mapping):
        return None
    if isinstance(value.get("function"), Mapping):
        value = value["function"]
    name = value.get("name", value.get("function"))
    arguments = value.get("arguments", value.get("parameters", {}))
    if not isinstance(name, str):
        return None
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    if arguments is None:
        arguments = {}
    return _written(name, arguments) if isinstance(arguments, Mapping) else None


def _written(name: str, arguments: Mapping[str, Any]) -> Call | None:
    """None for numbers that JSON does not have. A lone surrogate stays spelled out, as no encoding has it."""
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        return Call(name, text if text.isascii() else text.encode().decode())
    except UnicodeEncodeError:
        return Call(name, json.dumps(arguments))
    except ValueError:
        return None


def _tagged_calls(text: str) -> list[Call]:
    if len(text) > _LONGEST:
        return []
    if _DEEPSEEK_CALL in text:
        return _named(_deepseek(part) for part in text.split(_DEEPSEEK_CALL)[1:])
    if text.startswith("<function="):  # Qwen 3 Coder
        return _sound([_of_parameters(part) for part in text.split("<function=")[1:]])
    if found := _FUNCTION_GEMMA.fullmatch(text):
        parts = found[2].split("<escape>")
        if len(parts) % 2 == 0:
            return []
        keys, values = parts[0::2], parts[1::2]
        return _sound([_typed(found[1], ((key.strip(", :"), each) for key, each in zip(keys, values, strict=False)))])
    pairs = []
    for part in text.split("[TOOL_CALLS]"):
        bare = part.strip().removeprefix("functions.")
        match = _HARMONY.fullmatch(bare) or _NAMED_JSON.fullmatch(bare)
        if match is None:
            return []
        pairs.append((match[1], match[2]))
    return _named(pairs)


def _deepseek(part: str) -> tuple[str, str]:
    """`function<sep>NAME\\n```json\\n{...}\\n```<end>`, or since V3.1 `NAME<sep>{...}<end>`."""
    head, _, rest = part.partition(_DEEPSEEK_CALL_END)[0].partition(_DEEPSEEK_SEPARATOR)
    if head == "function":
        head, _, rest = rest.partition("\n")
    return head.strip(), rest.strip().removeprefix("```json").removesuffix("```").strip()


def _of_parameters(part: str) -> Call | None:
    name, _, inner = part.partition(">")
    pieces = _PARAMETER.split(inner.partition("</function>")[0])
    values = (piece.partition("</parameter>")[0].removesuffix("\n") for piece in pieces[2::2])
    return _typed(name.strip(), zip(pieces[1::2], values, strict=True))


def _named(found: Iterable[tuple[str, str]]) -> list[Call]:
    return _sound([_call({"name": name, "arguments": arguments}) for name, arguments in found])


def _sound(calls: Sequence[Call | None]) -> list[Call]:
    """The calls where all of them are ones, else none."""
    return [each for each in calls if each is not None] if None not in calls else []


def _typed(name: str, pairs: Iterable[tuple[str, str]]) -> Call | None:
    """A call with values that are JSON as what they are, all others as texts."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        try:
            made[key.strip()] = json.loads(value)
        except (ValueError, RecursionError):
            made[key.strip()] = value
    return _written(name, made)


def _python_calls(text: str) -> list[Call]:
    """`[look(at="x"), go()]`, as Gemma and some of Llama's prompts have it; never run, and only literals are read."""
    if len(text) > _LONGEST or not re.match(r"\[?\s*(print\()?[\w.]+\(", text):
        return []
    try:
        tree = ast.parse(text, mode="eval").body
        nodes = tree.elts if isinstance(tree, ast.List) else [tree]
        return _sound([_python_call(node) for node in nodes])
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return []


def _python_call(node: ast.expr) -> Call | None:
    if not isinstance(node, ast.Call):
        raise ValueError("no call")
    name = ast.unparse(node.func)
    if name == "print" and len(node.args) == 1:
        return _python_call(node.args[0])
    if node.args or any(each.arg is None for each in node.keywords):
        raise ValueError("arguments have names")
    arguments = {str(each.arg): ast.literal_eval(each.value) for each in node.keywords}
    return _written(name, arguments)


def _bare(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {"name": function["name"], "arguments": function["arguments"]}


def _moved(schema: Any, own: str) -> Any:
    """References into a tool's own schema, which lies among the definitions, by the tool's number `own`."""
    if isinstance(schema, list):
        return [_moved(each, own) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    made = {key: _moved(value, own) for key, value in schema.items()}
    reference = made.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        for start, there in (("#/$defs/", f"{own}_"), ("#/definitions/", f"{own}_"), ("#", own)):
            if reference.startswith(start):
                made["$ref"] = f"#/$defs/{there}{reference.removeprefix(start)}"
                break
    return made


def _refers_to(schema: Any, own: str) -> bool:
    """Whether something in a schema that was moved refers to the tool's arguments as a whole, or into them."""
    if isinstance(schema, list):
        return any(_refers_to(each, own) for each in schema)
    if not isinstance(schema, Mapping):
        return False
    whole, reference = f"#/$defs/{own}", schema.get("$ref")
    here = isinstance(reference, str) and (reference == whole or reference.startswith(f"{whole}/"))
    return here or any(_refers_to(each, own) for each in schema.values())


def closed(schema: Any) -> Any:
    """The same schema with objects that have the properties that it names and no others, unless it says otherwise: a
    small model adds properties to an open one until its tokens end."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties", "$defs", "definitions") and isinstance(value, Mapping):
            made[key] = {name: closed(each) for name, each in value.items()}  # a property may be called `default`
        else:
            made[key] = value if key in ("const", "enum", "default") else closed(value)
    if schema.get("type") == "object" and isinstance(schema.get("properties"), Mapping):
        made.setdefault("additionalProperties", False)
    return made


def _overlap(text: str, mark: str) -> int:
    """Length of the longest end of `text` that is a beginning of `mark`, not all of it."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0
