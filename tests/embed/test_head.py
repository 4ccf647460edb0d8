"""Dense layers: their functions, and the threads that they leave alone."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from turboprop.embed.head import dense
from turboprop.models.checkpoint.view import Dense


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in ThreadpoolController().select(user_api="blas").info()]


class Watching(np.ndarray):
    """Notes how many threads the product has."""

    seen: list[list[int]]

    def __matmul__(self, other: Any) -> Any:
        Watching.seen.append(blas_threads())
        return np.asarray(self) @ other


@pytest.mark.parametrize("activation", ["identity", "tanh", "relu", "gelu"])
@pytest.mark.parametrize("bias", [False, True])
def test_dense(activation: str, bias: bool) -> None:
    from math import erf

    random = np.random.default_rng(0)
    x, w = random.standard_normal((5, 8)).astype(np.float32), random.standard_normal((3, 8)).astype(np.float32)
    b = random.standard_normal(3).astype(np.float32) if bias else None
    y = x.astype(np.float64) @ w.T.astype(np.float64) + (0 if b is None else b)
    wanted = {
        "identity": y,
        "tanh": np.tanh(y),
        "relu": np.maximum(y, 0),
        "gelu": y * (np.vectorize(erf)(y / np.sqrt(2)) + 1) / 2,
    }[activation]
    found = dense(x, Dense(w, b, activation))  # type: ignore[arg-type]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_it_takes_one_thread_and_gives_the_others_back() -> None:
    if not blas_threads():
        pytest.skip("this numpy has no library whose threads can be told")
    before = blas_threads()
    layer = Dense(np.ones((4, 4), np.float32), None, "identity")
    Watching.seen = []
    x = np.ones((2, 4), np.float32).view(Watching)
    threads = [threading.Thread(target=lambda: [dense(x, layer) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Watching.seen) == 80
    assert {number for found in Watching.seen for number in found} == {1}
    assert blas_threads() == before
