"""Chunks that a model takes whole: what is too long is cut in halves until it fits, never cut off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from turboprop.code.lines import split_chunk
from turboprop.index.schema import embedded_text
from turboprop.types import Chunk


def fit_chunks(chunks: Sequence[Chunk], fits: Callable[[Sequence[str]], Sequence[bool]]) -> list[Chunk]:
    """The chunks in order, each over-long one in parts that fit.

    Cuts fall between lines; a single line that does not fit is cut between words (parts of one line
    share its number). Joined, the texts are what they were. A single character is never cut, so this
    ends even where nothing fits.
    """
    fitted = fits([embedded_text(chunk) for chunk in chunks])
    result: list[Chunk] = []
    for chunk, whole in zip(chunks, fitted, strict=True):
        if whole or len(chunk.text) <= 1:
            result.append(chunk)
        else:
            result.extend(fit_chunks(_halves(chunk), fits))
    return result


def _halves(chunk: Chunk) -> list[Chunk]:
    half = (len(chunk.text) + 1) // 2
    parts = split_chunk(chunk, half)
    if len(parts) > 1:
        return parts
    cut = _word_end(chunk.text, half)
    if chunk.start_line == chunk.end_line:
        return [replace(chunk, text=chunk.text[:cut]), replace(chunk, text=chunk.text[cut:])]
    # One long line with blank ones around it: the first part ends where its text does.
    line = chunk.start_line + chunk.text.count("\n", 0, cut)
    last = line - 1 if chunk.text[cut - 1] == "\n" else line
    return [
        replace(chunk, end_line=max(last, chunk.start_line), text=chunk.text[:cut]),
        replace(chunk, start_line=min(line, chunk.end_line), text=chunk.text[cut:]),
    ]


def _word_end(text: str, half: int) -> int:
    """A cut near the middle, after a blank where one is near; never at either end."""
    blank = max(text.rfind(" ", half // 2, half), text.rfind("\n", half // 2, half))
    cut = blank + 1 if blank >= 0 else half
    return min(max(cut, 1), len(text) - 1)
