"""Tiny seeded models against what llama.cpp computed for them, on GGUF and Hugging Face files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from architectures.running import hidden_states, run
from reference import reference
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.checkpoint.hf import open_folder
from turboprop.models.checkpoint.view import Checkpoint

FILES = {
    "tiny-bert": ("tiny-bert-mean.gguf", "tiny-bert-mean"),
    "tiny-nomic-bert": ("tiny-nomic-bert.gguf", None),
    "tiny-qwen2": ("tiny-qwen2.gguf", "tiny-qwen2"),
}


def expected(model: str, pooling: str) -> tuple[list[list[int]], np.ndarray]:
    stem = f"golden/synthetic-arch/{model}.{pooling}"
    cases = json.loads(reference(f"{stem}.json").read_text("utf-8"))
    values = np.fromfile(reference(f"{stem}.f32"), np.float32).reshape(-1, cases["n_embd"])
    return [case["ids"] for case in cases["cases"]], values


def opened(model: str, origin: str) -> Checkpoint:
    gguf, folder = FILES[model]
    name = gguf if origin == "gguf" else folder
    path = reference(f"golden/synthetic-arch/{name}")
    return open_gguf(path) if origin == "gguf" else open_folder(path)


def cosines(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return (found * wanted).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(wanted, axis=-1)


def normalized(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("model", "origin", "pooling"),
    [
        ("tiny-bert", "gguf", "mean"),
        ("tiny-bert", "gguf", "cls"),
        ("tiny-bert", "hf", "mean"),
        ("tiny-bert", "hf", "cls"),
        ("tiny-nomic-bert", "gguf", "mean"),
        ("tiny-nomic-bert", "gguf", "cls"),
        ("tiny-qwen2", "gguf", "mean"),
        ("tiny-qwen2", "gguf", "last"),
        ("tiny-qwen2", "hf", "mean"),
        ("tiny-qwen2", "hf", "last"),
    ],
)
def test_pooled_vectors(model: str, origin: str, pooling: str) -> None:
    ids, values = expected(model, pooling)
    found = run(replace(opened(model, origin), pooling=(pooling,)), ids)
    # The reference's GELU is a table of float16 values, so BERT is held to an angle.
    assert cosines(found, values).min() >= 0.99999
    if model == "tiny-qwen2":
        # The recorded vectors may have unit length or not; directions and, where raw, sizes must agree.
        scale = np.linalg.norm(values, axis=1)
        if np.allclose(scale, 1, atol=1e-5):
            found = normalized(found)
        np.testing.assert_allclose(found, values, atol=1e-5)


@pytest.mark.parametrize(("model", "origin"), [("tiny-bert", "gguf"), ("tiny-bert", "hf"), ("tiny-nomic-bert", "gguf")])
def test_states_of_every_token(model: str, origin: str) -> None:
    ids, values = expected(model, "none")
    found = np.concatenate(hidden_states(opened(model, origin), ids))
    assert cosines(found, values).min() >= 0.99999


@pytest.mark.parametrize(
    ("file", "golden", "tolerance"),
    [
        ("golden/synthetic-arch/tiny-qwen2.gguf", "golden/synthetic-arch/tiny-qwen2.gen", 1e-5),
        ("golden/synthetic-arch/tiny-qwen2", "golden/synthetic-arch/tiny-qwen2.gen", 1e-5),
        ("gguf/stories260K.gguf", "golden/stories260K", 1e-4),
        # The reference rounds what it multiplies float16 and bfloat16 weights with to the same type.
        ("gguf/stories260K-F16.gguf", "golden/stories260K-F16", 5e-3),
        ("gguf/stories260K-BF16.gguf", "golden/stories260K-BF16", 5e-2),
    ],
)
def test_states_of_decoders(file: str, golden: str, tolerance: float) -> None:
    path = reference(file)
    cases = json.loads(reference(f"{golden}.json").read_text("utf-8"))
    values = np.fromfile(reference(f"{golden}.hidden.f32"), np.float32).reshape(-1, cases["n_embd"])
    checkpoint = open_folder(path) if path.is_dir() else open_gguf(path)
    prompts = [case["prompt_ids"] for case in cases["cases"]]
    states = hidden_states(checkpoint, prompts)
    everything = np.concatenate(states)
    found = everything if len(everything) == len(values) else np.stack([state[-1] for state in states])[: len(values)]
    np.testing.assert_allclose(found, values, atol=tolerance)


def test_the_tokenizer_gives_the_recorded_ids() -> None:
    for model in ("tiny-bert", "tiny-nomic-bert"):
        cases = json.loads(reference(f"golden/synthetic-arch/{model}.mean.json").read_text("utf-8"))["cases"]
        tokenizer = opened(model, "gguf").tokenizer()
        for case in cases:
            assert tokenizer.encode(case["text"]).ids == case["ids"]


@pytest.mark.parametrize(
    ("model", "text", "values"),
    [
        ("test-model-float32", "hello world", "embeddings_short.json"),
        ("test-model-float32", " ".join(["hello"] * 1000), "embeddings_long.json"),
        ("test-model-vocab-quantized", " ".join(["hello"] * 1000), "embeddings_vocab_quantized.json"),
    ],
)
def test_static_models(model: str, text: str, values: str, tmp_path: Path) -> None:
    from turboprop import EmbeddingModel

    wanted = json.loads(reference(f"model2vec/{values}").read_text("utf-8"))[0]
    with EmbeddingModel.load(str(reference(f"model2vec/{model}"))) as loaded:
        np.testing.assert_allclose(loaded.embed_documents([text])[0], wanted, atol=1e-5)
        assert loaded.weights == "float32"
