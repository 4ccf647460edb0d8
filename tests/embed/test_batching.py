"""Batches cover every input once, within the budget, longest first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from turboprop.embed.batching import batches


@given(st.lists(st.integers(0, 600), max_size=200), st.integers(1, 5000))
def test_batches(lengths: list[int], budget: int) -> None:
    made = list(batches(lengths, budget))
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) == 1 or max(lengths[index] for index in batch) * len(batch) <= budget
    longest = [max(lengths[index] for index in batch) for batch in made]
    assert longest == sorted(longest, reverse=True)
