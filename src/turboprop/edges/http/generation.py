"""What the endpoints that generate share: options, leases, streams, usage."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NotRequired, Self

from pydantic import AliasChoices, BeforeValidator, Field, StrictInt, StrictStr, model_validator
from typing_extensions import TypedDict

from turboprop import __version__, limits
from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.schemas import ForeignBody, MaxTokens, Number, RequestBody, any_length, refusal
from turboprop.edges.http.streams import pumped
from turboprop.errors import UsageError
from turboprop.generate.events import DoneEvent, GenerationEvent
from turboprop.generate.options import GenerationOptions
from turboprop.generate.tools import closed

if TYPE_CHECKING:
    from turboprop.edges.http.state import ServerState
    from turboprop.generate.events import TokenLogprob
    from turboprop.generate.model import GenerationStream, LanguageModel

Begin = Callable[["LanguageModel"], "GenerationStream"]
"""Begins one generation with the model that was waited for."""
_MOST_TOKENS = 1 << 24
Predicted = Annotated[Annotated[StrictInt, Field(ge=0, le=_MOST_TOKENS)] | None, BeforeValidator(any_length)]
"""`n_predict`: 0 has the prompt read and nothing written, -1 and -2 are any length."""
FINGERPRINT = f"tp-{__version__}"


class JsonSchemaFormat(ForeignBody):
    name: StrictStr | None = None
    description: StrictStr | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(ForeignBody):
    """`schema` beside `json_object` is llama.cpp's."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")

    def schema_of(self) -> dict[str, Any] | None:
        """What the answer keeps to. Raises `UsageError`."""
        if self.type == "text":
            return None
        if self.type == "json_schema" and self.json_schema is not None:
            return dict(closed(self.json_schema.schema_))
        if self.type == "json_schema" and self.schema_ is None:
            raise UsageError("response_format of the type json_schema has no json_schema")
        return self.schema_ or {"type": "object"}


class StreamOptions(ForeignBody):
    include_usage: bool | None = None


class TemplateOptions(ForeignBody):
    """What vLLM, SGLang and llama.cpp give to a chat template; the switch of thinking is known by two names."""

    enable_thinking: bool | None = None
    thinking: bool | None = None

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        for name in self.model_extra or {}:
            raise refusal(f"chat_template_kwargs.{name}", "templates are given enable_thinking and nothing else")
        return self


class SamplingFields(RequestBody):
    """How to sample, as at OpenAI; `top_k`, `min_p` and `repetition_penalty` are ours."""

    max_tokens: Annotated[StrictInt, limits.MAX_TOKENS] | None = None
    temperature: Annotated[Number, limits.TEMPERATURE] | None = None
    top_p: Annotated[Number, limits.TOP_P] | None = None
    top_k: Annotated[StrictInt, limits.TOP_K] | None = None
    min_p: Annotated[Number, limits.MIN_P] | None = None
    presence_penalty: Annotated[Number, limits.PRESENCE_PENALTY] | None = None
    frequency_penalty: Annotated[Number, limits.FREQUENCY_PENALTY] | None = None
    repetition_penalty: Annotated[Number, limits.REPETITION_PENALTY] | None = Field(
        default=None, validation_alias=AliasChoices("repetition_penalty", "repeat_penalty")
    )
    seed: Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)] | None = None

    def sampling(self) -> dict[str, Any]:
        """What was given, as `GenerationOptions` takes it; `max_tokens` apart."""
        names = set(SamplingFields.model_fields) - {"max_tokens", "seed"}
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        # llama.cpp's clients write -1 for "any"; OpenAI's allow the whole range.
        return given if self.seed is None or self.seed == -1 else {**given, "seed": self.seed % 2**63}


ANOTHER_WAY = "answers are drawn by temperature, top_k, top_p, min_p and penalties here, and in no other way"
_ALONE = "is not done here; leave it away"


class GenerationRequest(SamplingFields, ForeignBody):
    """As at OpenAI; `grammar` and `reasoning` are ours."""

    model_config = ForeignBody.model_config
    not_done: ClassVar[Mapping[str, str]] = {
        "functions": "the older form of tools; give tools and tool_choice",
        "function_call": "the older form of tool_choice; give tools and tool_choice",
        "audio": "models here write text and no audio",
        "web_search_options": "nothing here searches the web",
        "best_of": _ALONE,
        "use_beam_search": ANOTHER_WAY,
        "length_penalty": ANOTHER_WAY,
        "typical_p": ANOTHER_WAY,
        "tfs_z": ANOTHER_WAY,
        "top_a": ANOTHER_WAY,
        "mirostat": ANOTHER_WAY,
        "dynatemp_range": ANOTHER_WAY,
        "dry_multiplier": ANOTHER_WAY,
        "xtc_probability": ANOTHER_WAY,
        "samplers": ANOTHER_WAY,
        "min_tokens": _ALONE,
        "ignore_eos": _ALONE,
        "stop_token_ids": "give the texts of the tokens as stop",
        "bad_words": "give logit_bias",
        "allowed_token_ids": "give logit_bias or grammar",
        "guided_json": "give response_format",
        "guided_regex": "give grammar",
        "guided_choice": "give response_format with an enum",
        "guided_grammar": "give grammar, in GBNF",
        "structured_outputs": "give response_format or grammar",
        "json_schema": "give response_format",
        "regex": "give grammar",
        "ebnf": "give grammar, in GBNF",
        "lora": _ALONE,
        "prompt_embeds": _ALONE,
        "truncate_prompt_tokens": "prompts are not cut here; shorten it",
        "chat_template": "conversations are written by the model's own template",
        "documents": "put them into a message",
    }
    neutral: ClassVar[Mapping[str, Any]] = {
        "best_of": 1,
        "typical_p": 1,
        "tfs_z": 1,
        "length_penalty": 1,
        "function_call": "none",
    }

    max_tokens: MaxTokens = None
    n_predict: Predicted = Field(None, description="llama.cpp's name of max_tokens.")
    model: StrictStr | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    stop: StrictStr | Annotated[list[StrictStr], Field(max_length=limits.MOST_STOPS, fail_fast=True)] | None = None
    n: Annotated[StrictInt, Field(ge=1, le=8)] | None = None
    logit_bias: Annotated[dict[str, Number], Field(max_length=limits.MOST_BIASES)] | None = None
    response_format: ResponseFormat | None = None
    grammar: StrictStr | None = None
    user: StrictStr | None = None

    def options(self, *, max_tokens: int | None, logprobs: int | None, reasoning: bool | None) -> GenerationOptions:
        """The options over our defaults. Raises `UsageError`."""
        return GenerationOptions(
            **self.sampling(),
            stop=stops_of(self.stop),
            max_tokens=max_tokens or (1 if self.n_predict == 0 else self.n_predict),
            logprobs=logprobs,
            logit_bias=biases_of(self.logit_bias or {}),
            json_schema=self.response_format.schema_of() if self.response_format is not None else None,
            grammar=self.grammar,
            reasoning=reasoning,
        )


def biases_of(given: Mapping[str, float]) -> dict[int, float]:
    """What is added to the logits of tokens, whose ids are texts. Raises `UsageError`."""
    for number in given:
        if not (number.isascii() and number.isdecimal() and len(number) < 10):
            raise UsageError(f"logit_bias names ids of tokens, not {number!r}")
    return {int(number): value for number, value in given.items()}


def stops_of(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Stop texts; an empty one stops nothing."""
    texts = [given] if isinstance(given, str) else given or ()
    return tuple(text for text in texts if text)


def in_turn(options: GenerationOptions, count: int) -> list[GenerationOptions]:
    """The options of `count` answers to one prompt: a seed gives each another one."""
    if options.seed is None:
        return [options] * count
    return [replace(options, seed=(options.seed + number) % 2**63) for number in range(count)]


@dataclass(frozen=True, slots=True)
class EndEvent:
    """The end of one answer."""

    done: DoneEvent
    reason: Literal["stop", "length", "tool_calls"]


class PromptTokens(TypedDict):
    cached_tokens: int


class UsageAnswer(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens


class TimingsAnswer(TypedDict):
    cache_n: int
    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float
    predicted_per_second: float


class TokenAnswer(TypedDict):
    id: int
    token: str
    bytes: list[int]
    logprob: float
    top_logprobs: NotRequired[list[TokenAnswer]]


async def several(
    state: ServerState, held: AsyncExitStack, name: str, begins: Sequence[Begin]
) -> AsyncGenerator[tuple[int, GenerationEvent]]:
    """Wait for the model and for a slot, begin, and return the events of all generations, each with its number. `held`
    gives everything back.

    They run one after the other in the one slot: what is full is told before the first event, and a request that
    waited for more slots while it holds one could wait for ever for another of its kind. What is wrong with the request
    is raised here, too.
    """
    lease = held.enter_context(
        await state.in_waiting_thread(state.manager.language, name, wait=state.limits.load_seconds)
    )
    await held.enter_async_context(state.generations.taken())
    own = await held.enter_async_context(AsyncExitStack())
    first = await _begun(state, own, lease.model, begins[0])

    async def events() -> AsyncGenerator[tuple[int, GenerationEvent]]:
        async for event in first:
            yield 0, event
        await own.aclose()
        for number, begin in enumerate(begins[1:], 1):
            async with AsyncExitStack() as mine:
                async for event in await _begun(state, mine, lease.model, begin):
                    yield number, event

    return await held.enter_async_context(aclosing(events()))


async def _begun(
    state: ServerState, held: AsyncExitStack, model: LanguageModel, begin: Begin
) -> AsyncIterator[GenerationEvent]:
    stream = held.enter_context(await state.in_thread(begin, model))
    events = pumped(state, counted(state, stream), stream.cancel)
    return await held.enter_async_context(aclosing(events))


async def ended(events: AsyncIterator[tuple[int, GenerationEvent]]) -> AsyncIterator[tuple[int, Any]]:
    """The events of texts to continue as those of conversations, whose ends say why."""
    async for number, event in events:
        yield number, EndEvent(event, finish_reason(event)) if isinstance(event, DoneEvent) else event


def counted(state: ServerState, events: Iterator[GenerationEvent]) -> Iterator[GenerationEvent]:
    """The same events, known to the metrics; also those of a generation that is cancelled, whose end nobody reads."""
    for event in events:
        if isinstance(event, DoneEvent):
            state.metrics.count("tp_generations_total", finish=event.finish_reason)
            state.metrics.count("tp_prompt_tokens_total", event.usage.prompt_tokens)
            state.metrics.count("tp_prompt_tokens_cached_total", event.usage.cached_tokens)
            state.metrics.count("tp_generated_tokens_total", event.usage.generated_tokens)
            state.metrics.time("tp_first_token_seconds", event.timings.first_token_seconds)
        yield event


def new_id(kind: str) -> str:
    """As OpenAI's look."""
    return f"{kind}-{secrets.token_urlsafe(18)}"


def frame(kind: str, number: str, model: str) -> dict[str, Any]:
    """What every answer and every part of one begins with."""
    return {
        "id": number,
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": FINGERPRINT,
    }


def usage_of(done: Sequence[DoneEvent], *, answers: int = 1) -> UsageAnswer:
    """The tokens of one or several generations; a prompt that has several `answers` counts once."""
    prompt = sum(each.usage.prompt_tokens for each in done[::answers])
    cached = sum(each.usage.cached_tokens for each in done[::answers])
    made = sum(each.usage.generated_tokens for each in done)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": made,
        "total_tokens": prompt + made,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def timings_of(done: DoneEvent) -> TimingsAnswer:
    """Times as llama.cpp's server tells them: `prompt_n` are the tokens that were not cached."""
    computed = done.usage.prompt_tokens - done.usage.cached_tokens
    made = done.usage.generated_tokens
    first = done.timings.first_token_seconds * 1000
    rest = (done.timings.total_seconds - done.timings.first_token_seconds) * 1000
    return {
        "cache_n": done.usage.cached_tokens,
        "prompt_n": computed,
        "prompt_ms": first,
        "prompt_per_token_ms": first / computed if computed else 0.0,
        "prompt_per_second": done.timings.prompt_tokens_per_second,
        "predicted_n": made,
        "predicted_ms": rest,
        "predicted_per_token_ms": rest / made if made else 0.0,
        "predicted_per_second": done.timings.tokens_per_second,
    }


def finish_reason(done: DoneEvent) -> Literal["stop", "length"]:
    """A generation that the server ended early did not come to its end either."""
    return "stop" if done.finish_reason == "stop" else "length"


def token_answer(token: TokenLogprob) -> TokenAnswer:
    """One token with its logarithms."""
    parts = token.top_raw or (b"",) * len(token.top)
    top = [_bare(n, t, v, raw) for (t, n, v), raw in zip(token.top, parts, strict=True)]
    return {**_bare(token.id, token.text, token.logprob, token.raw), "top_logprobs": top}


def _bare(number: int, text: str, logprob: float, raw: bytes) -> TokenAnswer:
    return {
        "id": number,
        "token": text,
        "bytes": list(raw or text.encode("utf-8", "replace")),
        "logprob": max(logprob, -9999.0),  # JSON has no infinity
    }


def refuse_unless(condition: bool, message: str, param: str) -> None:
    """Raise a 400 that names the parameter."""
    if not condition:
        raise RequestError(400, message, "unsupported_value", param)
