"""Every architecture against `transformers` on seeded weights, from Hugging Face folders and from GGUF.

The expected values lie in `golden/`; `make_goldens.py` wrote them. The GGUF files are written here with
the package `gguf` and its own table of tensor names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from architectures.running import hidden_states, pack, run
from architectures.tiny_gguf import write_gguf
from architectures.tiny_models import INPUTS, MODELS, VOCABULARY, TinyModel
from turboprop.architectures import architecture
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.checkpoint.hf import open_folder
from turboprop.models.checkpoint.view import Checkpoint

CASES = [(name, "hf") for name in MODELS] + [(name, "gguf") for name, model in MODELS.items() if model.gguf_family]


def golden(name: str) -> list[np.ndarray]:
    with np.load(Path(__file__).parent / "golden" / f"{name}.npz") as file:
        return [file[f"arr_{index}"] for index in range(len(INPUTS))]


def opened(model: TinyModel, origin: str, folder: Path) -> Checkpoint:
    if origin == "gguf":
        return open_gguf(write_gguf(model, folder / "model.gguf"))
    return open_folder(model.save(folder / "model"))


@pytest.mark.parametrize(("name", "origin"), CASES)
def test_states(tmp_path: Path, name: str, origin: str) -> None:
    found = hidden_states(opened(MODELS[name], origin, tmp_path), INPUTS)
    for states, wanted in zip(found, golden(name), strict=True):
        np.testing.assert_allclose(states, wanted, atol=1e-4)


@pytest.mark.parametrize(("name", "origin"), CASES)
def test_a_batch_equals_its_single_runs(tmp_path_factory: pytest.TempPathFactory, name: str, origin: str) -> None:
    from engines.loading import load_encoder
    from turboprop.engines.contract import EngineOptions

    checkpoint = opened(MODELS[name], origin, tmp_path_factory.mktemp(name))
    encoder = load_encoder(checkpoint, "auto", EngineOptions(weights="float32", threads=1))

    @settings(max_examples=8, deadline=None)
    @given(st.lists(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=30), min_size=1, max_size=5))
    def check(inputs: list[list[int]]) -> None:
        together = encoder.encode(pack(inputs))
        alone = np.concatenate([encoder.encode(pack([ids])) for ids in inputs])
        np.testing.assert_allclose(together, alone, atol=1e-5)

    check()
    encoder.close()


def test_the_scaling_of_llama_3_as_a_tensor(tmp_path: Path) -> None:
    """llama.cpp's converter writes it as divisors of the frequencies, `rope_freqs.weight`."""
    model = MODELS["llama"]
    scaling, factors = model.config["rope_scaling"], []
    for frequency in 10000.0 ** (-np.arange(0, 8, 2) / 8):
        turns = scaling["original_max_position_embeddings"] * frequency / (2 * np.pi)
        low, high, factor = (scaling[key] for key in ("low_freq_factor", "high_freq_factor", "factor"))
        share = np.clip((turns - low) / (high - low), 0, 1)
        factors.append(1 / ((1 - share) / factor + share))
    config = {key: value for key, value in model.config.items() if key != "rope_scaling"}
    path = write_gguf(
        TinyModel(config, model.shapes, "llama"),
        tmp_path / "m.gguf",
        tensors={"rope_freqs.weight": np.array(factors, np.float32)},
    )
    assert max(factors) > 1
    for states, wanted in zip(hidden_states(open_gguf(path), INPUTS), golden("llama"), strict=True):
        np.testing.assert_allclose(states, wanted, atol=1e-4)


def test_an_input_without_tokens_is_a_zero_vector(tmp_path: Path) -> None:
    checkpoint = open_folder(MODELS["qwen2"].save(tmp_path))
    vectors = run(checkpoint, [[], INPUTS[0], []])
    assert not vectors[[0, 2]].any()
    np.testing.assert_array_equal(vectors[1], run(checkpoint, [INPUTS[0]])[0])
    assert not run(checkpoint, [[]]).any()


@pytest.mark.parametrize(("name", "prefix"), [("qwen3", "model."), ("bert", "bert."), ("gemma3", "model.")])
def test_names_of_a_model_that_was_saved_with_its_head(tmp_path: Path, name: str, prefix: str) -> None:
    from safetensors.numpy import save_file

    folder = MODELS[name].save(tmp_path)
    weights = {f"{prefix}{key}": value for key, value in MODELS[name].weights().items()}
    save_file({**weights, "lm_head.weight": np.zeros((2, 2), np.float32)}, folder / "model.safetensors")
    np.testing.assert_allclose(hidden_states(open_folder(folder), INPUTS)[1], golden(name)[1], atol=1e-4)


def test_the_repositories_own_form_of_nomic_bert(tmp_path: Path) -> None:
    """Fused q, k and v, and the words of GPT-2 in config.json."""
    import json

    from safetensors.numpy import save_file

    model = MODELS["nomic_bert"]
    weights, own = model.weights(), {}
    for layer in range(model.config["num_hidden_layers"]):
        own[f"encoder.layers.{layer}.attn.Wqkv.weight"] = np.concatenate(
            [weights.pop(f"layers.{layer}.self_attn.{part}_proj.weight") for part in "qkv"]
        )
    for name, value in weights.items():
        for new, old in (
            ("embeddings.LayerNorm", "emb_ln"),
            ("layers.", "encoder.layers."),
            ("self_attn.o_proj", "attn.out_proj"),
            ("mlp.up_proj", "mlp.fc11"),
            ("mlp.gate_proj", "mlp.fc12"),
            ("mlp.down_proj", "mlp.fc2"),
            ("post_attention_layernorm", "norm1"),
            ("post_mlp_layernorm", "norm2"),
        ):
            name = name.replace(new, old)
        own[name] = value
    config = {
        "model_type": "nomic_bert",
        "n_embd": 32,
        "n_head": 4,
        "n_inner": 48,
        "n_layer": 2,
        "n_positions": 8192,
        "max_trained_positions": 2048,
        "layer_norm_epsilon": 1e-12,
        "rotary_emb_base": 1000,
        "rotary_emb_fraction": 1.0,
        "rotary_scaling_factor": None,
        "activation_function": "swiglu",
        "prenorm": False,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(own, tmp_path / "model.safetensors")
    checkpoint = open_folder(tmp_path)
    assert checkpoint.max_tokens == 2048
    for states, wanted in zip(hidden_states(checkpoint, INPUTS), golden("nomic_bert"), strict=True):
        np.testing.assert_allclose(states, wanted, atol=1e-4)


def test_long_inputs_of_nomic_bert_turn_more_slowly(tmp_path: Path) -> None:
    """The formula of the model card, with the base that it gives for one length set by hand."""
    import json

    config = {**MODELS["nomic_bert"].config, "max_trained_positions": 8}
    folder = TinyModel(config, MODELS["nomic_bert"].shapes).save(tmp_path / "plain")
    plain = open_folder(folder)
    stretched = plain.extended(2)
    assert stretched.max_tokens == 2 * plain.max_tokens
    long = INPUTS[1]
    base = 1000 * (2 * len(long) / 8 - (2 - 1)) ** (8 / (8 - 2))
    folder = TinyModel({**config, "rope_parameters": {"rope_theta": base}}, MODELS["nomic_bert"].shapes).save(
        tmp_path / "slow"
    )
    assert json.loads((folder / "config.json").read_text())["rope_parameters"]["rope_theta"] > 5000
    together = hidden_states(stretched, INPUTS)
    np.testing.assert_allclose(together[1], hidden_states(open_folder(folder), [long])[0], atol=1e-5)
    # Inputs within the trained length keep their vectors, also beside a long one.
    np.testing.assert_allclose(together[0], hidden_states(plain, [INPUTS[0]])[0], atol=1e-6)
    assert np.abs(together[1] - hidden_states(plain, [long])[0]).max() > 1e-3


@pytest.mark.parametrize("name", sorted(MODELS))
def test_impossible_configurations_are_refused(name: str) -> None:
    config = MODELS[name].config
    module = architecture(config["model_type"])
    module.hyperparameters(config, "hf")
    for key in ("num_hidden_layers", "num_attention_heads", "n_layers", "n_heads"):
        for value in (0, -1, 10**9, "4", None, 2.5, True):
            if key in config:
                with pytest.raises(ValueError, match=key):
                    module.hyperparameters({**config, key: value}, "hf")
