"""Drawing ids: against the definitions, written out plainly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turboprop.engines.generation_contract import Sampling
from turboprop.engines.sampler import Sampler, largest, log_softmax

LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=40).map(lambda v: np.array(v, np.float32))


def kept(logits: np.ndarray, how: Sampling) -> set[int]:
    """Ids that top-k, top-p and min-p leave, one after the other."""
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    if how.top_k:
        order = order[: how.top_k]
    p = np.exp(logits[order].astype(np.float64) - logits.max())
    p /= p.sum()
    if how.top_p < 1:
        count = next((n + 1 for n in range(len(p)) if p[: n + 1].sum() >= how.top_p), len(p))
        order, p = order[:count], p[:count]
    if how.min_p:
        order = [i for i, value in zip(order, p, strict=True) if value >= how.min_p * p.max() * (1 - 1e-9)]
    return set(order)


@settings(deadline=None)
@given(LOGITS, st.integers(0, 8), st.floats(0.05, 1), st.floats(0, 1), st.integers(0, 1000))
def test_only_what_the_filters_leave_is_drawn(
    logits: np.ndarray, top_k: int, top_p: float, min_p: float, seed: int
) -> None:
    how = Sampling(1.0, top_k, top_p, min_p, seed=seed)
    near = Sampling(1.0, top_k, min(1.0, top_p + 1e-6), max(0.0, min_p - 1e-6), seed=seed)
    sampler = Sampler(how, [], len(logits), None)
    assert {sampler.draw(logits).id for _ in range(20)} <= kept(logits, near)


def test_frequencies_are_the_probabilities() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    sampler = Sampler(Sampling(2.0, seed=3), [], 4, None)
    counts = np.bincount([sampler.draw(logits).id for _ in range(20_000)], minlength=4) / 20_000
    flat = np.sqrt([0.5, 0.3, 0.15, 0.05])
    np.testing.assert_allclose(counts, flat / flat.sum(), atol=0.015)


def test_top_p_looks_at_the_models_own_probabilities() -> None:
    logits = np.log(np.array([0.6, 0.3, 0.1], np.float32))
    sampler = Sampler(Sampling(100.0, top_p=0.6, seed=1), [], 3, None)
    assert {sampler.draw(logits).id for _ in range(50)} == {0}


@given(LOGITS, st.integers(0, 50))
def test_the_largest(values: np.ndarray, count: int) -> None:
    wanted = sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]
    found = largest(values, count)
    assert found.tolist() == wanted


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_temperature_of_0_takes_the_likeliest(temperature: float) -> None:
    logits = np.array([1, 5, 4.9], np.float32)
    sampler = Sampler(Sampling(temperature, seed=5), [], 3, None)
    found = {sampler.draw(logits).id for _ in range(200)}
    assert found == ({1} if temperature == 0 else {0, 1, 2})


def test_penalties() -> None:
    logits = np.array([2.0, 1.9, -1.0, 0.0], np.float32)
    assert Sampler(Sampling(repetition_penalty=1.5), [0], 4, None).draw(logits).id == 1
    # A negative logit is multiplied, so that it falls too.
    both = Sampler(Sampling(repetition_penalty=1.5), [0, 1, 2], 4, None)
    assert both.draw(np.array([-1.0, -1.0, -1.0, -1.4], np.float32)).id == 3
    present = Sampler(Sampling(presence_penalty=0.2), [0, 1], 4, None)
    assert [present.draw(logits).id for _ in range(4)] == [0, 1, 0, 0]
    frequent = Sampler(Sampling(frequency_penalty=0.2), [0, 1], 4, None)
    assert [frequent.draw(logits).id for _ in range(4)] == [0, 1, 0, 1]


def test_log_probabilities_are_of_the_plain_logits() -> None:
    logits = np.array([1.0, 3.0, 2.0], np.float32)
    token = Sampler(Sampling(presence_penalty=2, repetition_penalty=2), [1], 3, 2).draw(logits)
    wanted = log_softmax(logits)
    assert token.id == 2
    assert token.logprob == pytest.approx(wanted[2])
    assert [number for number, _ in token.top] == [1, 2]
    assert np.exp(wanted).sum() == pytest.approx(1)


def test_a_constraint_holds() -> None:
    allowed = np.array([False, False, True, False])
    sampler = Sampler(Sampling(1.0, top_k=2, seed=0), [], 4, None)
    assert {sampler.draw(np.array([9, 8, -5, 7], np.float32), allowed).id for _ in range(20)} == {2}
