"""`POST /v1/completions`: continue a text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

from pydantic import Field, StrictInt, StrictStr
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop import limits
from turboprop.edges.http import generation
from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.generation import GenerationRequest, TimingsAnswer, TokenAnswer, UsageAnswer
from turboprop.edges.http.schemas import TokenId
from turboprop.edges.http.state import read_model, state_of
from turboprop.edges.http.streams import EventStream, sse, told_errors, until_gone
from turboprop.generate.events import DoneEvent, GenerationEvent, TokenLogprob

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState
    from turboprop.generate.options import GenerationOptions

_KIND = "text_completion"
_DEFAULT_TOKENS = 16
"""As at OpenAI, where a completion that names no length has 16 tokens."""


class CompletionRequest(GenerationRequest):
    prompt: (
        StrictStr
        | Annotated[list[TokenId], Field(min_length=1)]
        | Annotated[list[StrictStr], Field(min_length=1, max_length=16)]
        | Annotated[list[Annotated[list[TokenId], Field(min_length=1)]], Field(min_length=1, max_length=16)]
    )
    logprobs: Annotated[StrictInt, limits.LOGPROBS] | None = None
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    suffix: None = None


class CompletionLogprobs(TypedDict):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]
    content: list[TokenAnswer]


class CompletionChoice(TypedDict):
    text: str
    index: int
    logprobs: CompletionLogprobs | None
    finish_reason: Literal["stop", "length"] | None


class CompletionAnswer(TypedDict):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: NotRequired[UsageAnswer]
    timings: NotRequired[TimingsAnswer]


async def create_completion(request: Request) -> Response:
    """Continue a text, or several one after the other."""
    state = state_of(request)
    wanted = await read_model(request, CompletionRequest)
    return await until_gone(request, _answer(state, wanted))


async def _answer(state: ServerState, wanted: CompletionRequest) -> Response:
    name = await state.in_thread(state.names.language, wanted.model)
    shown = wanted.model or state.names.public(name)
    prompts = _prompts(wanted.prompt)
    options = wanted.options(max_tokens=wanted.max_tokens or _DEFAULT_TOKENS, logprobs=wanted.logprobs, reasoning=None)
    head = generation.frame(_KIND, generation.new_id("cmpl"), shown)
    if wanted.stream:
        if len(prompts) != 1:
            raise RequestError(400, "a stream takes one prompt", "unsupported_value", "prompt")
        async with AsyncExitStack() as held:
            events = await generation.started(state, held, name, lambda model: model.stream(prompts[0], options))
            usage = bool(wanted.stream_options and wanted.stream_options.include_usage)
            chunks = told_errors(_chunks(events, head, usage, wanted.logprobs is not None))
            return EventStream(chunks, held.pop_all(), stall_seconds=state.limits.stall_seconds)
    found = [await _whole(state, name, prompt, options) for prompt in prompts]
    choices: list[CompletionChoice] = [
        {
            "text": text,
            "index": index,
            "logprobs": _logprobs(tokens, 0) if wanted.logprobs is not None else None,
            "finish_reason": generation.finish_reason(done),
        }
        for index, (text, tokens, done) in enumerate(found)
    ]
    dones = [done for _, _, done in found]
    more: dict[str, Any] = {"timings": generation.timings_of(dones[0])} if len(dones) == 1 else {}
    return JSONResponse({**head, "choices": choices, "usage": generation.usage_of(dones), **more})


def _prompts(given: Any) -> list[Any]:
    if isinstance(given, str):
        return [given]
    return [given] if isinstance(given[0], int) else list(given)


async def _whole(
    state: ServerState, name: str, prompt: Any, options: GenerationOptions
) -> tuple[str, list[TokenLogprob], DoneEvent]:
    text: list[str] = []
    tokens: list[TokenLogprob] = []
    async with AsyncExitStack() as held:
        async for event in await generation.started(state, held, name, lambda model: model.stream(prompt, options)):
            if isinstance(event, DoneEvent):
                return "".join(text), tokens, event
            text.append(event.text)
            tokens += event.logprobs
    raise AssertionError("a stream ends with a DoneEvent")


async def _chunks(
    events: AsyncIterator[GenerationEvent], head: dict[str, Any], usage: bool, logprobs: bool
) -> AsyncIterator[bytes]:
    offset = 0
    async for event in events:
        choice: dict[str, Any] = {"text": "", "index": 0, "logprobs": None, "finish_reason": None}
        if isinstance(event, DoneEvent):
            choice["finish_reason"] = generation.finish_reason(event)
            told = {"usage": generation.usage_of([event]), "timings": generation.timings_of(event)}
            yield sse({**head, "choices": [choice], **told})
            if usage:
                yield sse({**head, "choices": [], "usage": generation.usage_of([event])})
            yield b"data: [DONE]\n\n"
        else:
            choice["text"] = event.text
            if logprobs:
                choice["logprobs"] = _logprobs(event.logprobs, offset)
            offset += len(event.text)
            yield sse({**head, "choices": [choice]})


def _logprobs(tokens: Any, offset: int) -> CompletionLogprobs:
    """The lists of OpenAI's old interface, and the objects of the new one, which llama.cpp sends in both."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    content = [generation.token_answer(token) for token in tokens]
    return {
        "tokens": [each["token"] for each in content],
        "token_logprobs": [each["logprob"] for each in content],
        "top_logprobs": [{top["token"]: top["logprob"] for top in each["top_logprobs"]} for each in content],
        "text_offset": offsets,
        "content": content,
    }
