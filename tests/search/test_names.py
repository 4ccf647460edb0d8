from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.search.names import NameCoverage


def share(words: list[str], query: set[str]) -> float:
    return NameCoverage(frozenset(query), lambda _: 1.0).of(words)[0]


@pytest.mark.parametrize(
    ("words", "query", "wanted"),
    [
        (["router"], {"router"}, 1.0),
        (["routing"], {"rout"}, 1.0),
        (["config"], {"configur"}, 1.0),
        (["auth"], {"authent"}, 1.0),
        (["conf"], {"conflict"}, 0.0),
        (["form"], {"formula"}, 1.0),
        (["doc"], {"document"}, 0.0),
        (["contract"], {"contrast"}, 0.0),
        (["app", "config"], {"config"}, 0.5),
        (["appconfig"], {"config"}, 6 / 9),
        (["authenticator"], {"auth"}, 4 / 13),
        (["position"], {"os"}, 0.0),
        (["os"], {"os"}, 1.0),
        (["contest"], {"test"}, 4 / 7),
        (["json"], {"pool"}, 0.0),
        ([], {"pool"}, 0.0),
        (["pool"], {"=pool"}, 0.0),
    ],
)
def test_shares(words: list[str], query: set[str], wanted: float) -> None:
    assert share(words, query) == pytest.approx(wanted)


def test_rare_words_weigh_more() -> None:
    covered, matched = NameCoverage(frozenset({"rare"}), {"common": 1.0, "rare": 3.0}.__getitem__).of(
        ["common", "rare"]
    )
    assert (covered, matched) == (0.75, 3.0)


@given(
    st.lists(st.text("abcde", min_size=1, max_size=8), max_size=4), st.sets(st.text("abcde", min_size=1, max_size=8))
)
def test_a_share_is_a_share_and_more_words_never_cover_less(words: list[str], query: set[str]) -> None:
    whole = share(words, query)
    assert 0 <= whole <= 1
    assert share(words, query | {"zzzz"}) == whole
