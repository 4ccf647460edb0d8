"""Which inputs run together: sorted by length, cut under a token budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, takewhile


def batches(lengths: Sequence[int], budget: int, padded_to: int | None = None) -> Iterator[list[int]]:
    """Indices into `lengths`, longest first, so that the first batch needs the most memory of all.

    A batch stays within `budget` tokens. Each input takes its own; with `padded_to` it takes as many as the longest of
    the batch, rounded up to a multiple of it. An input that is longer than the budget runs alone.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        if padded_to is None:
            taken = accumulate(max(1, lengths[index]) for index in order[start:])
            count = sum(1 for _ in takewhile(lambda tokens: tokens <= budget, taken))
        else:
            count = budget // (-(-max(1, lengths[order[start]]) // padded_to) * padded_to)
        yield order[start : start + max(1, count)]
        start += max(1, count)
