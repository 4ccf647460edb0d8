from __future__ import annotations

import numpy as np
import pytest

from turboprop.errors import UsageError
from turboprop.index.read import IndexReader
from turboprop.search.candidates import MAX_QUERY_WORDS, lexical_candidates
from turboprop.search.search import MODES, search
from turboprop.types import SearchFilter

POOL = np.array([0, 1, 0, 0], np.float32)
CONFIG = np.array([1, 0, 0, 0], np.float32)


def symbols(hits) -> list[str]:
    return [hit.symbol for hit in hits]


def test_semantic_is_the_cosine_order(reader: IndexReader) -> None:
    hits = search(reader, "anything", POOL, mode="semantic", limit=3)
    assert symbols(hits) == ["ConnectionPool", "ConnectionPool.acquire", "RetryRequest"]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.8, 0.6], abs=2e-3)


def test_a_hit_is_the_whole_row(reader: IndexReader) -> None:
    hit = search(reader, "", POOL, mode="semantic", limit=2)[1]
    assert (hit.path, hit.start_line, hit.end_line) == ("src/net/pool.py", 11, 12)
    assert (hit.language, hit.kind) == ("python", "function")
    assert hit.text == "    def acquire(self):\n        return self.free.pop()\n"


def test_lexical_needs_no_vector_and_finds_words_only(reader: IndexReader) -> None:
    assert symbols(search(reader, "acquire", None, mode="lexical")) == ["ConnectionPool.acquire"]
    assert search(reader, "nowhere", None, mode="lexical") == []


def test_words_of_the_path_and_symbol_are_found(reader: IndexReader) -> None:
    paths = {hit.path for hit in search(reader, "net", None, mode="lexical")}
    assert paths == {"src/net/pool.py", "src/net/retry.go"}


def test_hybrid_joins_both_sides(reader: IndexReader) -> None:
    hits = search(reader, "acquire", CONFIG, limit=5)
    assert {"ConnectionPool.acquire", "parse_config"} <= set(symbols(hits)[:3])
    both = search(reader, "read_settings", CONFIG, limit=5)[0]
    assert both.symbol == "parse_config"
    assert both.score == pytest.approx(1.0), "it leads both rankings"


@pytest.mark.parametrize("mode", MODES)
def test_filters_hold_before_the_limit(reader: IndexReader, mode: str) -> None:
    hits = search(reader, "parse_config", CONFIG, mode=mode, limit=1, filters=SearchFilter(globs=("tests",)))
    assert symbols(hits) == ["test_parse_config"]
    hits = search(reader, "retry config", CONFIG, mode=mode, filters=SearchFilter(languages=("go",)))
    assert symbols(hits) == ["RetryRequest"]


@pytest.mark.parametrize("mode", MODES)
def test_threshold_is_a_bound_on_the_score(reader: IndexReader, mode: str) -> None:
    every = search(reader, "parse_config", CONFIG, mode=mode)
    assert len(every) > 1
    bound = every[0].score
    assert search(reader, "parse_config", CONFIG, mode=mode, threshold=bound) == [
        hit for hit in every if hit.score >= bound
    ]
    assert search(reader, "parse_config", CONFIG, mode=mode, threshold=1e9) == []


def test_pasted_code_is_looked_up_by_its_first_words(reader: IndexReader) -> None:
    filler = " ".join("filler" + "x" * number for number in range(MAX_QUERY_WORDS))
    assert lexical_candidates(reader, f"self.acquire({filler}) " * 200, 3, None)
    assert not lexical_candidates(reader, f"{filler} acquire", 3, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "best"}, "no search mode 'best'; there are hybrid, semantic, lexical"),
        ({"mode": "hybrid", "vector": None}, "needs the query's vector"),
        ({"mode": "semantic", "vector": None}, "needs the query's vector"),
        ({"limit": 0}, "at least one hit"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(reader: IndexReader, options: dict, words: str) -> None:
    vector = options.pop("vector", POOL)
    with pytest.raises(UsageError, match=words):
        search(reader, "x", vector, **options)
