"""What a caller may ask of a generation; every value is checked when the options are made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turboprop.errors import UsageError

MOST_STOPS = 16
LONGEST_STOP = 1000
MOST_LOGPROBS = 20
_LARGEST_SEED = 2**63 - 1
# name: (lowest, highest, whether the lowest itself is left out)
_RANGES = {
    "temperature": (0.0, 5.0, False),
    "top_p": (0.0, 1.0, True),
    "min_p": (0.0, 1.0, False),
    "repetition_penalty": (0.0, 2.0, True),
    "presence_penalty": (-2.0, 2.0, False),
    "frequency_penalty": (-2.0, 2.0, False),
}


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How to generate. The defaults are llama.cpp's, a little cooler.

    `temperature` 0 is greedy. Ids are drawn after penalties, top-k, top-p, min-p and temperature, in this
    order. The repetition penalty looks at prompt and answer, the other two at the answer. `max_tokens` None
    lets the answer fill the context. `logprobs` n asks for the natural logarithms of the drawn token's
    probability and of the n likeliest. `json_schema` (a mapping, or JSON text) and `grammar` (GBNF) constrain
    the answer. `reasoning` switches the thinking of models whose chat template has such a switch.

    Raises `UsageError` that names the range of a value outside of it.
    """

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] | str = ()
    max_tokens: int | None = None
    logprobs: int | None = None
    json_schema: Mapping[str, Any] | str | None = None
    grammar: str | None = None
    reasoning: bool | None = None

    def __post_init__(self) -> None:
        for name, (low, high, open_end) in _RANGES.items():
            _check_real(name, getattr(self, name), low, high, open_end)
        _check_whole("top_k", self.top_k, 0, 1 << 20)
        for name, least, most in (
            ("seed", 0, _LARGEST_SEED),
            ("max_tokens", 1, 1 << 24),
            ("logprobs", 0, MOST_LOGPROBS),
        ):
            if getattr(self, name) is not None:
                _check_whole(name, getattr(self, name), least, most)
        stop: Any = self.stops
        if not isinstance(stop, tuple | list) or len(stop) > MOST_STOPS:
            raise UsageError(f"stop takes up to {MOST_STOPS} texts")
        if any(not isinstance(text, str) or not 0 < len(text) <= LONGEST_STOP for text in stop):
            raise UsageError(f"each stop text has 1 to {LONGEST_STOP} characters")
        object.__setattr__(self, "stop", tuple(stop))
        if self.json_schema is not None and self.grammar is not None:
            raise UsageError("json_schema and grammar exclude each other; give one")
        if self.grammar is not None and not (isinstance(self.grammar, str) and self.grammar.strip()):
            raise UsageError("grammar is a text in GBNF, and not empty")
        self.schema_text()

    @property
    def stops(self) -> tuple[str, ...]:
        """`stop` as a tuple."""
        return (self.stop,) if isinstance(self.stop, str) else self.stop

    def schema_text(self) -> str | None:
        """`json_schema` as JSON text."""
        if self.json_schema is None:
            return None
        try:
            schema = json.loads(self.json_schema) if isinstance(self.json_schema, str) else self.json_schema
            if not isinstance(schema, Mapping):
                raise TypeError("it is no object")
            return json.dumps(schema)
        except (ValueError, TypeError, RecursionError) as error:
            raise UsageError(f"json_schema is no JSON schema: {error}") from None


def _check_real(name: str, value: object, low: float, high: float, open_end: bool) -> None:
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not low <= number <= high or (open_end and number == low):
        least = f"above {low:g}" if open_end else f"from {low:g}"
        raise UsageError(f"{name} is a number {least} to {high:g}, not {value!r}")


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"{name} is a whole number from {least} to {most}, not {value!r}")
