"""Which inputs run together: sorted by length, cut under a token budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from turboprop.engines.contract import padded

TOKEN_BUDGET = 4096
"""Tokens of one batch, padding included. On 2 cores 2,048 to 8,192 differ by less than the noise; a
batch of 4,096 keeps the largest activation of a 22M model at 25 MB."""


def batches(lengths: Sequence[int], budget: int = TOKEN_BUDGET) -> Iterator[list[int]]:
    """Indices into `lengths`, longest first, so that the first batch needs the most memory of all.

    A batch costs its longest input, padded, times its count, which stays within `budget`; an input that is
    longer than the budget runs alone.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        count = max(1, budget // padded(max(1, lengths[order[start]])))
        yield order[start : start + count]
        start += count
