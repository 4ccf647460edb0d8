"""Tools of a conversation as OpenAI's interface has them, in requests and in answers."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StrictStr
from typing_extensions import TypedDict

from turboprop.edges.http.schemas import ForeignBody

if TYPE_CHECKING:
    from turboprop.edges.http.conversation import CallEvent

Name = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class ToolFunction(ForeignBody):
    name: Name
    description: StrictStr | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(ForeignBody):
    type: Literal["function"] = "function"
    function: ToolFunction

    def rendered(self) -> dict[str, Any]:
        """As templates take it."""
        return rendered_tool(self.function.name, self.function.description, self.function.parameters)


def rendered_tool(name: str, description: str | None, parameters: dict[str, Any] | None) -> dict[str, Any]:
    """A tool as templates take it."""
    function: dict[str, Any] = {"name": name}
    if description is not None:
        function["description"] = description
    function["parameters"] = parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}


class NamedFunction(ForeignBody):
    name: Name


class NamedTool(ForeignBody):
    type: Literal["function"] = "function"
    function: NamedFunction


class CalledFunction(ForeignBody):
    name: Name
    arguments: StrictStr


class ToolCall(ForeignBody):
    id: StrictStr | None = None
    type: Literal["function"] = "function"
    function: CalledFunction

    def rendered(self) -> dict[str, Any]:
        """As templates take it: arguments as an object where they are one."""
        return rendered_call(self.function.name, self.function.arguments, self.id)


def rendered_call(name: str, arguments: Any, number: str | None = None) -> dict[str, Any]:
    """A call as templates take it; `arguments` is JSON text or an object, `number` is what results name it by."""
    if isinstance(arguments, str):
        with contextlib.suppress(ValueError, RecursionError):
            arguments = json.loads(arguments or "{}")
    told = {} if number is None else {"id": number}
    return {"type": "function", **told, "function": {"name": name, "arguments": arguments}}


class FunctionRow(TypedDict):
    name: str
    arguments: str


class ToolCallRow(TypedDict):
    id: str
    type: Literal["function"]
    function: FunctionRow


def call_row(call: CallEvent) -> ToolCallRow:
    """A call as an answer has it."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
