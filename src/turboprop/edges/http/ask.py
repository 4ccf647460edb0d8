"""`POST /api/ask`: a question about a repository, answered while it is written, with citations."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, StrictInt, StrictStr

from turboprop import limits
from turboprop.answer import (
    ANSWER_TOKENS,
    SOURCE_TOKENS,
    AnsweredEvent,
    AnswerEvent,
    AnswerSession,
    ReadingEvent,
    SourcesEvent,
    widened,
)
from turboprop.edges.http import generation
from turboprop.edges.http.generation import SamplingFields
from turboprop.edges.http.schemas import RequestBody
from turboprop.edges.http.state import read_model, state_of
from turboprop.edges.http.streams import EventStream, pumped, sse, told_errors, until_gone
from turboprop.errors import EngineError, ModelNotFoundError
from turboprop.generate.events import DoneEvent, ReasoningEvent
from turboprop.generate.options import GenerationOptions

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from turboprop.answer import Source
    from turboprop.edges.http.state import ServerState
    from turboprop.generate.model import GenerationStream, LanguageModel
    from turboprop.index.read import IndexReader
    from turboprop.runtime.leases import Lease
    from turboprop.types import Hit
    from turboprop.workspace.index import Index
    from turboprop.workspace.workspace import Repository

_TURNS = 20


class AskTurn(RequestBody):
    question: Annotated[StrictStr, limits.QUESTION]
    answer: Annotated[StrictStr, Field(max_length=100_000)]


class AskOptions(SamplingFields):
    """Sampling, as for `/v1/chat/completions`."""

    reasoning: bool | None = None


class AskRequest(RequestBody):
    question: Annotated[StrictStr, limits.QUESTION]
    repo: StrictStr | None = None
    model: StrictStr | None = None
    history: Annotated[list[AskTurn], Field(max_length=1_000)] = Field(default_factory=list)
    options: AskOptions = Field(default_factory=AskOptions)
    source_tokens: Annotated[StrictInt, limits.SOURCE_TOKENS] = SOURCE_TOKENS


async def ask(request: Request) -> Response:
    """Server-sent events: sources, progress, reasoning, text, and at the end done or error."""
    state = state_of(request)
    wanted = await read_model(request, AskRequest)
    return await until_gone(request, _answer(state, wanted))


async def _answer(state: ServerState, wanted: AskRequest) -> Response:
    repository = state.workspace.get(wanted.repo)
    given = wanted.options
    options = GenerationOptions(
        **{"temperature": 0.2, **given.sampling()},
        max_tokens=given.max_tokens or ANSWER_TOKENS,
        reasoning=given.reasoning or False,
    )
    if wanted.model is not None:
        await state.in_thread(state.names.language, wanted.model)  # a name that means nothing is a 404
    async with AsyncExitStack() as held:
        opened, index = await state.in_thread(_opened, repository)
        held.enter_context(opened)
        await held.enter_async_context(state.generations.taken())
        asking = _Asking(state, index, wanted, options)
        held.callback(asking.close)
        events = pumped(state, asking.events(), asking.cancel)
        await held.enter_async_context(aclosing(events))
        chunks = told_errors(state, _chunks(events, repository.name), "error")
        return EventStream(chunks, held.pop_all(), stall_seconds=state.limits.stall_seconds)


def _opened(repository: Repository) -> tuple[ExitStack, Index]:
    """The index opened now, so that a repository without one is a 404 and not the first event."""
    stack = ExitStack()
    return stack, stack.enter_context(repository.opened())


class _Retriever:
    """The index as `AnswerSession` searches it; keeps what it found."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.hits: list[Hit] = []

    @property
    def repo(self) -> Path:
        return self._index.repo

    @property
    def reader(self) -> IndexReader:
        return self._index.reader

    def search(self, query: str, limit: int = 10, *, threshold: float | None = None, below: str = "") -> list[Hit]:
        self.hits = self._index.search(query, limit, threshold=threshold, below=below)
        return self.hits


class _Asking:
    """One question. The model is leased when it is needed: weak evidence needs none."""

    def __init__(self, state: ServerState, index: Index, wanted: AskRequest, options: GenerationOptions) -> None:
        self._state = state
        self._wanted = wanted
        self._options = options
        self._retriever = _Retriever(index)
        self._lock = threading.Lock()
        self._lease: Lease[LanguageModel] | None = None
        self._stream: GenerationStream | None = None
        self._cancelled = False

    @property
    def name(self) -> str:
        return self._model.name

    @property
    def context(self) -> int:
        return self._model.context

    def count_tokens(self, prompt: str | Sequence[dict[str, str]]) -> int:
        return self._model.count_tokens(prompt)

    def stream(self, prompt: Sequence[dict[str, str]], options: GenerationOptions) -> GenerationStream:
        stream = self._model.stream(prompt, options)
        with self._lock:
            self._stream = stream
            if self._cancelled:
                stream.cancel()
        return stream

    def events(self) -> Iterator[AnswerEvent]:
        """Everything, in order; where there is no language model, the sources and then the error."""
        history = [(turn.question, turn.answer) for turn in self._wanted.history[-_TURNS:]]
        session = AnswerSession(self._retriever, self, self._wanted.source_tokens, history)
        try:
            yield from session.ask(self._wanted.question, self._options)
        except ModelNotFoundError:
            sources = tuple(widened(self._retriever.hits, self._retriever.reader)[:5])
            yield SourcesEvent(sources, False, 0)
            raise

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._stream is not None:
                self._stream.cancel()

    def close(self) -> None:
        """Give the model back; called when the events have ended."""
        if self._lease is not None:
            self._lease.close()

    @property
    def _model(self) -> LanguageModel:
        if self._lease is None:
            if self._cancelled:
                raise EngineError("the question was called off")
            name = self._state.names.language(self._wanted.model)
            self._lease = self._state.manager.language(name, wait=self._state.limits.load_seconds)
        return self._lease.model


async def _chunks(events: AsyncIterator[AnswerEvent], repo: str) -> AsyncIterator[bytes]:
    async for event in events:
        if isinstance(event, SourcesEvent):
            sources = [_source(source, repo) for source in event.sources]
            yield sse({"sources": sources, "weak": event.weak, "prompt_tokens": event.prompt_tokens}, "sources")
        elif isinstance(event, ReadingEvent):
            yield sse({"prompt_tokens_done": event.tokens, "prompt_tokens": event.prompt_tokens}, "progress")
        elif isinstance(event, AnsweredEvent):
            yield sse(_done(event), "done")
        elif isinstance(event, ReasoningEvent):
            yield sse({"text": event.text}, "reasoning")
        else:
            yield sse({"text": event.text}, "text")


def _source(source: Source, repo: str) -> dict[str, Any]:
    return {
        "repo": repo,
        "path": source.path,
        "start_line": source.start_line,
        "end_line": source.end_line,
        "symbol": source.symbol,
        "score": float(source.score),
        "text": source.text,
    }


def _done(event: AnsweredEvent) -> dict[str, Any]:
    done: DoneEvent | None = event.done
    return {
        "answer": event.text,
        "citations": [
            {"path": one.path, "start_line": one.start_line, "end_line": one.end_line} for one in event.citations
        ],
        "removed": list(event.removed),
        "weak": event.weak,
        "doubts": list(event.doubts),
        "unknown": list(event.unknown),
        "model": event.model,
        # A loop that was ended is no answer that its tokens cut.
        "finish_reason": generation.finish_reason(done) if done and not event.repeated else "stop",
        "usage": generation.usage_of([done] if done else []),
        "timings": {
            "first_token_seconds": done.timings.first_token_seconds if done else 0.0,
            "total_seconds": done.timings.total_seconds if done else 0.0,
            "prompt_tokens_per_second": done.timings.prompt_tokens_per_second if done else 0.0,
            "tokens_per_second": done.timings.tokens_per_second if done else 0.0,
        },
    }
