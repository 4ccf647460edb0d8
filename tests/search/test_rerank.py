"""Hits read again by a reranker: a real tiny one, and the blend by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.tiny_rerankers import RERANKERS
from turboprop import Hit, Index, Reranker
from turboprop.errors import ModelUnsupportedError
from turboprop.search.rerank import RERANKED, place_weight, rerank

HITS = [Hit(f"src/f{at}.py", 1, 3, 2.0 - at / 10, "python", f"open_{at}", f"def open_{at}(): ...") for at in range(14)]
FILES = {f"app/part{at}.py": f"def open_file_{at}(path):\n    return read(path, {at})\n" for at in range(6)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return RERANKERS["bert"].save(tmp_path_factory.mktemp("reranker") / "bert")


@pytest.fixture(scope="module")
def reranker(folder: Path) -> Iterator[Reranker]:
    with Reranker.load(str(folder), weights="float32") as loaded:
        yield loaded


def test_the_blend(reranker: Reranker) -> None:
    hits = rerank("open a file", HITS, reranker, 12)
    documents = [f"{hit.path}\n{hit.symbol}\n{hit.text}" for hit in HITS[:12]]
    chances = 1 / (1 + np.exp(-reranker.scores("open a file", documents)))
    for hit in hits:
        place = int(hit.parts["first place"])
        first = HITS[place - 1]
        assert (hit.path, hit.parts["first score"]) == (first.path, first.score)
        weight = 0.75 if place <= 3 else 0.6 if place <= 10 else 0.4
        chance = chances[place - 1] if place <= 12 else 0
        assert hit.score == pytest.approx(weight / place + (1 - weight) * chance, rel=1e-5)
        assert ("reranker" in hit.parts) == (place <= 12)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert [hit.path for hit in hits[-2:]] == [HITS[12].path, HITS[13].path]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 40))
def test_no_hit_that_was_not_read_again_passes_one_that_was(chances: list[float], top: int) -> None:
    read = [place_weight(place) / place + (1 - place_weight(place)) * chance for place, chance in enumerate(chances, 1)]
    rest = [place_weight(place) / place for place in range(1, len(chances) + 1)]
    assert min(read[:top]) >= max(rest[top:], default=0.0)


def test_no_hits(reranker: Reranker) -> None:
    assert rerank("open", [], reranker) == []


def test_a_search_with_a_reranker(write_files: Callable[[dict[str, str]], Path], folder: Path) -> None:
    with Index.create(write_files(FILES)) as index:
        plain = index.search("open a file", limit=3)
        again = index.search("open a file", limit=3, rerank=str(folder))
        assert len(again) == 3 and all(0 <= hit.score <= 1 for hit in again)
        assert all(hit.parts["reranker"] > 0 for hit in again)
        with index.reranker(str(folder)) as one, index.reranker(str(folder)) as other:
            assert one.model is other.model
        read = index.search("open a file", limit=6, rerank=index.reranker(str(folder)).model, rerank_top=2)
        assert sum("reranker" in hit.parts for hit in read) == 2
        assert index.search("open a file", limit=3) == plain
        with pytest.raises(ModelUnsupportedError, match="is an embedding model, and a reranker is asked for"):
            index.search("open a file", rerank="minilm")
    assert RERANKED == 30
