"""Ollama's interface: `/api/version`, `tags`, `show`, `ps`, `generate`, `chat`, `embed`, `embeddings`, `pull`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NotRequired, Self

from pydantic import Field, StrictInt, StrictStr, model_validator
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop import limits
from turboprop.edges.http import embeddings, generation, library_api
from turboprop.edges.http.conversation import IMAGES, CallEvent, Conversation, Event, talk, whole
from turboprop.edges.http.failures import ErrorShape, Failure, RequestError, failure
from turboprop.edges.http.generation import EndEvent
from turboprop.edges.http.schemas import ForeignBody, MaxTokens, Number, UpTo10000, UpToMillion, refusal
from turboprop.edges.http.state import read_model, state_of
from turboprop.edges.http.streams import EventStream, told_errors, until_gone
from turboprop.edges.http.tools import Name, Tool, rendered_call
from turboprop.errors import ModelNotFoundError
from turboprop.generate.events import ReasoningEvent
from turboprop.generate.options import GenerationOptions
from turboprop.generate.tools import closed

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState
    from turboprop.generate.model import GenerationStream, LanguageModel
    from turboprop.workspace.jobs import Job

VERSION = "0.13.0"
"""Of Ollama, whose interface this is; clients ask for a lowest one."""
MEDIA = "application/x-ndjson"
_LOOK_SECONDS = 0.2


class ErrorAnswer(TypedDict):
    error: str


def _error(failure: Failure) -> dict[str, Any]:
    return {"error": failure.message}


ERROR = ErrorShape(_error, ErrorAnswer)


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"


class OllamaOptions(generation.SamplingFields, ForeignBody):
    """How to sample; `num_ctx` and what else sets up a model are passed over."""

    not_done: ClassVar[Mapping[str, str]] = dict.fromkeys(("mirostat", "typical_p", "tfs_z"), generation.ANOTHER_WAY)
    neutral: ClassVar[Mapping[str, Any]] = {"typical_p": 1, "tfs_z": 1}

    model_config = ForeignBody.model_config
    max_tokens: MaxTokens = Field(None, validation_alias="num_predict")
    stop: StrictStr | Annotated[list[StrictStr], Field(max_length=limits.MOST_STOPS)] | None = None


class OllamaRequest(ForeignBody):
    """What both ways to generate have in common; without `stream` it is a stream."""

    model: StrictStr
    stream: bool | None = None
    format: StrictStr | dict[str, Any] | None = None
    options: OllamaOptions | None = None
    think: bool | StrictStr | None = None
    keep_alive: StrictStr | Number | None = None
    images: UpTo10000[StrictStr] | None = None

    @model_validator(mode="after")
    def _reads_text(self) -> Self:
        if self.images:
            raise refusal("images", IMAGES)
        if isinstance(self.format, str) and self.format not in ("", "json"):
            raise refusal("format", "is json, or a JSON schema")
        return self

    def generation(self) -> GenerationOptions:
        """The options over our defaults. Raises `UsageError`."""
        given = self.options or OllamaOptions.model_validate({})
        form: Any = None
        if self.format:
            form = {"type": "object"} if isinstance(self.format, str) else closed(self.format)
        thinks = None if self.think is None else self.think not in (False, "false", "none")
        return GenerationOptions(
            **given.sampling(),
            stop=generation.stops_of(given.stop),
            max_tokens=given.max_tokens,
            json_schema=form,
            reasoning=thinks,
        )


class OllamaFunction(ForeignBody):
    name: Name
    arguments: dict[str, Any] | StrictStr = Field(default_factory=dict)


class OllamaCall(ForeignBody):
    function: OllamaFunction


class OllamaMessage(ForeignBody):
    role: Literal["system", "user", "assistant", "tool"]
    content: StrictStr | None = None
    thinking: StrictStr | None = None
    images: UpTo10000[StrictStr] | None = None
    tool_calls: Annotated[list[OllamaCall], Field(max_length=128, fail_fast=True)] | None = None
    tool_name: StrictStr | None = None

    @model_validator(mode="after")
    def _is_text(self) -> Self:
        if self.images:
            raise refusal("images", IMAGES)
        return self

    def plain(self) -> dict[str, Any]:
        """As a prompt takes it."""
        made: dict[str, Any] = {"role": self.role, "content": self.content or ""}
        if self.tool_calls and self.role == "assistant":
            calls = [call.function for call in self.tool_calls]
            made["tool_calls"] = [rendered_call(each.name, each.arguments) for each in calls]
        return made


class OllamaChatRequest(OllamaRequest):
    messages: UpTo10000[OllamaMessage] = Field(default_factory=list)
    tools: Annotated[list[Tool], Field(max_length=128, fail_fast=True)] | None = None


class OllamaGenerateRequest(OllamaRequest):
    not_done: ClassVar[Mapping[str, str]] = {
        "template": "prompts are written by the model's own template; give raw for one of your own",
        "context": "give the conversation to /api/chat",
    }

    prompt: StrictStr | None = None
    suffix: StrictStr | None = None
    system: StrictStr | None = None
    raw: bool | None = None


class OllamaEmbedRequest(ForeignBody):
    """Inputs that are too long are cut, as at Ollama, unless `truncate` is false."""

    model: StrictStr
    input: StrictStr | UpToMillion[StrictStr] = Field(default_factory=list)
    truncate: bool | None = None
    dimensions: Annotated[StrictInt, Field(ge=1, le=65_536)] | None = None
    options: dict[str, Any] | None = None
    keep_alive: StrictStr | Number | None = None


class OllamaEmbeddingsRequest(ForeignBody):
    model: StrictStr
    prompt: StrictStr = ""
    options: dict[str, Any] | None = None
    keep_alive: StrictStr | Number | None = None


class OllamaModelRequest(ForeignBody):
    """`name` is the older word for `model`."""

    model: Annotated[StrictStr, Field(max_length=300)] | None = None
    name: Annotated[StrictStr, Field(max_length=300)] | None = None
    stream: bool | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if not (self.model or self.name):
            raise ValueError("model is missing")
        return self

    @property
    def wanted(self) -> str:
        """The model's name."""
        return self.model or self.name or ""


class VersionAnswer(TypedDict):
    version: str


class Details(TypedDict):
    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class OllamaModelRow(TypedDict):
    name: str
    model: str
    size: int
    digest: str
    details: Details
    modified_at: NotRequired[str]
    expires_at: NotRequired[str]
    size_vram: NotRequired[int]
    context_length: NotRequired[int]


class OllamaModels(TypedDict):
    models: list[OllamaModelRow]


class ShowAnswer(TypedDict):
    modelfile: str
    parameters: str
    template: str
    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class OllamaEmbedAnswer(TypedDict):
    model: str
    embeddings: list[list[float]]
    prompt_eval_count: int
    total_duration: int
    load_duration: int


class OllamaEmbeddingsAnswer(TypedDict):
    embedding: list[float]


async def version(request: Request) -> Response:  # noqa: ARG001
    """The version of Ollama's interface."""
    return JSONResponse({"version": VERSION})


async def tags(request: Request) -> Response:
    """The models that are installed."""
    state = state_of(request)
    listed = await state.in_thread(state.names.listed)
    sizes = {known.name: known.size for known in await state.in_thread(state.names.known)}
    rows = [_row(model.name, sizes.get(model.name, 0), modified_at=_now()) for model in listed]
    return JSONResponse({"models": rows})


async def running(request: Request) -> Response:
    """The models that are loaded."""
    state = state_of(request)
    rows = []
    for loaded in state.manager.status():
        # What is kept until it is unloaded expires in a hundred years, as at Ollama.
        stays = timedelta(seconds=min(loaded.keep_alive or 3e9, 3e9))
        row = _row(state.names.public(loaded.name), loaded.reserved, expires_at=_now(stays), size_vram=0)
        rows.append({**row, "context_length": loaded.context or 0})
    return JSONResponse({"models": rows})


async def show(request: Request) -> Response:
    """What is known of a model."""
    state = state_of(request)
    wanted = await read_model(request, OllamaModelRequest)
    target = await state.in_thread(state.names.any, wanted.wanted)
    kind = await state.in_thread(state.manager.kind, target)
    loaded = next((each for each in state.manager.status() if each.name == target), None)
    able = ["completion", "tools"] if kind == "language" else ["embedding"]
    info: dict[str, Any] = {"general.architecture": "turboprop", "general.basename": state.names.public(target)}
    if loaded is not None and loaded.context:
        info["turboprop.context_length"] = loaded.context
    if loaded is not None and loaded.dimensions:
        info["turboprop.embedding_length"] = loaded.dimensions
    told: ShowAnswer = {
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": _details(),
        "model_info": info,
        "capabilities": able,
        "modified_at": _now(),
    }
    return JSONResponse(told)


async def chat(request: Request) -> Response:
    """Answer a conversation; without messages the model is loaded, or with `keep_alive` 0 unloaded."""
    state = state_of(request)
    wanted = await read_model(request, OllamaChatRequest)
    if not wanted.messages:
        return await _loaded(state, wanted, {"message": {"role": "assistant", "content": ""}})

    def told(text: str, thoughts: str, calls: list[CallEvent]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thoughts:
            message["thinking"] = thoughts
        if calls:
            rows = [{"name": call.name, "arguments": json.loads(call.arguments)} for call in calls]
            message["tool_calls"] = [
                {"id": call.id, "function": {"index": number, **row}}
                for number, (call, row) in enumerate(zip(calls, rows, strict=True))
            ]
        return {"message": message}

    tools = [tool.rendered() for tool in wanted.tools or ()]
    asked = Conversation([message.plain() for message in wanted.messages], wanted.generation(), tools)
    return await until_gone(request, _conversation(state, wanted, asked, told))


async def generate(request: Request) -> Response:
    """Answer a prompt, or with `raw` continue a text, or fill in before `suffix`."""
    state = state_of(request)
    wanted = await read_model(request, OllamaGenerateRequest)
    if not wanted.prompt and not wanted.suffix:
        return await _loaded(state, wanted, {"response": ""})

    def told(text: str, thoughts: str, calls: list[CallEvent]) -> dict[str, Any]:  # noqa: ARG001
        return {"response": text, **({"thinking": thoughts} if thoughts else {})}

    prompt = wanted.prompt or ""
    if wanted.raw or wanted.suffix:
        return await until_gone(request, _text(state, wanted, prompt, told))
    messages = [{"role": "system", "content": wanted.system}] if wanted.system else []
    asked = Conversation([*messages, {"role": "user", "content": prompt}], wanted.generation())
    return await until_gone(request, _conversation(state, wanted, asked, told))


Told = Callable[[str, str, list[CallEvent]], dict[str, Any]]


async def _conversation(state: ServerState, wanted: OllamaRequest, asked: Conversation, told: Told) -> Response:
    name = await state.in_thread(state.names.language, wanted.model)
    async with AsyncExitStack() as held:
        return await _answered(state, held, wanted, await talk(state, held, name, asked), told)


async def _text(state: ServerState, wanted: OllamaGenerateRequest, prompt: str, told: Told) -> Response:
    name = await state.in_thread(state.names.language, wanted.model)
    options = replace(wanted.generation(), control_tokens=True)

    def begin(model: LanguageModel) -> GenerationStream:
        return model.stream(model.infill(prompt, wanted.suffix) if wanted.suffix else prompt, options)

    async with AsyncExitStack() as held:
        events = generation.ended(await generation.several(state, held, name, [begin]))
        return await _answered(state, held, wanted, events, told)


async def _answered(
    state: ServerState,
    held: AsyncExitStack,
    wanted: OllamaRequest,
    events: AsyncIterator[tuple[int, Event]],
    told: Told,
) -> Response:
    if wanted.stream is False:
        (answer,) = await whole(events)
        row = _frame(wanted) | told(answer.text, answer.reasoning, answer.calls) | _end(answer.end)
        return JSONResponse(row)
    chunks = told_errors(state, _chunks(events, wanted, told), tell=lambda found: _line(_error(found)))
    return EventStream(chunks, held.pop_all(), stall_seconds=state.limits.stall_seconds, media=MEDIA)


async def _chunks(events: AsyncIterator[tuple[int, Event]], wanted: OllamaRequest, told: Told) -> AsyncIterator[bytes]:
    async for _, event in events:
        if isinstance(event, EndEvent):
            yield _line(_frame(wanted) | told("", "", []) | _end(event))
        elif isinstance(event, CallEvent):
            yield _line(_frame(wanted) | told("", "", [event]) | {"done": False})
        else:
            parts = ("", event.text) if isinstance(event, ReasoningEvent) else (event.text, "")
            yield _line(_frame(wanted) | told(*parts, []) | {"done": False})


async def _loaded(state: ServerState, wanted: OllamaRequest, empty: dict[str, Any]) -> Response:
    name = await state.in_thread(state.names.language, wanted.model)
    ends = wanted.keep_alive in (0, "0", "0s", "0m")
    if ends:
        await state.in_waiting_thread(state.manager.unload, name)
    else:
        with await state.in_waiting_thread(state.manager.language, name, wait=state.limits.load_seconds):
            pass
    return JSONResponse(_frame(wanted) | empty | {"done": True, "done_reason": "unload" if ends else "load"})


async def embed(request: Request) -> Response:
    """Vectors of texts."""
    state = state_of(request)
    wanted = await read_model(request, OllamaEmbedRequest)
    texts = [wanted.input] if isinstance(wanted.input, str) else wanted.input
    if not texts:
        return JSONResponse(_embedded(wanted.model, [], 0))
    overlong: Any = "error" if wanted.truncate is False else "truncate"
    made = embeddings.vectors_of(request, texts, wanted.model, dimensions=wanted.dimensions, overlong=overlong)
    vectors, tokens, _ = await until_gone(request, made)
    return JSONResponse(_embedded(wanted.model, await state.in_thread(vectors.tolist), tokens))


async def embed_one(request: Request) -> Response:
    """The vector of a text; the older way."""
    wanted = await read_model(request, OllamaEmbeddingsRequest)
    made = embeddings.vectors_of(request, [wanted.prompt], wanted.model, overlong="truncate")
    vectors, _, _ = await until_gone(request, made)
    return JSONResponse({"embedding": vectors[0].tolist()})


async def pull(request: Request) -> Response:
    """Fetch a model of the catalogue or of the hub, and tell how far it is."""
    state = state_of(request)
    wanted = await read_model(request, OllamaModelRequest)
    given = wanted.wanted.removesuffix(":latest")
    here = await state.in_thread(_is_here, state, given)
    job = None if here else await state.in_thread(library_api.begin_download, state, given)
    if wanted.stream is False:
        await until_gone(request, _ended(state, job))
        if job is not None and job.status.state != "done":
            raise RequestError(500, job.status.error or "the download was called off", "job_failed")
        return JSONResponse({"status": "success"})
    chunks = told_errors(state, _pulled(state, job, given), tell=lambda found: _line(_error(found)))
    return EventStream(chunks, AsyncExitStack(), stall_seconds=state.limits.stall_seconds, media=MEDIA)


async def _ended(state: ServerState, job: Job | None) -> None:
    while job is not None and not job.status.ended and not state.ending:
        await asyncio.sleep(_LOOK_SECONDS)


def _is_here(state: ServerState, given: str) -> bool:
    try:
        target = state.names.any(given)
    except ModelNotFoundError:
        return False
    return any(target == model.target for model in state.names.listed())


async def _pulled(state: ServerState, job: Job | None, name: str) -> AsyncGenerator[bytes]:
    yield _line({"status": "pulling manifest"})
    last: Any = None
    while job is not None and not state.ending:
        status = job.status
        if status.total and (status.done, status.total) != last:
            last = (status.done, status.total)
            told = {"digest": _digest(name), "total": int(status.total), "completed": int(status.done)}
            yield _line({"status": f"pulling {name}", **told})
        if status.ended:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    if job is not None and job.status.state != "done":
        yield _line(_error(failure(500, job.status.error or "the download was called off")))
    else:
        yield _line({"status": "success"})


def _frame(wanted: OllamaRequest) -> dict[str, Any]:
    return {"model": wanted.model, "created_at": _now()}


def _end(end: EndEvent) -> dict[str, Any]:
    """Times in nanoseconds."""
    done = end.done
    first, total = (int(each * 1e9) for each in (done.timings.first_token_seconds, done.timings.total_seconds))
    return {
        "done": True,
        "done_reason": "length" if end.reason == "length" else "stop",
        "total_duration": total,
        "load_duration": 0,
        "prompt_eval_count": done.usage.prompt_tokens,
        "prompt_eval_duration": first,
        "eval_count": done.usage.generated_tokens,
        "eval_duration": max(0, total - first),
    }


def _embedded(model: str, vectors: list[list[float]], tokens: int) -> OllamaEmbedAnswer:
    return {
        "model": model,
        "embeddings": vectors,
        "prompt_eval_count": tokens,
        "total_duration": 0,
        "load_duration": 0,
    }


def _row(name: str, size: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "model": name, "size": size, "digest": _digest(name), "details": _details(), **more}


def _details() -> Details:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": "turboprop",
        "families": ["turboprop"],
        "parameter_size": "",
        "quantization_level": "",
    }


def _digest(name: str) -> str:
    """Something that tells one model from another."""
    return sha256(name.encode("utf-8", "replace")).hexdigest()


def _now(later: timedelta = timedelta()) -> str:
    return (datetime.now(UTC) + later).isoformat().replace("+00:00", "Z")
