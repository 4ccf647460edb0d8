"""Every architecture natively against numpy in float32, and what an encoder is asked for beside vectors."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from architectures.running import pack
from architectures.tiny_gguf import write_gguf
from architectures.tiny_models import INPUTS, MODELS, VOCABULARY, TinyModel
from engines.language_models import write_super
from engines.loading import chosen, load_encoder
from turboprop.engines.contract import EngineOptions
from turboprop.engines.native.encoder import load_encoder as load_native
from turboprop.engines.native.encoder import plan
from turboprop.engines.native.steps import Kind
from turboprop.errors import EngineError, ModelFormatError, ModelUnsupportedError
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.checkpoint.hf import open_folder
from turboprop.models.checkpoint.view import Checkpoint, PoolingMode
from turboprop.types import TokenBatch

CASES = [(name, "hf") for name in MODELS] + [(name, "gguf") for name, model in MODELS.items() if model.gguf_family]
POOLING = ("cls", "max", "mean", "mean_sqrt", "weighted_mean", "last")


def opened(model: TinyModel, origin: str, folder: Path) -> Checkpoint:
    if origin == "gguf":
        return open_gguf(write_gguf(model, folder / "model.gguf"))
    return open_folder(model.save(folder / "model"))


def encode(
    checkpoint: Checkpoint, batch: TokenBatch, engine: str = "native", weights: str = "int8"
) -> NDArray[np.float32]:
    encoder = load_encoder(checkpoint, engine, EngineOptions(weights=weights, threads=2))  # type: ignore[arg-type]
    try:
        return encoder.encode(batch)
    finally:
        encoder.close()


def cosines(found: NDArray, wanted: NDArray) -> NDArray:
    return (found * wanted).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(wanted, axis=-1)


def exact(checkpoint: Checkpoint, batch: TokenBatch) -> NDArray[np.float32]:
    return encode(checkpoint, batch, "numpy", "float32")


def least_cosine(found: NDArray, wanted: NDArray) -> float:
    """Over all inputs and poolings, each 32 wide."""
    return float(cosines(found.reshape(-1, 32), wanted.reshape(-1, 32)).min())


def is_mixture(name: str) -> bool:
    return "num_experts_per_tok" in MODELS[name].config


# The worst of all was 0.99953 (gemma3 with its 7 layers).
@pytest.mark.parametrize(("name", "origin"), CASES)
def test_the_same_direction_as_in_float32(tmp_path: Path, name: str, origin: str) -> None:
    checkpoint = replace(opened(MODELS[name], origin, tmp_path), pooling=("mean", "last"))
    batch = pack([*INPUTS, [*range(1, 34)], [5] * 40])
    found, wanted = encode(checkpoint, batch), exact(checkpoint, batch)
    if is_mixture(name):  # rounding makes a token of a near tie take another expert: 8 of 100 in mixtral
        each = cosines(found.reshape(-1, 32), wanted.reshape(-1, 32))
        assert np.median(each) >= 0.999
        assert each.min() >= 0.95
    else:
        assert least_cosine(found, wanted) >= 0.999


@pytest.mark.parametrize(("name", "origin"), CASES)
def test_the_same_vectors_in_float32(tmp_path: Path, name: str, origin: str) -> None:
    checkpoint = replace(opened(MODELS[name], origin, tmp_path), pooling=("mean", "last"))
    batch = pack([*INPUTS, [*range(1, 34)], [5] * 40])
    np.testing.assert_allclose(encode(checkpoint, batch, weights="float32"), exact(checkpoint, batch), atol=2e-5)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_weights_of_16_bits(tmp_path: Path, dtype: str) -> None:
    """They are kept in 16 bits, and give the bits of the same weights in 32: as `float32` and by their own name."""
    model = MODELS["qwen3"]
    tensors = model.weights()
    wide, narrow = model.save(tmp_path / "wide"), model.save(tmp_path / "narrow")
    if dtype == "F16":
        halves: dict[str, NDArray] = {name: values.astype(np.float16) for name, values in tensors.items()}
        save_file(halves, narrow / "model.safetensors")
        save_file({name: half.astype(np.float32) for name, half in halves.items()}, wide / "model.safetensors")
    else:
        words = {name: values.view(np.uint32) >> np.uint32(16) for name, values in tensors.items()}
        save_bfloat16(words, narrow / "model.safetensors")
        cut = {name: (word << np.uint32(16)).view(np.float32) for name, word in words.items()}
        save_file(cut, wide / "model.safetensors")
    batch = pack([*INPUTS, [5] * 40])
    found = encode(open_folder(narrow), batch, weights="float32")
    np.testing.assert_array_equal(found, encode(open_folder(wide), batch, weights="float32"))
    sizes = [plan(open_folder(folder), EngineOptions(weights="float32"))[1] for folder in (narrow, wide)]
    assert sizes[0] < 0.6 * sizes[1]
    name, other = ("float16", "bfloat16") if dtype == "F16" else ("bfloat16", "float16")
    np.testing.assert_array_equal(encode(open_folder(narrow), batch, weights=name), found)
    choice = chosen(open_folder(narrow), weights=name)
    assert (choice.name, choice.plan.weights, choice.plan.bytes) == ("native", name, sizes[0])
    for folder, wanted, kind in ((wide, name, "F32"), (narrow, other, dtype)):
        with pytest.raises(
            ModelUnsupportedError, match=f"native runs {wanted} where .* these are {kind}; take float32"
        ):
            chosen(open_folder(folder), weights=wanted)


def test_16_bits_of_one_name_are_converted_once(tmp_path: Path) -> None:
    model = MODELS["qwen3"]
    folder = model.save(tmp_path / "m")
    save_file(
        {name: values.astype(np.float16) for name, values in model.weights().items()}, folder / "model.safetensors"
    )
    for weights in ("float32", "float16"):
        options = EngineOptions(weights=weights, cache_home=tmp_path / "cache")  # type: ignore[arg-type]
        load_encoder(open_folder(folder), "native", options).close()
    assert len(list((tmp_path / "cache" / "graphs").iterdir())) == 1


def save_bfloat16(words: dict[str, NDArray[np.uint32]], path: Path) -> None:
    """A safetensors file of the upper halves of float32 numbers, which numpy has no type for."""
    header: dict[str, dict] = {}
    data = b""
    for name, word in words.items():
        part = word.astype(np.uint16).tobytes()
        offsets = [len(data), len(data) + len(part)]
        header[name] = {"dtype": "BF16", "shape": list(word.shape), "data_offsets": offsets}
        data += part
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize("weights", ["int8", "float32"])
@pytest.mark.parametrize("mode", ["cls", "last"])
@pytest.mark.parametrize("name", MODELS)
def test_one_token_is_the_same_where_only_it_is_computed(
    tmp_path: Path, name: str, mode: PoolingMode, weights: str
) -> None:
    """With a second pooling all tokens are."""
    checkpoint = open_folder(MODELS[name].save(tmp_path))
    inputs = [*INPUTS, [], [5] * 40, [3], *[[7, 8, 9]] * 20, []]
    steps = []
    for skip in (0, 2, 50):
        batch = replace(pack(inputs), skip=skip)
        alone, both = (
            load_native(replace(checkpoint, pooling=pooling), EngineOptions(weights=weights, threads=2))  # type: ignore[arg-type]
            for pooling in ((mode,), (mode, "mean"))
        )
        found = alone.encode(batch)
        np.testing.assert_array_equal(found, both.encode(batch)[:, : found.shape[1]])
        steps = [[step.kind for step in one._program._traced.steps if step.picked] for one in (alone, both)]
        alone.close()
        both.close()
    late, none = steps
    assert none == []
    if is_mixture(name):  # the experts sort all tokens
        assert late == [Kind.PICK]
        return
    assert late[:2] == [Kind.PICK] * 2  # what was before the last layer, and what the attention gives
    assert late.count(Kind.PRODUCT) >= 3
    assert late.count(Kind.PICK) == 2


@pytest.mark.parametrize("name", ["bert", "qwen3"])
def test_four_bits(tmp_path: Path, name: str) -> None:
    checkpoint = opened(MODELS[name], "gguf", tmp_path)
    found = encode(checkpoint, pack(INPUTS), weights="int4")
    assert cosines(found, exact(checkpoint, pack(INPUTS))).min() >= 0.9


@pytest.mark.parametrize("kind", ["Q4_K", "Q5_K"])
def test_weights_as_stored(tmp_path: Path, kind: str) -> None:
    """Nearer to float32 than int8, which rounds the file's values again: 0.9992 and 0.9977 at worst."""
    types = gguf.GGMLQuantizationType
    checkpoint = replace(open_gguf(write_super(tmp_path / "m.gguf", types[kind], types.Q6_K)), pooling=("mean", "last"))
    batch = pack([[1, 5, 9, 200, 31], [*range(3, 90)], [7]])
    wanted = exact(checkpoint, batch).reshape(-1, 256)
    nearness = {
        weights: cosines(encode(checkpoint, batch, weights=weights).reshape(-1, 256), wanted).min()
        for weights in ("stored", "int8")
    }
    assert nearness["stored"] >= 0.998
    assert nearness["stored"] > nearness["int8"]
    stored, int8 = (plan(checkpoint, EngineOptions(weights=weights))[1] for weights in ("stored", "int8"))
    assert stored < 0.75 * int8
    assert plan(checkpoint, EngineOptions())[0] == "int8"


def test_weights_as_stored_where_there_are_none(tmp_path: Path) -> None:
    for origin in ("gguf", "hf"):
        checkpoint = opened(MODELS["qwen3"], origin, tmp_path)
        with pytest.raises(ModelUnsupportedError, match=r"Q4_K.*take int8"):
            chosen(checkpoint, "native", "stored")


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_equals_its_single_runs(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    checkpoint = opened(MODELS[name], "hf", tmp_path_factory.mktemp(name))
    encoder = load_encoder(checkpoint, "native", EngineOptions(weights="int8", threads=2))

    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.lists(st.integers(0, VOCABULARY - 1), max_size=40), min_size=1, max_size=9))
    def check(inputs: list[list[int]]) -> None:
        alone = np.concatenate([encoder.encode(pack([ids])) for ids in inputs])
        np.testing.assert_array_equal(encoder.encode(pack(inputs)), alone)

    check()
    encoder.close()


def test_batches_of_more_than_one_run(tmp_path: Path) -> None:
    checkpoint = opened(MODELS["qwen3"], "hf", tmp_path)
    random = np.random.default_rng(0)
    lengths = [1, 1500, 0, 1024, 1023, 2, 700, 400, 0, 3, 1025, 0]
    inputs = [random.integers(0, VOCABULARY, length).tolist() for length in lengths]
    encoder = load_encoder(checkpoint, "native", EngineOptions(weights="int8", threads=2))
    together = encoder.encode(pack(inputs))
    for ids, vector in zip(inputs, together, strict=True):
        np.testing.assert_array_equal(vector, encoder.encode(pack([ids]))[0])
        assert vector.any() == bool(ids)
    encoder.close()


@pytest.mark.parametrize("name", ["bert", "qwen2"])
def test_poolings(tmp_path: Path, name: str) -> None:
    checkpoint = replace(opened(MODELS[name], "hf", tmp_path), pooling=POOLING)
    native, exact = (
        load_encoder(checkpoint, engine, EngineOptions(weights=weights, threads=2))  # type: ignore[arg-type]
        for engine, weights in (("native", "int8"), ("numpy", "float32"))
    )
    for skip in (0, 1, 3):
        batch = pack([INPUTS[0], INPUTS[1], [1, 2, 3, 4]], skip)
        found, wanted = native.encode(batch), exact.encode(batch)
        assert least_cosine(found, wanted) >= 0.999
        sizes = (np.linalg.norm(vectors.reshape(-1, 32), axis=1) for vectors in (found, wanted))
        np.testing.assert_allclose(*sizes, rtol=0.02)
    native.close()
    exact.close()


def test_poolings_side_by_side(tmp_path: Path) -> None:
    checkpoint = opened(MODELS["bert"], "hf", tmp_path)
    each = [encode(replace(checkpoint, pooling=(mode,)), pack(INPUTS, 1)) for mode in POOLING]
    found = encode(replace(checkpoint, pooling=POOLING), pack(INPUTS, 1))
    np.testing.assert_array_equal(found, np.concatenate(each, 1))


def test_inputs_that_are_skipped_whole_or_have_no_token(tmp_path: Path) -> None:
    """Zeros, except that the last token of a skipped one is still there to be taken."""
    checkpoint = replace(opened(MODELS["qwen2"], "hf", tmp_path), pooling=POOLING)
    encoder = load_encoder(checkpoint, "native", EngineOptions(weights="int8", threads=2))
    found = encoder.encode(pack([[], [7], INPUTS[1], []], 2))
    assert not found[[0, 3]].any()
    assert found[1].reshape(-1, 32).any(1).tolist() == [pooling == "last" for pooling in POOLING]
    np.testing.assert_array_equal(found[2:3], encoder.encode(pack([INPUTS[1]], 2)))
    assert not encoder.encode(pack([[]])).any()
    nothing = TokenBatch(np.zeros(0, np.int32), np.zeros(0, np.int32))
    assert encoder.encode(nothing).shape == (0, 32 * len(POOLING))
    encoder.close()


@pytest.mark.parametrize(("name", "typed"), [("bert", True), ("bert", False), ("xlm-roberta", False)])
def test_pairs(tmp_path: Path, name: str, typed: bool) -> None:
    """The second text's tokens have a type of their own only in a model of pairs."""
    plain = opened(MODELS[name], "hf", tmp_path)
    checkpoint = replace(plain, pairs=typed)
    batch, second = pack(INPUTS), np.array([2, 9, 1], np.int32)
    pairs = replace(batch, second=second)
    found = encode(checkpoint, pairs)
    assert cosines(found, exact(checkpoint, pairs)).min() >= 0.999
    alone = [encode(checkpoint, replace(pack([ids]), second=second[n : n + 1])) for n, ids in enumerate(INPUTS)]
    np.testing.assert_array_equal(found, np.concatenate(alone))
    without = encode(checkpoint, batch)
    assert (np.abs(found - without).max(1) > 0).tolist() == [typed, typed, False]


def test_positions_beyond_the_trained_length(tmp_path: Path) -> None:
    config = {**MODELS["nomic_bert"].config, "max_trained_positions": 8}
    plain = replace(opened(TinyModel(config, MODELS["nomic_bert"].shapes), "hf", tmp_path), pooling=("cls",))
    stretched = plain.extended(4)
    batch = pack([[*range(40)], [*range(8)], INPUTS[0]])
    found, wanted, unstretched = encode(stretched, batch), exact(stretched, batch), exact(plain, batch)
    off, apart = np.abs(found - wanted).max(1), np.abs(wanted - unstretched).max(1)
    assert off[0] < apart[0] / 3  # 0.010 and 0.056
    assert (off < 0.03).all()
    np.testing.assert_array_equal(found[1:], encode(plain, batch)[1:])


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    checkpoint = opened(MODELS["bert"], "hf", tmp_path)
    encoder = load_encoder(checkpoint, "native", EngineOptions(weights="int8", threads=1))
    assert encoder.dimensions == 32
    for ids in ([64], [-1], [1, 2, 100]):
        with pytest.raises(EngineError, match="tokenizer of another model"):
            encoder.encode(pack([ids]))
    with pytest.raises(EngineError, match="positions"):
        encoder.encode(pack([[1] * 49]))
    encoder.close()
    encoder.close()
    with pytest.raises(EngineError, match="closed"):
        encoder.encode(pack(INPUTS))


MISFITS = {
    "embeddings.position_embeddings.weight": (0, 32),
    "embeddings.LayerNorm.weight": (31,),
    "encoder.layer.0.attention.self.query.bias": (31,),
    "encoder.layer.1.intermediate.dense.bias": (1,),
    "encoder.layer.0.attention.self.key.weight": (16, 32),
    "encoder.layer.0.output.dense.weight": (32, 47),
    "encoder.layer.0.attention.output.dense.weight": (31, 32),
    "embeddings.token_type_embeddings.weight": (2, 31),
    "embeddings.word_embeddings.weight": (64,),
}


@pytest.mark.parametrize("name", MISFITS)
def test_tensors_of_other_shapes_are_refused(tmp_path: Path, name: str) -> None:
    model = MODELS["bert"]
    folder = model.save(tmp_path)
    save_file({**model.weights(), name: np.ones(MISFITS[name], np.float32)}, folder / "model.safetensors")
    with pytest.raises((ModelFormatError, ModelUnsupportedError)):
        encode(open_folder(folder), pack(INPUTS))


@pytest.mark.parametrize("share", [2.0, 0.05, 0.55])
def test_rotations_that_no_head_has_are_refused(tmp_path: Path, share: float) -> None:
    """More features than a head has, none, or an odd number."""
    model = MODELS["qwen3"]
    odd = {**model.config, "head_dim": 20 if share == 0.55 else 16, "partial_rotary_factor": share}
    checkpoint = opened(TinyModel(odd, model.shapes), "hf", tmp_path)
    with pytest.raises(ModelFormatError, match="cannot be turned"):
        encode(checkpoint, pack(INPUTS))


def test_a_vocabulary_of_one(tmp_path: Path) -> None:
    model = MODELS["qwen3"]
    checkpoint = opened(TinyModel({**model.config, "vocab_size": 1}, model.shapes), "hf", tmp_path)
    batch = pack([[0], [0] * 20])
    assert cosines(encode(checkpoint, batch), exact(checkpoint, batch)).min() >= 0.999


def test_ctrl_c_ends_a_long_run(tmp_path: Path) -> None:
    """One input of 60,000 tokens attends for tens of seconds."""
    checkpoint = opened(MODELS["qwen3"], "hf", tmp_path)
    encoder = load_encoder(checkpoint, "native", EngineOptions(weights="int8", threads=2))
    press = threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT])
    press.start()
    with pytest.raises(KeyboardInterrupt):
        encoder.encode(pack([[5] * 60_000]))
    press.join()
    assert encoder._program._stop.value == 1  # in the middle, not after it
    assert np.isfinite(encoder.encode(pack([[5, 6, 7]]))).all()
    encoder.close()
