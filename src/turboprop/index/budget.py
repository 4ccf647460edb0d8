"""What a run of indexing may take of memory, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from turboprop.engines.resident import give_back_heap
from turboprop.errors import MemoryBudgetError
from turboprop.index.lance_table import load_lance
from turboprop.index.write import BUFFER_BYTES
from turboprop.machine import resident_bytes

RESERVE = 0.15
LEAST_RESERVE = 110_000_000
"""Of the limit, what is not divided: a share for words and the allocators of two libraries, and at least what every
run comes to touch: 57 MB of Lance's code once it writes and scans, 28 MB of parsers, 25 MB of kernels and weights."""
LEAST_ROOM = 50_000_000
"""Beside the loaded model, Lance and the reserve: one batch and some rows."""
TOKENS_MOST, TOKENS_LEAST = 4096, 512
_FLOATS_A_TOKEN = 24
"""Working memory of one token, as a multiple of the model's width, in float32: 37 kB for a width of 384, where
all-MiniLM-L6-v2 was seen to take 26 kB."""
GROUP_CHARS_MOST = 4_000_000
LEXICON_ROW = 4_000
"""Bytes a row while the lexicon is made, at the end of a run: 3,300 seen for chunks of 20 lines, 59 terms each."""


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """`limit` in bytes; `tokens` of a batch, `buffer_bytes` of rows before they are written, `group_chars` of text
    that is read before it is embedded."""

    limit: int | None = None
    tokens: int = TOKENS_MOST
    buffer_bytes: int = BUFFER_BYTES
    group_chars: int = GROUP_CHARS_MOST

    def check(self, rows: int = 0) -> None:
        """Raise `MemoryBudgetError` where more is taken, even after what is free was given back; `rows` are those of
        a lexicon that has to be made."""
        extra = rows * LEXICON_ROW
        if self.limit is None or (resident_bytes() or 0) + extra <= self.limit:
            return
        give_back_heap()
        taken = (resident_bytes() or 0) + extra
        if taken > self.limit:
            what = f"{rows:,} chunks need" if rows else "indexing took"
            raise MemoryBudgetError(
                f"{what} {_mb(taken)} and --memory is {_mb(self.limit)}; what was done is kept, and the next "
                "run goes on from there. Give more, or take a smaller model"
            )


def memory_budget(limit: int | None, model: str, width: int) -> MemoryBudget:
    """Divide what is left of `limit` bytes once the model is loaded; None sets no bound.

    Raises `MemoryBudgetError` where that is too little.
    """
    if limit is None:
        return MemoryBudget()
    load_lance()  # its libraries are a part of what is taken before there is a row
    give_back_heap()
    taken = resident_bytes()
    if taken is None:
        return MemoryBudget(limit)
    room = limit - max(int(limit * RESERVE), LEAST_RESERVE) - taken
    if room < LEAST_ROOM:
        least = max(int((taken + LEAST_ROOM) / (1 - RESERVE)), taken + LEAST_ROOM + LEAST_RESERVE)
        raise MemoryBudgetError(
            f"--memory {_mb(limit)} is too little: {model} takes {_mb(taken)} once it is loaded, and indexing "
            f"{_mb(least - taken)} more. Give {_mb(least)}, or take a smaller model"
        )
    tokens = room // 4 // (4 * _FLOATS_A_TOKEN * width)
    return MemoryBudget(
        limit,
        tokens=int(min(max(tokens, TOKENS_LEAST), TOKENS_MOST)),
        buffer_bytes=min(BUFFER_BYTES, room // 8),
        group_chars=min(GROUP_CHARS_MOST, room // 40),
    )


def _mb(count: int) -> str:
    return f"{-(-count // 1_000_000):,} MB"
