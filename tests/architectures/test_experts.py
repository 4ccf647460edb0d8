"""Mixtures of experts that cannot be right, and experts as a GGUF file has them in fewer bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from architectures.running import hidden_states, pack
from architectures.tiny_gguf import write_gguf
from architectures.tiny_models import INPUTS, MODELS, TinyModel
from engines.language_models import write_four_bit
from engines.loading import load_encoder
from turboprop.engines.contract import EngineOptions
from turboprop.engines.native.library import refusal
from turboprop.errors import ModelFormatError, ModelUnsupportedError
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.checkpoint.hf import open_folder

MOE = MODELS["qwen3_moe"]


def saved(folder: Path, change: dict[str, Any], without: str = "", **shapes: tuple[int, ...]) -> Path:
    def changed(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
        found = {name: shape for name, shape in MOE.shapes(MOE.config).items() if not without or without not in name}
        return {name: next((new for end, new in shapes.items() if name.endswith(end)), found[name]) for name in found}

    return TinyModel({**MOE.config, **change}, changed).save(folder)


@pytest.mark.parametrize(
    ("change", "without", "reason"),
    [
        ({"num_experts_per_tok": 7}, "", "num_experts_per_tok are 7 of 6"),
        ({"num_experts_per_tok": 0}, "", "num_experts_per_tok is 0"),
        ({"num_experts": "6"}, "", "num_experts is 6"),
        ({"num_experts": 8}, "", r"lacks 18 tensors.*experts\.6\.down_proj"),
        ({"num_experts": 5}, "", "a router of 6 outputs for 5 experts"),
        ({}, "experts.4.", r"lacks 9 tensors.*experts\.4\."),
        ({}, "mlp.gate.weight", r"lacks 3 tensors.*mlp\.gate\.weight"),
        ({"use_sliding_window": True, "sliding_window": 0}, "", "sliding_window is 0"),
    ],
)
@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_what_cannot_be_right(tmp_path: Path, engine: str, change: dict[str, Any], without: str, reason: str) -> None:
    if engine == "native" and refusal():
        pytest.skip(refusal())
    checkpoint = open_folder(saved(tmp_path, change, without))
    with pytest.raises(ModelFormatError, match=reason):
        load_encoder(checkpoint, engine, EngineOptions("float32"))


def test_an_expert_of_another_shape(tmp_path: Path) -> None:
    checkpoint = open_folder(saved(tmp_path, {}, **{"experts.2.up_proj.weight": (25, 32)}))
    with pytest.raises(ModelFormatError, match=r"differ in shape|do not meet|do not fit"):
        load_encoder(checkpoint, "auto", EngineOptions("float32"))


def test_fewer_experts_in_the_tensor_than_stated(tmp_path: Path) -> None:
    """A GGUF file has all of a layer in one."""
    model = TinyModel({**MOE.config, "num_experts": 7}, lambda config: MOE.shapes(MOE.config), MOE.gguf_family)
    with pytest.raises(ModelFormatError, match=r"lacks 9 tensors.*ffn_down_exps\.weight\[6\]"):
        load_encoder(open_gguf(write_gguf(model, tmp_path / "m.gguf")), "auto", EngineOptions("float32"))


def test_a_window_of_no_tokens_in_gguf(tmp_path: Path) -> None:
    path = write_gguf(MODELS["gemma2"], tmp_path / "m.gguf")
    data = path.read_bytes()
    key = b"gemma2.attention.sliding_window" + (4).to_bytes(4, "little")
    assert data.count(key + (8).to_bytes(4, "little")) == 1
    path.write_bytes(data.replace(key + (8).to_bytes(4, "little"), key + bytes(4)))
    with pytest.raises(ModelFormatError, match="sliding_window is 0"):
        load_encoder(open_gguf(path), "auto", EngineOptions("float32"))


@pytest.mark.parametrize("factors", [[1.0, 1.1], "many", [1.0, 1.1, 1.3, 1.5, 1.6, -2.0]])
def test_factors_of_positions_that_cannot_be_right(tmp_path: Path, factors: object) -> None:
    model = MODELS["phi3-longrope"]
    config = {**model.config, "rope_scaling": {**model.config["rope_scaling"], "short_factor": factors}}
    checkpoint = open_folder(TinyModel(config, model.shapes).save(tmp_path))
    with pytest.raises(ModelFormatError, match="short_factor is"):
        load_encoder(checkpoint, "auto", EngineOptions("float32"))


def test_a_stretched_model_ends_where_its_short_factors_do(tmp_path: Path) -> None:
    model = MODELS["phi3-longrope"]
    assert open_folder(model.save(tmp_path / "m")).max_tokens == 32
    assert open_gguf(write_gguf(model, tmp_path / "m.gguf")).max_tokens == 32


def test_a_family_that_has_none(tmp_path: Path) -> None:
    config = {**MOE.config, "model_type": "deepseek_v9"}
    with pytest.raises(ModelUnsupportedError, match="deepseek_v9"):
        load_encoder(open_folder(TinyModel(config, MOE.shapes).save(tmp_path)), "numpy", EngineOptions("float32"))


@pytest.mark.parametrize("kind", [gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q8_0])
def test_experts_in_the_bits_of_their_file(tmp_path: Path, kind: gguf.GGMLQuantizationType) -> None:
    """Each is read from the file as it is stored: what the weights are on disk, they are in the product."""
    if refusal():
        pytest.skip(refusal())
    wide = TinyModel({**MOE.config, "moe_intermediate_size": 64}, MOE.shapes, MOE.gguf_family)
    checkpoint = open_gguf(write_four_bit(write_gguf(wide, tmp_path / "a.gguf"), tmp_path / "b.gguf", kind))
    assert checkpoint.tensors["blk.0.ffn_up_exps.weight[3]"].kind == kind.name
    wanted = np.concatenate(hidden_states(checkpoint, INPUTS))  # float32 of the same weights
    encoder = load_encoder(checkpoint, "native", EngineOptions("stored" if kind.name == "Q4_0" else "int8", threads=2))
    found = encoder.encode(pack(INPUTS))
    encoder.close()
    ends = np.cumsum([len(ids) for ids in INPUTS]) - 1
    exact = wanted[ends]
    cosines = (found * exact).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(exact, axis=1)
    assert cosines.min() >= 0.995
