"""What a run of indexing may take of memory, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turboprop.engines.resident import give_back_heap
from turboprop.errors import MemoryBudgetError
from turboprop.index.lance_table import load_lance
from turboprop.index.write import BUFFER_BYTES
from turboprop.machine import resident_bytes

if TYPE_CHECKING:
    from turboprop.code.walk import SourceFile

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
FILE_BYTES = 1_100
"""Of each file, beside what the walk keeps: 720 in the manifest and 360 while it is written, seen for 50,000 files."""
ROW_CHARS = 800
"""Bytes of source a row, where a file has more than one: 827 of 30 MB of Python."""
LEXICON_ROW = 2_000
"""Bytes a row while the lexicon is made, at the end of a run: 1,060 seen, and what was taken before is not all back."""
_VECTOR_BYTES = 6
"""Bytes a number of a vector while the vectors are indexed: with Lance's code for it 106 MB for 50,000 of 384."""
_COMPACTED_ROW, _COMPACTED_MOST = 3_500, 105_000_000
"""While fragments are merged, which Lance does in batches: 97 MB for 36,100 rows, 71 MB for 50,000 small ones."""


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """`limit` in bytes; `tokens` of a batch (None: what suits the engine), `buffer_bytes` of rows before they
    are written, `group_chars` of text that is read before it is embedded."""

    limit: int | None = None
    tokens: int | None = None
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


def memory_budget(limit: int | None, model: str, width: int, files: Sequence[SourceFile] = ()) -> MemoryBudget:
    """Divide what is left of `limit` bytes once the model is loaded and the files are found; None sets no bound.

    Raises `MemoryBudgetError` where that is too little, for the run itself or for its end: before anything is done.
    """
    if limit is None:
        return MemoryBudget()
    load_lance()  # its libraries are a part of what is taken before there is a row
    give_back_heap()
    taken = resident_bytes()
    if taken is None:
        return MemoryBudget(limit)
    kept = taken + len(files) * FILE_BYTES
    rows = sum(max(1, file.size // ROW_CHARS) for file in files)
    room = limit - max(int(limit * RESERVE), LEAST_RESERVE) - kept
    end = kept + LEAST_RESERVE
    end += max(min(rows * _COMPACTED_ROW, _COMPACTED_MOST), rows * LEXICON_ROW, rows * _VECTOR_BYTES * width)
    if room < LEAST_ROOM or limit < end:
        least = max(int((kept + LEAST_ROOM) / (1 - RESERVE)), kept + LEAST_ROOM + LEAST_RESERVE, end)
        of = f"{len(files):,} files" if len(files) > 1 else "indexing"
        raise MemoryBudgetError(
            f"--memory {_mb(limit)} is too little: {model} takes {_mb(taken)} once it is loaded, and {of} "
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
