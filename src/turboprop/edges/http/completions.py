"""`POST /v1/completions`: continue a text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Self

from pydantic import Field, StrictInt, StrictStr, model_validator
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop import limits
from turboprop.edges.http import generation
from turboprop.edges.http.generation import GenerationRequest, TimingsAnswer, TokenAnswer, UsageAnswer
from turboprop.edges.http.schemas import TokenId, UpToMillion, refusal
from turboprop.edges.http.state import read_model, state_of
from turboprop.edges.http.streams import EventStream, sse, told_errors, until_gone
from turboprop.generate.events import DoneEvent, GenerationEvent, TokenLogprob

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState
    from turboprop.generate.model import GenerationStream, LanguageModel
    from turboprop.generate.options import GenerationOptions

_KIND = "text_completion"
_DEFAULT_TOKENS = 16
"""As at OpenAI, where a completion that names no length has 16 tokens."""


class CompletionRequest(GenerationRequest):
    prompt: (
        StrictStr
        | Annotated[UpToMillion[TokenId], Field(min_length=1)]
        | Annotated[list[StrictStr], Field(min_length=1, max_length=16, fail_fast=True)]
        | Annotated[
            list[Annotated[UpToMillion[TokenId], Field(min_length=1)]],
            Field(min_length=1, max_length=16, fail_fast=True),
        ]
    )
    logprobs: Annotated[StrictInt, limits.LOGPROBS] | None = None
    echo: bool | None = None
    suffix: StrictStr | None = Field(None, description="What follows, for models with tokens for filling in.")
    parse_special: bool = Field(True, description="Control tokens that the prompt spells are meant, as they are ids.")

    @model_validator(mode="after")
    def _can_be_told(self) -> Self:
        if self.echo and self.logprobs is not None:
            raise refusal("echo", "a prompt has no logprobs here; leave echo or logprobs away")
        if (self.echo or self.suffix) and not all(isinstance(each, str) for each in self.prompts()):
            raise refusal("echo" if self.echo else "suffix", "takes a prompt that is a text, and no token ids")
        return self

    def prompts(self) -> list[Any]:
        """Each prompt, a text or ids."""
        given: Any = self.prompt
        if isinstance(given, str):
            return [given]
        return [given] if isinstance(given[0], int) else list(given)


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
    options = wanted.options(
        max_tokens=wanted.max_tokens if {"max_tokens", "n_predict"} & wanted.model_fields_set else _DEFAULT_TOKENS,
        logprobs=wanted.logprobs,
        reasoning=None,
    )
    options = replace(options, control_tokens=wanted.parse_special)
    count = wanted.n or 1
    prompts = [(prompt, each) for prompt in wanted.prompts() for each in generation.in_turn(options, count)]
    begins = [_beginning(prompt, wanted.suffix, each) for prompt, each in prompts]
    echoes = [prompt if wanted.echo else "" for prompt, _ in prompts]
    head = generation.frame(_KIND, generation.new_id("cmpl"), shown)
    async with AsyncExitStack() as held:
        events = await generation.several(state, held, name, begins)
        if wanted.stream:
            usage = bool(wanted.stream_options and wanted.stream_options.include_usage)
            chunks = told_errors(state, _chunks(events, head, usage, wanted.logprobs is not None, echoes, count))
            return EventStream(chunks, held.pop_all(), stall_seconds=state.limits.stall_seconds)
        texts, dones = list(echoes), []
        tokens: list[list[TokenLogprob]] = [[] for _ in echoes]
        async for index, event in events:
            if isinstance(event, DoneEvent):
                dones.append(event)
            else:
                texts[index] += event.text
                tokens[index] += event.logprobs
    choices: list[CompletionChoice] = [
        {
            "text": text,
            "index": index,
            "logprobs": _logprobs(tokens[index], 0) if wanted.logprobs is not None else None,
            "finish_reason": generation.finish_reason(dones[index]),
        }
        for index, text in enumerate(texts)
    ]
    more: dict[str, Any] = {"timings": generation.timings_of(dones[0])} if len(dones) == 1 else {}
    return JSONResponse({**head, "choices": choices, "usage": generation.usage_of(dones, answers=count), **more})


def _beginning(prompt: Any, suffix: str | None, options: GenerationOptions) -> Any:
    def begin(model: LanguageModel) -> GenerationStream:
        return model.stream(model.infill(prompt, suffix) if suffix else prompt, options)

    return begin


async def _chunks(
    events: AsyncIterator[tuple[int, GenerationEvent]],
    head: dict[str, Any],
    usage: bool,
    logprobs: bool,
    echoes: list[str],
    count: int,
) -> AsyncIterator[bytes]:
    frame = {**head, "usage": None} if usage else head
    offset, dones = 0, []

    def chunk(index: int, text: str, finish: str | None = None, told: Any = None, **more: Any) -> bytes:
        choice = {"text": text, "index": index, "logprobs": told, "finish_reason": finish}
        return sse({**frame, "choices": [choice], **more})

    begun = -1
    async for index, event in events:
        if index != begun:
            begun, offset = index, 0
            if echoes[index]:
                yield chunk(index, echoes[index])
        if isinstance(event, DoneEvent):
            dones.append(event)
            yield chunk(index, "", generation.finish_reason(event), timings=generation.timings_of(event))
        else:
            yield chunk(index, event.text, told=_logprobs(event.logprobs, offset) if logprobs else None)
            offset += len(event.text)
    if usage:
        yield sse({**head, "choices": [], "usage": generation.usage_of(dones, answers=count)})
    yield b"data: [DONE]\n\n"


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
