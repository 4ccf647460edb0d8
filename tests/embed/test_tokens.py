"""Token vectors of late-interaction models against what PyLate computed for the same tiny weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embed.tiny_colbert import COLBERTS, DOCUMENTS, QUERIES, WIDTH
from rerank.tiny_rerankers import RERANKERS
from turboprop import EmbeddingModel, Reranker
from turboprop.errors import ModelFormatError, ModelUnsupportedError, UsageError

GOLDEN = Path(__file__).parent / "golden"
INT8 = 0.995
"""Cosine of a token's vector to PyLate's, on the average; the least is 0.96."""


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"colbert-{name}.npz") as file:
        return dict(file)


def restated(folder: Path, **more: object) -> str:
    place = folder / "config_sentence_transformers.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), **more}))
    return str(folder)


@pytest.mark.parametrize("engine", ["native", "numpy"])
@pytest.mark.parametrize("name", COLBERTS)
def test_vectors(tmp_path: Path, name: str, engine: str) -> None:
    wanted = golden(name)
    with EmbeddingModel.load(str(COLBERTS[name].save(tmp_path / name)), engine=engine, weights="float32") as model:
        for side, texts in (("query", QUERIES), ("document", DOCUMENTS)):
            for number, found in enumerate(model.embed_tokens(texts, side)):  # type: ignore[arg-type]
                assert found.shape[1] == WIDTH == model.dimensions
                np.testing.assert_allclose(found, wanted[f"{side}{number}"], atol=1e-4)


@pytest.mark.parametrize("name", COLBERTS)
def test_int8_stays_close(tmp_path: Path, name: str) -> None:
    wanted = golden(name)
    with EmbeddingModel.load(str(COLBERTS[name].save(tmp_path / name)), weights="int8") as model:
        cosines = [
            (found * wanted[f"{side}{number}"]).sum(1)
            for side, texts in (("query", QUERIES), ("document", DOCUMENTS))
            for number, found in enumerate(model.embed_tokens(texts, side))  # type: ignore[arg-type]
        ]
    assert np.concatenate(cosines).mean() > INT8


def test_what_is_no_model_of_this_kind(tmp_path: Path) -> None:
    folder = COLBERTS["plain"].save(tmp_path / "late")
    with EmbeddingModel.load(str(folder)) as model:
        with pytest.raises(ModelUnsupportedError, match="tp search --rerank"):
            model.embed_documents(["open"])
        with pytest.raises(ModelUnsupportedError, match="tp search --rerank"):
            model.prepare_ids([[1, 2]])
    plain = RERANKERS["bert"].save(tmp_path / "plain")
    (plain / "modules.json").write_text(
        json.dumps([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}])
    )
    with EmbeddingModel.load(str(plain)) as model, pytest.raises(ModelUnsupportedError, match="late-interaction"):
        model.embed_tokens(["open"])
    folder = COLBERTS["plain"].save(tmp_path / "tokens")
    with EmbeddingModel.load(str(folder)) as model, pytest.raises(UsageError, match="text 2 is None"):
        model.embed_tokens(["open", None])  # type: ignore[list-item]


def test_a_projection_of_another_width(tmp_path: Path) -> None:
    folder = replace(COLBERTS["plain"], dense=((48, WIDTH, {}),)).save(tmp_path / "m")
    for load in (EmbeddingModel.load, Reranker.load):
        with pytest.raises(ModelFormatError, match="takes 48 features and the model gives 32"):
            load(str(folder))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"skiplist_words": ["Ω", "∑"]}, "skiplist"),
        ({"query_prefix": "[QUERY] "}, "begins each query"),
        ({"query_length": 0}, "query_length is 0"),
        ({"document_length": "180"}, "document_length is '180'"),
        ({"skiplist_words": [3]}, "skiplist_words"),
        ({"skiplist_words": ["\ud800"]}, "skiplist_words"),
        ({"query_prefix": "\ud800"}, "query_prefix"),
        ({"do_query_expansion": "yes"}, "do_query_expansion"),
    ],
)
def test_settings_that_cannot_be_right(tmp_path: Path, more: dict[str, object], said: str) -> None:
    folder = COLBERTS["plain"].save(tmp_path / "m")
    with pytest.raises(ModelFormatError, match=said):
        EmbeddingModel.load(restated(folder, **more))


def test_a_word_of_the_skiplist_that_is_no_token_stands_for_the_unknown_one(tmp_path: Path) -> None:
    with EmbeddingModel.load(restated(COLBERTS["plain"].save(tmp_path / "plain"), skiplist_words=["."])) as model:
        (whole,) = model.embed_tokens(["open Ω"])
    folder = COLBERTS["plain"].save(tmp_path / "m")
    with EmbeddingModel.load(restated(folder, skiplist_words=[".", "Ω"])) as model:
        (less,) = model.embed_tokens(["open Ω"])
    assert len(less) == len(whole) - 1
