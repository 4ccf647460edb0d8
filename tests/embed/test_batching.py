"""Batches cover every input once, within the budget, longest first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from turboprop.embed.batching import batches


@given(
    st.lists(st.integers(0, 600), max_size=200), st.integers(1, 5000), st.one_of(st.none(), st.sampled_from([1, 16]))
)
def test_batches(lengths: list[int], budget: int, padded_to: int | None) -> None:
    made = list(batches(lengths, budget, padded_to))
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    for batch in made:
        if padded_to is None:
            taken = sum(lengths[index] for index in batch)
        else:
            taken = -(-max(lengths[index] for index in batch) // padded_to) * padded_to * len(batch)
        assert len(batch) == 1 or taken <= budget
    longest = [max(lengths[index] for index in batch) for batch in made]
    assert longest == sorted(longest, reverse=True)


def test_inputs_end_to_end_fill_a_batch() -> None:
    assert list(batches([10, 500, 90, 400], 500)) == [[1], [3, 2, 0]]
    assert list(batches([10, 500, 90, 400], 500, 16)) == [[1], [3], [2, 0]]
