"""`POST /v1/chat/completions`: answer a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NotRequired, Self

from pydantic import Field, StrictInt, StrictStr, model_validator
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
from turboprop.edges.http.generation import (
    EndEvent,
    GenerationRequest,
    TemplateOptions,
    TimingsAnswer,
    TokenAnswer,
    UsageAnswer,
)
from turboprop.edges.http.schemas import ForeignBody, MaxTokens, UpTo10000, refusal
from turboprop.edges.http.state import read_model, state_of
from turboprop.edges.http.streams import EventStream, sse, told_errors, until_gone
from turboprop.edges.http.tools import NamedTool, Tool, ToolCall, ToolCallRow, call_row
from turboprop.generate.events import ReasoningEvent

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState

_KIND = "chat.completion"


class ContentPart(ForeignBody):
    """A part of a message: a text. What is a part of an older answer (`output_text`, `refusal`) is text as well."""

    type: StrictStr
    text: StrictStr | None = None
    refusal: StrictStr | None = None

    @model_validator(mode="after")
    def _is_text(self) -> Self:
        if self.type in ("image_url", "image", "input_image"):
            raise refusal("content", IMAGES)
        if self.type not in ("text", "input_text", "output_text", "refusal"):
            raise refusal("content", f"a part of the type {self.type[:40]!r} is not read here, only text")
        if self.text is None and self.refusal is None:
            raise ValueError("a part of a message has a text")
        return self


class ChatMessage(ForeignBody):
    not_done: ClassVar[Mapping[str, str]] = {
        "audio": "models here hear no audio",
        "function_call": "the older form of tool_calls; give tool_calls",
    }

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: StrictStr | UpTo10000[ContentPart] | None = None
    name: StrictStr | None = None
    tool_call_id: StrictStr | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=128, fail_fast=True)] | None = None
    refusal: StrictStr | None = None
    reasoning_content: StrictStr | None = None

    @model_validator(mode="after")
    def says_something(self) -> Self:
        if self.role in ("system", "developer", "user") and "content" not in self.model_fields_set:
            raise ValueError("a message of this role has a content")
        return self

    def plain(self) -> dict[str, Any]:
        """As a prompt takes it: `developer` is the newer name of `system`."""
        given = self.content or ""
        text = given if isinstance(given, str) else "".join(part.text or part.refusal or "" for part in given)
        made: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role, "content": text}
        if self.tool_calls and self.role == "assistant":
            made["tool_calls"] = [call.rendered() for call in self.tool_calls]
        if self.tool_call_id is not None:
            made["tool_call_id"] = self.tool_call_id
        return made


class ChatRequest(GenerationRequest):
    messages: Annotated[UpTo10000[ChatMessage], Field(min_length=1)]
    max_completion_tokens: MaxTokens = None
    logprobs: bool | None = None
    top_logprobs: Annotated[StrictInt, limits.LOGPROBS] | None = None
    tools: Annotated[list[Tool], Field(max_length=128, fail_fast=True)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    reasoning: bool | None = Field(None, description="Let models that can think first, or not.")
    chat_template_kwargs: TemplateOptions | None = None
    modalities: UpTo10000[StrictStr] | None = None
    # What other servers do with these makes no difference here.
    store: bool | None = None
    metadata: dict[str, StrictStr] | None = None
    service_tier: StrictStr | None = None
    safety_identifier: StrictStr | None = None
    prompt_cache_key: StrictStr | None = None
    parallel_tool_calls: bool | None = None

    @model_validator(mode="after")
    def _writes_text(self) -> Self:
        if set(self.modalities or ()) - {"text"}:
            raise refusal("modalities", "models here write text and nothing else")
        return self

    def thinks(self) -> bool | None:
        """Whether the model is let to think first; None for what it does by itself."""
        if self.reasoning is not None:
            return self.reasoning
        kwargs = self.chat_template_kwargs
        if kwargs is not None and (kwargs.enable_thinking is not None or kwargs.thinking is not None):
            return kwargs.enable_thinking if kwargs.enable_thinking is not None else kwargs.thinking
        return None if self.reasoning_effort is None else self.reasoning_effort not in ("none", "minimal")

    def conversation(self) -> Conversation:
        """What is asked. Raises `UsageError` or `RequestError`."""
        choice = self.tool_choice
        name = choice.function.name if isinstance(choice, NamedTool) else None
        offered = [tool.rendered() for tool in self.tools or ()]
        tools, forced = chosen(offered, "auto" if choice is None or isinstance(choice, NamedTool) else choice, name)
        options = self.options(
            max_tokens=self.max_completion_tokens or self.max_tokens,
            logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            reasoning=self.thinks(),
        )
        return Conversation([message.plain() for message in self.messages], options, tools, forced, self.n or 1)


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
        not wanted.top_logprobs or bool(wanted.logprobs), "top_logprobs wants logprobs to be true", "top_logprobs"
    )
    asked = wanted.conversation()
    number = generation.new_id("chatcmpl")
    async with AsyncExitStack() as held:
        events = await talk(state, held, name, asked)
        if not wanted.stream:
            answers = await whole(events)
            dones = [answer.end.done for answer in answers]
            choices = [_choice(index, answer, bool(wanted.logprobs)) for index, answer in enumerate(answers)]
            usage, timings = generation.usage_of(dones, answers=len(dones)), generation.timings_of(dones[0])
            head = generation.frame(_KIND, number, shown)
            return JSONResponse({**head, "choices": choices, "usage": usage, "timings": timings})
        head = generation.frame(f"{_KIND}.chunk", number, shown)
        asked_usage = bool(wanted.stream_options and wanted.stream_options.include_usage)
        chunks = told_errors(state, _chunks(events, head, asked_usage, bool(wanted.logprobs)))
        return EventStream(chunks, held.pop_all(), stall_seconds=state.limits.stall_seconds)


def _choice(index: int, answer: Answer, logprobs: bool) -> ChatChoice:
    message: AnswerMessage = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.calls:
        message["tool_calls"] = [call_row(call) for call in answer.calls]
        message["content"] = answer.text or None
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(answer.logprobs) if logprobs else None,
        "finish_reason": answer.end.reason,
    }


async def _chunks(
    events: AsyncIterator[tuple[int, Event]], head: dict[str, Any], usage: bool, logprobs: bool
) -> AsyncIterator[bytes]:
    # As at OpenAI: counted once, in a chunk of its own, and only where that was asked for.
    frame = {**head, "usage": None} if usage else head
    dones, calls, begun = [], 0, 0

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None, tokens: Any = (), **more: Any) -> bytes:
        choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": finish}
        if logprobs:
            choice["logprobs"] = _logprobs(tokens)
        return sse({**frame, "choices": [choice], **more})

    yield chunk(0, {"role": "assistant", "content": ""})
    async for index, event in events:
        if index != begun:
            begun, calls = index, 0
            yield chunk(index, {"role": "assistant", "content": ""})
        if isinstance(event, EndEvent):
            dones.append(event.done)
            yield chunk(index, {}, event.reason, timings=generation.timings_of(event.done))
        elif isinstance(event, CallEvent):
            yield chunk(index, {"tool_calls": [{"index": calls, **call_row(event)}]})
            calls += 1
        else:
            key = "reasoning_content" if isinstance(event, ReasoningEvent) else "content"
            yield chunk(index, {key: event.text}, tokens=event.logprobs)
    if usage:
        yield sse({**head, "choices": [], "usage": generation.usage_of(dones, answers=len(dones))})
    yield b"data: [DONE]\n\n"


def _logprobs(tokens: Any) -> ChatLogprobs:
    return {"content": [generation.token_answer(token) for token in tokens], "refusal": None}
