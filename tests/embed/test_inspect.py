"""Reports on models' files, the odd ones included."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from best_engine import BEST
from engines.language_models import write_super
from reference import reference
from turboprop import LanguageModel
from turboprop.embed.inspect import inspect_model
from turboprop.errors import ModelFormatError
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings


def report(name: str | Path, **options):
    return inspect_model(resolve(str(name), load_settings(), download=False), **options)


def test_a_folder() -> None:
    seen = report("minilm", weights="int8")
    assert (seen.format, seen.architecture, seen.dimensions, seen.context) == ("safetensors", "bert", 384, 256)
    assert (seen.runs, seen.engine, seen.weights) == (True, BEST, "int8")
    assert seen.parameters == 22_713_728
    assert 23_000_000 < (seen.memory or 0) < 25_000_000
    assert seen.tokenizer["tokens"] == 30_522
    assert seen.tokenizer["special"] == 2


@pytest.mark.parametrize(("name", "pooling"), [("tiny-bert-mean", "mean"), ("tiny-qwen2", "last")])
def test_gguf(name: str, pooling: str) -> None:
    seen = report(reference(f"golden/synthetic-arch/{name}.gguf"))
    assert seen.pooling == [pooling]
    assert seen.runs
    assert {kind.type for kind in seen.tensors} <= {"F32", "F16"}
    assert seen.metadata["general.architecture"] == seen.architecture


def test_quantised_types_are_counted() -> None:
    seen = report(reference("gguf/stories260K-Q4_K_M.gguf"))
    assert len(seen.tensors) > 1
    assert sum(kind.bytes for kind in seen.tensors) < seen.size


def test_a_language_model_is_told_as_it_writes(tmp_path: Path) -> None:
    types = gguf.GGMLQuantizationType
    path = write_super(tmp_path / "m.gguf", types.Q4_K, types.Q6_K)
    for weights, engine in ((None, None), ("int8", None), (None, "native")):
        seen = report(path, weights=weights, engine=engine, embedding_engine="onnx")
        assert (seen.kind, seen.runs) == ("language", True)
        with LanguageModel.load(str(path), weights=weights, engine=engine or "auto") as model:
            assert (seen.engine, seen.weights) == (model.engine, model.weights)
    if BEST == "native":
        native = report(path)
        assert native.weights == "stored"
        assert (native.memory or 0) < 0.75 * (report(path, weights="int8").memory or 0)
    other = report(path, engine="llamacpp")
    assert (other.engine, other.weights, other.memory) == ("llamacpp", "as stored", path.stat().st_size)
    refused = report(path, weights="int4", engine="llamacpp")
    assert (refused.runs, "no weights in int4" in refused.why) == (False, True)
    assert report(path, engine="steam").why.startswith("there is no engine 'steam'")


def test_a_vocabulary_is_sound_and_runs_nowhere() -> None:
    seen = report(reference("tokenizers/ggml-vocab-qwen2.gguf"))
    assert not seen.runs
    assert "no weights" in seen.why
    assert seen.tokenizer["tokens"] > 150_000


def test_every_sound_odd_file_has_a_report_and_every_other_an_error() -> None:
    for path in sorted(reference("gguf-malformed").glob("*.gguf")):
        if path.name.startswith("ok-"):
            assert not report(path).runs
        else:
            with pytest.raises(ModelFormatError):
                report(path)


def test_a_model_with_missing_tensors_is_told_to_run_nowhere(minilm_copy: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(minilm_copy / "model.safetensors")
    del weights["embeddings.LayerNorm.bias"]
    save_file(weights, minilm_copy / "model.safetensors")
    seen = report(minilm_copy)
    assert not seen.runs
    assert "embeddings.LayerNorm.bias" in seen.why
