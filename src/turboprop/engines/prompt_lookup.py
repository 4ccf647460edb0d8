"""Guessing the next ids of an answer from what was said before (prompt lookup, Saxena 2023).

An answer that quotes its prompt, as one about code with its sources does, repeats runs of ids. The guessed ids are
computed in one step with the last one and each is drawn as always; the first that is drawn otherwise ends the
run. So the ids, and the random numbers that they take, are those of a generation without guesses.
"""

from __future__ import annotations

from collections.abc import Sequence

MATCHED = 3
"""Ids that must have occurred in this order: two occur by chance in most texts."""
MOST = 8
"""Ids guessed at a time, at most. On two cores a step of 4 tokens of four-bit weights takes 1.4 times as long as a
step of one, a step of 8 twice as long."""
_FIRST = 4
_PAUSE = 16


class PromptLookup:
    """The guesses of one generation. `ids` is its list of prompt and answer, which grows."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = ids
        self._next: dict[tuple[int, ...], int] = {}
        self._known = MATCHED
        self._length = _FIRST
        self._pause = 0

    def guess(self, most: int) -> list[int]:
        """Up to `most` ids that followed the last time that the latest ids occurred; often none."""
        ids = self._ids
        if self._pause:
            self._pause -= 1
            return []
        for place in range(self._known, len(ids)):
            self._next[tuple(ids[place - MATCHED : place])] = place
        self._known = max(self._known, len(ids))
        begin = self._next.get(tuple(ids[-MATCHED:]))
        if begin is None:
            return []
        found: list[int] = []
        for place in range(begin, begin + min(most, self._length)):
            # A text that repeats itself right away is followed into what was just guessed.
            found.append(ids[place] if place < len(ids) else found[place - len(ids)])
        return found

    def told(self, guessed: int, kept: int) -> None:
        """How many of the guessed ids were drawn: more are guessed after success, none for a while after failure."""
        if guessed == 0:
            return
        if kept == guessed:
            self._length = min(MOST, 2 * self._length)
        elif kept:
            self._length = max(2, kept)
        elif self._length > 1:
            self._length //= 2
        else:
            self._length, self._pause = _FIRST // 2, _PAUSE
