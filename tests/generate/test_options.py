"""Options that can be, and errors that name the range of those that cannot."""

from __future__ import annotations

import math
from typing import Any

import pytest

from turboprop import GenerationOptions, TurboPropError


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("temperature", -0.1, "from 0 to 5"),
        ("temperature", math.nan, "from 0 to 5"),
        ("temperature", "hot", "from 0 to 5"),
        ("temperature", True, "from 0 to 5"),
        ("top_p", -0.1, "from 0 to 1"),
        ("min_p", 1.5, "from 0 to 1"),
        ("top_k", -1, "from 0"),
        ("top_k", 1.5, "whole number"),
        ("repetition_penalty", 0, "above 0 to 2"),
        ("presence_penalty", 2.5, "from -2 to 2"),
        ("frequency_penalty", -math.inf, "from -2 to 2"),
        ("seed", -1, "from 0"),
        ("max_tokens", 0, "from 1"),
        ("logprobs", 21, "from 0 to 20"),
        ("stop", ("",), "1 to 1000 characters"),
        ("stop", ("a",) * 17, "up to 16"),
        ("json_schema", "[1]", "no JSON schema"),
        ("json_schema", "{", "no JSON schema"),
        ("grammar", " ", "not empty"),
    ],
)
def test_what_cannot_be_is_named_with_its_range(name: str, value: Any, said: str) -> None:
    with pytest.raises(TurboPropError) as error:
        GenerationOptions(**{name: value})
    assert said in str(error.value)
    assert name in str(error.value)


def test_what_can_be() -> None:
    options = GenerationOptions(temperature=0, top_p=1, top_k=0, seed=0, stop="END", json_schema={"type": "object"})
    assert options.stops == ("END",)
    assert options.schema_text() == '{"type": "object"}'
    with pytest.raises(TurboPropError, match="exclude each other"):
        GenerationOptions(json_schema={}, grammar="root ::= [a-z]")
