"""What every engine promises, tested on every engine that there is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reference import reference
from turboprop.engines import ENGINES, choose_engine, load_encoder, planned_weights
from turboprop.engines.contract import Encoder, EngineOptions
from turboprop.errors import EngineError
from turboprop.models.checkpoint import Checkpoint
from turboprop.models.open_checkpoint import open_checkpoint
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings
from turboprop.types import TokenBatch

INPUTS = [[101, 7, 8, 102], [101, 102], [], [101, *range(200, 240), 102]]
RUNTIMES = {"llamacpp": "xllamacpp", "fastembed": "onnxruntime"}


def model_for(engine: str, folder: Path) -> Path:
    """A small model of a kind that the engine runs; a new engine needs a line here."""
    match engine:
        case "native" | "numpy" | "openvino" | "llamacpp":
            return reference("golden/synthetic-arch/tiny-bert-mean.gguf")
        case "static":
            return reference("model2vec/test-model-float32")
        case "fastembed":
            pytest.importorskip("onnx")
            from engines.onnx_bert import export_bert

            return export_bert(reference("golden/synthetic-arch/tiny-bert-mean"), folder)
    pytest.fail(f"no model to test the engine {engine} with")


@pytest.fixture(scope="module", params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    if request.param in RUNTIMES:
        pytest.importorskip(RUNTIMES[request.param])
    if request.param == "llamacpp" and sys.platform == "win32":
        pytest.skip("the worker's guard watches pipes as POSIX has them")
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(resolve(str(model_for(engine, tmp_path_factory.mktemp("model"))), load_settings()))


@pytest.fixture(scope="module")
def encoder(engine: str, checkpoint: Checkpoint) -> Iterator[Encoder]:
    encoder = load_encoder(checkpoint, engine, EngineOptions())
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
    assert isinstance(encoder.weights, str)


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


def test_a_closed_encoder(engine: str, checkpoint: Checkpoint) -> None:
    encoder = load_encoder(checkpoint, engine, EngineOptions())
    encoder.close()
    encoder.close()
    with pytest.raises(EngineError, match="closed"):
        encoded(encoder, [INPUTS[0]])


def test_the_plan_names_what_will_run(engine: str, checkpoint: Checkpoint, encoder: Encoder) -> None:
    assert choose_engine(checkpoint, engine).name == engine
    weights, size = planned_weights(checkpoint, engine, EngineOptions())
    assert size > 0
    assert weights == encoder.weights or engine == "static"


def test_what_a_processor_lacks_is_an_error_with_a_next_step() -> None:
    """oneDNN kept to AVX2 has no product for the grouped activations that OpenVINO plans where there is AVX-512."""
    command = [sys.executable, "-m", "turboprop", "embed", "--engine", "openvino", "--weights", "int8", "a text"]
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "try --weights float32" in done.stderr
    assert "Traceback" not in done.stderr
