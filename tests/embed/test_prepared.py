from __future__ import annotations

import numpy as np
import pytest

from turboprop.embed.prepared import PreparedInputs


def prepared(owners: list[int], *, normalize: bool) -> PreparedInputs:
    return PreparedInputs([[1]] * len(owners), owners, sorted(set(owners)), 0, None, 384, normalize)


def unit_rows(count: int) -> np.ndarray:
    rows = np.random.default_rng(0).standard_normal((count, 384)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("normalize", [True, False])
def test_a_text_of_one_part_keeps_its_vector_beside_one_of_two(normalize: bool) -> None:
    vectors = unit_rows(65)
    found = prepared([*range(64), 63], normalize=normalize).assemble(vectors)
    assert np.array_equal(found[:63], vectors[:63])
    mean = (vectors[63] + vectors[64]) / 2
    np.testing.assert_allclose(found[63], mean / np.linalg.norm(mean) if normalize else mean, atol=1e-6)


def test_parts_that_cancel_out_are_zero_not_undefined() -> None:
    row = unit_rows(1)[0]
    assert not prepared([0, 0], normalize=True).assemble(np.stack([row, -row])).any()
