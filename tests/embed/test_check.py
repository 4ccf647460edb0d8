"""The self-test of a model: passes on sound ones, fails on each defect that it is there for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from reference import reference
from turboprop import EmbeddingModel
from turboprop.embed.check import check_model, quick_checks, refuse_if_broken
from turboprop.errors import EngineError
from turboprop.settings import Settings, load_settings


def failed(model: EmbeddingModel) -> set[str]:
    return {check.name for check in check_model(model) if not check.ok}


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_sound_model_passes_with_its_golden_values(weights: str, shared_cache: Path) -> None:
    settings = Settings(cache_home=shared_cache, offline=True)
    with EmbeddingModel.load(weights=weights, settings=settings) as model:  # type: ignore[arg-type]
        checks = check_model(model)
    assert [check.name for check in checks if not check.ok] == []
    assert {"golden values", "padding", "long input", "unit length"} <= {check.name for check in checks}


@pytest.mark.parametrize("name", ["tiny-bert-mean", "tiny-nomic-bert", "tiny-qwen2"])
def test_random_weights_pass_too(name: str) -> None:
    with EmbeddingModel.load(str(reference(f"golden/synthetic-arch/{name}.gguf"))) as model:
        assert failed(model) == set()


def test_other_weights_fail_the_golden_values(minilm_copy: Path) -> None:
    weights = load_file(minilm_copy / "model.safetensors")
    name = "encoder.layer.2.output.dense.weight"
    weights[name] = weights[name][::-1].copy()
    save_file(weights, minilm_copy / "model.safetensors")
    with EmbeddingModel.load(str(minilm_copy), weights="float32") as changed, EmbeddingModel.load() as sound:
        model = EmbeddingModel(
            dataclasses.replace(changed.checkpoint, golden=sound.checkpoint.golden),
            changed._encoder,
            load_settings(),
            None,
            None,
            changed._engine,
        )
        assert failed(model) == {"golden values"}


def test_weights_that_lose_the_input_are_refused_at_load(minilm_copy: Path) -> None:
    weights = load_file(minilm_copy / "model.safetensors")
    last = max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    name = f"encoder.layer.{last}.output.LayerNorm.weight"
    weights[name] = np.zeros_like(weights[name])  # every token then becomes the bias
    save_file(weights, minilm_copy / "model.safetensors")
    with pytest.raises(EngineError, match=r"difference.*cosine of 1"):
        EmbeddingModel.load(str(minilm_copy))


def test_a_missing_end_token_is_found(shared_cache: Path) -> None:
    with EmbeddingModel.load(settings=Settings(cache_home=shared_cache, offline=True)) as model:
        model._tokenizer.add_special_tokens(["<|endoftext|>"])
        qwen = EmbeddingModel(
            dataclasses.replace(model.checkpoint, family="qwen3", pooling=("last",)),
            model._encoder,
            load_settings(),
            None,
            None,
            model._engine,
        )
        qwen._tokenizer = model._tokenizer
        assert [check.name for check in quick_checks(qwen) if not check.ok] == ["end token"]
        with pytest.raises(EngineError, match="end token"):
            refuse_if_broken(qwen, None)


def test_what_passed_is_not_run_again(tmp_path: Path) -> None:
    with EmbeddingModel.load(settings=Settings(cache_home=tmp_path, offline=True)) as model:
        before = model.tokens_embedded
        assert before > 0
        refuse_if_broken(model, tmp_path)
        assert model.tokens_embedded == before
        refuse_if_broken(model, tmp_path / "elsewhere")
        assert model.tokens_embedded > before


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with EmbeddingModel.load() as model:
        refuse_if_broken(model, tmp_path / "file")
