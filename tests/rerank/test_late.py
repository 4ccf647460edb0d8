"""Late-interaction models as rerankers: MaxSim against PyLate's, and vectors that are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embed.tiny_colbert import COLBERTS, DOCUMENTS, QUERIES
from turboprop import Hit, Index, Reranker
from turboprop.embed.model import EmbeddingModel
from turboprop.errors import ModelUnsupportedError, UsageError
from turboprop.models.kind import kind_of
from turboprop.models.resolve import resolve
from turboprop.rerank.check import check_reranker
from turboprop.rerank.late import LateScorer
from turboprop.search.rerank import RERANKED_LATE, rerank
from turboprop.settings import load_settings

GOLDEN = Path(__file__).parent.parent / "embed" / "golden"


@pytest.mark.parametrize("name", COLBERTS)
def test_scores(tmp_path: Path, name: str) -> None:
    settings = replace(load_settings(), cache_home=tmp_path / "cache")
    folder = str(COLBERTS[name].save(tmp_path / name))
    with np.load(GOLDEN / f"colbert-{name}.npz") as file:
        wanted = [file[f"scores{at}"] / len(file[f"query{at}"]) for at in range(len(QUERIES))]
    with EmbeddingModel.load(folder, weights="float32", settings=settings) as model:
        for bits, allowed in ((8, 0.004), (4, 0.06)):
            scorer = LateScorer(model, bits)  # type: ignore[arg-type]
            for query, scores in zip(QUERIES, wanted, strict=True):
                np.testing.assert_allclose(scorer.scores(query, DOCUMENTS), scores, atol=allowed)


def test_vectors_of_documents_are_computed_once(tmp_path: Path) -> None:
    settings = replace(load_settings(), cache_home=tmp_path / "cache", embedding_cache=100_000_000)
    folder = str(COLBERTS["plain"].save(tmp_path / "plain"))
    with Reranker.load(folder, settings=settings) as first:
        assert first.is_late
        scores = first.scores(QUERIES[0], DOCUMENTS)
        tokens = first.tokens_scored
        assert first.scores(QUERIES[0], DOCUMENTS).tolist() == scores.tolist()
        assert first.tokens_scored == tokens + 16  # the query's
    with Reranker.load(folder, settings=settings) as second:
        assert second.scores(QUERIES[0], DOCUMENTS).tolist() == scores.tolist()
        assert second.tokens_scored == 16
        assert second.scores(QUERIES[0], []).shape == (0,)
        with pytest.raises(UsageError, match="instruction"):
            second.scores("x", ["y"], instruction="z")
        with pytest.raises(UsageError, match="embed_tokens"):
            second.inputs("x", ["y"])


def test_it_is_a_reranker_and_passes_its_self_test(tmp_path: Path) -> None:
    folder = COLBERTS["plain"].save(tmp_path / "plain")
    assert kind_of(resolve(str(folder), load_settings())) == "reranker"
    with Reranker.load(str(folder), weights="float32") as loaded:
        checks = {check.name: check.ok for check in check_reranker(loaded)}
    assert {name: ok for name, ok in checks.items() if name != "order"} == {"difference": True, "padding": True}


def test_the_first_hundred_hits(tmp_path: Path) -> None:
    hits = [Hit("f.py", 1, 2, 2 - at / 100, "python", "", f"open file {chr(97 + at % 26)}") for at in range(110)]
    with Reranker.load(str(COLBERTS["plain"].save(tmp_path / "plain"))) as loaded:
        found = rerank("open", hits, loaded)
    read = [hit.parts["reranker"] for hit in found if "reranker" in hit.parts]
    assert (len(read), min(read), max(read)) == (RERANKED_LATE, 0.0, 1.0)


def test_a_search(write_files: Callable[[dict[str, str]], Path], tmp_path: Path) -> None:
    folder = str(COLBERTS["plain"].save(tmp_path / "plain"))
    repo = write_files({f"part{at}.py": f"def open_file_{at}(path):\n    return read(path, {at})\n" for at in range(4)})
    with Index.create(repo) as index:
        hits = index.search("open file", rerank=folder)
        assert len(hits) == 4
        assert all(0 <= hit.score <= 1 and "reranker" in hit.parts for hit in hits)
    with pytest.raises(ModelUnsupportedError, match=r"late-interaction|is a reranker"):
        Index.create(repo, model=folder, rebuild=True)
