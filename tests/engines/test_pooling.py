"""The one function that pools, against values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from turboprop.engines.pooling import begins_of, pool, token_taken

STATES = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.float32)
BEGINS = begins_of(np.array([3, 0, 1], np.int32))
WANTED = {
    "cls": [[1, 2], [0, 0], [7, 8]],
    "last": [[5, 6], [0, 0], [7, 8]],
    "max": [[5, 6], [0, 0], [7, 8]],
    "mean": [[3, 4], [0, 0], [7, 8]],
    "mean_sqrt": [[9 / 3**0.5, 12 / 3**0.5], [0, 0], [7, 8]],
    "weighted_mean": [[22 / 6, 28 / 6], [0, 0], [7, 8]],
}
WITHOUT_THE_FIRST = {
    "cls": [[3, 4], [0, 0], [0, 0]],
    "max": [[5, 6], [0, 0], [0, 0]],
    "mean": [[4, 5], [0, 0], [0, 0]],
    "mean_sqrt": [[8 / 2**0.5, 10 / 2**0.5], [0, 0], [0, 0]],
    "weighted_mean": [[21 / 5, 26 / 5], [0, 0], [0, 0]],
}


@pytest.mark.parametrize(
    ("skip", "mode", "wanted"),
    [*((0, *each) for each in WANTED.items()), *((1, *each) for each in WITHOUT_THE_FIRST.items())],
)
def test_each_mode(skip: int, mode: str, wanted: list[list[float]]) -> None:
    np.testing.assert_allclose(pool(STATES, BEGINS, skip, (mode,)), np.array(wanted), rtol=1e-6)  # type: ignore[arg-type]


def test_several_modes_lie_side_by_side() -> None:
    found = pool(STATES, BEGINS, 0, ("mean", "cls"))
    np.testing.assert_allclose(found, np.hstack([WANTED["mean"], WANTED["cls"]]))


def test_nothing_but_empty_inputs() -> None:
    none = np.zeros((0, 2), np.float32)
    for modes in (("mean", "max"), ("last",), ("cls",)):
        assert not pool(none, np.zeros(3, np.int32), 0, modes).any()  # type: ignore[arg-type]


def test_the_token_that_is_taken() -> None:
    for mode, skip, at, missing in (("last", 0, [2, 0, 3], [1]), ("cls", 1, [1, 0, 0], [1, 2])):
        rows, none = token_taken(BEGINS, skip, mode)  # type: ignore[arg-type]
        assert (rows.tolist(), np.flatnonzero(none).tolist()) == (at, missing)
