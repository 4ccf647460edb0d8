"""Conversions: their size beforehand, the budget, what they tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from turboprop import EmbeddingModel
from turboprop.engines.contract import EngineOptions
from turboprop.engines.conversion import check_memory
from turboprop.engines.registry import load_encoder
from turboprop.errors import EngineError
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.resolve import resolve
from turboprop.progress import ModelProgress
from turboprop.settings import Settings, load_settings


class Told:
    """Records a transfer."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.done = 0
        self.finished = 0

    def __call__(self, state: ModelProgress) -> None:
        assert set(state.done) <= set(state.sizes)
        assert not state.message
        self.sizes |= state.sizes
        self.done = max(self.done, state.done_bytes)
        self.finished += state.ended


@pytest.mark.parametrize("weights", ["float32", "int8", "int4"])
def test_a_conversion_is_told_from_start_to_end_and_once(weights: str, tmp_path: Path) -> None:
    told = Told()
    settings = Settings(cache_home=tmp_path, offline=True)
    EmbeddingModel.load(weights=weights, progress=told, settings=settings).close()
    title = f"converting sentence-transformers/all-MiniLM-L6-v2 to {weights}"
    assert list(told.sizes) == [title]
    assert told.done == told.sizes[title]
    assert told.finished == 1
    again = Told()
    EmbeddingModel.load(weights=weights, progress=again, settings=settings).close()
    assert again.sizes == {}


@pytest.mark.parametrize("weights", ["float32", "int8", "int4"])
def test_the_size_said_is_the_size_on_disk(weights: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(resolve(None, load_settings()))
    options = EngineOptions(weights, cache_home=tmp_path, engine="native")  # type: ignore[arg-type]
    encoder, choice = load_encoder(checkpoint, options)
    encoder.close()
    assert choice.plan.weights == weights
    (values,) = tmp_path.glob("graphs/*/weights.bin")
    assert abs(values.stat().st_size / choice.plan.bytes - 1) < 0.05


def test_a_budget_that_is_too_small_is_an_error_that_says_what_would_do(tmp_path: Path) -> None:
    settings = Settings(cache_home=tmp_path, offline=True)
    with pytest.raises(EngineError, match=r"float32 needs 0\.4 GB .* `--weights int8` needs 0\.3 GB"):
        EmbeddingModel.load(weights="float32", memory=350_000_000, settings=settings)
    with pytest.raises(EngineError, match="smaller model"):
        EmbeddingModel.load(weights="float32", memory=100_000_000, settings=settings)
    EmbeddingModel.load(weights="int8", memory=350_000_000, settings=settings).close()


def test_without_a_budget_three_quarters_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turboprop.machine.available_bytes", lambda: 1_000_000_000)
    sizes = {"float32": 400_000_000, "int8": 100_000_000}
    check_memory("a model", "float32", sizes, None)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=r"75% of the free memory is 0\.8 GB"):
        check_memory("a model", "float32", sizes | {"float32": 420_000_000}, None)  # type: ignore[arg-type]
