"""What a model writes for a tool's arguments, read leniently and in bounds."""

from __future__ import annotations

import pytest

from turboprop.edges.mcp.arguments import Arguments, a_list
from turboprop.errors import UsageError


def look(paths: list[str] | None = None, limit: int = 5) -> str:
    return f"{paths} {limit}"


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ("a, b", ["a", "b"]),
        ("*.{py,js},docs/**", ["*.{py,js}", "docs/**"]),
        ('["a", "b"]', ["a", "b"]),
        ("[ab].py", ["[ab].py"]),
        ("a},b,{c", ["a}", "b", "{c"]),
        ("", []),
        (["a"], ["a"]),
    ],
)
def test_a_string_where_a_list_is_meant(value: object, items: list[str]) -> None:
    assert a_list(value) == items


def test_very_many_commas_and_brackets() -> None:
    assert a_list("," * 10_000) == []
    assert a_list("[" * 10_000) == ["[" * 10_000]
    with pytest.raises(ValueError, match="JSON list"):
        a_list("," * 10_001)


def test_very_many_names_are_refused_at_once() -> None:
    with pytest.raises(UsageError, match="look takes paths, limit"):
        Arguments(look).read({f"name {number}": 1 for number in range(30_000)})
