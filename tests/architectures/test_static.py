"""Static models: the mean of a table's rows, in every form of the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from architectures.running import pack
from engines.loading import chosen, load_encoder
from turboprop.errors import EngineError, ModelUnsupportedError, UsageError
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.local import LocalModel

ROWS, TOKENS, UNKNOWN = 50, 200, 7
RANDOM = np.random.default_rng(5)
TABLE = RANDOM.standard_normal((TOKENS, 24)).astype(np.float32)
MAPPING = RANDOM.integers(0, ROWS, TOKENS).astype(np.int64)
FACTORS = RANDOM.random(TOKENS)
LONG = RANDOM.integers(0, TOKENS, 40_000).tolist()
INPUTS = [[3, 9, UNKNOWN, 27], [], [UNKNOWN], LONG, [5, 5]]


def static(folder: Path, **tensors: np.ndarray) -> Checkpoint:
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec"}))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"unk_id": UNKNOWN}}))
    return open_checkpoint(LocalModel("static", folder, "path"))


@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("mapped", [False, True])
def test_the_mean_of_the_rows(tmp_path: Path, mapped: bool, weighted: bool, skip: int) -> None:
    tensors: dict[str, np.ndarray] = {"embeddings": TABLE[:ROWS] if mapped else TABLE}
    tensors |= {"mapping": MAPPING} if mapped else {}
    tensors |= {"weights": FACTORS} if weighted else {}
    encoder = load_encoder(static(tmp_path, **tensors), "auto")
    found = encoder.encode(pack(INPUTS, skip))
    assert found.shape == (len(INPUTS), encoder.dimensions)
    rows = TABLE.astype(np.float64)[MAPPING if mapped else np.arange(TOKENS)]
    rows *= FACTORS.astype(np.float32)[:, None] if weighted else 1
    for ids, vector in zip(INPUTS, found, strict=True):
        counted = [number for number in ids[skip:] if number != UNKNOWN]
        np.testing.assert_allclose(vector, rows[counted].mean(0) if counted else 0 * rows[0], rtol=1e-6, atol=1e-8)
    encoder.close()
    with pytest.raises(EngineError, match="closed"):
        encoder.encode(pack(INPUTS))


@pytest.mark.parametrize("number", [-1, TOKENS])
def test_an_id_beyond_the_mapping(tmp_path: Path, number: int) -> None:
    encoder = load_encoder(static(tmp_path, embeddings=TABLE[:ROWS], mapping=MAPPING), "auto")
    assert encoder.encode(pack([[TOKENS - 1]])).any()
    with pytest.raises(EngineError, match=f"has {TOKENS} tokens"):
        encoder.encode(pack([[3, number]]))


def test_numpy_runs_them_and_the_others_say_why_not(tmp_path: Path) -> None:
    checkpoint = static(tmp_path, embeddings=TABLE)
    choice = chosen(checkpoint)
    assert (choice.name, choice.plan.weights, choice.plan.bytes) == ("numpy", "float32", TABLE.nbytes)
    assert "native multiplies matrices" in choice.reason
    with pytest.raises(ModelUnsupportedError, match=r"a table to average.*that takes numpy"):
        chosen(checkpoint, "native")
    with pytest.raises(UsageError, match=r"no engine 'static'; there are: .*numpy"):
        chosen(checkpoint, "static")
