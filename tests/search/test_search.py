from __future__ import annotations

import numpy as np
import pytest

from turboprop.errors import UsageError
from turboprop.index.read import IndexReader
from turboprop.limits import MODES
from turboprop.search.analysis import MAX_WORDS
from turboprop.search.search import search, similar_to
from turboprop.types import SearchFilter

POOL = np.array([0, 1, 0, 0], np.float32)
CONFIG = np.array([1, 0, 0, 0], np.float32)


def symbols(hits) -> list[str]:
    return [hit.symbol for hit in hits]


def test_semantic_follows_the_cosine_and_spreads_over_files(reader: IndexReader) -> None:
    hits = search(reader, "anything", POOL, mode="semantic", limit=3)
    assert symbols(hits) == ["ConnectionPool", "ConnectionPool.acquire", "RetryRequest"]
    assert [hit.parts["cosine"] for hit in hits] == pytest.approx([1.0, 0.8, 0.6], abs=2e-3)
    assert [hit.parts["same file"] for hit in hits] == pytest.approx([1.0, 0.3, 1.0])
    assert all(hit.parts["words"] == 0 for hit in hits)


def test_a_hit_is_the_whole_row(reader: IndexReader) -> None:
    hit = next(hit for hit in search(reader, "", POOL, mode="semantic") if hit.symbol.endswith("acquire"))
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
    hits = search(reader, "where is a connection acquired", CONFIG, limit=5)
    assert {"ConnectionPool.acquire", "parse_config"} <= set(symbols(hits)[:3])
    assert symbols(search(reader, "parse the config", CONFIG, limit=5))[0] == "parse_config"


def test_tests_stand_behind_code_unless_they_are_asked_for(reader: IndexReader) -> None:
    assert symbols(search(reader, "parse config", None, mode="lexical"))[:2] == ["parse_config", "test_parse_config"]
    assert symbols(search(reader, "test of parse config", None, mode="lexical"))[0] == "test_parse_config"


def test_what_stands_in_quotes_is_held_as_a_whole(reader: IndexReader) -> None:
    hits = search(reader, 'free pop config "free.pop()"', None, mode="lexical")
    assert hits[0].symbol == "ConnectionPool.acquire"
    assert hits[0].parts["phrase"] > 0
    assert all(hit.parts["phrase"] == 0 for hit in hits[1:])


def test_a_name_without_its_capitals(reader: IndexReader) -> None:
    assert search(reader, "connectionpool", None, mode="lexical")[0].symbol == "ConnectionPool"


def test_a_path_finds_its_file(reader: IndexReader) -> None:
    assert search(reader, "net/retry.go", None, mode="lexical")[0].path == "src/net/retry.go"
    assert search(reader, "net/pool.py:12", CONFIG)[0].path == "src/net/pool.py"


def test_parts_say_what_a_score_is_made_of(reader: IndexReader) -> None:
    hit = search(reader, "parse_config", CONFIG)[0]
    assert hit.symbol == "parse_config"
    assert hit.parts["definition"] > 0
    assert hit.parts["words"] > 0.5
    assert hit.parts["kind of file"] == 1.0


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


def test_pasted_code_is_looked_up_by_the_words_that_are_held(reader: IndexReader) -> None:
    filler = " ".join("filler" + "x" * number for number in range(MAX_WORDS))
    assert search(reader, f"self.acquire({filler}) " * 200, None, mode="lexical")
    assert symbols(search(reader, f"{filler} acquire", None, mode="lexical")) == ["ConnectionPool.acquire"]
    assert not search(reader, filler, None, mode="lexical")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "hybrid", "vector": None}, "needs the query's vector"),
        ({"mode": "semantic", "vector": None}, "needs the query's vector"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(reader: IndexReader, options: dict, words: str) -> None:
    vector = options.pop("vector", POOL)
    with pytest.raises(UsageError, match=words):
        search(reader, "x", vector, **options)


def test_by_file_gives_the_best_chunk_of_each(reader: IndexReader) -> None:
    hits = search(reader, "pool acquire config", POOL, by="file")
    paths = [hit.path for hit in hits]
    assert len(paths) == len(set(paths)) == 4
    every = search(reader, "pool acquire config", POOL)
    assert [hit.symbol for hit in hits] == [
        next(hit.symbol for hit in every if hit.path == path) for path in dict.fromkeys(hit.path for hit in every)
    ]


def test_similar_compares_stored_vectors_and_leaves_itself_out(reader: IndexReader) -> None:
    hits = similar_to(reader, "src/config.py", 1, limit=3)
    assert symbols(hits)[0] == "test_parse_config"
    assert "parse_config" not in symbols(hits)
    assert hits[0].score == pytest.approx(0.9 / np.sqrt(0.97), abs=5e-3)
    only = similar_to(reader, "./src/net/pool.py", 12, limit=3, filters=SearchFilter(languages=("go",)))
    assert symbols(only) == ["RetryRequest"]


@pytest.mark.parametrize(
    ("path", "line", "words"), [("nowhere.py", 1, "not indexed"), ("src/config.py", 99, "line 99")]
)
def test_similar_to_nothing(reader: IndexReader, path: str, line: int, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        similar_to(reader, path, line, limit=3)
