"""The benchmark's scores by hand, and equal to the public harness's where that is beside this checkout."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference import REFERENCE


def load(path: Path) -> ModuleType:
    """A module by its file: the folder of benchmarks has names that must not become importable."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


score = load(Path(__file__).parent.parent.parent / "benchmarks" / "retrieval_score.py")
Found, Label = score.Found, score.Label
HARNESS = REFERENCE.parent / "bench" / "evaluate_retrieval.py"
PATHS = st.sampled_from(["a.py", "src/a.py", "b.py", "x/b.py", "c.go"])
LINES = st.integers(1, 30)


@st.composite
def spans(draw: st.DrawFn) -> tuple[int, int]:
    first = draw(LINES)
    return first, first + draw(LINES)


def test_by_hand() -> None:
    hits = [Found("a.py", 1, 5), Found("b.py", 1, 5), Found("a.py", 20, 30)]
    assert score.ndcg(hits, [Label("a.py", None, None)]) == 1.0
    assert score.ndcg(hits, [Label("src/b.py", None, None)]) == pytest.approx(1 / 1.5849625)
    assert score.ndcg(hits, [Label("a.py", 25, 26)]) == pytest.approx(0.5)
    assert score.ndcg(hits, [Label("a.py", 6, 19)]) == 0.0
    assert score.ndcg(hits, []) == 0.0
    assert score.macro([("one", 1.0), ("one", 0.0), ("two", 1.0)]) == 0.75


@pytest.mark.skipif(not HARNESS.exists(), reason="the public harness is not beside this checkout")
@given(
    hits=st.lists(st.tuples(PATHS, spans()), max_size=14),
    wanted=st.lists(st.tuples(PATHS, st.none() | spans()), max_size=5),
)
def test_equals_the_harness(
    hits: list[tuple[str, tuple[int, int]]], wanted: list[tuple[str, tuple[int, int] | None]]
) -> None:
    harness = load(HARNESS)
    relevant = [
        path if span is None else {"path": path, "start_line": span[0], "end_line": span[1]} for path, span in wanted
    ]
    item = {"query": "how it works", "relevant": relevant[:2], "secondary": relevant[2:]}
    ours = score.ndcg([Found(path, *span) for path, span in hits], score.labels(item))
    theirs = harness.ndcg([(path, *span) for path, span in hits], harness.targets(item), "chunk", 10)
    assert ours == pytest.approx(theirs)
    assert score.category(item) == harness.category(item)
