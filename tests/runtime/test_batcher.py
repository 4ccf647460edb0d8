from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from turboprop import EmbeddingModel, EmbeddingOptions
from turboprop.errors import BusyError, EngineError
from turboprop.runtime.batcher import EmbeddingBatcher
from turboprop.types import TokenBatch


@pytest.fixture(scope="module")
def model(minilm_folder: Path) -> Iterator[EmbeddingModel]:
    with EmbeddingModel.load(str(minilm_folder)) as loaded:
        yield loaded


@pytest.fixture
def batcher(model: EmbeddingModel) -> Iterator[EmbeddingBatcher]:
    made = EmbeddingBatcher(model)
    yield made
    made.close()


def test_concurrent_requests_equal_single_ones(
    model: EmbeddingModel, batcher: EmbeddingBatcher, code_pieces: list[str]
) -> None:
    groups = [code_pieces[start : start + 7] for start in range(0, 112, 7)]
    alone = [model.embed_documents(group, overlong="truncate") for group in groups]
    with ThreadPoolExecutor(16) as pool:
        together = list(
            pool.map(lambda group: batcher.embed(model.prepare(group, "document", overlong="truncate")), groups)
        )
    for one, other in zip(alone, together, strict=True):
        assert other.shape == one.shape
        # int8 activations are scaled over a batch, so neighbours move the last digits.
        assert (one * other).sum(axis=1).min() > 0.995


def test_requests_that_wait_share_batches(model: EmbeddingModel) -> None:
    entered, go = threading.Event(), threading.Event()
    inputs: list[int] = []

    class Held(EmbeddingModel):
        """The model itself, held before its first batch until everyone has asked."""

        def __init__(self) -> None:
            self.__dict__.update(model.__dict__)

        def run(self, batch: TokenBatch) -> np.ndarray:
            inputs.append(len(batch.lengths))
            entered.set()
            go.wait()
            return model.run(batch)

    batcher = EmbeddingBatcher(Held())
    first = batcher.submit(model.prepare(["held"], "document"))
    entered.wait()
    others = [batcher.submit(model.prepare([f"text number {n}"], "document")) for n in range(32)]
    go.set()
    assert first.result().shape == (1, 384)
    assert all(np.isfinite(other.result()).all() for other in others)
    assert inputs == [1, 32]
    batcher.close()


def test_options_differ_within_a_batch(model: EmbeddingModel, batcher: EmbeddingBatcher) -> None:
    raw = batcher.submit(model.prepare(["one text"], "document", EmbeddingOptions(normalize=False)))
    unit = batcher.submit(model.prepare(["one text"], "document"))
    assert np.linalg.norm(unit.result()) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(raw.result()) != pytest.approx(1, abs=1e-2)


def test_equal_texts_run_once_and_count_as_given(model: EmbeddingModel, batcher: EmbeddingBatcher) -> None:
    prepared = model.prepare(["same", "other words", "same"], "document")
    assert len(prepared.inputs) == 2
    assert prepared.tokens == sum(model.count_tokens(["same", "other words", "same"]))
    vectors = batcher.embed(prepared)
    assert (vectors[0] == vectors[2]).all()


def test_token_ids_run_as_they_are(model: EmbeddingModel, batcher: EmbeddingBatcher) -> None:
    ids = model.tokenizer.encode("hello world").ids
    from_ids = batcher.embed(model.prepare_ids([ids]))
    assert (from_ids @ model.embed_documents(["hello world"]).T)[0, 0] == pytest.approx(1, abs=1e-3)


def test_no_input_is_no_vector(model: EmbeddingModel, batcher: EmbeddingBatcher) -> None:
    assert batcher.embed(model.prepare([], "document")).shape == (0, 384)


def test_a_full_queue_refuses(model: EmbeddingModel) -> None:
    entered, go = threading.Event(), threading.Event()
    inputs: list[int] = []

    class Held(EmbeddingModel):
        def __init__(self) -> None:
            self.__dict__.update(model.__dict__)

        def run(self, batch: TokenBatch) -> np.ndarray:
            inputs.append(len(batch.lengths))
            entered.set()
            go.wait()
            return model.run(batch)

    batcher = EmbeddingBatcher(Held(), waiting_tokens=20)
    running = batcher.submit(model.prepare(["a b c d e f g h i j k l m n o p q r s t u v w x y z"], "document"))
    entered.wait()
    waiting = batcher.submit(model.prepare(["one two three four five six"], "document"))
    with pytest.raises(BusyError, match="may; try again"):
        batcher.submit(model.prepare(["one two three four five six seven eight nine ten eleven"], "document"))
    dropped = batcher.submit(model.prepare(["short"], "document"))
    assert dropped.cancel()
    go.set()
    assert running.result().shape == waiting.result().shape == (1, 384)
    batcher.close()
    assert batcher.waiting_tokens == 0
    with pytest.raises(EngineError, match="unloaded"):
        batcher.submit(model.prepare(["late"], "document"))


def test_a_failing_engine_fails_its_requests_and_no_more(model: EmbeddingModel) -> None:
    class Failing(EmbeddingModel):
        def __init__(self) -> None:
            self.__dict__.update(model.__dict__)
            self.broken = True

        def run(self, batch: TokenBatch) -> np.ndarray:
            if self.broken:
                raise EngineError("the engine stumbled")
            return model.run(batch)

    failing = Failing()
    batcher = EmbeddingBatcher(failing)
    with pytest.raises(EngineError, match="stumbled"):
        batcher.embed(model.prepare(["text"], "document"))
    failing.broken = False
    assert batcher.embed(model.prepare(["text"], "document")).shape == (1, 384)
    batcher.close()
