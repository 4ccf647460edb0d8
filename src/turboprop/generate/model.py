"""`LanguageModel`: prompts and conversations in, text out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from turboprop.closing import Closing
from turboprop.engines.contract import EngineOptions, own_tokenizer
from turboprop.engines.generation_contract import Sampling, TextRequest, TokenRequest
from turboprop.engines.registry import load_generator
from turboprop.errors import InputTooLongError, ModelUnsupportedError, UsageError
from turboprop.generate.drafting import attach_draft, share_beside
from turboprop.generate.events import (
    DoneEvent,
    Generation,
    GenerationEvent,
    Message,
    ReasoningEvent,
    TextEvent,
    Timings,
    TokenLogprob,
    Usage,
)
from turboprop.generate.options import GenerationOptions
from turboprop.generate.prompts import Prompt, PromptMaker, TokenizedPrompt, checked_texts
from turboprop.generate.stream import Detokenizer, Part, ReasoningSplitter, StopFilter
from turboprop.generate.texts import text_events
from turboprop.generate.tools import written_out
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.endpoint import CHARS_PER_TOKEN
from turboprop.models.naming import adapted_name
from turboprop.models.resolve import resolve
from turboprop.models.tokenizer.load import token_bytes, token_text, tokenizer_from_path
from turboprop.settings import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer

    from turboprop.engines.generation_contract import GeneratedToken, Generator, TextStream, TextWriter, TokenStream
    from turboprop.engines.registry import Choice
    from turboprop.progress import DownloadProgress
    from turboprop.types import WeightFormat

DEFAULT = GenerationOptions()


class LanguageModel(Closing):
    """A loaded language model. Use it as a context manager, or call `close()`.

    Calls from several threads run at the same time and share each step of the model.
    """

    def __init__(
        self, checkpoint: Checkpoint, tokenizer: Tokenizer | None, generator: Generator | TextWriter, engine: Choice
    ) -> None:
        self._name = checkpoint.name
        self._engine = engine
        self._generator = generator
        if tokenizer is not None:
            self._tokenizer = tokenizer
            self._prompts = PromptMaker(checkpoint, tokenizer)
        self._writes_text = tokenizer is None

    @classmethod
    def load(
        cls,
        name_or_path: str,
        *,
        adapter: str | Path | None = None,
        engine: str | None = None,
        weights: WeightFormat | None = None,
        context: int | None = None,
        device: str = "auto",
        threads: int | None = None,
        memory: int | None = None,
        gpu_layers: int | Literal["auto"] | None = None,
        draft: str | None = None,
        progress: DownloadProgress | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Load by catalogue name, hub id, file or folder. `adapter` is the folder of a LoRA that is merged into it.

        `context` is in tokens, prompt and answer together; `memory` in bytes for weights and cache; `gpu_layers` is for
        an engine that splits a model between GPU and processor; `progress` is told of a download and of a conversion.
        `draft` names a small model of the same vocabulary, which guesses what this one then checks: the answers are the
        same, and come sooner where the guesses are right. Raises `ModelNotFoundError`, `ModelFormatError`,
        `ModelUnsupportedError`, `DownloadError`, `EngineError` or `UsageError`.
        """
        settings = settings or load_settings()
        local = resolve(adapted_name(name_or_path, adapter), settings, progress=progress)
        stated = local.endpoint or local.row
        if stated is not None and stated.kind not in (None, "language"):
            raise ModelUnsupportedError(
                f"{local.name} is {'a reranker' if stated.kind == 'reranker' else 'an embedding model'} and writes "
                "no text; `tp model list` shows language models"
            )
        checkpoint = open_checkpoint(local)
        options = EngineOptions(
            weights or "auto",
            threads or settings.threads,
            settings.cache_home,
            memory,
            progress,
            context,
            device,
            engine or "auto",
            settings.programs,
            settings.gpu_layers if gpu_layers is None else gpu_layers,
        )
        if draft is not None and memory is not None:
            options = replace(options, memory=share_beside(checkpoint, draft, options, settings))
        generator, choice = load_generator(checkpoint, options)
        try:
            tokenizer = None
            if local.endpoint is None:
                tokenizer = own_tokenizer(generator) or tokenizer_from_path(checkpoint.tokenizer_path)
            if draft is not None:
                attach_draft(generator, tokenizer, checkpoint, draft, replace(options, engine=choice.name), settings)
            return cls(checkpoint, tokenizer, generator, choice)
        except BaseException:
            generator.close()
            raise

    def __repr__(self) -> str:
        return f"<LanguageModel {self.name}: {self.context:,} tokens, {self.weights} in {self.engine}>"

    @property
    def name(self) -> str:
        """The model's canonical name."""
        return self._name

    @property
    def engine(self) -> str:
        """The engine that runs it."""
        return self._engine.name

    @property
    def engine_reason(self) -> str:
        """Why that engine was chosen."""
        return self._engine.reason

    @property
    def device(self) -> str:
        """What it runs on."""
        return self._engine.plan.device

    @property
    def weights(self) -> str:
        """The weight format that runs."""
        return self._engine.plan.weights

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together, at most."""
        return self._generator.context

    @property
    def has_template(self) -> bool:
        """Whether the model brought a chat template; a conversation is else written as a plain text."""
        return self._writes_text or self._prompts.has_template

    def count_tokens(self, prompt: Prompt, tools: Sequence[Mapping[str, Any]] = ()) -> int:
        """Tokens of a prompt as `stream` would give it to the model; estimated where a server counts them."""
        if self._writes_text:
            return _estimated(prompt, tools)
        return len(self._prompts.tokenize(prompt, tools=tools).ids)

    def infill(
        self,
        before: str,
        after: str,
        *,
        files: Sequence[tuple[str, str]] = (),
        begun: str = "",
        room: int | None = None,
    ) -> list[int]:
        """A prompt for what stands between two texts, of which `begun` is there already.

        `files` are others, name and text, the one that matters most last; a prompt of more than `room` tokens is cut.
        Raises `UsageError` where the model has no tokens for filling in.
        """
        if self._writes_text:
            raise UsageError(f"{self.name} runs behind an address, which is not asked to fill in between two texts")
        return self._prompts.infill(before, after, files=files, begun=begun, room=room)

    def render(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        reasoning: bool | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        """A conversation as the model's chat template writes it. Raises `UsageError`."""
        if self._writes_text:
            raise UsageError(f"{self.name} runs behind an address, which writes conversations by itself")
        return self._prompts.render(messages, reasoning, tools)

    @property
    def template(self) -> str:
        """The chat template, or the plain one of a model that brought none; empty where a server has it."""
        return "" if self._writes_text else self._prompts.source

    @property
    def knows_tokens(self) -> bool:
        """Whether it runs on token ids here, and not behind an address that takes texts."""
        return not self._writes_text

    def generate(self, prompt: Prompt, options: GenerationOptions = DEFAULT) -> Generation:
        """Answer a conversation, continue a text, or continue token ids.

        Raises `UsageError` for a prompt or option that cannot be, `InputTooLongError` for a prompt that leaves
        no room in the context, `EngineError` where the engine fails.
        """
        text: list[str] = []
        reasoning: list[str] = []
        logprobs: list[TokenLogprob] = []
        with self.stream(prompt, options) as stream:
            for event in stream:
                if isinstance(event, DoneEvent):
                    done = event
                    continue
                (text if isinstance(event, TextEvent) else reasoning).append(event.text)
                logprobs += event.logprobs
        return Generation(
            "".join(text),
            done.finish_reason,
            done.usage,
            done.timings,
            "".join(reasoning),
            tuple(logprobs),
            done.stop_text,
        )

    def stream(
        self, prompt: Prompt, options: GenerationOptions = DEFAULT, *, tools: Sequence[Mapping[str, Any]] = ()
    ) -> GenerationStream:
        """The same as events while they happen; the last is a `DoneEvent`.

        Closing the stream or letting go of it ends the generation. `tools` are functions as OpenAI's interface
        describes them, for a conversation; the model calls them in its text, where `generate.tools` finds the calls.
        """
        for name, wanted in (("json_schema", options.json_schema), ("grammar", options.grammar)):
            if wanted is not None and name not in self._generator.constraints:
                raise UsageError(f"the engine {self.engine} cannot keep a {name}; leave it away or take another engine")
        if self._writes_text:
            return self._stream_of_text(prompt, options, tools)
        generator = cast("Generator", self._generator)
        tokenized = self._prompts.tokenize(prompt, options.reasoning, tools, control_tokens=options.control_tokens)
        if options.logit_bias and max(options.logit_bias) >= self._tokenizer.get_vocab_size():
            raise UsageError(f"logit_bias names {max(options.logit_bias)}, which is no id of {self.name}'s vocabulary")
        room = self.context - len(tokenized.ids)
        if room < 1:
            raise InputTooLongError(
                f"the prompt has {len(tokenized.ids)} tokens and {self.name} takes {self.context} with the answer: "
                "shorten it, or load the model with a larger context"
            )
        request = TokenRequest(
            ids=tokenized.ids,
            max_tokens=min(room, options.max_tokens or room),
            stop_ids=self._prompts.stop_ids,
            sampling=_sampling(options),
            logprobs=options.logprobs,
            json_schema=options.schema_text(),
            grammar=options.grammar,
        )
        started = time.perf_counter()
        ids = generator.start(request)
        events = _events(ids, self._tokenizer, tokenized, options, started)
        return GenerationStream(ids, events, len(tokenized.ids))

    def _stream_of_text(
        self, prompt: Prompt, options: GenerationOptions, tools: Sequence[Mapping[str, Any]]
    ) -> GenerationStream:
        schema, texts, passed_on = options.schema_text(), checked_texts(prompt), tuple(tools)
        if tools and schema is not None and not isinstance(texts, str):
            # A call that has to come is an answer in the form of a schema: only then is it no call of the server's.
            texts, passed_on = written_out(texts, tools), ()
        request = TextRequest(
            texts,
            max_tokens=options.max_tokens,
            stops=options.stops,
            sampling=_sampling(options),
            logprobs=options.logprobs,
            json_schema=json.loads(schema) if schema is not None else None,
            grammar=options.grammar,
            reasoning=options.reasoning,
            tools=passed_on,
        )
        started = time.perf_counter()
        text = cast("TextWriter", self._generator).write(request)
        estimated = _estimated(prompt, tools)
        return GenerationStream(text, text_events(text, options.stops, estimated, started), estimated)

    def close(self) -> None:
        """End what runs and give the memory back; a second call does nothing."""
        self._generator.close()


class GenerationStream:
    """The events of one generation.

    Nothing refers back to it, so letting go of it ends the generation at once, without a collection of cycles.
    """

    def __init__(self, tokens: TokenStream | TextStream, events: Iterator[GenerationEvent], prompt_tokens: int) -> None:
        """`events` are made of what `tokens` gives; `prompt_tokens` is estimated where a server counts them."""
        self.prompt_tokens = prompt_tokens
        self._tokens = tokens
        self._events = events

    def reading(self) -> Iterator[int]:
        """How many tokens of the prompt are read, cached ones among them, whenever it is more; ends before the first
        event. To be asked for before the events, by who wants to show it. A model behind an address tells nothing."""
        # Looked up: a stream of texts has no such thing.
        reading: Callable[[], Iterator[int]] | None = getattr(self._tokens, "reading", None)
        return reading() if reading is not None else iter(())

    def __iter__(self) -> Iterator[GenerationEvent]:
        return self

    def __next__(self) -> GenerationEvent:
        return next(self._events)

    def cancel(self) -> None:
        """End the generation now, from any thread; the reader gets a `DoneEvent`."""
        self._tokens.cancel()

    def close(self) -> None:
        """End the generation; a second call does nothing."""
        self._tokens.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _sampling(options: GenerationOptions) -> Sampling:
    return Sampling(
        options.temperature,
        options.top_k,
        options.top_p,
        options.min_p,
        options.repetition_penalty,
        options.presence_penalty,
        options.frequency_penalty,
        options.seed,
        tuple((options.logit_bias or {}).items()),
    )


def _estimated(prompt: Prompt, tools: Sequence[Mapping[str, Any]] = ()) -> int:
    """Tokens of a prompt that a server will count; four for what stands around each message."""
    texts = checked_texts(prompt)
    if not isinstance(texts, str):
        texts = written_out(texts, tools)
    if isinstance(texts, str):
        return -(-len(texts) // CHARS_PER_TOKEN)
    return sum(4 - (-len(message["content"]) // CHARS_PER_TOKEN) for message in texts)


def _events(
    tokens: TokenStream, tokenizer: Tokenizer, prompt: TokenizedPrompt, options: GenerationOptions, started: float
) -> Iterator[GenerationEvent]:
    detokenizer = Detokenizer(tokenizer, prompt.ids)
    splitter = ReasoningSplitter(prompt.thinking)
    stops = StopFilter((*options.stops, *prompt.stops))
    count, first = 0, 0.0
    waiting: list[TokenLogprob] = []

    def shown(parts: list[Part], last: bool = False) -> Iterator[GenerationEvent]:
        for kind, text in parts:
            visible = stops.push(text) if kind == "text" else text
            if visible:
                make = TextEvent if kind == "text" else ReasoningEvent
                yield make(visible, tuple(waiting))
                waiting.clear()
        if last and (rest := stops.finish()):
            yield TextEvent(rest, tuple(waiting))

    for token in tokens:
        if not count:
            first = time.perf_counter() - started
        count += 1
        if token.logprob is not None:
            waiting.append(_logprob(tokenizer, token))
        yield from shown(splitter.push(detokenizer.push(token.id)))
        if stops.stopped is not None:
            tokens.cancel()
            break
    else:
        parts = [*splitter.push(detokenizer.finish()), *splitter.finish()]
        yield from shown(parts, last=True)
    total = time.perf_counter() - started
    finish = "stop" if stops.stopped is not None else tokens.finish
    cached = tokens.cached_tokens
    computed = len(prompt.ids) - cached
    yield DoneEvent(
        finish or "cancelled",
        Usage(len(prompt.ids), count, cached),
        Timings(
            first or total,
            total,
            computed / first if first else 0.0,
            (count - 1) / (total - first) if count > 1 and total > first else 0.0,
        ),
        stops.stopped,
    )


def _logprob(tokenizer: Tokenizer, token: GeneratedToken) -> TokenLogprob:
    top = tuple((token_text(tokenizer, number), number, value) for number, value in token.top)
    parts = tuple(token_bytes(tokenizer, number) for number, _ in token.top)
    text, part = token_text(tokenizer, token.id), token_bytes(tokenizer, token.id)
    return TokenLogprob(text, token.id, token.logprob or 0.0, top, part, parts)
