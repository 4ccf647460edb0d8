"""What `/v1/chat/completions` and `/v1/completions` share: options, leases, streams, usage."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

from pydantic import AliasChoices, Field, StrictInt, StrictStr
from typing_extensions import TypedDict

from turboprop import __version__, limits
from turboprop.edges.http.failures import RequestError
from turboprop.edges.http.schemas import RequestBody
from turboprop.edges.http.streams import pumped
from turboprop.errors import UsageError
from turboprop.generate.events import DoneEvent, GenerationEvent
from turboprop.generate.options import GenerationOptions

if TYPE_CHECKING:
    from turboprop.edges.http.state import ServerState
    from turboprop.generate.events import TokenLogprob
    from turboprop.generate.model import GenerationStream, LanguageModel

Number = Annotated[float, Field(strict=False)]
FINGERPRINT = f"tp-{__version__}"


class JsonSchemaFormat(RequestBody):
    name: StrictStr | None = None
    description: StrictStr | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(RequestBody):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None


class StreamOptions(RequestBody):
    include_usage: bool = False
    include_obfuscation: bool = False


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


class GenerationRequest(SamplingFields):
    """As at OpenAI; `grammar` and `reasoning` are ours."""

    model: StrictStr | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    stop: StrictStr | Annotated[list[StrictStr], Field(max_length=limits.MOST_STOPS)] | None = None
    n: Literal[1] | None = None
    logit_bias: Annotated[dict[str, Number], Field(max_length=0)] | None = None
    response_format: ResponseFormat | None = None
    grammar: StrictStr | None = None
    user: StrictStr | None = None

    def options(self, *, max_tokens: int | None, logprobs: int | None, reasoning: bool | None) -> GenerationOptions:
        """The options over our defaults. Raises `UsageError`."""
        stop = self.stop if self.stop is not None else ()
        return GenerationOptions(
            **self.sampling(),
            stop=stop if isinstance(stop, str) else tuple(stop),
            max_tokens=max_tokens,
            logprobs=logprobs,
            json_schema=self._schema(),
            grammar=self.grammar,
            reasoning=reasoning,
        )

    def _schema(self) -> dict[str, Any] | None:
        form = self.response_format
        if form is None or form.type == "text":
            return None
        if form.type == "json_object":
            return {"type": "object"}
        if form.json_schema is None:
            raise UsageError("response_format of the type json_schema has no json_schema")
        return form.json_schema.schema_


class PromptTokens(TypedDict):
    cached_tokens: int


class UsageAnswer(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokens


class TimingsAnswer(TypedDict):
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


async def started(
    state: ServerState,
    held: AsyncExitStack,
    name: str,
    begin: Callable[[LanguageModel], GenerationStream],
) -> AsyncIterator[GenerationEvent]:
    """Wait for the model and for a slot, begin, and return the events. `held` gives everything back.

    What is wrong with the request is raised here, before anything is answered.
    """
    lease = held.enter_context(
        await state.in_waiting_thread(state.manager.language, name, wait=state.limits.load_seconds)
    )
    await held.enter_async_context(state.generations.taken())
    stream = held.enter_context(await state.in_thread(begin, lease.model))
    events = pumped(state, stream, stream.cancel)
    await held.enter_async_context(aclosing(events))
    return counted(state, events)


async def counted(state: ServerState, events: AsyncIterator[GenerationEvent]) -> AsyncIterator[GenerationEvent]:
    """The same events, known to the metrics."""
    async for event in events:
        if isinstance(event, DoneEvent):
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


def usage_of(done: Sequence[DoneEvent]) -> UsageAnswer:
    """The tokens of one or several generations."""
    prompt = sum(each.usage.prompt_tokens for each in done)
    made = sum(each.usage.generated_tokens for each in done)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": made,
        "total_tokens": prompt + made,
        "prompt_tokens_details": {"cached_tokens": sum(each.usage.cached_tokens for each in done)},
    }


def timings_of(done: DoneEvent) -> TimingsAnswer:
    """Times as llama.cpp's server tells them: `prompt_n` are the tokens that were not cached."""
    computed = done.usage.prompt_tokens - done.usage.cached_tokens
    made = done.usage.generated_tokens
    first = done.timings.first_token_seconds * 1000
    rest = (done.timings.total_seconds - done.timings.first_token_seconds) * 1000
    return {
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
    return {**_bare(token.id, token.text, token.logprob), "top_logprobs": [_bare(n, t, v) for t, n, v in token.top]}


def _bare(number: int, text: str, logprob: float) -> TokenAnswer:
    return {
        "id": number,
        "token": text,
        "bytes": list(text.encode("utf-8", "replace")),
        "logprob": max(logprob, -9999.0),  # JSON has no infinity
    }


def refuse_unless(condition: bool, message: str, param: str) -> None:
    """Raise a 400 that names the parameter."""
    if not condition:
        raise RequestError(400, message, "unsupported_value", param)
