"""The plane of the map holds what an exact decomposition holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from turboprop.index.projection import project


def exact(vectors: np.ndarray) -> np.ndarray:
    centred = vectors - vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    return centred @ axes[:2].T


@pytest.mark.parametrize("shape", [(500, 64), (40, 300), (2000, 384)])
def test_it_holds_the_variance_of_an_exact_plane(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(7)
    vectors = (random.standard_normal(shape) * np.linspace(3, 1, shape[1])).astype(np.float32)
    points = project(vectors)
    wanted = exact(vectors)
    held = points.var(axis=0).sum() * (np.abs(wanted).max() / np.abs(points).max()) ** 2
    assert points.var(axis=0)[0] >= points.var(axis=0)[1]
    # Noise has no clear second direction, so what counts is how much of the variance the plane holds.
    assert np.ptp(points) <= 2 + 1e-5
    correlation = np.corrcoef(points[:, 0], wanted[:, 0])[0, 1]
    assert abs(correlation) > 0.9
    assert held > 0.8 * wanted.var(axis=0).sum()


def test_clusters_stand_apart_as_in_the_exact_plane() -> None:
    random = np.random.default_rng(1)
    centres = random.standard_normal((3, 384)) * 4
    vectors = np.concatenate([centre + random.standard_normal((50, 384)) for centre in centres]).astype(np.float16)
    points = project(vectors)
    wanted = exact(vectors.astype(np.float32))
    for axis in range(2):
        assert abs(np.corrcoef(points[:, axis], wanted[:, axis])[0, 1]) > 0.9999
    middles = points.reshape(3, 50, 2).mean(axis=1)
    spread = points.reshape(3, 50, 2).std(axis=1).max()
    assert min(np.linalg.norm(middles[a] - middles[b]) for a, b in ((0, 1), (0, 2), (1, 2))) > 5 * spread


def test_the_same_vectors_give_the_same_points() -> None:
    vectors = np.random.default_rng(3).standard_normal((100, 32)).astype(np.float32)
    assert (project(vectors) == project(vectors.copy())).all()


@pytest.mark.parametrize("shape", [(0, 8), (1, 8), (2, 8), (5, 1), (5, 0)])
def test_few_vectors_and_few_dimensions(shape: tuple[int, int]) -> None:
    points = project(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    assert points.shape == (shape[0], 2)
    assert np.isfinite(points).all()


def test_equal_vectors_lie_on_one_point() -> None:
    assert (project(np.full((10, 8), 0.3, np.float32)) == 0).all()


def test_a_vector_that_is_not_finite_moves_no_other() -> None:
    vectors = np.random.default_rng(5).standard_normal((20, 8)).astype(np.float32)
    broken = np.vstack([vectors, np.full((1, 8), np.nan, np.float32)])
    points = project(broken)
    assert (points[-1] == 0).all()
    assert np.allclose(points[:-1], project(vectors), atol=1e-5)


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        project(np.zeros(8, np.float32))


@given(arrays(np.float16, st.tuples(st.integers(0, 30), st.integers(1, 20)), elements=st.floats(-100, 100, width=16)))
def test_points_stay_within_the_plane(vectors: np.ndarray) -> None:
    points = project(vectors)
    assert points.shape == (len(vectors), 2)
    assert np.isfinite(points).all()
    assert np.abs(points).max(initial=0) <= 1 + 1e-5
