"""Adapters are merged as PEFT merges them, and what does not fit is refused with the reason."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from architectures.tiny_gguf import _ARCH, _converted, _converted_name, write_gguf
from architectures.tiny_models import MODELS
from models.checkpoint.peft_adapters import CASES, GOLDEN, make
from turboprop.errors import ModelError, ModelFormatError, ModelNotFoundError, ModelUnsupportedError, UsageError
from turboprop.models.checkpoint.adapter import merged
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.checkpoint.hf import open_folder
from turboprop.models.naming import adapted_name, split_adapter

CLOSE = 1e-5
Change = Callable[[dict[str, Any], dict[str, np.ndarray]], None]


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return MODELS["bert"].save(tmp_path / "model")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "bert", tmp_path / "adapter"))


def change(adapter: Path, how: Change) -> Path:
    config = json.loads((adapter / "adapter_config.json").read_text())
    tensors = load_file(adapter / "adapter_model.safetensors")
    how(config, tensors)
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, adapter / "adapter_model.safetensors")
    return adapter


def at_most(given: np.ndarray, wanted: np.ndarray) -> None:
    assert given.shape == wanted.shape
    assert np.abs(given - wanted).max() <= CLOSE


@pytest.mark.parametrize("case", CASES)
def test_safetensors_merge_as_peft_merges(case: str, tmp_path: Path) -> None:
    plain = open_folder(MODELS[CASES[case][0]].save(tmp_path))
    with np.load(GOLDEN / case / "merged.npz") as golden:
        found = merged(plain, GOLDEN / case).tensors
        for name in golden.files:
            at_most(found[name].dequantize(), golden[name])
            at_most(found[name].dequantize(slice(3, 7)), golden[name][3:7])
            assert np.abs(plain.tensors[name].dequantize() - golden[name]).max() > 100 * CLOSE
        others = [name for name in plain.tensors if name not in golden.files and "pooler" not in name]
    for name in others:
        assert np.array_equal(found[name].dequantize(), plain.tensors[name].dequantize())


@pytest.mark.parametrize("case", [case for case in CASES if case != "bert-biases"])
def test_a_gguf_file_of_the_same_model_merges_to_the_same(case: str, tmp_path: Path) -> None:
    """That of llama has its heads' rows in another order."""
    model = MODELS[CASES[case][0]]
    found = merged(open_gguf(write_gguf(model, tmp_path / "model.gguf")), GOLDEN / case).tensors
    names = gguf.get_tensor_name_map(_ARCH[model.gguf_family], model.config["num_hidden_layers"])
    with np.load(GOLDEN / case / "merged.npz") as golden:
        for name in golden.files:
            tensor = found[_converted_name(names, name, model)]
            at_most(tensor.dequantize(), _converted(golden[name], name, model))


@pytest.mark.parametrize("name", ["llama-linear", "smollm3", "granite", "granitemoe"])
def test_rows_that_a_converter_permuted_get_their_own_part(name: str, tmp_path: Path) -> None:
    model, folder, random = MODELS[name], tmp_path / "adapter", np.random.default_rng(0)
    tensors = {}
    for layer in range(model.config["num_hidden_layers"]):
        for part, rows in (("q", 32), ("k", 16), ("v", 16)):
            module = f"base_model.model.layers.{layer}.self_attn.{part}_proj"
            tensors[f"{module}.lora_A.weight"] = random.standard_normal((2, 32)).astype(np.float32)
            tensors[f"{module}.lora_B.weight"] = random.standard_normal((rows, 2)).astype(np.float32)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj", "k_proj", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    wanted = merged(open_folder(model.save(tmp_path / "model")), folder).tensors
    found = merged(open_gguf(write_gguf(model, tmp_path / "model.gguf")), folder).tensors
    for part in "qkv":
        place = f"layers.0.self_attn.{part}_proj.weight"
        at_most(found[f"blk.0.attn_{part}.weight"].dequantize(), _converted(wanted[place].dequantize(), place, model))


# What PEFT and transformers say of each other's versions is not for here.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ["bert", "qwen3", "llama"])
def test_the_stored_adapters_are_what_peft_makes_now(case: str, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    merge = make(tmp_path / "model", *CASES[case], tmp_path / "adapter")
    found = merged(open_folder(tmp_path / "model"), tmp_path / "adapter").tensors
    for name, values in merge.items():
        at_most(found[name].dequantize(), values)


def test_a_whole_tensor_is_not_put_into_a_gguf_file(tmp_path: Path) -> None:
    path = write_gguf(MODELS["bert"], tmp_path / "model.gguf")
    with pytest.raises(ModelUnsupportedError, match="take the model's safetensors"):
        merged(open_gguf(path), GOLDEN / "bert-biases")


def test_an_adapter_is_part_of_the_hash_of_the_weights(bert: Path, adapter: Path, tmp_path: Path) -> None:
    """And so of the fingerprint and of the key of converted weights; that of its scale, too."""
    plain = open_folder(bert)
    before = merged(plain, adapter).weights_hash(tmp_path)
    assert before != plain.weights_hash(tmp_path)
    change(adapter, lambda config, _: config.update(lora_alpha=17))
    assert merged(plain, adapter).weights_hash(tmp_path) not in (before, plain.weights_hash(tmp_path))


def _truncate(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _endless_header(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(struct.pack("<Q", 1 << 62) + file.read_bytes()[8:])


def _pickle(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")


def _pipe(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    os.mkfifo(adapter / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (_truncate, ModelFormatError, "not a sound safetensors file"),
        (_endless_header, ModelFormatError, "not a sound safetensors file"),
        (_pickle, ModelUnsupportedError, "never opened"),
        (_pipe, ModelFormatError, "not a sound safetensors file"),
        (lambda a: (a / "adapter_config.json").unlink(), ModelNotFoundError, "lacks adapter_config.json"),
        (lambda a: (a / "adapter_config.json").write_text("[]"), ModelFormatError, "holds no JSON object"),
        (lambda a: (a / "adapter_config.json").write_text("{" * 100_000), ModelFormatError, "not valid JSON"),
        (lambda a: (a / "adapter_model.safetensors").unlink(), ModelNotFoundError, "is not there"),
    ],
)
def test_damaged_files_are_refused(
    spoil: Callable[[Path], None], error: type[ModelError], said: str, bert: Path, adapter: Path
) -> None:
    spoil(adapter)
    with pytest.raises(error, match=said):
        merged(open_folder(bert), adapter)


QUERY = "base_model.model.encoder.layer.0.attention.self.query"


def _other_width(_: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    tensors[f"{QUERY}.lora_A.weight"] = np.zeros((8, 48), np.float32)


def _more_layers(_: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    for part in "AB":
        name = f"{QUERY}.lora_{part}.weight"
        tensors[name.replace("layer.0", "layer.7")] = tensors[name]


def _fewer_layers(_: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    for name in [name for name in tensors if "layer.1" in name]:
        del tensors[name]


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        (_other_width, ModelFormatError, "adds 32 x 48 to 32 x 32"),
        (_more_layers, ModelFormatError, "of another model.*layer.7"),
        (_fewer_layers, ModelFormatError, "adapts 1 of the 2 layers"),
        (lambda c, t: t.pop(f"{QUERY}.lora_B.weight"), ModelFormatError, "only one of the two factors"),
        (lambda c, t: t.clear(), ModelFormatError, "none of its layers"),
        (lambda c, t: c.update(r=4), ModelFormatError, "states rank 4"),
        (lambda c, t: c.update(r="8"), ModelFormatError, "r is 8"),
        (lambda c, t: c.update(lora_alpha=float("inf")), ModelFormatError, "lora_alpha is inf"),
        (lambda c, t: c.update(lora_alpha=None), ModelFormatError, "lora_alpha is None"),
        (lambda c, t: c.update(rank_pattern=["query"]), ModelFormatError, "no table of numbers"),
        (lambda c, t: c.update(rank_pattern={"(?=x)": 2}), ModelUnsupportedError, "is not known here"),
        (lambda c, t: c.update(rank_pattern={"x" * 5_000: 2}), ModelFormatError, "characters"),
        (lambda c, t: c.update(rank_pattern={"\ud800": 2}), ModelUnsupportedError, "is not known here"),
        (lambda c, t: c.update(layers_to_transform=[[1]]), ModelFormatError, "no list of numbers"),
        (lambda c, t: c.update(use_dora=True), ModelFormatError, "no magnitude"),
        (lambda c, t: c.update(peft_type="LOHA"), ModelUnsupportedError, "'LOHA'"),
        (lambda c, t: c.update(lora_bias=True), ModelUnsupportedError, "lora_bias"),
        (lambda c, t: c.update(init_lora_weights="pissa"), ModelUnsupportedError, "takes a part off"),
        (lambda c, t: c.update(target_modules=["query"]), ModelFormatError, "do not belong together"),
        (lambda c, t: c.update(target_modules=r".*\.key"), ModelFormatError, "do not belong together"),
        (lambda c, t: c.update(target_modules=None), ModelFormatError, "names no layers"),
        (lambda c, t: t.update({f"{QUERY}.lora_C.weight": np.ones(3)}), ModelUnsupportedError, "not known here"),
        (lambda c, t: t.update({"base_model.model.score.weight": np.ones((1, 3))}), ModelFormatError, "no such tensor"),
        (lambda c, t: t.update({f"{QUERY}.bias": np.ones(3)}), ModelFormatError, r"the shape \[3\]"),
    ],
)
def test_what_does_not_fit_is_refused(
    how: Change, error: type[ModelError], said: str, bert: Path, adapter: Path
) -> None:
    with pytest.raises(error, match=said):
        merged(open_folder(bert), change(adapter, how))


def test_a_pattern_that_would_backtrack_for_ever_does_not(bert: Path, adapter: Path) -> None:
    change(adapter, lambda config, _: config.update(rank_pattern={"(.*.*)*.*.*.*x": 2, "((e+)+)+r+y!": 2}))
    assert merged(open_folder(bert), adapter).tensors


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_when_they_are_read(value: float, bert: Path, adapter: Path) -> None:
    def spoil(_: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        tensors[f"{QUERY}.lora_A.weight"][0, 0] = value

    opened = merged(open_folder(bert), change(adapter, spoil))
    with pytest.raises(ModelFormatError, match="not finite"):
        opened.tensors["encoder.layer.0.attention.self.query.weight"].dequantize()


def test_the_table_of_tokens_is_not_replaced_where_it_is_the_output_too(tmp_path: Path) -> None:
    plain = open_folder(MODELS["qwen3"].save(tmp_path / "model"))
    adapter = Path(shutil.copytree(GOLDEN / "qwen3", tmp_path / "adapter"))

    def apart(_: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        table = "base_model.model.embed_tokens"
        tensors[f"{table}.weight"] = tensors.pop(f"{table}.base_layer.weight")

    with pytest.raises(ModelUnsupportedError, match="trained apart"):
        merged(plain, change(adapter, apart))


def test_one_name_means_a_model_and_its_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert adapted_name("a/b:c.gguf", None) == "a/b:c.gguf"
    name = adapted_name("a/b:c.gguf", "mine")
    assert name == f"a/b:c.gguf+lora:{tmp_path}/mine"
    assert split_adapter(name) == ("a/b:c.gguf", tmp_path / "mine")
    with pytest.raises(UsageError, match="has an adapter already"):
        adapted_name(name, "other")
