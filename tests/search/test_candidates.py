"""Which rows are ranked: every one by its own cosine, and the same first ones whatever the limit is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from turboprop.index.read import IndexReader
from turboprop.index.schema import IndexSpec, text_digest
from turboprop.index.write import TableWriter
from turboprop.search.analysis import analyse
from turboprop.search.candidates import DENSE, LEXICAL, cosine_statistics, find_candidates, word_statistics
from turboprop.search.search import search, search_together
from turboprop.types import Chunk, IndexedFile, Prompts

WORDS = ("open", "close", "read", "write", "lock", "index", "query", "token", "model", "cache", "retry", "parse")
ROWS = 1_500


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexReader]:
    """1,500 chunks in 300 files, their words and vectors drawn at random."""
    folder = tmp_path_factory.mktemp("many")
    random = np.random.default_rng(7)
    with TableWriter.open(folder, IndexSpec("random", "random", 16, Prompts(), "test")) as writer:
        for number in range(ROWS // 5):
            path = f"src/{WORDS[number % 12]}_{number}.py"
            chunks = []
            for at in range(5):
                text = " ".join(random.choice(WORDS, random.integers(2, 9)))
                chunks.append(Chunk(path, "python", "function", f"{text.split()[0]}_{at}", at + 1, at + 1, text))
            writer.begin_file(path)
            digests = [text_digest(chunk.text) for chunk in chunks]
            writer.add(chunks, digests, random.standard_normal((5, 16)).astype(np.float32))
            writer.end_file(IndexedFile(path, 1, 1, 1, "0" * 32, 5, "python"))
        writer.publish()
    with IndexReader.open(folder) as reader:
        yield reader


def queries() -> Iterator[tuple[str, np.ndarray]]:
    random = np.random.default_rng(8)
    for _ in range(15):
        yield " ".join(random.choice(WORDS, random.integers(1, 4))), random.standard_normal(16).astype(np.float32)


@pytest.mark.parametrize("by", ["chunk", "file"])
@pytest.mark.parametrize("mode", ["hybrid", "semantic", "lexical"])
def test_the_first_hits_are_the_same_whatever_the_limit(many: IndexReader, mode: str, by: str) -> None:
    for query, vector in queries():
        short, longer, long = (
            [(hit.path, hit.start_line) for hit in search(many, query, vector, mode=mode, by=by, limit=limit)]
            for limit in (10, 50, 1_000)
        )
        assert longer[: len(short)] == short
        assert long[: len(longer)] == longer
        assert len(set(long)) == len(long)


def test_more_than_the_first_candidates_can_be_had_and_scores_fall(many: IndexReader) -> None:
    hits = search(many, "open the cache", np.ones(16, np.float32), limit=1_000)
    assert len(hits) == 1_000 > LEXICAL + DENSE
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)


def test_two_tables_together_keep_the_order_of_a_longer_list(many: IndexReader) -> None:
    for query, vector in queries():
        short, long = (
            [
                (at, hit.path, hit.start_line)
                for at, hit in search_together([many, many], query, [vector, vector], filters=[None, None], limit=limit)
            ]
            for limit in (10, 700)
        )
        assert long[:10] == short


def test_every_candidate_has_its_own_cosine(many: IndexReader) -> None:
    for query, vector in queries():
        analysed, lexicon = analyse(query), many.lexicon
        found = find_candidates(
            many,
            analysed,
            vector,
            word_statistics(analysed, [lexicon]),
            cosine_statistics([(lexicon.sample, vector)]),
            by_words=True,
            where=None,
        )
        rows = many.vectors([int(lexicon.row_ids[row]) for row in found.rows]).astype(np.float64)
        exact = rows @ vector / np.linalg.norm(rows, axis=1) / np.linalg.norm(vector)
        np.testing.assert_allclose(found.cosine, exact, atol=1e-3)
