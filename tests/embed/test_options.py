"""What may be asked of one call: length, width, unit length."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from turboprop import EmbeddingModel, EmbeddingOptions
from turboprop.embed.options import checked_width
from turboprop.errors import InputTooLongError, UsageError
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.resolve import resolve
from turboprop.settings import Settings, load_settings

TEXT = "def add(a, b):\n    return a + b\n"


@pytest.fixture(scope="module")
def model(shared_cache: Path):
    with EmbeddingModel.load(weights="float32", settings=Settings(cache_home=shared_cache, offline=True)) as loaded:
        yield loaded


@pytest.fixture
def checkpoint() -> Checkpoint:
    return open_checkpoint(resolve(None, load_settings()))


def test_without_normalisation_a_vector_keeps_its_length(model: EmbeddingModel) -> None:
    unit = model.embed_documents([TEXT])[0]
    whole = model.embed_documents([TEXT], EmbeddingOptions(normalize=False))[0]
    assert abs(np.linalg.norm(whole) - 1) > 0.1
    np.testing.assert_allclose(whole / np.linalg.norm(whole), unit, atol=1e-6)


def test_a_mean_of_parts_without_normalisation(model: EmbeddingModel) -> None:
    whole = model.embed_documents(["word " * 2000], EmbeddingOptions(normalize=False), overlong="average")[0]
    assert np.linalg.norm(whole) > 1.1


def test_max_length_holds_for_one_call(model: EmbeddingModel) -> None:
    short = EmbeddingOptions(max_length=16)
    with pytest.raises(InputTooLongError, match=r"limit of .* is 16"):
        model.embed_documents(["word " * 40], short)
    cut = model.embed_documents(["word " * 40], short, overlong="truncate")
    np.testing.assert_allclose(cut, model.embed_documents(["word " * 14]), atol=1e-6)
    assert model.embed_documents(["word " * 40]).shape == (1, 384)


@pytest.mark.parametrize("length", [7, 257])
def test_a_length_that_the_model_cannot_have(model: EmbeddingModel, length: int) -> None:
    with pytest.raises(UsageError, match="8 to 256"):
        model.embed_documents([TEXT], EmbeddingOptions(max_length=length))


def test_a_width_that_the_model_cannot_have(model: EmbeddingModel) -> None:
    with pytest.raises(UsageError, match="valid: 384"):
        model.embed_query(TEXT, EmbeddingOptions(dimensions=64))


def test_a_width_for_one_call_has_unit_length(checkpoint: Checkpoint, model: EmbeddingModel) -> None:
    trained = dataclasses.replace(checkpoint, widths=(64, 128))
    assert checked_width(64, 384, trained) == 64
    assert checked_width(384, 384, trained) is None
    with pytest.raises(UsageError, match="valid: 64, 128, 384"):
        checked_width(100, 384, trained)
    cut = EmbeddingModel(trained, model._encoder, load_settings(), None, None, model._engine)
    vector = cut.embed_query(TEXT, EmbeddingOptions(dimensions=64))
    whole = model.embed_query(TEXT)
    np.testing.assert_allclose(vector, whole[:64] / np.linalg.norm(whole[:64]), atol=1e-6)


def test_queries_are_a_list_too(model: EmbeddingModel) -> None:
    vectors = model.embed_queries([TEXT, "x"])
    np.testing.assert_allclose(vectors[0], model.embed_query(TEXT), atol=1e-5)
    with pytest.raises(UsageError, match="list"):
        model.embed_queries(TEXT)  # type: ignore[arg-type]


def test_a_repeated_query_is_remembered(model: EmbeddingModel) -> None:
    first = model.embed_query("remember me")
    tokens = model.tokens_embedded
    again = model.embed_query("remember me")
    assert model.tokens_embedded == tokens
    np.testing.assert_array_equal(again, first)
    again[:] = 0
    np.testing.assert_array_equal(model.embed_query("remember me"), first)
    model.embed_query("remember me", EmbeddingOptions(normalize=False))
    assert model.tokens_embedded > tokens
