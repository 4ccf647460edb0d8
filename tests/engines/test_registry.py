"""An engine is one file and one row: what follows from the row, without a change anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from engines import small_engine
from reference import reference
from turboprop import EmbeddingModel, LanguageModel
from turboprop.edges.cli.entry import tp
from turboprop.embed.inspect import inspect_model
from turboprop.engines import registry
from turboprop.engines.contract import EngineOptions
from turboprop.engines.registry import ENGINES, Engine, choose, engines_here
from turboprop.errors import EngineError, ModelUnsupportedError
from turboprop.generate.options import GenerationOptions
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.resolve import resolve
from turboprop.runtime.leases import LoadOptions
from turboprop.runtime.manager import ModelManager
from turboprop.settings import load_settings

SMALL = Engine(
    "small",
    "engines.small_engine",
    "it counts",
    reads=("safetensors", "gguf"),
    purposes=("embedding", "language"),
    formats=("auto", "float16"),
    devices=("abacus:0",),
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """One row more, the last one."""
    monkeypatch.setattr(registry, "ENGINES", (*ENGINES, SMALL))
    small_engine.batches.clear()
    small_engine.steps.clear()
    yield SMALL


def stories() -> Path:
    return reference("gguf/stories260K.gguf")


def opened(path: Path) -> Checkpoint:
    return open_checkpoint(resolve(str(path), load_settings()))


def test_it_embeds_from_one_end_to_the_other(small: Engine, code_pieces: list[str]) -> None:
    with EmbeddingModel.load(engine="small") as model:
        assert (model.engine, model.device, model.weights) == ("small", "abacus:0", "float16")
        vectors = model.embed_documents(code_pieces[:12], overlong="truncate")
    assert vectors.shape == (12, small_engine.WIDTH)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    for lengths in small_engine.batches:  # batches are cut as its plan says
        assert len(lengths) == 1 or len(lengths) * -(-max(lengths) // 8) * 8 <= 64


def test_it_writes_from_one_end_to_the_other(small: Engine) -> None:
    with LanguageModel.load(str(stories()), engine="small", device="abacus:0") as model:
        assert (model.engine, model.device, model.weights, model.context) == ("small", "abacus:0", "float16", 512)
        written = model.generate((5, 9, 100, 101, 200), GenerationOptions(temperature=0, max_tokens=3))
    assert written.usage.generated_tokens == 3
    assert max(small_engine.steps) <= 3  # prompts are read as its plan says


def test_the_manager_counts_it_on_its_device(small: Engine) -> None:
    with (
        ModelManager(budgets={"cpu": 1, "abacus:0": 10**9}, keep_alive=None) as manager,
        manager.embedding(None, LoadOptions(engine="small")) as lease,
    ):
        assert lease.model.device == "abacus:0"
        assert manager.reserved["cpu"] == 0
        assert manager.reserved["abacus:0"] > small_engine.PLAN.bytes


def test_every_edge_knows_it(small: Engine) -> None:
    assert engines_here()["small"] == ["abacus:0"]
    report = inspect_model(resolve(str(stories()), load_settings()), weights="float16")
    assert (report.engine, report.weights, report.memory) == ("small", "float16", 1_000_000)
    said = ["embed", "--engine", "small", "--weights", "float16", "a text"]
    done = CliRunner().invoke(tp, said)
    assert (done.exit_code, done.exception) == (0, None)
    refused = CliRunner().invoke(tp, ["embed", "--engine", "large", "a text"])
    assert "numpy, small" in str(refused.exception)


def test_auto_takes_the_first_without_an_objection(monkeypatch: pytest.MonkeyPatch, small: Engine) -> None:
    checkpoint = opened(stories())
    assert choose(checkpoint, "language", EngineOptions()).name != "small"
    assert choose(checkpoint, "language", EngineOptions("float16")).name == "small"
    assert choose(checkpoint, "language", EngineOptions(device="abacus:0")).name == "small"
    monkeypatch.setattr(registry, "ENGINES", (SMALL, *ENGINES))
    choice = choose(checkpoint, "language", EngineOptions())
    assert (choice.name, choice.reason) == ("small", "it counts")


def test_who_can_do_nothing_says_why(small: Engine) -> None:
    checkpoint = opened(stories())
    for options, why in (
        (EngineOptions("int8", engine="small"), "has no weights in int8 (it has auto, float16)"),
        (EngineOptions(device="cpu", engine="small"), "does not run on cpu (it runs on abacus:0)"),
    ):
        with pytest.raises(ModelUnsupportedError) as refused:
            choose(checkpoint, "language", options)
        assert f"the engine small cannot run {stories()}: it {why}" in str(refused.value)
    with pytest.raises(ModelUnsupportedError, match="small runs no rerankers"):
        choose(checkpoint, "reranker", EngineOptions("float16"))
    with pytest.raises(ModelUnsupportedError, match="it knows no mamba"):
        choose(replace(checkpoint, family="mamba"), "embedding", EngineOptions("float16", engine="small"))


def test_a_format_that_nobody_runs_is_refused_by_everybody() -> None:
    checkpoint = opened(stories())
    with pytest.raises(ModelUnsupportedError, match="no engine here runs") as refused:
        choose(checkpoint, "language", EngineOptions("float16"))
    for engine in ENGINES:
        if "gguf" in engine.reads and "float16" not in engine.formats:
            assert f"the engine {engine.name} has no weights in float16" in str(refused.value)


def test_a_missing_package_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    for engine in ENGINES:
        if engine.package is not None:
            assert f"pip install 'turboprop-local[{engine.extra}]'" in engines_here()[engine.name][0]
    with pytest.raises(EngineError, match=r"llamacpp.*pip install 'turboprop-local\[llamacpp\]'"):
        choose(opened(stories()), "language", EngineOptions(engine="llamacpp"))
