"""llama.cpp's server: `/completion`, `/infill`, `/embedding`, `/apply-template`, `/props`, `/slots`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NotRequired, Self, cast

from pydantic import Field, StrictInt, StrictStr, model_validator
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop import __version__, limits
from turboprop.edges.http import generation
from turboprop.edges.http.chat import ChatMessage
from turboprop.edges.http.embeddings import vectors_of
from turboprop.edges.http.failures import ErrorShape, Failure, RequestError
from turboprop.edges.http.generation import Predicted, TemplateOptions, TimingsAnswer, TokenAnswer
from turboprop.edges.http.schemas import ForeignBody, Number, TokenId, UpTo10000, UpToMillion, refusal
from turboprop.edges.http.state import read_model, state_of
from turboprop.edges.http.streams import EventStream, sse, told_errors, until_gone
from turboprop.edges.http.tools import Tool
from turboprop.errors import UsageError
from turboprop.generate.events import DoneEvent, GenerationEvent, TextEvent
from turboprop.generate.options import GenerationOptions
from turboprop.generate.tools import closed

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState
    from turboprop.generate.events import TokenLogprob
    from turboprop.generate.model import GenerationStream, LanguageModel

_KINDS = {404: "not_found_error", 429: "unavailable_error", 503: "unavailable_error"}
_LOADED_ONLY = ("false", "0")


class LlamaError(TypedDict):
    code: int
    message: str
    type: str


class LlamaErrorAnswer(TypedDict):
    error: LlamaError


def _error(failure: Failure) -> dict[str, Any]:
    kind = _KINDS.get(failure.status, failure.type)
    return {"error": {"code": failure.status, "message": failure.message, "type": kind}}


ERROR = ErrorShape(_error, LlamaErrorAnswer)


class LlamaCompletion(generation.SamplingFields, ForeignBody):
    """What `/completion` and `/infill` have in common. `samplers` make no difference: there is one order to draw in."""

    model_config = ForeignBody.model_config
    not_done: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("mirostat", "dynatemp_range", "dry_multiplier", "xtc_probability", "typical_p"), generation.ANOTHER_WAY
        ),
        "ignore_eos": "an answer ends where the model ends it",
        "post_sampling_probs": "logprobs are those before sampling; give n_probs",
        "lora": "no adapters are put on here",
        "image_data": "images are not read here, only text",
    }
    neutral: ClassVar[Mapping[str, Any]] = {"typical_p": 1}

    model: StrictStr | None = None
    stream: bool | None = None
    max_tokens: Predicted = Field(None, validation_alias="n_predict")
    stop: Annotated[list[StrictStr], Field(max_length=limits.MOST_STOPS, fail_fast=True)] | None = None
    n_cmpl: Annotated[StrictInt, Field(ge=1, le=8)] | None = None
    n_probs: Annotated[StrictInt, limits.LOGPROBS] | None = None
    n_indent: Annotated[StrictInt, Field(ge=0, le=1_000)] | None = None
    t_max_predict_ms: Number | None = Field(None, description="Ends an answer that has a line end after so long.")
    grammar: StrictStr | None = None
    json_schema: dict[str, Any] | None = None
    logit_bias: (
        Annotated[
            list[Annotated[list[TokenId | Number | bool], Field(min_length=2, max_length=2)]],
            Field(max_length=limits.MOST_BIASES),
        ]
        | Annotated[dict[StrictStr, Number], Field(max_length=limits.MOST_BIASES)]
        | None
    ) = None
    return_tokens: bool | None = None
    response_fields: Annotated[list[StrictStr], Field(max_length=64, fail_fast=True)] | None = None
    cache_prompt: bool | None = None
    id_slot: StrictInt | None = None
    samplers: UpTo10000[StrictStr] | StrictStr | None = None
    t_max_prompt_ms: Number | None = None
    repeat_last_n: StrictInt | None = None

    def options(self) -> GenerationOptions:
        """The options over our defaults. Raises `UsageError`."""
        wants_ids = self.return_tokens or self.stream or self.n_probs
        return GenerationOptions(
            **self.sampling(),
            stop=generation.stops_of(self.stop),
            # Nothing at all is asked for to have the prompt read, which takes one token here.
            max_tokens=1 if self.max_tokens == 0 else self.max_tokens,
            logprobs=(self.n_probs or 0) if wants_ids else None,
            logit_bias=self._biases(),
            json_schema=closed(self.json_schema) if self.json_schema is not None else None,
            grammar=self.grammar or None,
            control_tokens=True,
        )

    def _biases(self) -> dict[int, float] | None:
        given = self.logit_bias or {}
        if isinstance(given, dict):
            return generation.biases_of(given)
        found = {}
        for number, value in given:
            if isinstance(number, bool) or not isinstance(number, int) or value is True:
                raise UsageError("logit_bias takes pairs of a token's id and a number, or false")
            found[number] = -100.0 if value is False else float(value)
        return found


_Prompt = StrictStr | Annotated[UpToMillion[TokenId], Field(min_length=1)]


class LlamaCompletionRequest(LlamaCompletion):
    prompt: _Prompt | Annotated[list[_Prompt], Field(min_length=1, max_length=16, fail_fast=True)]

    def prompts(self) -> list[Any]:
        """Each prompt, a text or ids."""
        given: Any = self.prompt
        return [given] if isinstance(given, str) or isinstance(given[0], int) else list(given)


class InfillExtra(ForeignBody):
    text: StrictStr = ""
    filename: StrictStr = "tmp"


class InfillRequest(LlamaCompletion):
    """`input_extra` are pieces of other files, `prompt` what stands between the two texts already."""

    input_prefix: StrictStr
    input_suffix: StrictStr
    input_extra: UpTo10000[InfillExtra] | None = None
    prompt: StrictStr | None = None


class LlamaEmbeddingRequest(ForeignBody):
    """`input` is another name of `content`."""

    content: StrictStr | UpTo10000[StrictStr] | None = None
    input: StrictStr | UpTo10000[StrictStr] | None = None
    model: StrictStr | None = None
    embd_normalize: StrictInt | None = None

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        if not self.texts:
            raise ValueError("content is missing: give a text, or a list of texts")
        if self.embd_normalize not in (None, 2):
            raise refusal("embd_normalize", "vectors have the Euclidean length 1 here; give 2")
        return self

    @property
    def texts(self) -> list[str]:
        """What is embedded."""
        given = self.content or self.input or []
        return [given] if isinstance(given, str) else given


class TemplateRequest(ForeignBody):
    messages: Annotated[UpTo10000[ChatMessage], Field(min_length=1)]
    tools: Annotated[list[Tool], Field(max_length=128, fail_fast=True)] | None = None
    chat_template_kwargs: TemplateOptions | None = None
    model: StrictStr | None = None


class LlamaAnswer(TypedDict):
    """With `response_fields` those alone."""

    index: NotRequired[int]
    content: NotRequired[str]
    tokens: NotRequired[list[int]]
    id_slot: NotRequired[int]
    stop: NotRequired[bool]
    model: NotRequired[str]
    tokens_predicted: NotRequired[int]
    tokens_evaluated: NotRequired[int]
    tokens_cached: NotRequired[int]
    generation_settings: NotRequired[dict[str, Any]]
    prompt: NotRequired[str]
    has_new_line: NotRequired[bool]
    truncated: NotRequired[bool]
    stop_type: NotRequired[Literal["eos", "word", "limit"]]
    stopping_word: NotRequired[str]
    timings: NotRequired[TimingsAnswer]
    completion_probabilities: NotRequired[list[TokenAnswer]]


class LlamaEmbeddingRow(TypedDict):
    index: int
    embedding: list[list[float]]


class PromptAnswer(TypedDict):
    prompt: str


class PropsAnswer(TypedDict):
    default_generation_settings: dict[str, Any]
    total_slots: int
    model_alias: str
    model_path: str
    modalities: dict[str, bool]
    endpoint_slots: bool
    endpoint_props: bool
    endpoint_metrics: bool
    chat_template: str
    build_info: str
    is_sleeping: bool


class SlotRow(TypedDict):
    id: int
    n_ctx: int
    speculative: bool
    is_processing: bool


class _Bounded:
    """A generation that ends as editors ask: at a line with less than so much indentation, which is left away, and at a
    line end once it took so long."""

    def __init__(self, stream: GenerationStream, indent: int, seconds: float) -> None:
        self._stream, self._indent, self._seconds = stream, indent, seconds
        self.cancel, self.close = stream.cancel, stream.close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[GenerationEvent]:
        line, first, ended, began = "", True, False, 0.0
        for event in self._stream:
            if not isinstance(event, TextEvent):
                yield event
                continue
            began = began or time.monotonic()
            if ended:
                continue
            kept = ""
            for part in event.text.splitlines(keepends=True):
                line += part
                bare = line.lstrip(" \t")
                if not first and bare.strip("\r\n") and len(line) - len(bare) < self._indent:
                    ended = True
                    break
                kept += part
                if part.endswith("\n"):
                    line, first = "", False
                    if self._seconds and time.monotonic() - began > self._seconds:
                        ended = True
                        break
            if ended:
                self._stream.cancel()
            if kept:
                yield replace(event, text=kept)


@dataclass(slots=True)
class _Asked:
    """One generation: what it is of, and what is known of it once it has begun and as it goes on."""

    prompt: Any
    options: GenerationOptions
    shown: str = ""
    prompt_tokens: int = 0
    text: str = ""
    ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    cut: bool = False


async def completion(request: Request) -> Response:
    """Continue a text."""
    wanted = await read_model(request, LlamaCompletionRequest)
    options = wanted.options()
    asked = [
        _Asked(prompt, each, prompt if isinstance(prompt, str) else "")
        for prompt in wanted.prompts()
        for each in generation.in_turn(options, wanted.n_cmpl or 1)
    ]
    return await until_gone(request, _answer(state_of(request), wanted, asked))


async def infill(request: Request) -> Response:
    """Write what stands between two texts; what does not fit into the context is cut."""
    wanted = await read_model(request, InfillRequest)
    options = wanted.options()
    asked = [_Asked(None, each) for each in generation.in_turn(options, wanted.n_cmpl or 1)]
    return await until_gone(request, _answer(state_of(request), wanted, asked))


async def _answer(state: ServerState, wanted: LlamaCompletion, asked: list[_Asked]) -> Response:
    name = await state.in_thread(state.names.language, wanted.model)
    shown = wanted.model or state.names.public(name)
    async with AsyncExitStack() as held:
        events = await generation.several(state, held, name, [_beginning(wanted, each) for each in asked])
        if wanted.stream:
            chunks = told_errors(
                state, _chunks(events, wanted, asked, shown), tell=lambda found: sse(_error(found), "error")
            )
            return EventStream(chunks, held.pop_all(), stall_seconds=state.limits.stall_seconds)
        rows = []
        async for index, event in events:
            if isinstance(event, DoneEvent):
                rows.append(_end(index, wanted, asked[index], event, shown))
            else:
                _take(asked[index], event)
    return JSONResponse(rows[0] if len(rows) == 1 else rows)


def _beginning(wanted: LlamaCompletion, asked: _Asked) -> generation.Begin:
    def begin(model: LanguageModel) -> GenerationStream:
        options = asked.options
        if not model.knows_tokens and not wanted.n_probs:
            options = replace(options, logprobs=None)  # ids come with them, and a server tells none of a text
        prompt = asked.prompt
        if isinstance(wanted, InfillRequest):
            files = [(each.filename, each.text) for each in wanted.input_extra or ()]
            room = model.context - min(options.max_tokens or 256, model.context // 2)
            texts = (wanted.input_prefix, wanted.input_suffix)
            prompt = model.infill(*texts, files=files, begun=wanted.prompt or "", room=room)
            asked.cut = len(prompt) >= room
        stream = model.stream(prompt, options)
        asked.prompt_tokens = stream.prompt_tokens
        seconds = (wanted.t_max_predict_ms or 0) / 1_000
        if not wanted.n_indent and seconds <= 0:
            return stream
        return cast("GenerationStream", _Bounded(stream, wanted.n_indent or 0, max(seconds, 0)))

    return begin


def _take(asked: _Asked, event: Any) -> list[int]:
    """Keep what came of a generation; the ids that came with it."""
    ids = [token.id for token in event.logprobs]
    asked.text += event.text
    asked.ids += ids
    asked.logprobs += event.logprobs
    return ids


async def _chunks(
    events: AsyncIterator[tuple[int, GenerationEvent]], wanted: LlamaCompletion, asked: list[_Asked], shown: str
) -> AsyncIterator[bytes]:
    async for index, event in events:
        if isinstance(event, DoneEvent):
            yield sse(_end(index, wanted, asked[index], event, shown, streamed=True))
        elif wanted.max_tokens != 0:
            ids = _take(asked[index], event)
            row: dict[str, Any] = {"index": index, "content": event.text, "tokens": ids, "stop": False, "id_slot": -1}
            row |= {"tokens_predicted": len(asked[index].ids), "tokens_evaluated": asked[index].prompt_tokens}
            if wanted.n_probs:
                row["completion_probabilities"] = [generation.token_answer(token) for token in event.logprobs]
            yield sse(row)


def _end(
    index: int, wanted: LlamaCompletion, asked: _Asked, done: DoneEvent, shown: str, *, streamed: bool = False
) -> dict[str, Any]:
    usage = done.usage
    nothing = streamed or wanted.max_tokens == 0
    row: dict[str, Any] = {
        "index": index,
        "content": "" if nothing else asked.text,
        "tokens": [] if nothing or not wanted.return_tokens else asked.ids,
        "id_slot": 0,
        "stop": True,
        "model": shown,
        "tokens_predicted": usage.generated_tokens,
        "tokens_evaluated": usage.prompt_tokens,
        "generation_settings": _settings(asked.options, bool(wanted.stream)),
        "prompt": asked.shown,
        "has_new_line": "\n" in asked.text,
        "truncated": asked.cut,
        "stop_type": "word" if done.stop_text else "eos" if done.finish_reason == "stop" else "limit",
        "stopping_word": done.stop_text or "",
        # What of the next prompt would be there already: all but the last token.
        "tokens_cached": usage.prompt_tokens + max(usage.generated_tokens - 1, 0),
        "timings": generation.timings_of(done),
    }
    if wanted.n_probs and not streamed:
        row["completion_probabilities"] = [generation.token_answer(token) for token in asked.logprobs]
    return row if wanted.response_fields is None else _picked(row, wanted.response_fields)


def _picked(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The fields of these names; `timings/prompt_n` is one of an object, under its whole name."""
    found: dict[str, Any] = {}
    for name in names:
        value: Any = row
        for part in name.split("/"):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None:
            found[name] = value
    return found


def _settings(options: GenerationOptions, stream: bool = False) -> dict[str, Any]:
    """How a text is drawn, as llama.cpp calls it; -1 stands for any length and for any seed."""
    length = -1 if options.max_tokens is None else options.max_tokens
    return {
        "seed": -1 if options.seed is None else options.seed,
        "temperature": options.temperature,
        "top_k": options.top_k,
        "top_p": options.top_p,
        "min_p": options.min_p,
        "repeat_penalty": options.repetition_penalty,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        "stop": list(options.stops),
        "max_tokens": length,
        "n_predict": length,
        "stream": stream,
        "n_probs": options.logprobs or 0,
        "grammar": options.grammar or "",
        "samplers": ["penalties", "top_k", "top_p", "min_p", "temperature"],
    }


async def embedding(request: Request) -> Response:
    """The vectors of texts; each is a list of one, as llama.cpp has them for models that pool."""
    wanted = await read_model(request, LlamaEmbeddingRequest)
    vectors, _, _ = await until_gone(request, vectors_of(request, wanted.texts, wanted.model))
    return JSONResponse([{"index": index, "embedding": [vector.tolist()]} for index, vector in enumerate(vectors)])


async def apply_template(request: Request) -> Response:
    """A conversation as the model's chat template writes it."""
    state = state_of(request)
    wanted = await read_model(request, TemplateRequest)
    kwargs = wanted.chat_template_kwargs
    thinks = None
    if kwargs is not None:
        thinks = kwargs.thinking if kwargs.enable_thinking is None else kwargs.enable_thinking
    messages = [message.plain() for message in wanted.messages]
    tools = [tool.rendered() for tool in wanted.tools or ()]
    name = await state.in_thread(state.names.language, wanted.model)
    with await state.in_waiting_thread(state.manager.language, name, wait=state.limits.load_seconds) as lease:
        text = await state.in_thread(lease.model.render, messages, reasoning=thinks, tools=tools)
    return JSONResponse({"prompt": text})


async def props(request: Request) -> Response:
    """What the server is set to, and the model; one that is not loaded is loaded unless `autoload` is false."""
    state = state_of(request)
    name = await state.in_thread(state.names.language, request.query_params.get("model"))
    loaded = any(each.name == name and each.state == "loaded" for each in state.manager.status())
    if not loaded and request.query_params.get("autoload") in _LOADED_ONLY:
        raise RequestError(400, f"{state.names.public(name)} is not loaded; leave autoload away", None, "autoload")
    with await state.in_waiting_thread(state.manager.language, name, wait=state.limits.load_seconds) as lease:
        context, template = lease.model.context, lease.model.template
    answer: PropsAnswer = {
        "default_generation_settings": {"params": _settings(GenerationOptions()), "n_ctx": context},
        "total_slots": state.limits.generations,
        "model_alias": state.names.public(name),
        "model_path": state.names.public(name),  # a client names models, never files
        "modalities": {"vision": False, "audio": False},
        "endpoint_slots": True,
        "endpoint_props": False,
        "endpoint_metrics": True,
        "chat_template": template,
        "build_info": f"turboprop-{__version__}",
        "is_sleeping": False,
    }
    return JSONResponse(answer)


async def slots(request: Request) -> Response:
    """The answers that may be written at once, and how many of them are."""
    state = state_of(request)
    used, count = state.generations.used, state.limits.generations
    if used >= count and request.query_params.get("fail_on_no_slot") is not None:
        raise RequestError(503, "no slot is free", "queue_full")
    contexts = [each.context for each in state.manager.status() if each.kind == "language" and each.context]
    context = next(iter(contexts), 0) or 0
    rows: list[SlotRow] = [
        {"id": number, "n_ctx": context, "speculative": False, "is_processing": number < used}
        for number in range(count)
    ]
    return JSONResponse(rows)
