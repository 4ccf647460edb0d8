"""What a generation tells while it runs and when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length", "cancelled"]
"""The model or a stop text ended the answer; `max_tokens` or the context is full; the caller cancelled."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of the answer: its text and id, the natural logarithm of its probability, and the likeliest
    tokens in its place as (text, id, logarithm). `raw` are its bytes, of which `text` may have no whole character,
    and `top_raw` those of `top`; empty where nobody told them."""

    text: str
    id: int
    logprob: float
    top: tuple[tuple[str, int, float], ...] = ()
    raw: bytes = b""
    top_raw: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. `cached_tokens` of the prompt came from the prefix cache."""

    prompt_tokens: int
    generated_tokens: int
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds from the request to its first token and to its end."""

    first_token_seconds: float
    total_seconds: float
    prompt_tokens_per_second: float
    """Tokens that were computed, those from the cache not counted."""
    tokens_per_second: float
    """Of the answer, after its first token; 0 where it has no more than one."""


@dataclass(frozen=True, slots=True)
class TextEvent:
    """More of the answer."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ReasoningEvent:
    """More of what the model thinks before it answers."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class DoneEvent:
    """The end of every stream. `stop_text` is the stop text that ended it, where one did."""

    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    stop_text: str | None = None


GenerationEvent = TextEvent | ReasoningEvent | DoneEvent


@dataclass(frozen=True, slots=True)
class Generation:
    """A whole answer."""

    text: str
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    reasoning: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    stop_text: str | None = None
