from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from turboprop.index.fit import fit_chunks
from turboprop.types import Chunk


def chunk_of(text: str, start: int = 1) -> Chunk:
    lines = max(text.count("\n") + (not text.endswith("\n")), 1)
    return Chunk("a.py", "python", "function", "f", start, start + lines - 1, text, "def f():")


TEXTS = st.text(st.sampled_from("ab \n\té漢"), min_size=1, max_size=200)


@given(TEXTS, st.integers(1, 60), st.integers(1, 50))
def test_parts_fit_and_join_to_the_text(text: str, longest: int, start: int) -> None:
    chunk = chunk_of(text, start)
    parts = fit_chunks([chunk], lambda texts: [len(item) <= longest for item in texts])
    assert "".join(part.text for part in parts) == text
    assert all(len(part.text) <= longest for part in parts)
    assert all(chunk.start_line <= part.start_line <= part.end_line <= chunk.end_line for part in parts)
    assert [part.start_line for part in parts] == sorted(part.start_line for part in parts)
    assert {(part.path, part.symbol, part.kind, part.signature) for part in parts} == {
        ("a.py", "f", "function", "def f():")
    }


@given(TEXTS)
def test_lines_of_a_part_are_where_its_text_is(text: str) -> None:
    chunk = chunk_of(text)
    parts = fit_chunks([chunk], lambda texts: [len(item) <= 20 for item in texts])
    at = 0
    for part in parts:
        assert part.start_line == 1 + text.count("\n", 0, at)
        at += len(part.text)
        last = at - 1 if part.text.endswith("\n") else at
        assert part.end_line == 1 + text.count("\n", 0, last)


def test_what_fits_is_not_touched() -> None:
    chunks = [chunk_of("a\n"), chunk_of("b\n", 2)]
    assert fit_chunks(chunks, lambda texts: [True] * len(texts)) == chunks
    assert fit_chunks([], lambda texts: []) == []


def test_it_ends_where_nothing_fits() -> None:
    parts = fit_chunks([chunk_of("abc\nd\n")], lambda texts: [False] * len(texts))
    assert [part.text for part in parts] == ["a", "b", "c", "\n", "d", "\n"]


def test_a_long_line_is_cut_between_words() -> None:
    text = "alpha beta gamma delta " * 10
    parts = fit_chunks([chunk_of(text)], lambda texts: [len(item) <= 60 for item in texts])
    assert all(part.text.endswith(" ") for part in parts)
