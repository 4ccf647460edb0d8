"""What every engine promises, tested on every engine that there is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from engines.loading import load_encoder
from reference import reference
from turboprop.engines.contract import Encoder, EngineOptions
from turboprop.engines.registry import ENGINES, Engine, choose
from turboprop.errors import EngineError, ModelUnsupportedError
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings
from turboprop.types import TokenBatch

INPUTS = [[101, 7, 8, 102], [101, 102], [], [101, *range(200, 240), 102]]


def small_models(folder: Path) -> Iterator[Path]:
    """One of each kind of files."""
    yield reference("golden/synthetic-arch/tiny-bert-mean.gguf")
    yield reference("golden/synthetic-arch/tiny-bert-mean")
    pytest.importorskip("onnx")
    from engines.onnx_bert import export_bert

    yield export_bert(reference("golden/synthetic-arch/tiny-bert-mean"), folder)


def first_that_runs(engine: Engine, folder: Path) -> Checkpoint:
    """The first small model that the engine has no objection to."""
    for path in small_models(folder):
        checkpoint = open_checkpoint(resolve(str(path), load_settings()))
        with suppress(ModelUnsupportedError):
            choose(checkpoint, "embedding", EngineOptions(engine=engine.name))
            return checkpoint
    pytest.fail(f"no small model that the engine {engine.name} runs")


LOCAL = [engine for engine in ENGINES if engine.reads != ("endpoint",)]
"""One behind an address takes texts: `test_remote` has what it promises."""


@pytest.fixture(scope="module", params=LOCAL, ids=lambda engine: engine.name)
def engine(request: pytest.FixtureRequest) -> Engine:
    engine: Engine = request.param
    if engine.package is not None:
        pytest.importorskip(engine.package)
    if engine.name == "llamacpp" and sys.platform == "win32":
        pytest.skip("the worker's guard watches pipes as POSIX has them")
    return engine


@pytest.fixture(scope="module")
def checkpoint(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return first_that_runs(engine, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def encoder(engine: Engine, checkpoint: Checkpoint) -> Iterator[Encoder]:
    encoder = load_encoder(checkpoint, engine.name)
    yield encoder
    encoder.close()


def encoded(encoder: Encoder, inputs: list[list[int]]) -> np.ndarray:
    ids = [number for each in inputs for number in each]
    return encoder.encode(TokenBatch(np.array(ids, np.int32), np.array([len(each) for each in inputs], np.int32)))


def test_one_float32_row_an_input(encoder: Encoder) -> None:
    vectors = encoded(encoder, INPUTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(INPUTS), encoder.dimensions)
    assert np.isfinite(vectors).all()


def test_an_empty_input_is_zeros(encoder: Encoder) -> None:
    assert not encoded(encoder, INPUTS)[2].any()
    assert not encoded(encoder, [[]]).any()


def test_an_input_does_not_see_its_neighbours(encoder: Encoder) -> None:
    together = encoded(encoder, INPUTS)
    for index in (0, 1, 3):
        alone = encoded(encoder, [INPUTS[index]])[0]
        scale = np.linalg.norm(alone)
        # int8 rounds activations by row, so shapes may differ in the last place of a product.
        assert np.linalg.norm(alone - together[index]) <= 2e-3 * scale
    assert np.linalg.norm(together[0] - together[3]) > 0.01 * np.linalg.norm(together[3])


def test_results_are_not_overwritten(encoder: Encoder) -> None:
    first = encoded(encoder, [INPUTS[0]])
    kept = first.copy()
    encoded(encoder, [INPUTS[3]])
    np.testing.assert_array_equal(first, kept)


def test_an_id_that_the_model_does_not_have(encoder: Encoder) -> None:
    for number in (-1, 10_000_000):
        with pytest.raises(EngineError):
            encoded(encoder, [[101, number, 102]])
    assert np.isfinite(encoded(encoder, [INPUTS[0]])).all()


def test_a_closed_encoder(engine: Engine, checkpoint: Checkpoint) -> None:
    encoder = load_encoder(checkpoint, engine.name)
    encoder.close()
    encoder.close()
    with pytest.raises(EngineError, match="closed"):
        encoded(encoder, [INPUTS[0]])


def test_what_it_says_of_itself(engine: Engine, checkpoint: Checkpoint) -> None:
    choice = choose(checkpoint, "embedding", EngineOptions(engine=engine.name))
    assert (choice.engine, choice.reason) == (engine, "asked for")
    assert choice.plan.bytes > 0
    assert choice.plan.weights in (*engine.formats, "as stored")
    assert choice.plan.device in engine.devices
    assert set(engine.load().devices()) <= set(engine.devices)


def test_every_format_of_its_row_is_one_that_it_loads(engine: Engine, checkpoint: Checkpoint) -> None:
    for weights in set(engine.formats) - {"auto", "stored", "float16", "bfloat16"}:  # what a file has to have
        encoder = load_encoder(checkpoint, engine.name, EngineOptions(weights=weights))
        assert encoded(encoder, INPUTS)[0].any()
        encoder.close()
