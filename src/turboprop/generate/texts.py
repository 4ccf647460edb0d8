"""The events of a generation whose engine writes text, not token ids: a model behind an address."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from turboprop.generate.events import (
    DoneEvent,
    GenerationEvent,
    ReasoningEvent,
    TextEvent,
    Timings,
    TokenLogprob,
    Usage,
)
from turboprop.generate.stream import Part, ReasoningSplitter, StopFilter

if TYPE_CHECKING:
    from turboprop.engines.generation_contract import TextPiece, TextStream

NO_ID = -1
"""In the place of a token's id, which a server does not tell."""


def text_events(
    stream: TextStream, stops: tuple[str, ...], estimated: int, started: float
) -> Iterator[GenerationEvent]:
    """The pieces as they come, cut before the first of `stops`, then a `DoneEvent`.

    `estimated` are the prompt's tokens where the server does not count them; the answer's are its pieces then.
    """
    splitter, stop = ReasoningSplitter(), StopFilter(stops)
    count, first = 0, 0.0
    waiting: list[TokenLogprob] = []

    def shown(parts: list[Part]) -> Iterator[GenerationEvent]:
        for kind, text in parts:
            visible = stop.push(text) if kind == "text" else text
            if visible:
                make = TextEvent if kind == "text" else ReasoningEvent
                yield make(visible, tuple(waiting))
                waiting.clear()

    for piece in stream:
        first = first or time.perf_counter() - started
        count += 1
        waiting += _logprobs(piece)
        yield from shown([("reasoning", piece.text)] if piece.thinks else splitter.push(piece.text))
        if stop.stopped is not None:
            stream.cancel()
            break
    else:
        yield from shown(splitter.finish())
        if rest := stop.finish():
            yield TextEvent(rest, tuple(waiting))
    total = time.perf_counter() - started
    prompt, written, cached = _usage(stream, estimated, count)
    yield DoneEvent(
        "stop" if stop.stopped is not None else stream.finish or "cancelled",
        Usage(prompt, written, cached),
        Timings(
            first or total,
            total,
            (prompt - cached) / first if first else 0.0,
            (written - 1) / (total - first) if written > 1 and total > first else 0.0,
        ),
        stop.stopped,
    )


def _usage(stream: TextStream, estimated: int, count: int) -> tuple[int, int, int]:
    """Tokens of the prompt, of the answer, and of the prompt's those that were cached."""
    stated = stream.usage
    details = stated.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    numbers = (stated.get("prompt_tokens"), stated.get("completion_tokens"), cached or 0)
    prompt, written, cached = (each if isinstance(each, int) and each >= 0 else None for each in numbers)
    return estimated if prompt is None else prompt, count if written is None else written, cached or 0


def _logprobs(piece: TextPiece) -> Iterator[TokenLogprob]:
    for text, value, likeliest in piece.logprobs:
        yield TokenLogprob(text, NO_ID, value, tuple((each, NO_ID, number) for each, number in likeliest))
