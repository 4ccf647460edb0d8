"""What an engine that generates offers, on one screen. It knows token ids, no text and no templates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

EngineFinish = Literal["stop", "length", "cancelled"]
"""Why the ids end: a stop id was drawn, `max_tokens` or the context is full, or `cancel` was called."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next id is drawn from the logits, in this order (llama.cpp's): penalties, top-k, top-p, min-p,
    temperature.

    `temperature` 0 takes the most likely id. `top_k` 0, `top_p` 1 and `min_p` 0 leave all. The repetition
    penalty (1 is none) divides the positive and multiplies the negative logits of ids that occur in prompt or
    answer (Keskar et al. 2019, arXiv 1909.05858); the presence and frequency penalties (0 is none) are taken
    off the logits of ids of the answer, once and once each time. `bias` is added to the logits of its ids before all
    of that. `seed` None draws one.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    bias: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One generation. `ids` is the whole prompt, begin token included; at least one id.

    `logprobs` None asks for none, n for the drawn id's and those of the n likeliest ids, natural logarithms of
    the probabilities before any penalty or temperature. `json_schema` (JSON text) and `grammar` (GBNF) constrain
    the answer; at most one of them. `lookup` lets an engine guess ids that prompt or answer had before and check
    them together: the same ids, sooner where the answer quotes.
    """

    ids: tuple[int, ...]
    max_tokens: int
    stop_ids: frozenset[int] = frozenset()
    sampling: Sampling = field(default_factory=Sampling)
    logprobs: int | None = None
    json_schema: str | None = None
    grammar: str | None = None
    lookup: bool = True


@dataclass(frozen=True, slots=True)
class GeneratedToken:
    """One drawn id. `logprob` and `top` (likeliest first) are filled where they were asked for."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class TokenStream(Protocol):
    """The ids of one generation as they are drawn; a stop id ends the stream and is not part of it.

    Letting go of the stream cancels the generation, as `cancel` does.
    """

    @property
    def finish(self) -> EngineFinish | None:
        """Why the stream ended; None while it has not."""

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that were in the prefix cache; known with the first id."""

    def reading(self) -> Iterator[int]:
        """How many ids of the prompt are read, cached ones among them, whenever it is more; ends before the first id.

        For who wants to see it: the ids come the same without it."""

    def __iter__(self) -> Iterator[GeneratedToken]: ...

    def __next__(self) -> GeneratedToken:
        """Wait for the next id. Raises `EngineError` where the engine failed."""

    def cancel(self) -> None:
        """End the stream now, from any thread; a waiting reader is woken. A second call does nothing."""


class Generator(Protocol):
    """A loaded language model. Generations that run at the same time share it."""

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together, at most."""

    @property
    def constraints(self) -> frozenset[Literal["json_schema", "grammar"]]:
        """Which constraints it can keep; a request with another raises `UsageError`."""

    def start(self, request: TokenRequest) -> TokenStream:
        """Begin a generation. Raises `InputTooLongError` where the prompt leaves no room in the context."""

    def close(self) -> None:
        """End what runs and give the memory back; a second call does nothing."""


@dataclass(frozen=True, slots=True)
class TextRequest:
    """One generation of an engine that tokenizes by itself, as a server does: a text to continue, or a conversation.

    `json_schema` is a JSON value; `reasoning` switches the thinking of models that have a switch. `tools` are functions
    as OpenAI's interface describes them, for a conversation: a call comes as text, JSON between `<tool_call>` tags.
    """

    prompt: str | Sequence[Mapping[str, Any]]
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    logprobs: int | None = None
    json_schema: Any = None
    grammar: str | None = None
    reasoning: bool | None = None
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class TextPiece:
    """More of an answer, or of what the model thinks before it. `logprobs` are (text, logarithm, likeliest) a token."""

    text: str
    thinks: bool = False
    logprobs: tuple[tuple[str, float, tuple[tuple[str, float], ...]], ...] = ()


class TextStream(Protocol):
    """The text of one generation as it is written. How far its prompt is read, nobody tells."""

    @property
    def finish(self) -> EngineFinish | None:
        """Why the stream ended; None while it has not."""

    @property
    def usage(self) -> Mapping[str, Any]:
        """Tokens as OpenAI's interface counts them; empty where nobody did. Known at the end."""

    def __iter__(self) -> Iterator[TextPiece]: ...

    def cancel(self) -> None:
        """End the stream now, from any thread; a waiting reader is woken. A second call does nothing."""


class TextWriter(Protocol):
    """A language model that tokenizes by itself."""

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together, at most, as far as that is known."""

    @property
    def constraints(self) -> frozenset[Literal["json_schema", "grammar"]]:
        """Which constraints it can keep; a request with another raises `UsageError`."""

    def write(self, request: TextRequest) -> TextStream:
        """Begin a generation."""

    def close(self) -> None:
        """Give everything back; a second call does nothing."""
