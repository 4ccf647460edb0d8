"""`POST /v1/chat/completions`: answer a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Self

from pydantic import Field, StrictInt, StrictStr, model_validator
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop import limits
from turboprop.edges.http import generation
from turboprop.edges.http.generation import GenerationRequest, TimingsAnswer, TokenAnswer, UsageAnswer
from turboprop.edges.http.schemas import RequestBody
from turboprop.edges.http.state import read_model, state_of
from turboprop.edges.http.streams import EventStream, sse, told_errors, until_gone
from turboprop.edges.http.tools import Tool, ToolCall, ToolCallReader, ToolCallRow
from turboprop.generate.events import DoneEvent, GenerationEvent, ReasoningEvent, TokenLogprob

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState

_KIND = "chat.completion"


class TextPart(RequestBody):
    type: Literal["text"]
    text: StrictStr


class ChatMessage(RequestBody):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: StrictStr | Annotated[list[TextPart], Field(min_length=1)] | None = None
    name: StrictStr | None = None
    tool_call_id: StrictStr | None = None
    tool_calls: Annotated[list[ToolCall], Field(min_length=1, max_length=128)] | None = None
    refusal: StrictStr | None = None
    reasoning_content: StrictStr | None = None

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if self.content is None and self.tool_calls is None:
            raise ValueError("a message has content, or is an assistant's with tool_calls")
        return self

    def plain(self) -> dict[str, Any]:
        """As a prompt takes it: `developer` is the newer name of `system`."""
        given = self.content or ""
        text = given if isinstance(given, str) else "".join(part.text for part in given)
        made: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role, "content": text}
        if self.tool_calls is not None:
            made["tool_calls"] = [call.rendered() for call in self.tool_calls]
        if self.tool_call_id is not None:
            made["tool_call_id"] = self.tool_call_id
        return made


class ChatRequest(GenerationRequest):
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: Annotated[StrictInt, limits.MAX_TOKENS] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[StrictInt, limits.LOGPROBS] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["auto", "none"] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    reasoning: bool | None = Field(None, description="Let models that can think first, or not.")
    # What other servers do with these makes no difference here.
    store: bool | None = None
    metadata: dict[str, StrictStr] | None = None
    service_tier: StrictStr | None = None
    safety_identifier: StrictStr | None = None
    prompt_cache_key: StrictStr | None = None
    parallel_tool_calls: bool | None = None


class AnswerMessage(TypedDict):
    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[ToolCallRow]]


class ChatLogprobs(TypedDict):
    content: list[TokenAnswer]
    refusal: None


class ChatChoice(TypedDict):
    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls"]


class ChatAnswer(TypedDict):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: UsageAnswer
    timings: TimingsAnswer


async def create_chat_completion(request: Request) -> Response:
    """Answer a conversation."""
    state = state_of(request)
    wanted = await read_model(request, ChatRequest)
    return await until_gone(request, _answer(state, wanted))


async def _answer(state: ServerState, wanted: ChatRequest) -> Response:
    name = await state.in_thread(state.names.language, wanted.model)
    shown = wanted.model or state.names.public(name)
    generation.refuse_unless(
        wanted.top_logprobs is None or bool(wanted.logprobs), "top_logprobs wants logprobs to be true", "top_logprobs"
    )
    reasoning = wanted.reasoning
    if reasoning is None and wanted.reasoning_effort is not None:
        reasoning = wanted.reasoning_effort not in ("none", "minimal")
    options = wanted.options(
        max_tokens=wanted.max_completion_tokens or wanted.max_tokens,
        logprobs=(wanted.top_logprobs or 0) if wanted.logprobs else None,
        reasoning=reasoning,
    )
    messages = [message.plain() for message in wanted.messages]
    offered = wanted.tools if wanted.tools and wanted.tool_choice != "none" else []
    tools = [tool.model_dump(exclude_none=True) for tool in offered]
    reader = ToolCallReader() if tools else None
    number = generation.new_id("chatcmpl")
    async with AsyncExitStack() as held:
        events = await generation.started(state, held, name, lambda model: model.stream(messages, options, tools=tools))
        if not wanted.stream:
            head = generation.frame(_KIND, number, shown)
            return JSONResponse({**head, **await _whole(events, reader, logprobs=bool(wanted.logprobs))})
        head = generation.frame(f"{_KIND}.chunk", number, shown)
        usage = bool(wanted.stream_options and wanted.stream_options.include_usage)
        chunks = told_errors(_chunks(events, head, usage, bool(wanted.logprobs), reader))
        return EventStream(chunks, held.pop_all(), stall_seconds=state.limits.stall_seconds)


async def _whole(
    events: AsyncIterator[GenerationEvent], reader: ToolCallReader | None, *, logprobs: bool
) -> dict[str, Any]:
    text: list[str] = []
    reasoning: list[str] = []
    tokens: list[TokenLogprob] = []
    async for event in events:
        if isinstance(event, DoneEvent):
            said = "".join(text)
            if reader is not None:
                shown, _ = reader.push(said)
                said = shown + reader.finish()
            calls = reader.calls if reader is not None else []
            message: AnswerMessage = {"role": "assistant", "content": said, "refusal": None}
            if calls:
                message["tool_calls"] = calls
                message["content"] = said.strip() or None
            if reasoning:
                message["reasoning_content"] = "".join(reasoning)
            choice: ChatChoice = {
                "index": 0,
                "message": message,
                "logprobs": _logprobs(tokens) if logprobs else None,
                "finish_reason": "tool_calls" if calls else generation.finish_reason(event),
            }
            usage, timings = generation.usage_of([event]), generation.timings_of(event)
            return {"choices": [choice], "usage": usage, "timings": timings}
        (reasoning if isinstance(event, ReasoningEvent) else text).append(event.text)
        tokens += event.logprobs
    raise AssertionError("a stream ends with a DoneEvent")


async def _chunks(
    events: AsyncIterator[GenerationEvent],
    head: dict[str, Any],
    usage: bool,
    logprobs: bool,
    reader: ToolCallReader | None,
) -> AsyncIterator[bytes]:
    def chunk(delta: dict[str, Any], finish: str | None = None, tokens: Any = (), **more: Any) -> bytes:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": finish}
        if logprobs:
            choice["logprobs"] = _logprobs(tokens)
        return sse({**head, "choices": [choice], **more})

    yield chunk({"role": "assistant", "content": ""})
    async for event in events:
        if isinstance(event, DoneEvent):
            told = {"usage": generation.usage_of([event]), "timings": generation.timings_of(event)}
            if reader is not None and (rest := reader.finish()):
                yield chunk({"content": rest})
            called = reader is not None and bool(reader.calls)
            yield chunk({}, "tool_calls" if called else generation.finish_reason(event), **told)
            if usage:
                yield sse({**head, "choices": [], "usage": generation.usage_of([event])})
            yield b"data: [DONE]\n\n"
        elif isinstance(event, ReasoningEvent):
            yield chunk({"reasoning_content": event.text}, tokens=event.logprobs)
        elif reader is None:
            yield chunk({"content": event.text}, tokens=event.logprobs)
        else:
            before = len(reader.calls)
            shown, calls = reader.push(event.text)
            if shown:
                yield chunk({"content": shown}, tokens=event.logprobs)
            for number, call in enumerate(calls, before):
                yield chunk({"tool_calls": [{"index": number, **call}]})


def _logprobs(tokens: Any) -> ChatLogprobs:
    return {"content": [generation.token_answer(token) for token in tokens], "refusal": None}
