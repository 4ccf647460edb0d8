"""What requests have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, model_validator
from pydantic_core import PydanticCustomError

from turboprop import limits

T = TypeVar("T")
UpTo10000 = Annotated[list[T], Field(max_length=10_000, fail_fast=True)]
"""A list whose first wrong member ends the reading: a million wrong ones were 2.5 GB of errors."""
UpToMillion = Annotated[list[T], Field(max_length=1 << 20, fail_fast=True)]
"""The same for inputs of embedding, whose number the server's limits say, and for token ids."""
TokenId = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]
Number = Annotated[float, Field(strict=False)]
NOT_DONE = "not_done"
"""The type of pydantic's error where a field asks for what is not done here."""
_NEUTRAL: tuple[Any, ...] = (None, False, 0, "", [], {})


def any_length(value: Any) -> Any:
    """None for -1 and -2, by which clients mean an answer of any length."""
    return None if type(value) is int and value in (-1, -2) else value


MaxTokens = Annotated[Annotated[StrictInt, limits.MAX_TOKENS] | None, BeforeValidator(any_length)]
"""Tokens of an answer; -1 (llama.cpp, LM Studio) and -2 (Ollama) let it fill the context."""


class RequestBody(BaseModel):
    """A JSON object of an interface of our own; a field that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class ForeignBody(RequestBody):
    """A JSON object of an interface that others define, and add to.

    A field that is not known is passed over, and the answer names it in a header. One of `not_done` would change the
    answer and is refused by its name, with the sentence there, unless its value says the same as leaving it away:
    null, false, 0, empty, or what `neutral` has for it.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True)
    not_done: ClassVar[Mapping[str, str]] = {}
    neutral: ClassVar[Mapping[str, Any]] = {}

    @model_validator(mode="after")
    def _refuse_what_is_not_done(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            if name in self.not_done and value not in _NEUTRAL and value != self.neutral.get(name):
                raise refusal(name, self.not_done[name])
        return self


def refusal(field: str, sentence: str) -> PydanticCustomError:
    """The error of a field that would change the answer and cannot be honoured."""
    return PydanticCustomError(NOT_DONE, "{sentence}", {"sentence": f"{field}: {sentence}", "field": field})


def passed_over(body: Any, at: str = "") -> Iterator[str]:
    """The fields of a request that nobody knows, with where they stand: `messages.1.annotations`."""
    if isinstance(body, BaseModel):
        for name in body.model_extra or {}:
            yield at + name
        for name in body.model_fields_set:
            value = getattr(body, name, None)
            if isinstance(value, BaseModel | list):
                yield from passed_over(value, f"{at}{name}.")
    elif isinstance(body, list) and body and isinstance(body[0], BaseModel):
        for number, each in enumerate(body):
            yield from passed_over(each, f"{at}{number}.")
