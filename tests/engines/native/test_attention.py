"""Attention over the cache against float64 of the same rounded queries, keys and values, and in float32.

In float32 only its own rounding is allowed for. What else is left to allow for is the rounding of the probabilities: a
block's weights, probability times the value's scale, are whole numbers of 255ths of the block's largest, so each is off
by half of one at most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given as whenever
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.native.programs import MemoryWeights, eight_bits, given, make, ten_bits
from turboprop.architectures.ops import Attention
from turboprop.engines.native.library import BLOCK, HEAD_GROUP
from turboprop.engines.native.ops import NativeOps
from turboprop.engines.native.program import Program
from turboprop.engines.native.steps import Value

pytestmark = pytest.mark.usefixtures("each_set", "each_cache")


class Rounding:
    """Whether queries, keys and values are rounded: with weights in 8 bits, not with those in float32."""

    weights = "int8"


@pytest.fixture(scope="module", params=["int8", "float32"])
def each_cache(request: pytest.FixtureRequest) -> None:
    Rounding.weights = request.param


def in_eight_bits(x: NDArray[np.float32], group: int) -> NDArray[np.float64]:
    return eight_bits(x, group) if Rounding.weights == "int8" else x.astype(np.float64)


@dataclass(frozen=True)
class Case:
    """Sequences of one run: `past` tokens of each are in the cache, `new` come."""

    how: Attention
    past: tuple[int, ...]
    new: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, int, int]:
        how = self.how
        return how.heads * how.head_dim, how.kv_heads * how.head_dim, how.kv_heads * how.head_dim

    @property
    def tokens(self) -> int:
        return sum(self.past) + sum(self.new)

    def rows(self, seed: int = 0) -> NDArray[np.float32]:
        """Queries, keys and values of every token, those of one sequence after those of another."""
        return np.random.default_rng(seed).standard_normal((self.tokens, sum(self.sizes))).astype(np.float32)

    def build(self, ops: NativeOps) -> Value:
        return ops.attention(*ops.split(ops.positions("x"), self.sizes), self.how)


def how(heads: int, kv_heads: int, head_dim: int, *, causal: bool = True, window: int | None = None) -> Attention:
    return Attention(heads, kv_heads, head_dim, head_dim**-0.5, causal, window)


def attend(case: Case, rows: NDArray[np.float32], *, threads: int = 2, seed: int = 0) -> NDArray[np.float32]:
    """What the kernels make of the new tokens: two runs, blocks in any order, a cache full of rubbish."""
    counts = [-(-(old + new) // BLOCK) for old, new in zip(case.past, case.new, strict=True)]
    order = np.random.default_rng(seed).permutation(sum(counts) + 2).tolist()
    blocks = [[order.pop() for _ in range(count)] for count in counts]
    program = make(case.build, MemoryWeights({"x": rows}, Rounding.weights), threads=threads, blocks=sum(counts) + 2)
    try:
        for cache in program._caches:
            cache[:] = 0xFF  # scales of NaN, and keys and values of their largest
        starts = np.cumsum([0, *(old + new for old, new in zip(case.past, case.new, strict=True))])
        if any(case.past):
            _run(program, starts, [0] * len(blocks), case.past, blocks)
        return _run(program, starts, case.past, case.new, blocks)
    finally:
        program.close()


def _run(program: Program, starts, past, lengths, blocks) -> NDArray[np.float32]:
    positions = [np.arange(at + old, at + old + new) for at, old, new in zip(starts, past, lengths, strict=False)]
    found = program.run(given(np.concatenate(positions), lengths=lengths, past=past, blocks=blocks))
    assert found is not None
    return found


def reference(case: Case, rows: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The exact output, and how far each number of it may be off."""
    h, wanted, off = case.how, [], []
    start = 0
    for old, new in zip(case.past, case.new, strict=True):
        length = old + new
        q, k, v = np.split(rows[start : start + length], np.cumsum(case.sizes)[:2], 1)
        start += length
        if new == 0:
            continue
        q, k, v = (part.reshape(length, -1, h.head_dim) for part in (q, k, v))
        query, value = in_eight_bits(q, HEAD_GROUP), in_eight_bits(v, h.head_dim)
        key = ten_bits(k, HEAD_GROUP) if Rounding.weights == "int8" else k.astype(np.float64)
        scale = np.abs(v).max(-1) / 127.0
        i, j = np.arange(old, length)[:, None], np.arange(length)
        visible = (j <= i) if h.causal else np.ones((new, length), bool)
        if h.window is not None:
            visible &= np.abs(i - j) < h.window
        output, allowed = np.empty((2, new, h.heads, h.head_dim))
        for head in range(h.heads):
            other = head * h.kv_heads // h.heads
            scores = np.where(visible, query[old:, head] @ key[:, other].T * h.scale, -np.inf)
            p = np.exp(scores - scores.max(-1, keepdims=True))
            total = p.sum(-1, keepdims=True)
            output[:, head] = p @ value[:, other] / total
            weight = np.pad(p * scale[:, other], [(0, 0), (0, -length % BLOCK)]).reshape(new, -1, BLOCK)
            steps = np.repeat(weight.max(-1) / 255, BLOCK, 1)[:, :length]
            size = np.abs(value[:, other]) / np.where(scale[:, other] > 0, scale[:, other], 1)[:, None]
            allowed[:, head] = (steps / 2 * (p > 0)) @ size / total if Rounding.weights == "int8" else 0
            # Float32: sums of products of size s are off by 2^-22 s, and e^x by as much.
            sizes = np.abs(query[old:, head]) @ np.abs(key[:, other].T) * h.scale
            wide = 1e-6 * (1 + np.where(visible, sizes, 0).max(-1, keepdims=True))
            allowed[:, head] += wide * (p @ np.abs(value[:, other])) / total
        wanted.append(output.reshape(new, -1))
        off.append(allowed.reshape(new, -1))
    return np.concatenate(wanted), np.concatenate(off)


def check(case: Case, rows: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    found = attend(case, rows, seed=seed)
    wanted, off = reference(case, rows)
    assert (np.abs(found - wanted) <= off + 1e-30).all(), np.nanmax(np.abs(found - wanted) / (off + 1e-30))
    return found


@pytest.mark.parametrize("head_dim", [1, 3, 8, 16, 24, 32, 33, 64, 80, 96, 128, 256])
@pytest.mark.parametrize("causal", [True, False])
def test_head_widths(head_dim: int, causal: bool) -> None:
    case = Case(how(4, 2, head_dim, causal=causal), (0, 37), (45, 6))
    check(case, case.rows())


@pytest.mark.parametrize("group", [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 20])
def test_grouped_queries(group: int) -> None:
    case = Case(how(group * 2, 2, 16), (3, 0), (20, 9))
    check(case, case.rows(group))


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [1, 2, 15, 16, 17, 31, 32, 33, 64, 500])
def test_windows(causal: bool, window: int) -> None:
    case = Case(how(2, 1, 16, causal=causal, window=window), (0, 70, 31), (110, 3, 2))
    check(case, case.rows(window))


@settings(max_examples=60, deadline=None)
@whenever(data=st.data())
def test_any_sequences(data: st.DataObject) -> None:
    kv_heads = data.draw(st.integers(1, 3))
    window = data.draw(st.none() | st.integers(1, 60))
    h = how(
        kv_heads * data.draw(st.integers(1, 10)),
        kv_heads,
        data.draw(st.sampled_from([8, 16, 40, 64])),
        causal=data.draw(st.booleans()),
        window=window,
    )
    sequences = data.draw(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 40)), min_size=1, max_size=5))
    past, new = ([pair[side] for pair in sequences] for side in (0, 1))
    new[data.draw(st.integers(0, len(new) - 1))] += 1  # a run has a token
    case = Case(h, tuple(past), tuple(new))
    seed = data.draw(st.integers(0, 99))
    check(case, case.rows(seed), seed)


def test_threads_make_no_difference() -> None:
    case = Case(how(6, 2, 32), (40, 0, 100), (3, 50, 1))
    rows = case.rows()
    alone = attend(case, rows, threads=1)
    for threads in (2, 5):
        assert (attend(case, rows, threads=threads) == alone).all()


def test_one_large_score_among_small_ones() -> None:
    """The large one takes it all, wherever in its block it stands; others of its block add nothing visible."""
    for place in (0, 31, 32, 63, 77):
        case = Case(how(1, 1, 32, causal=False), (0,), (78,))
        rows = case.rows(place) * np.float32(0.1)
        rows[:, :32] = 1
        rows[place, 32:64] = 20
        found = check(case, rows)
        np.testing.assert_allclose(found, np.tile(in_eight_bits(rows[place, 64:], 32), (78, 1)), rtol=1e-5)


def test_one_larger_score_beside_ones_that_count() -> None:
    """e^4 times as likely as each of 77 others: these hold more than half of the sum."""
    case = Case(how(1, 1, 32, causal=False), (0,), (78,))
    rows = case.rows() * np.float32(0.1)
    rows[:, :32] = 1
    rows[40, 32:64] = 4 / 32**0.5
    check(case, rows)


def test_thousands_of_tokens_that_are_equally_likely() -> None:
    case = Case(how(2, 1, 64), (2497,), (3,))  # the work grows with the square, and is emulated for other processors
    rows = case.rows()
    rows[:, :128] = 0
    found = check(case, rows)
    mean = rows[:2498, 192:].astype(np.float64).mean(0)
    # Half a 255th of the values' scale at each, in no direction: 0.002 * 2.7 / sqrt(2500) and the values' own rounding.
    np.testing.assert_allclose(found[0, :64], mean, atol=4e-4)


def test_a_long_context_of_random_scores() -> None:
    case = Case(how(4, 1, 64), (2400, 33), (2, 2))
    check(case, case.rows())


def test_values_and_keys_of_zeros() -> None:
    case = Case(how(2, 1, 16), (33,), (5,))
    rows = case.rows()
    rows[:, 48:] = 0
    assert (check(case, rows) == 0).all()
    rows = case.rows()
    rows[:20, 32:48] = 0
    check(case, rows)


def test_values_of_very_different_sizes() -> None:
    case = Case(how(2, 1, 16), (33,), (5,))
    rows = case.rows()
    rows[::3, 48:] *= np.float32(1e-6)
    rows[1::3, 48:] *= np.float32(1e4)
    rows[5, 48:] = np.float32(1e-42)
    check(case, rows)


def test_numbers_that_are_not_finite_stay_with_those_who_see_them() -> None:
    case = Case(how(2, 1, 16), (0, 0), (40, 40))
    for column in (3, 35, 50):  # of a query, a key and a value
        for bad in (np.nan, np.inf):
            rows = case.rows()
            rows[37, column] = bad
            found = attend(case, rows)
            assert np.isfinite(found[:37]).all()
            assert np.isfinite(found[40:]).all()
            assert not np.isfinite(found[37]).all()


def test_two_sequences_share_the_blocks_of_their_beginning() -> None:
    """One wrote them; the other's tokens are computed as if they were its own."""
    case = Case(how(4, 2, 16), (64,), (5,))
    rows = case.rows()
    program = make(case.build, MemoryWeights({"x": rows}, Rounding.weights), blocks=8)
    program.run(given(range(64), blocks=[[5, 2]]))
    positions = [*range(64, 69), *range(64, 69)]
    found = program.run(given(positions, lengths=[5, 5], past=[64, 64], blocks=[[5, 2, 0], [5, 2, 7]]))
    assert found is not None
    assert (found[:5] == found[5:]).all()
    assert (found[:5] == attend(case, rows)).all()
    program.close()
