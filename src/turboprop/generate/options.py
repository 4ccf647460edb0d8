"""What a caller may ask of a generation; every value is checked when the options are made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turboprop import limits
from turboprop.errors import UsageError

_RANGES = (
    limits.TEMPERATURE,
    limits.TOP_K,
    limits.TOP_P,
    limits.MIN_P,
    limits.REPETITION_PENALTY,
    limits.PRESENCE_PENALTY,
    limits.FREQUENCY_PENALTY,
)
_RANGES_IF_GIVEN = (limits.SEED, limits.MAX_TOKENS, limits.LOGPROBS)


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How to generate. The defaults are llama.cpp's, a little cooler.

    `temperature` 0 is greedy. Ids are drawn after penalties, top-k, top-p, min-p and temperature, in this
    order. The repetition penalty looks at prompt and answer, the other two at the answer. `max_tokens` None
    lets the answer fill the context. `logprobs` n asks for the natural logarithms of the drawn token's
    probability and of the n likeliest. `json_schema` (a mapping, or JSON text) and `grammar` (GBNF) constrain
    the answer; of a schema `uniqueItems` and formats that are not known are passed over, which no engine keeps.
    `logit_bias` is added to the logits of its ids before anything else. `reasoning` switches the thinking of models
    whose chat template has such a switch. `control_tokens`: a prompt that is one text is the caller's own, and the
    control tokens that it spells are meant.

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
    logit_bias: Mapping[int, float] | None = None
    reasoning: bool | None = None
    control_tokens: bool = False

    def __post_init__(self) -> None:
        for limit in _RANGES:
            limit.check(getattr(self, limit.name))
        for limit in _RANGES_IF_GIVEN:
            if getattr(self, limit.name) is not None:
                limit.check(getattr(self, limit.name))
        stop: Any = self.stops
        if not isinstance(stop, tuple | list) or len(stop) > limits.MOST_STOPS:
            raise UsageError(f"stop takes up to {limits.MOST_STOPS} texts")
        if any(not isinstance(text, str) or not 0 < len(text) <= limits.LONGEST_STOP for text in stop):
            raise UsageError(f"each stop text has 1 to {limits.LONGEST_STOP} characters")
        object.__setattr__(self, "stop", tuple(stop))
        if self.json_schema is not None and self.grammar is not None:
            raise UsageError("json_schema and grammar exclude each other; give one")
        if self.grammar is not None and not (isinstance(self.grammar, str) and self.grammar.strip()):
            raise UsageError("grammar is a text in GBNF, and not empty")
        biases = self.logit_bias or {}
        if len(biases) > limits.MOST_BIASES:
            raise UsageError(f"logit_bias takes up to {limits.MOST_BIASES} ids")
        for number, value in biases.items():
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                raise UsageError(f"logit_bias names ids of tokens, not {number!r}")
            limits.LOGIT_BIAS.check(value)
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
            return json.dumps(_loosened(schema))
        except (ValueError, TypeError, RecursionError) as error:
            raise UsageError(f"json_schema is no JSON schema: {error}") from None


_FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"))
"""Those that the automaton keeps. JSON Schema has `format` as a remark by default, and pydantic writes `path`,
`password`, `binary` and the like."""
_BY_NAME = ("properties", "patternProperties", "$defs", "definitions")
_VALUES = ("const", "enum", "default", "examples")


def _loosened(schema: Any) -> Any:
    """The same schema without what narrows it and cannot be kept while text is written."""
    if isinstance(schema, list | tuple):
        return [_loosened(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    made: dict[Any, Any] = {}
    for key, value in schema.items():
        if key == "uniqueItems" or (key == "format" and isinstance(value, str) and value not in _FORMATS):
            continue
        if key in _BY_NAME and isinstance(value, Mapping):
            made[key] = {name: _loosened(each) for name, each in value.items()}
        else:
            made[key] = value if key in _VALUES else _loosened(value)
    return made
