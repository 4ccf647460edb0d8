"""Tools of a conversation: what a client offers, and the calls that a model writes into its answer.

Templates of the Hermes and Qwen families have a call written as JSON between `<tool_call>` and `</tool_call>`.
"""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any, Literal

from pydantic import Field, StrictStr
from typing_extensions import TypedDict

from turboprop.edges.http.schemas import RequestBody

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
Name = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class ToolFunction(RequestBody):
    name: Name
    description: StrictStr | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(RequestBody):
    type: Literal["function"]
    function: ToolFunction


class CalledFunction(RequestBody):
    name: Name
    arguments: StrictStr


class ToolCall(RequestBody):
    id: StrictStr
    type: Literal["function"] = "function"
    function: CalledFunction

    def rendered(self) -> dict[str, Any]:
        """As templates take it: arguments as an object where they are one."""
        try:
            arguments: Any = json.loads(self.function.arguments)
        except (ValueError, RecursionError):
            arguments = self.function.arguments
        return {"type": "function", "id": self.id, "function": {"name": self.function.name, "arguments": arguments}}


class FunctionRow(TypedDict):
    name: str
    arguments: str


class ToolCallRow(TypedDict):
    id: str
    type: Literal["function"]
    function: FunctionRow


class ToolCallReader:
    """Tells the calls from the text of an answer, however it is cut into pieces."""

    def __init__(self) -> None:
        self._held = ""
        self._inside = False
        self.calls: list[ToolCallRow] = []

    def push(self, text: str) -> tuple[str, list[ToolCallRow]]:
        """The text that may be shown now, and the calls that are whole."""
        self._held += text
        shown: list[str] = []
        new: list[ToolCallRow] = []
        while True:
            tag = _CLOSE if self._inside else _OPEN
            place = self._held.find(tag)
            if place < 0:
                break
            part, self._held = self._held[:place], self._held[place + len(tag) :]
            if not self._inside:
                shown.append(part)
            elif (call := _read(part)) is not None:
                new.append(call)
            else:  # no call after all: nothing of an answer is lost
                shown.append(f"{_OPEN}{part}{_CLOSE}")
            self._inside = not self._inside
        if not self._inside:
            keep = next((n for n in range(len(_OPEN) - 1, 0, -1) if self._held.endswith(_OPEN[:n])), 0)
            cut = len(self._held) - keep
            shown.append(self._held[:cut])
            self._held = self._held[cut:]
        self.calls += new
        return "".join(shown), new

    def finish(self) -> str:
        """What waited and was no call."""
        text = (_OPEN if self._inside else "") + self._held
        self._held, self._inside = "", False
        return text


def _read(text: str) -> ToolCallRow | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", {})
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {
        "id": f"call_{secrets.token_hex(12)}",
        "type": "function",
        "function": {"name": value["name"], "arguments": written},
    }
