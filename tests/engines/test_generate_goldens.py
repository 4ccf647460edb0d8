"""Generation in float32 against llama.cpp's recorded ids and logits and against `transformers`, in our own engines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from architectures.tiny_gguf import write_gguf
from architectures.tiny_models import INPUTS, MODELS
from engines.language_models import LANGUAGE_MODELS, write_phi_gguf
from engines.loading import load_generator
from reference import reference
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import Generator, TokenRequest
from turboprop.engines.native.library import refusal
from turboprop.errors import EngineError, ModelUnsupportedError
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.checkpoint.hf import open_folder
from turboprop.models.checkpoint.view import Checkpoint

QUANTISED = ("IQ4_XS", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K")
TINY = [
    (name, origin)
    for name in (
        *("llama", "llama-linear", "mistral", "qwen2", "qwen3", "qwen3-yarn"),
        *("phi3", "phi3-longrope", "smollm3", "olmo2", "ministral"),
        *("qwen3_moe", "qwen2_moe", "olmoe", "mixtral"),
    )
    for origin in (("hf", "gguf") if MODELS[name].gguf_family else ("hf",))
]
FACTORS = ("gemma2", "granite", "granitemoe")
"""Families that change the logits of their heads."""


@pytest.fixture(params=["native", "numpy"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "native" and refusal():
        pytest.skip(refusal())
    return str(request.param)


def load(checkpoint: Checkpoint, engine: str) -> Generator:
    return load_generator(checkpoint, engine, EngineOptions(weights="float32", threads=2))


def cases(name: str = "stories260K") -> list[dict]:
    return json.loads(reference(f"golden/{name}.json").read_text("utf-8"))["cases"]


def greedy(generator: Generator, ids: Sequence[int], count: int) -> list[int]:
    return [token.id for token in generator.start(TokenRequest(tuple(ids), count))]


def log_probabilities(generator: Generator, ids: Sequence[int], vocabulary: int) -> NDArray[np.float64]:
    """Of the token after each beginning of `ids`, [tokens, vocabulary]."""
    requests = [TokenRequest(tuple(ids[:end]), 1, logprobs=vocabulary) for end in range(1, len(ids) + 1)]
    found = np.empty((len(ids), vocabulary))
    for row, stream in zip(found, [generator.start(request) for request in requests], strict=True):
        (token,) = stream
        for number, value in token.top:
            row[number] = value
    return found


def normalized(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))


@pytest.fixture
def stories(engine: str) -> Iterator[Generator]:
    generator = load(open_gguf(reference("gguf/stories260K.gguf")), engine)
    yield generator
    generator.close()


@pytest.mark.parametrize("name", ["stories260K", "stories260K-F16", "stories260K-BF16"])
def test_greedy_ids_are_the_recorded_ones(engine: str, name: str) -> None:
    generator = load(open_gguf(reference(f"gguf/{name}.gguf")), engine)
    for case in cases(name):
        assert greedy(generator, case["prompt_ids"], len(case["greedy_ids"])) == case["greedy_ids"]
    generator.close()


def test_log_probabilities_are_the_recorded_ones(stories: Generator) -> None:
    logits = np.fromfile(reference("golden/stories260K.logits.f32"), np.float32).reshape(-1, 512)
    found = np.concatenate([log_probabilities(stories, case["prompt_ids"], 512) for case in cases()])
    np.testing.assert_allclose(found, normalized(logits), atol=1e-4)


@pytest.mark.parametrize(("name", "origin"), TINY)
def test_decoders_with_tied_heads_equal_transformers(tmp_path: Path, engine: str, name: str, origin: str) -> None:
    model = MODELS[name]
    path = write_gguf(model, tmp_path / "m.gguf") if origin == "gguf" else model.save(tmp_path / "m")
    generator = load(open_gguf(path) if origin == "gguf" else open_folder(path), engine)
    embeddings = model.weights()["embed_tokens.weight"]
    with np.load(Path(__file__).parent.parent / "architectures" / "golden" / f"{name}.npz") as golden:
        for index, ids in enumerate(INPUTS):
            wanted = normalized(golden[f"arr_{index}"] @ embeddings.T)
            np.testing.assert_allclose(log_probabilities(generator, ids, len(embeddings)), wanted, atol=1e-4)
    generator.close()


@pytest.mark.parametrize(
    "form",
    ["phi", "phi fused", "phi apart", "llama-head", "gemma3-causal", *FACTORS, *(f"{name} gguf" for name in FACTORS)],
)
def test_models_with_their_heads_equal_transformers(tmp_path: Path, engine: str, form: str) -> None:
    name, _, gguf = form.partition(" ")
    if gguf == "gguf":
        checkpoint = open_gguf(write_gguf(LANGUAGE_MODELS[name], tmp_path / "m.gguf"))
    elif gguf:
        checkpoint = open_gguf(write_phi_gguf(tmp_path / "m.gguf", fused=gguf == "fused"))
    else:
        checkpoint = open_folder(LANGUAGE_MODELS[name].save(tmp_path))
    generator = load(checkpoint, engine)
    with np.load(Path(__file__).parent / "golden" / f"{name}.npz") as golden:
        for index, ids in enumerate(INPUTS):
            logits = golden[f"arr_{index}"]
            found = log_probabilities(generator, ids, logits.shape[-1])
            np.testing.assert_allclose(found, normalized(logits), atol=1e-4)
    generator.close()


def test_numpy_has_no_other_weights_than_float32() -> None:
    checkpoint = open_gguf(reference("gguf/stories260K.gguf"))
    with pytest.raises(ModelUnsupportedError, match=r"numpy .*no weights in int8"):
        load_generator(checkpoint, "numpy", EngineOptions(weights="int8"))


def test_numpy_answers_the_same_beside_others_and_from_its_cache() -> None:
    generator = load(open_gguf(reference("gguf/stories260K.gguf")), "numpy")
    prompts = [tuple(case["prompt_ids"]) for case in cases()]
    alone = [greedy(generator, ids, 40) for ids in prompts]
    streams = [generator.start(TokenRequest(ids, 40)) for ids in prompts]
    assert [[token.id for token in stream] for stream in streams] == alone
    generator.close()
    with pytest.raises(EngineError, match="closed"):
        generator.start(TokenRequest((1,), 1))
