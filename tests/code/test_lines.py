"""Splitting by lines keeps every character and respects the budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.code.lines import split_chunk
from turboprop.types import Chunk


def chunk(text: str) -> Chunk:
    return Chunk("a.py", "python", "function", "f", 11, 10 + text.count("\n"), text, "def f()")


@given(st.lists(st.text(alphabet="ab {}()\t", max_size=30), min_size=1, max_size=40), st.integers(1, 100))
def test_parts_make_the_whole(lines: list[str], max_chars: int) -> None:
    text = "\n".join(lines) + "\n"
    whole = chunk(text)
    parts = split_chunk(whole, max_chars)
    assert "".join(part.text for part in parts) == text
    line = whole.start_line
    for part in parts:
        assert part.start_line == line
        assert part.end_line - part.start_line + 1 == part.text.count("\n")
        assert (part.symbol, part.kind, part.signature) == ("f", "function", "def f()")
        assert len(part.text.strip()) <= max_chars or len([row for row in part.text.split("\n") if row.strip()]) <= 1
        line = part.end_line + 1


def test_a_chunk_that_fits_comes_back() -> None:
    whole = chunk("a\nb\n")
    assert split_chunk(whole, 100) == [whole]
    with pytest.raises(ValueError, match="max_chars"):
        split_chunk(whole, 0)


def test_the_last_line_alone_is_over_long() -> None:
    assert [part.text for part in split_chunk(chunk("end\n" + "x" * 30 + "\n"), 9)] == ["end\n", "x" * 30 + "\n"]
