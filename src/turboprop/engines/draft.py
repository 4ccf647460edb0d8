"""Guessing the next ids of an answer with a small model of the same vocabulary (Leviathan et al. 2023, arXiv
2211.17192).

The small model writes some ids, the large one computes them in one step, and each is drawn from the large one's logits
as always; the first that is drawn otherwise ends the run. So the ids, and the random numbers that they take, are those
of an answer without guesses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.contract import PROMPT_TOKENS
from turboprop.engines.step import BLOCK, Forward, StepBatch

MOST = 4
"""Ids drafted at a time, at most: of a 7B shape in Q4_K a step of 5 tokens takes 1.3 to 1.6 times as long as a step of
one, of 6 tokens 1.7 to 1.9 times. With up to 5 or 6 at a time an answer would take 1.04 or 1.06 times as
long, computed from its steps."""
SURE = 0.3
"""The probability that the small model gives an id, below which it drafts no more: a wrong guess costs a step of it and
makes that of the large model longer."""
_MISSES = 2
_PAUSE = 8


class Draft:
    """The small model, with what its cache holds: the beginning of one answer. `context` bounds its tokens."""

    def __init__(self, forward: Forward, context: int, vocabulary: int) -> None:
        self._forward = forward
        self._context = context
        self._vocabulary = vocabulary
        self._blocks = np.arange(-(-context // BLOCK), dtype=np.int32)
        self._ids: list[int] = []
        self._missed = 0
        self._pause = 0
        self.guessed = 0
        """Ids that were guessed so far."""
        self.kept = 0
        """Those among them that were drawn."""

    def guess(self, ids: Sequence[int], most: int) -> list[int]:
        """Up to `most` ids that may follow prompt and answer; often fewer. Raises `StepInterruptedError`."""
        if self._pause:
            self._pause -= 1
            return []
        most = min(most, MOST, self._context - len(ids))
        known = next((at for at, (a, b) in enumerate(zip(self._ids, ids, strict=False)) if a != b), len(self._ids))
        known = min(known, len(ids) - 1)
        if most < 1 or max(ids[known:]) >= self._vocabulary:
            return []
        del self._ids[known:]
        logits = self._read(ids[known:])
        found: list[int] = []
        while True:
            likeliest = int(logits.argmax())
            if not 1 / np.exp(logits - logits[likeliest]).sum() >= SURE:  # nor where they are no numbers
                return found
            found.append(likeliest)
            if len(found) == most:
                return found
            logits = self._read([likeliest])

    def told(self, guessed: int, kept: int) -> None:
        """How many of the guessed ids were drawn: after guesses in vain it rests for some ids."""
        self.guessed += guessed
        self.kept += kept
        self._missed = 0 if kept or not guessed else self._missed + 1
        if self._missed == _MISSES:
            self._missed, self._pause = 0, _PAUSE

    def interrupt(self) -> None:
        """End the step that runs in another thread, if one does."""
        self._forward.interrupt()

    def _read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Compute what follows the ids of the cache; the logits of the last one."""
        for begin in range(0, len(ids), PROMPT_TOKENS):
            part, past = ids[begin : begin + PROMPT_TOKENS], len(self._ids)

            def whole(*values: int) -> NDArray[np.int32]:
                return np.array(values, np.int32)

            blocks = self._blocks[: -(-(past + len(part)) // BLOCK)]
            logits = self._forward(
                StepBatch(
                    whole(*part),
                    np.arange(past, past + len(part), dtype=np.int32),
                    whole(0, len(part)),
                    whole(past),
                    blocks,
                    whole(0, len(blocks)),
                    whole(len(part) - 1),
                )
            )
            self._ids += part
        return logits[0, : self._vocabulary]
