"""The whole embedding path on real weights, against a float64 oracle and published values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import turboprop
from bert_reference import BertReference
from reference import reference
from turboprop import EmbeddingModel
from turboprop.embed.options import EmbeddingOptions
from turboprop.errors import InputTooLongError, ModelFormatError, ModelNotFoundError, UsageError

NAME = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def model(shared_cache: Path):
    from turboprop.settings import Settings

    with EmbeddingModel.load(
        NAME, weights="float32", settings=Settings(cache_home=shared_cache, offline=True)
    ) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def model_int8(shared_cache: Path):
    from turboprop.settings import Settings

    with EmbeddingModel.load(NAME, weights="int8", settings=Settings(cache_home=shared_cache, offline=True)) as loaded:
        yield loaded


def test_the_settings_say_the_weights_where_the_call_does_not(shared_cache: Path) -> None:
    from turboprop.settings import Settings

    settings = Settings(cache_home=shared_cache, offline=True, weights="float32")
    for wanted, runs in ((None, "float32"), ("int8", "int8")):
        with EmbeddingModel.load(NAME, weights=wanted, settings=settings) as loaded:  # type: ignore[arg-type]
            assert loaded.weights == runs


def test_published_values(model: EmbeddingModel) -> None:
    values = json.loads(reference("fastembed-canonical/canonical_vectors.json").read_text())
    expected = values["CANONICAL_VECTOR_VALUES"][NAME]
    np.testing.assert_allclose(model.embed_documents(["hello world"])[0, : len(expected)], expected, atol=1e-3)


def test_float32_equals_the_oracle_on_real_code(
    model: EmbeddingModel, minilm_folder: Path, code_pieces: list[str]
) -> None:
    from tokenizers import Tokenizer

    oracle = BertReference(minilm_folder)
    tokenizer = Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    pieces = code_pieces[::25]
    expected = np.stack([oracle.vector(tokenizer.encode(piece).ids) for piece in pieces])
    vectors = model.embed_documents(pieces, overlong="truncate")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_int8_stays_close_to_float32_on_real_code(
    model: EmbeddingModel, model_int8: EmbeddingModel, code_pieces: list[str]
) -> None:
    assert model_int8.weights == "int8"
    exact = model.embed_documents(code_pieces, overlong="truncate")
    rounded = model_int8.embed_documents(code_pieces, overlong="truncate")
    assert (exact * rounded).sum(axis=1).min() > 0.995


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text(max_size=300), min_size=1, max_size=12))
def test_a_batch_equals_its_single_runs(model: EmbeddingModel, texts: list[str]) -> None:
    together = model.embed_documents(texts, overlong="truncate")
    alone = np.stack([model.embed_documents([text], overlong="truncate")[0] for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_order_is_kept_and_equal_texts_are_computed_once(model: EmbeddingModel) -> None:
    texts = ["short", "a much longer text " * 20, "short", "middle " * 5]
    before = model.tokens_embedded
    vectors = model.embed_documents(texts)
    counts = model.count_tokens(texts)
    assert model.tokens_embedded - before == counts[0] + counts[1] + counts[3]
    np.testing.assert_array_equal(vectors[0], vectors[2])
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(model.embed_query(text), vector, atol=1e-5)


def test_vectors_have_unit_length_and_stated_width(model: EmbeddingModel) -> None:
    vectors = model.embed_documents(["def f(): pass", ""])
    assert vectors.shape == (2, model.dimensions) == (2, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert model.embed_documents([]).shape == (0, 384)


def test_over_long_texts_are_never_cut_silently(model: EmbeddingModel) -> None:
    text = "token " * 1000
    with pytest.raises(InputTooLongError, match="256"):
        model.embed_documents(["fine", text])
    cut = model.embed_documents([text], overlong="truncate")[0]
    np.testing.assert_allclose(cut, model.embed_documents(["token " * 254])[0], atol=1e-5)
    mixed = "alpha " * 254 + "beta " * 254
    mean = model.embed_documents(["alpha " * 254]) + model.embed_documents(["beta " * 254])
    mean /= np.linalg.norm(mean)
    np.testing.assert_allclose(model.embed_documents([mixed], overlong="average"), mean, atol=1e-5)
    assert model.fits(["fine", text]) == [True, False]


def test_a_text_of_megabytes_is_averaged(model: EmbeddingModel) -> None:
    # All in one word that the vocabulary lacks, so that only a few windows have to run.
    text = "x" * 1_500_000
    assert model.fits([text]) == [False]
    assert model.embed_documents([text], overlong="average").shape == (1, 384)


def test_max_tokens_lowers_the_limit(model: EmbeddingModel, shared_cache: Path) -> None:
    with EmbeddingModel.load(NAME, weights="float32", max_tokens=16) as short:
        assert short.max_tokens == 16
        assert short.fingerprint != model.fingerprint
        with pytest.raises(InputTooLongError):
            short.embed_documents(["word " * 20])
    with pytest.raises(UsageError, match="8 to 256 tokens"):
        EmbeddingModel.load(NAME, max_tokens=1000)


def test_dimensions_of_a_model_that_was_not_trained_to_be_cut() -> None:
    with pytest.raises(UsageError, match="384"):
        EmbeddingModel.load(NAME, dimensions=128)


def test_lone_surrogates_and_null_characters(model: EmbeddingModel) -> None:
    vectors = model.embed_documents(["a\ud800b", "\x00", "\uffff"])
    assert np.isfinite(vectors).all()


def test_a_text_in_place_of_a_list_is_refused(model: EmbeddingModel) -> None:
    with pytest.raises(UsageError, match="list"):
        model.embed_documents("text")  # type: ignore[arg-type]


def test_an_instruction_is_refused_where_the_model_takes_none(model: EmbeddingModel) -> None:
    with pytest.raises(UsageError, match="no instruction"):
        model.embed_query("text", EmbeddingOptions(instruction="Find code"))


def test_a_closed_model_says_so() -> None:
    loaded = EmbeddingModel.load(NAME)
    loaded.close()
    loaded.close()
    with pytest.raises(turboprop.TurboPropError, match="closed"):
        loaded.embed_query("text")


def test_unknown_model() -> None:
    with pytest.raises(ModelNotFoundError):
        EmbeddingModel.load("nobody/has-this-model")


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_weights(minilm_copy: Path, damage: str) -> None:
    weights = minilm_copy / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes({"cut": data[: len(data) // 2], "text": b"<html>not found</html>", "empty": b""}[damage])
    with pytest.raises(ModelFormatError, match=r"model\.safetensors"):
        EmbeddingModel.load(str(minilm_copy))


def test_missing_tensors_are_named(minilm_copy: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(minilm_copy / "model.safetensors")
    del weights["encoder.layer.3.output.dense.weight"], weights["embeddings.LayerNorm.bias"]
    save_file(weights, minilm_copy / "model.safetensors")
    with pytest.raises(ModelFormatError) as caught:
        EmbeddingModel.load(str(minilm_copy))
    assert "encoder.layer.3.output.dense.weight" in str(caught.value)
    assert "embeddings.LayerNorm.bias" in str(caught.value)


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_weights_that_are_not_finite(minilm_copy: Path, weights: str) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(minilm_copy / "model.safetensors")
    tensors["encoder.layer.0.output.dense.weight"][3, 5] = np.nan
    save_file(tensors, minilm_copy / "model.safetensors")
    with pytest.raises(ModelFormatError, match=r"encoder\.layer\.0\.output\.dense\.weight.*finite"):
        EmbeddingModel.load(str(minilm_copy), weights=weights)  # type: ignore[arg-type]


def test_wrong_shapes(minilm_copy: Path) -> None:
    config = json.loads((minilm_copy / "config.json").read_text())
    config["num_attention_heads"] = 7
    (minilm_copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFormatError, match="fit"):
        EmbeddingModel.load(str(minilm_copy))
