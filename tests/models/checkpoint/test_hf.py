"""Hugging Face and sentence-transformers folders, old and new."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from architectures.running import hidden_states, run
from architectures.tiny_models import INPUTS, MODELS
from reference import reference
from turboprop import EmbeddingModel
from turboprop.errors import ModelFormatError, ModelNotFoundError, ModelUnsupportedError
from turboprop.models.checkpoint.hf import open_folder

ST = "sentence_transformers.models."


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def st_folder(folder: Path, pooling: dict[str, Any], *more: str) -> Path:
    """A sentence-transformers folder around the tiny BERT."""
    MODELS["bert"].save(folder)
    kinds = ["Transformer", "Pooling", *more]
    paths = ["" if kind == "Transformer" else f"{index}_{kind}" for index, kind in enumerate(kinds)]
    modules = [{"path": path, "type": f"{ST}{kind}"} for kind, path in zip(kinds, paths, strict=True)]
    write_json(folder / "modules.json", modules)
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, **pooling})
    return folder


@pytest.mark.parametrize(
    ("stated", "modes"),
    [
        ({"pooling_mode_cls_token": True}, ("cls",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, ("mean",)),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": True}, ("max", "mean")),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, ("mean_sqrt",)),
        ({"pooling_mode_weightedmean_tokens": True, "pooling_mode_lasttoken": True}, ("weighted_mean", "last")),
        ({"pooling_mode": "lasttoken"}, ("last",)),
        ({"pooling_mode": ["max", "weightedmean"]}, ("max", "weighted_mean")),
    ],
)
def test_pooling_of_old_and_new_form(tmp_path: Path, stated: dict[str, Any], modes: tuple[str, ...]) -> None:
    assert open_folder(st_folder(tmp_path, stated)).pooling == modes


@pytest.mark.parametrize("stated", [{}, {"pooling_mode_mean_tokens": False}])
def test_a_pooling_that_is_not_stated_is_refused(tmp_path: Path, stated: dict[str, Any]) -> None:
    with pytest.raises(ModelFormatError, match="pooling"):
        open_folder(st_folder(tmp_path, stated))


def test_every_mode_and_their_concatenation(
    tmp_path: Path,
) -> None:
    """The definitions of sentence-transformers' Pooling, spelled out over the states of every token."""
    flags = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    checkpoint = open_folder(st_folder(tmp_path, {f"pooling_mode_{flag}": True for flag in flags}))
    found = run(checkpoint, INPUTS)
    for vector, x in zip(found, hidden_states(checkpoint, INPUTS), strict=True):
        place = np.arange(1, len(x) + 1)[:, None]
        wanted = [
            x[0],
            x.max(axis=0),
            x.mean(axis=0),
            x.sum(axis=0) / np.sqrt(len(x)),
            (x * place).sum(axis=0) / place.sum(),
            x[-1],
        ]
        np.testing.assert_allclose(vector, np.concatenate(wanted), atol=2e-5)


def test_prompt_tokens_left_out_of_the_mean(
    tmp_path: Path,
) -> None:
    checkpoint = open_folder(st_folder(tmp_path, {"pooling_mode_mean_tokens": True, "include_prompt": False}))
    assert not checkpoint.pool_prompt
    inputs = [ids for ids in INPUTS if len(ids) > 2]
    found = run(checkpoint, inputs, skip=2)
    for vector, x in zip(found, hidden_states(checkpoint, inputs), strict=True):
        np.testing.assert_allclose(vector, x[2:].mean(axis=0), atol=2e-5)


@pytest.mark.parametrize(
    ("stated", "kind"),
    [("torch.nn.modules.activation.Tanh", "tanh"), ("torch.nn.modules.linear.Identity", "identity"), (None, "tanh")],
)
def test_dense_layers_in_order(tmp_path: Path, stated: str | None, kind: str) -> None:
    folder = st_folder(tmp_path, {"pooling_mode_mean_tokens": True}, "Dense", "Dense", "Normalize")
    up, down = np.ones((48, 32), np.float32), np.full((16, 48), 2, np.float32)
    for place, weight, bias in (("2_Dense", up, np.zeros(48, np.float32)), ("3_Dense", down, None)):
        write_json(folder / place / "config.json", {"activation_function": stated} if stated else {})
        tensors = {"linear.weight": weight} | ({} if bias is None else {"linear.bias": bias})
        save_file(tensors, folder / place / "model.safetensors")
    checkpoint = open_folder(folder)
    assert [layer.weight.shape for layer in checkpoint.dense] == [(48, 32), (16, 48)]
    assert [layer.activation for layer in checkpoint.dense] == [kind, kind]
    assert checkpoint.dense[0].bias is not None
    assert checkpoint.dense[1].bias is None
    assert checkpoint.full_width == 16
    assert checkpoint.normalize


def test_no_normalize_module_leaves_vectors_as_they_are(tmp_path: Path) -> None:
    assert not open_folder(st_folder(tmp_path, {"pooling_mode_mean_tokens": True})).normalize


def test_prompts_and_widths(tmp_path: Path) -> None:
    folder = st_folder(tmp_path, {"pooling_mode_mean_tokens": True}, "Normalize")
    stated = {"prompts": {"query": "q: ", "passage": "p: ", "corpus": "c: "}, "truncate_dim": 16}
    write_json(folder / "config_sentence_transformers.json", stated)
    checkpoint = open_folder(folder)
    assert (checkpoint.prompts.query, checkpoint.prompts.document) == ("q: ", "p: ")
    assert checkpoint.default_width == 16


def test_the_smallest_stated_length_counts(tmp_path: Path) -> None:
    folder = MODELS["bert"].save(tmp_path)
    assert open_folder(folder).max_tokens == 48
    write_json(folder / "tokenizer_config.json", {"model_max_length": 40})
    assert open_folder(folder).max_tokens == 40
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 20})
    assert open_folder(folder).max_tokens == 20
    write_json(folder / "tokenizer_config.json", {"model_max_length": 10**30})
    assert open_folder(folder).max_tokens == 20


def test_roberta_has_fewer_tokens_than_positions(tmp_path: Path) -> None:
    assert open_folder(MODELS["xlm-roberta"].save(tmp_path)).max_tokens == 46


def test_shards_equal_the_single_file(
    tmp_path: Path,
) -> None:
    whole = MODELS["qwen3"].save(tmp_path / "whole")
    folder = MODELS["qwen3"].save(tmp_path / "shards")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    where = {name: f"model-0000{1 + index % 3}-of-00003.safetensors" for index, name in enumerate(sorted(tensors))}
    for shard in set(where.values()):
        save_file({name: tensors[name] for name, at in where.items() if at == shard}, folder / shard)
    write_json(folder / "model.safetensors.index.json", {"weight_map": where})
    checkpoint = open_folder(folder)
    assert len(checkpoint.weight_files) == 3
    np.testing.assert_array_equal(run(checkpoint, INPUTS), run(open_folder(whole), INPUTS))
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelFormatError, match="00002"):
        open_folder(folder)


def test_a_pickle_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = MODELS["bert"].save(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelUnsupportedError, match=r"pickle.*safetensors"):
        open_folder(folder)


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"config\.json"):
        open_folder(tmp_path)
    write_json(tmp_path / "config.json", {"model_type": "bert"})
    with pytest.raises(ModelNotFoundError, match="safetensors"):
        open_folder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelFormatError, match="JSON"):
        open_folder(tmp_path)


@pytest.mark.parametrize("path", ["../other", "/etc"])
def test_modules_stay_inside_their_folder(tmp_path: Path, path: str) -> None:
    folder = st_folder(tmp_path / "m", {"pooling_mode_mean_tokens": True})
    write_json(folder / "modules.json", [{"path": path, "type": f"{ST}Transformer"}])
    with pytest.raises(ModelFormatError, match="outside"):
        open_folder(folder)
    write_json(folder / "modules.json", [{"path": path, "type": f"{ST}StaticEmbedding"}])
    with pytest.raises(ModelFormatError, match="outside"):
        open_folder(folder)


def test_unknown_modules_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupportedError, match="LSTM"):
        open_folder(st_folder(tmp_path, {"pooling_mode_mean_tokens": True}, "LSTM"))


def test_static_models_leave_unknown_tokens_out() -> None:
    with EmbeddingModel.load(str(reference("model2vec/test-model-vocab-quantized"))) as model:
        known = model.embed_documents(["hello world"])[0]
        np.testing.assert_allclose(model.embed_documents(["hello \U0001f9ff world"])[0], known, atol=1e-6)
        nothing = model.embed_documents([""])[0]
        assert not nothing.any()
        assert model.count_tokens(["hello world"]) == [2]


@pytest.mark.parametrize(
    ("name", "tensor", "defect"),
    [
        ("mapping", np.full(29524, 128, np.int32), "mapping"),
        ("weights", np.ones(5, np.float64), "weights"),
        ("embeddings", np.full((128, 64), np.nan, np.float32), "finite"),
        ("embeddings", None, "embeddings"),
    ],
)
def test_damaged_static_models(tmp_path: Path, name: str, tensor: np.ndarray | None, defect: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(reference("model2vec/test-model-vocab-quantized"), folder)
    (folder / "model.safetensors").chmod(0o644)
    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    if tensor is not None:
        tensors[name] = tensor
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelFormatError, match=defect):
        EmbeddingModel.load(str(folder))


def test_a_static_model_of_sentence_transformers(tmp_path: Path) -> None:
    source = reference("model2vec/test-model-float32")
    place = tmp_path / "0_StaticEmbedding"
    place.mkdir()
    shutil.copy(source / "tokenizer.json", place)
    table = load_file(source / "model.safetensors")["embeddings"]
    save_file({"embedding.weight": table}, place / "model.safetensors")
    modules = [{"path": "0_StaticEmbedding", "type": f"{ST}StaticEmbedding"}]
    write_json(tmp_path / "modules.json", modules)
    with EmbeddingModel.load(str(source)) as wanted, EmbeddingModel.load(str(tmp_path)) as found:
        vector = found.embed_documents(["hello world"])[0]
        unit = vector / np.linalg.norm(vector)
        np.testing.assert_allclose(unit, wanted.embed_documents(["hello world"])[0], atol=1e-5)
        assert not np.isclose(np.linalg.norm(vector), 1)
