"""The guard against loops, on made loops and on real texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.generate.repetition import RepetitionGuard

PROJECT = Path(__file__).parent.parent.parent


def caught_after(text: str, step: int = 4) -> int | None:
    """Characters after which a text is a loop."""
    guard = RepetitionGuard()
    return next((at + step for at in range(0, len(text), step) if guard.push(text[at : at + step])), None)


@given(
    st.text(st.characters(categories=["L", "N", "P", "Z"]), min_size=1, max_size=300).filter(
        lambda text: any(map(str.isalnum, text))
    ),
    st.integers(1, 9),
)
def test_any_passage_that_repeats_is_caught(passage: str, step: int) -> None:
    times = max(4, -(-160 // len(passage))) + 1
    assert caught_after("Before it. " + passage * (times + 9 // len(passage) + 1), step) is not None


@pytest.mark.parametrize("text", ["}\n" * 60, "| --- | --- | --- |\n" * 3, "-" * 500, "- a list\n- of lines\n" * 3])
def test_what_code_and_tables_repeat_is_no_loop(text: str) -> None:
    assert caught_after(text) is None


def test_real_texts_are_no_loops() -> None:
    paths = [*(PROJECT / "src").rglob("*.py"), *(PROJECT / "docs").rglob("*.md"), *(PROJECT / "src").rglob("*.c")]
    assert len(paths) > 300
    assert [path for path in paths if caught_after(path.read_text("utf-8"), 64)] == []
