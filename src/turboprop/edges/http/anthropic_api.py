"""`POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's interface."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NotRequired

from pydantic import Field, StrictInt, StrictStr
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop import limits
from turboprop.edges.http import generation
from turboprop.edges.http.conversation import (
    IMAGES,
    Answer,
    CallEvent,
    Conversation,
    Event,
    chosen,
    talk,
    whole,
)
from turboprop.edges.http.failures import ErrorShape, Failure, RequestError
from turboprop.edges.http.generation import EndEvent
from turboprop.edges.http.schemas import ForeignBody, MaxTokens, Number, UpTo10000
from turboprop.edges.http.state import read_model, state_of
from turboprop.edges.http.streams import EventStream, sse, told_errors, until_gone
from turboprop.edges.http.tools import Name, rendered_call, rendered_tool
from turboprop.generate.events import ReasoningEvent
from turboprop.generate.options import GenerationOptions

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class ErrorPart(TypedDict):
    type: str
    message: str


class ErrorAnswer(TypedDict):
    type: Literal["error"]
    error: ErrorPart


def _error(failure: Failure) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(failure.status, "api_error" if failure.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": failure.message}}


ERROR = ErrorShape(_error, ErrorAnswer)


class Block(ForeignBody):
    """A part of a message, of any type; which fields count depends on the type."""

    type: StrictStr
    text: StrictStr | None = None
    id: StrictStr | None = None
    name: Name | None = None
    input: dict[str, Any] | None = None
    tool_use_id: StrictStr | None = None
    content: StrictStr | UpTo10000[Block] | None = None
    is_error: bool | None = None
    source: dict[str, Any] | None = None
    thinking: StrictStr | None = None
    signature: StrictStr | None = None


class MessageParam(ForeignBody):
    role: Literal["user", "assistant", "system"]
    content: StrictStr | UpTo10000[Block]


class MessagesTool(ForeignBody):
    name: Name
    type: StrictStr | None = None
    description: StrictStr | None = None
    input_schema: dict[str, Any] | None = None


class MessagesToolChoice(ForeignBody):
    type: Literal["auto", "any", "tool", "none"]
    name: Name | None = None


class Thinking(ForeignBody):
    type: StrictStr


class OutputFormat(ForeignBody):
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(ForeignBody):
    format: OutputFormat | None = None


class CountRequest(ForeignBody):
    """As at Anthropic, without what only it has."""

    not_done: ClassVar[Mapping[str, str]] = {
        "mcp_servers": "this server calls no others; give tools",
        "container": "this server runs no code; give tools",
    }

    messages: Annotated[UpTo10000[MessageParam], Field(min_length=1)]
    model: StrictStr | None = None
    system: StrictStr | UpTo10000[Block] | None = None
    tools: Annotated[list[MessagesTool], Field(max_length=512, fail_fast=True)] | None = None
    tool_choice: MessagesToolChoice | None = None
    thinking: Thinking | None = None

    def plain(self) -> list[dict[str, Any]]:
        """The messages as a prompt takes them. Raises `RequestError` for what is no text."""
        made = [] if not self.system else [{"role": "system", "content": _text(self.system)}]
        for message in self.messages:
            if isinstance(message.content, str):
                made.append({"role": message.role, "content": message.content})
                continue
            results = [block for block in message.content if block.type == "tool_result"]
            made += [{"role": "tool", "content": _text(block.content or "")} for block in results]
            calls = [rendered_call(block.name or "", block.input or {}) for block in message.content if _calls(block)]
            text = _text([block for block in message.content if block.type not in ("tool_result", "tool_use")])
            if text or calls or not results:
                more: dict[str, Any] = {"tool_calls": calls} if calls and message.role == "assistant" else {}
                made.append({"role": message.role, "content": text, **more})
        return made

    def offered(self) -> tuple[Any, bool]:
        """The tools as templates take them, and whether one has to be called."""
        for tool in self.tools or ():
            if tool.input_schema is None and tool.type not in (None, "custom"):
                raise RequestError(
                    400, f"tools: {tool.type} runs at Anthropic; give a tool with an input_schema", None, "tools"
                )
        tools = [rendered_tool(each.name, each.description, each.input_schema) for each in self.tools or ()]
        choice = self.tool_choice
        if choice is None:
            return chosen(tools, "auto")
        names: dict[str, Literal["auto", "none", "required"]] = {"any": "required", "none": "none"}
        return chosen(tools, names.get(choice.type, "auto"), choice.name if choice.type == "tool" else None)


class MessagesRequest(CountRequest):
    max_tokens: MaxTokens = None
    stream: bool | None = None
    stop_sequences: Annotated[list[StrictStr], Field(max_length=limits.MOST_STOPS)] | None = None
    temperature: Annotated[Number, limits.TEMPERATURE] | None = None
    top_p: Annotated[Number, limits.TOP_P] | None = None
    top_k: Annotated[StrictInt, limits.TOP_K] | None = None
    output_format: OutputFormat | None = None
    output_config: OutputConfig | None = None

    def conversation(self) -> Conversation:
        """What is asked. Raises `UsageError` or `RequestError`."""
        tools, forced = self.offered()
        sampling = {name: getattr(self, name) for name in ("temperature", "top_p", "top_k")}
        form = self.output_format or (self.output_config.format if self.output_config else None)
        options = GenerationOptions(
            **{name: value for name, value in sampling.items() if value is not None},
            stop=generation.stops_of(self.stop_sequences),
            max_tokens=self.max_tokens,
            json_schema=form.schema_ if form else None,
            reasoning=None if self.thinking is None else self.thinking.type != "disabled",
        )
        return Conversation(self.plain(), options, tools, forced)


class MessagesUsage(TypedDict):
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int


class AnswerBlock(TypedDict):
    type: Literal["text", "thinking", "tool_use"]
    text: NotRequired[str]
    thinking: NotRequired[str]
    signature: NotRequired[str]
    id: NotRequired[str]
    name: NotRequired[str]
    input: NotRequired[dict[str, Any]]


class MessagesAnswer(TypedDict):
    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[AnswerBlock]
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"] | None
    stop_sequence: str | None
    usage: MessagesUsage


class CountAnswer(TypedDict):
    input_tokens: int


async def create_message(request: Request) -> Response:
    """Answer a conversation."""
    state = state_of(request)
    wanted = await read_model(request, MessagesRequest)
    return await until_gone(request, _answer(state, wanted))


async def count_tokens(request: Request) -> Response:
    """The tokens of a conversation, not answered."""
    state = state_of(request)
    wanted = await read_model(request, CountRequest)
    name = await state.in_thread(state.names.language, wanted.model)
    tools, _ = wanted.offered()
    with await state.in_waiting_thread(state.manager.language, name, wait=state.limits.load_seconds) as lease:
        count = await state.in_thread(lambda: lease.model.count_tokens(wanted.plain(), tools))
    return JSONResponse({"input_tokens": count})


async def _answer(state: ServerState, wanted: MessagesRequest) -> Response:
    name = await state.in_thread(state.names.language, wanted.model)
    frame = {
        "id": f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": wanted.model or state.names.public(name),
    }
    async with AsyncExitStack() as held:
        events = await talk(state, held, name, wanted.conversation())
        if not wanted.stream:
            (answer,) = await whole(events)
            return JSONResponse({**frame, "content": _blocks(answer), **_end(answer.end), "usage": _usage(answer.end)})
        chunks = told_errors(state, _chunks(events, frame), tell=lambda failure: sse(_error(failure), "error"))
        return EventStream(chunks, held.pop_all(), stall_seconds=state.limits.stall_seconds)


def _blocks(answer: Answer) -> list[AnswerBlock]:
    blocks: list[AnswerBlock] = []
    if answer.reasoning:
        blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": ""})
    if answer.text or not answer.calls:
        blocks.append({"type": "text", "text": answer.text})
    for call in answer.calls:
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)})
    return blocks


def _end(end: EndEvent) -> dict[str, Any]:
    stop = end.done.stop_text
    reason = {"length": "max_tokens", "tool_calls": "tool_use"}.get(
        end.reason, "stop_sequence" if stop is not None else "end_turn"
    )
    return {"stop_reason": reason, "stop_sequence": stop if reason == "stop_sequence" else None}


def _usage(end: EndEvent | None) -> MessagesUsage:
    """Tokens of the prompt that were cached count apart."""
    usage = end.done.usage if end is not None else None
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens if usage else 0,
        "output_tokens": usage.generated_tokens if usage else 0,
        "cache_read_input_tokens": usage.cached_tokens if usage else 0,
        "cache_creation_input_tokens": 0,
    }


async def _chunks(events: AsyncIterator[tuple[int, Event]], frame: dict[str, Any]) -> AsyncIterator[bytes]:
    def tell(kind: str, **more: Any) -> bytes:
        return sse({"type": kind, **more}, kind)

    start = {**frame, "content": [], "stop_reason": None, "stop_sequence": None, "usage": _usage(None)}
    yield tell("message_start", message=start)
    index, begun = -1, ""
    async for _, event in events:
        if isinstance(event, EndEvent):
            kind = ""
        elif isinstance(event, CallEvent):
            kind = event.id
        else:
            kind = "thinking" if isinstance(event, ReasoningEvent) else "text"
        if kind != begun and begun:
            yield tell("content_block_stop", index=index)
        if kind != begun and kind:
            index += 1
            block: dict[str, Any] = {"type": kind, kind: ""}
            if isinstance(event, CallEvent):
                block = {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}
            elif kind == "thinking":
                block["signature"] = ""
            yield tell("content_block_start", index=index, content_block=block)
        begun = kind
        if isinstance(event, EndEvent):
            yield tell("message_delta", delta=_end(event), usage=_usage(event))
            yield tell("message_stop")
        elif isinstance(event, CallEvent):
            delta = {"type": "input_json_delta", "partial_json": event.arguments}
            yield tell("content_block_delta", index=index, delta=delta)
        else:
            yield tell("content_block_delta", index=index, delta={"type": f"{kind}_delta", kind: event.text})


def _calls(block: Block) -> bool:
    return block.type == "tool_use"


def _text(content: str | list[Block]) -> str:
    if isinstance(content, str):
        return content
    return "".join(_text_of(block) for block in content)


def _text_of(block: Block) -> str:
    if block.type in ("thinking", "redacted_thinking"):
        return ""
    if block.type == "text" and block.text is not None:
        return block.text
    source = block.source or {}
    if block.type == "document" and source.get("type") == "text" and isinstance(source.get("data"), str):
        return str(source["data"])
    if block.type == "image":
        raise RequestError(400, f"content: {IMAGES}", "unsupported_value", "messages")
    raise RequestError(
        400, f"content: a block of the type {block.type[:40]!r} is not read here, only text", None, "messages"
    )
