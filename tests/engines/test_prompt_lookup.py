"""Guesses of the next ids."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from turboprop.engines.prompt_lookup import MATCHED, MOST, PromptLookup

texts = st.lists(st.integers(0, 3), min_size=1, max_size=60)


def test_what_followed_the_last_time_is_guessed() -> None:
    ids = [1, 2, 3, 9, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3]
    lookup = PromptLookup(ids)
    assert lookup.guess(8) == [4, 5, 6, 7]
    lookup.told(4, 4)
    assert lookup.guess(8) == [4, 5, 6, 7, 8, 1, 2, 3]
    assert lookup.guess(2) == [4, 5]
    ids.append(10)
    assert lookup.guess(8) == []


def test_a_text_that_repeats_itself_is_followed_into_the_guess() -> None:
    assert PromptLookup([7, 5, 6, 5, 6, 5]).guess(4) == [6, 5, 6, 5]


def test_after_wrong_guesses_there_are_none_for_a_while() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 1, 2, 3])
    for length in (4, 2, 1):
        guessed = lookup.guess(MOST)
        assert len(guessed) == length
        lookup.told(length, 0)
    assert not any(lookup.guess(MOST) for _ in range(16))
    assert lookup.guess(MOST)


@given(texts, st.integers(1, 20))
def test_every_guess_continues_an_earlier_run(ids: list[int], most: int) -> None:
    guessed = PromptLookup(ids).guess(most)
    assert len(guessed) <= min(most, MOST)
    said = ids + guessed
    for place in range(len(ids), len(said)):
        last = tuple(said[place - MATCHED : place + 1])
        runs = {tuple(said[at : at + MATCHED + 1]) for at in range(place - MATCHED)}
        assert last in runs
