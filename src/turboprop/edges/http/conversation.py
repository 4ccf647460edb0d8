"""A conversation as every interface asks for it, and what comes back: text, thoughts, calls of tools, an end.

The interfaces translate their requests into a `Conversation` and these events into their answers.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from turboprop.edges.http import generation
from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.generation import EndEvent
from turboprop.generate.events import DoneEvent, ReasoningEvent, TextEvent, TokenLogprob
from turboprop.generate.tools import Call, CallReader, call_schema

if TYPE_CHECKING:
    from turboprop.edges.http.state import ServerState
    from turboprop.generate.model import GenerationStream, LanguageModel
    from turboprop.generate.options import GenerationOptions

IMAGES = "images are not read here, only text; leave the image away, or describe it"


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is asked. `messages` and `tools` are as `LanguageModel.stream` takes them, OpenAI's form; `forced`: the
    answer is a call of one of the tools. `count` answers are wanted."""

    messages: Sequence[Mapping[str, Any]]
    options: GenerationOptions
    tools: Sequence[Mapping[str, Any]] = ()
    forced: bool = False
    count: int = 1


@dataclass(frozen=True, slots=True)
class CallEvent:
    """A call of a tool, whole. `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


Event = TextEvent | ReasoningEvent | CallEvent | EndEvent


@dataclass(slots=True)
class Answer:
    """One answer as a whole."""

    end: EndEvent
    text: str = ""
    reasoning: str = ""
    calls: list[CallEvent] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)


def chosen(
    tools: Sequence[Mapping[str, Any]], choice: Literal["auto", "none", "required"], name: str | None = None
) -> tuple[Sequence[Mapping[str, Any]], bool]:
    """The tools that may be called, and whether one has to be; `name` is the one that was chosen.

    Raises `RequestError` for a choice without tools, or of one that is not offered.
    """
    if name is not None:
        found = [tool for tool in tools if tool["function"]["name"] == name]
        if not found:
            raise RequestError(400, f"tool_choice names {name!r}, which is not among the tools", None, "tool_choice")
        return found, True
    if choice == "required" and not tools:
        raise RequestError(400, "tool_choice asks for a call and there are no tools", None, "tool_choice")
    return ((), False) if choice == "none" else (tools, choice == "required")


async def talk(
    state: ServerState, held: AsyncExitStack, name: str, asked: Conversation
) -> AsyncIterator[tuple[int, Event]]:
    """The events of each answer, with its number. What is wrong with the request is raised before the first."""
    options = asked.options
    if asked.forced:
        if options.json_schema is not None or options.grammar is not None:
            raise RequestError(400, "a call that has to be made and a form of the answer exclude each other", None)
        # Thoughts have no place in what is constrained from the first letter on.
        options = replace(options, json_schema=call_schema(asked.tools), reasoning=False)

    def beginning(options: GenerationOptions) -> Any:
        def begin(model: LanguageModel) -> GenerationStream:
            return model.stream(asked.messages, options, tools=asked.tools)

        return begin

    begins = [beginning(each) for each in generation.in_turn(options, asked.count)]
    events = _with_calls(await generation.several(state, held, name, begins), asked)
    return await held.enter_async_context(aclosing(events))


async def _with_calls(events: AsyncIterator[tuple[int, Any]], asked: Conversation) -> AsyncGenerator[tuple[int, Event]]:
    names = frozenset(tool["function"]["name"] for tool in asked.tools)
    reader, called = CallReader(names, forced=asked.forced), False
    async for number, event in events:
        if not names or isinstance(event, ReasoningEvent):
            if isinstance(event, DoneEvent):
                event = EndEvent(event, generation.finish_reason(event))
            yield number, event
            continue
        ended = isinstance(event, DoneEvent)
        text, calls = reader.finish() if ended else reader.push(event.text)
        logprobs = () if ended else event.logprobs
        if text.strip() or (text and not (called or calls)) or logprobs:
            yield number, TextEvent(text, logprobs)
        for call in calls:
            yield number, _numbered(call)
        called = called or bool(calls)
        if ended:
            yield number, EndEvent(event, "tool_calls" if called else generation.finish_reason(event))
            reader, called = CallReader(names, forced=asked.forced), False


def _numbered(call: Call) -> CallEvent:
    return CallEvent(f"call_{secrets.token_hex(12)}", call.name, call.arguments)


async def whole(events: AsyncIterator[tuple[int, Event]]) -> list[Answer]:
    """All answers, when they have ended."""
    answers: list[Answer] = []
    parts: list[Any] = []
    async for _, event in events:
        if not isinstance(event, EndEvent):
            parts.append(event)
            continue
        calls = [part for part in parts if isinstance(part, CallEvent)]
        text = "".join(part.text for part in parts if isinstance(part, TextEvent))
        thoughts = "".join(part.text for part in parts if isinstance(part, ReasoningEvent))
        logprobs = [one for part in parts if not isinstance(part, CallEvent) for one in part.logprobs]
        answers.append(Answer(event, text.strip() if calls else text, thoughts, calls, logprobs))
        parts = []
    return answers
