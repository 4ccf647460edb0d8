"""What a caller may ask for: modes, ranges and lengths, each written down once.

Python, the command line, HTTP and MCP check a value by the same object, so it is refused everywhere in the same
sentence. In the annotation of a pydantic field such an object checks the field and shows in its JSON schema.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, get_args

from turboprop.errors import UsageError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

Mode = Literal["hybrid", "semantic", "lexical"]
Unit = Literal["chunk", "file"]
MODES: tuple[Mode, ...] = get_args(Mode)
UNITS: tuple[Unit, ...] = get_args(Unit)


OUT_OF_RANGE = "out_of_range"
"""The type of pydantic's error where a limit refuses a value; the message is the limit's whole sentence."""


class _Limit(ABC):
    __slots__ = ()

    @abstractmethod
    def check(self, value: Any) -> None: ...

    @abstractmethod
    def json_schema(self) -> dict[str, Any]: ...

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import PydanticCustomError, core_schema

        def checked(value: Any) -> Any:
            try:
                self.check(value)
            except UsageError as error:
                raise PydanticCustomError(OUT_OF_RANGE, "{sentence}", {"sentence": str(error)}) from None
            return value

        return core_schema.no_info_after_validator_function(checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), **self.json_schema()}


@dataclass(frozen=True, slots=True)
class Range(_Limit):
    """The numbers from `least` to `most`, whole ones unless `real`; with `above` without `least` itself."""

    name: str
    least: int
    most: int
    real: bool = False
    above: bool = False

    def check(self, value: Any) -> None:
        """Raise `UsageError` that names the range."""
        is_number = isinstance(value, Real if self.real else Integral)
        if isinstance(value, bool) or not is_number or not self._holds(value):
            raise UsageError(f"{self}, not {value!r}")

    def _holds(self, number: Any) -> bool:
        return bool(self.least <= number <= self.most and not (self.above and number == self.least))

    def __str__(self) -> str:
        noun = "number" if self.real else "whole number"
        return f"{self.name} is a {noun} {'above' if self.above else 'from'} {self.least} to {self.most}"

    def json_schema(self) -> dict[str, Any]:
        """Its keywords of JSON Schema."""
        return {"exclusiveMinimum" if self.above else "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Text(_Limit):
    """Texts of at most `most` characters that are not blank."""

    name: str
    most: int

    def check(self, value: Any) -> None:
        """Raise `UsageError` that says how long the text is and may be."""
        if not isinstance(value, str):
            raise UsageError(f"the {self.name} is a text, not of the type {type(value).__name__}")
        if not value.strip():
            raise UsageError(f"the {self.name} is empty; say what to look for")
        if len(value) > self.most:
            raise UsageError(f"the {self.name} has {len(value)} characters and may have {self.most}")

    def json_schema(self) -> dict[str, Any]:
        """Its keywords of JSON Schema."""
        return {"minLength": 1, "maxLength": self.most}


QUERY = Text("query", 1_000_000)
"""A traceback of 5,000 frames has 450,000 characters; taking it apart takes 0.4 s, any text of the most 1.0 s."""
NAME = Text("name", 10_000)
PATTERN = Text("pattern", 10_000)
QUESTION = Text("question", 10_000)
HITS = Range("limit", 1, 1_000)
"""Hits of one search. Their texts are up to 1.5 MB; ranking reads three candidates for each."""
LINES = Range("limit", 1, 10_000)
"""Lines of one answer to a search by a pattern."""
RERANKED_HITS = Range("rerank_top", 1, 1_000)
MOST_PATTERNS = 100
"""Globs or languages that one request of a server narrows by."""
LONGEST_PATTERN = 1_000
SOURCE_TOKENS = Range("source_tokens", 64, 1 << 20)

TEMPERATURE = Range("temperature", 0, 5, real=True)
TOP_K = Range("top_k", 0, 1 << 20)
TOP_P = Range("top_p", 0, 1, real=True)
"""0 leaves the likeliest id alone."""
MIN_P = Range("min_p", 0, 1, real=True)
REPETITION_PENALTY = Range("repetition_penalty", 0, 2, real=True, above=True)
PRESENCE_PENALTY = Range("presence_penalty", -2, 2, real=True)
FREQUENCY_PENALTY = Range("frequency_penalty", -2, 2, real=True)
SEED = Range("seed", 0, 2**63 - 1)
MAX_TOKENS = Range("max_tokens", 1, 1 << 24)
LOGPROBS = Range("logprobs", 0, 20)
MOST_STOPS = 16
MOST_BIASES = 1_024
"""Ids that one request puts a bias on; OpenAI takes 1,024."""
LOGIT_BIAS = Range("a value of logit_bias", -100, 100, real=True)
LONGEST_STOP = 1_000


def check_search(query: str, limit: int, mode: str, by: str = "chunk") -> None:
    """Raise `UsageError` for a search that cannot be."""
    QUERY.check(query)
    HITS.check(limit)
    if mode not in MODES:
        raise UsageError(f"there is no search mode {mode!r}; there are: {', '.join(MODES)}")
    if by not in UNITS:
        raise UsageError(f"a search finds {' or '.join(UNITS)}, not {by!r}")
