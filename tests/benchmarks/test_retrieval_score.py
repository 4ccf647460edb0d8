"""The benchmark's scores by hand, and equal to the public harness's where that is beside this checkout."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference import REFERENCE

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))
from retrieval_score import Found, Label, category, labels, macro, ndcg

HARNESS = REFERENCE.parent / "bench" / "evaluate_retrieval.py"
PATHS = st.sampled_from(["a.py", "src/a.py", "b.py", "x/b.py", "c.go"])
LINES = st.integers(1, 30)


@st.composite
def spans(draw: st.DrawFn) -> tuple[int, int]:
    first = draw(LINES)
    return first, first + draw(LINES)


def test_by_hand() -> None:
    hits = [Found("a.py", 1, 5), Found("b.py", 1, 5), Found("a.py", 20, 30)]
    assert ndcg(hits, [Label("a.py", None, None)]) == 1.0
    assert ndcg(hits, [Label("src/b.py", None, None)]) == pytest.approx(1 / 1.5849625)
    assert ndcg(hits, [Label("a.py", 25, 26)]) == pytest.approx(0.5)
    assert ndcg(hits, [Label("a.py", 6, 19)]) == 0.0
    assert ndcg(hits, []) == 0.0
    assert macro([("one", 1.0), ("one", 0.0), ("two", 1.0)]) == 0.75


@pytest.mark.skipif(not HARNESS.exists(), reason="the public harness is not beside this checkout")
@given(
    hits=st.lists(st.tuples(PATHS, spans()), max_size=14),
    wanted=st.lists(st.tuples(PATHS, st.none() | spans()), max_size=5),
)
def test_equals_the_harness(
    hits: list[tuple[str, tuple[int, int]]], wanted: list[tuple[str, tuple[int, int] | None]]
) -> None:
    spec = importlib.util.spec_from_file_location("harness", HARNESS)
    assert spec
    assert spec.loader
    harness = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(harness)
    relevant = [
        path if span is None else {"path": path, "start_line": span[0], "end_line": span[1]} for path, span in wanted
    ]
    item = {"query": "how it works", "relevant": relevant[:2], "secondary": relevant[2:]}
    ours = ndcg([Found(path, *span) for path, span in hits], labels(item))
    theirs = harness.ndcg([(path, *span) for path, span in hits], harness.targets(item), "chunk", 10)
    assert ours == pytest.approx(theirs)
    assert category(item) == harness.category(item)
