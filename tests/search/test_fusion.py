from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.search.fusion import reciprocal_rank_fusion

RANKINGS = st.lists(st.lists(st.integers(0, 30), unique=True), max_size=4)


def test_by_hand() -> None:
    fused = reciprocal_rank_fusion([[1, 2, 3], [2, 4]], k=60)
    most = 2 / 61
    assert [row for row, _ in fused] == [2, 1, 4, 3]
    assert dict(fused)[2] == pytest.approx((1 / 62 + 1 / 61) / most)
    assert dict(fused)[3] == pytest.approx((1 / 63) / most)


def test_the_leader_of_every_ranking_has_one() -> None:
    assert reciprocal_rank_fusion([[7, 1], [7, 2], [7]])[0] == (7, pytest.approx(1.0))


def test_equal_scores_keep_their_order() -> None:
    assert [row for row, _ in reciprocal_rank_fusion([[5, 3], [9, 1]])] == [5, 9, 3, 1]


@given(RANKINGS)
def test_every_row_once_best_first_between_0_and_1(rankings: list[list[int]]) -> None:
    fused = reciprocal_rank_fusion(rankings)
    assert {row for row, _ in fused} == {row for ranking in rankings for row in ranking}
    assert len(fused) == len({row for row, _ in fused})
    scores = [score for _, score in fused]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 + 1e-9 for score in scores)


@given(st.lists(st.integers(0, 30), unique=True))
def test_one_ranking_stays_as_it_is(ranking: list[int]) -> None:
    assert [row for row, _ in reciprocal_rank_fusion([ranking])] == ranking
