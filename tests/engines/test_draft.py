"""A small model guesses for a large one: the same ids, whatever it guesses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.loading import load_generator
from engines.test_generate_goldens import cases
from reference import reference
from turboprop.engines.contract import EngineOptions
from turboprop.engines.draft import MOST, Draft
from turboprop.engines.generation_contract import Sampling, TokenRequest
from turboprop.engines.paged_generator import PagedGenerator
from turboprop.engines.step import StepBatch
from turboprop.models.checkpoint.gguf import open_gguf

Load = Callable[..., PagedGenerator]


@pytest.fixture
def load() -> Iterator[Load]:
    """Load stories260K; what was loaded is closed at the end."""
    loaded = []

    def load(weights: str = "float32", context: int | None = None) -> PagedGenerator:
        options = EngineOptions(weights, threads=2, context=context)  # type: ignore[arg-type]
        generator = load_generator(open_gguf(reference("gguf/stories260K.gguf")), "auto", options)
        assert isinstance(generator, PagedGenerator)
        loaded.append(generator)
        return generator

    yield load
    for generator in loaded:
        generator.close()


def _written(generator: PagedGenerator, request: TokenRequest) -> list[int]:
    return [token.id for token in generator.start(request)]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.8, seed=3)], ids=["greedy", "drawn"])
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_the_ids_are_those_without_it(load: Load, weights: str, sampling: Sampling) -> None:
    large, drafted = load(weights), load(weights)
    drafted.draft_with(load("int8"))
    for case in cases()[:4]:
        request = TokenRequest(tuple(case["prompt_ids"]), 80, sampling=sampling)
        assert _written(drafted, request) == _written(large, request)
    draft = drafted._loop.draft
    assert draft is not None
    assert draft.kept > 20


def test_what_the_model_itself_would_say_is_kept(load: Load) -> None:
    drafted = load()
    drafted.draft_with(load())
    _written(drafted, TokenRequest(tuple(cases()[0]["prompt_ids"]), 80))
    draft = drafted._loop.draft
    assert draft is not None
    assert draft.guessed == draft.kept > 20


def test_several_answers_at_once_are_those_without_it(load: Load) -> None:
    large, drafted = load(), load()
    drafted.draft_with(load("int8"))
    requests = [TokenRequest(tuple(case["prompt_ids"]), 60) for case in cases()[:4]]
    streams = [drafted.start(request) for request in requests]
    assert [[token.id for token in stream] for stream in streams] == [_written(large, each) for each in requests]


def test_an_answer_longer_than_the_drafts_context_goes_on(load: Load) -> None:
    large, drafted = load(), load()
    drafted.draft_with(load(context=32))
    request = TokenRequest(tuple(cases()[0]["prompt_ids"]), 100)
    assert _written(drafted, request) == _written(large, request)


def test_what_it_kept_of_other_texts_changes_no_guess(load: Load) -> None:
    model = load()
    often = Draft(model._forward, model.context, model._vocabulary)
    ids = [*cases()[0]["prompt_ids"], *cases()[0]["greedy_ids"]]
    other = [*cases()[1]["prompt_ids"], *cases()[1]["greedy_ids"]]
    for text in (ids[:40], ids[:41], other[:50], ids[:30], ids[:30], [*ids[:35], *other[:9]], ids):
        expected = Draft(model._forward, model.context, model._vocabulary).guess(text, MOST)
        assert often.guess(text, MOST) == expected


def test_ids_that_it_has_not_get_no_guess(load: Load) -> None:
    model = load()
    assert Draft(model._forward, model.context, 100).guess([1, 2, 100], MOST) == []


def test_after_guesses_in_vain_it_rests(load: Load) -> None:
    model = load()
    draft = Draft(model._forward, model.context, model._vocabulary)
    ids = [*cases()[0]["prompt_ids"], *cases()[0]["greedy_ids"][:30]]
    assert draft.guess(ids, MOST)
    for _ in range(2):
        draft.told(MOST, 0)
    assert not draft.guess(ids, MOST)
    assert any(draft.guess(ids, MOST) for _ in range(8))


def test_cancelling_ends_a_step_of_the_draft(load: Load) -> None:
    drafted = load()
    drafted.draft_with(load())
    draft = drafted._loop.draft
    assert draft is not None
    forward, drafts, cancelled = draft._forward, threading.Event(), threading.Event()

    class Waiting:
        """The draft's forward, which waits until the answer is cancelled."""

        def __call__(self, batch: StepBatch) -> NDArray[np.float32]:
            drafts.set()
            assert cancelled.wait(60)
            return forward(batch)

        def interrupt(self) -> None:
            cancelled.set()
            forward.interrupt()

    draft._forward = Waiting()
    stream = drafted.start(TokenRequest(tuple(cases()[0]["prompt_ids"]), 80))
    next(stream)
    assert drafts.wait(60)
    stream.cancel()
    assert cancelled.is_set()
    assert len(list(stream)) == 0
