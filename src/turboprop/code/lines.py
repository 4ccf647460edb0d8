"""Lines: where they start, and where to cut between them when no syntax says so."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from turboprop.types import Chunk

# What opens a line that belongs to the block above it: cutting before it strands a closing bracket.
_CLOSERS = (
    ")",
    "]",
    "}",
    "end",
    "else",
    "elif",
    "except",
    "finally",
    "catch",
    "fi",
    "done",
    "esac",
    "rescue",
    "*/",
)
# A cut after half of the budget wastes at most half of it; earlier cuts would make crumbs.
_EARLIEST = 0.5
# Weights of a cut, in units of four columns of indentation: what being off by the whole goal costs,
# and what the start of a statement or definition is worth.
_OFF_GOAL = 8.0
_BEGIN = 3.0


def line_offsets(text: str) -> list[int]:
    """Character offset of every line start, and of the end: [lines + 1].

    Only `\\n` ends a line. Text that ends with one has no empty line after it; '' has no line.
    """
    lines = text.split("\n")
    offsets = list(accumulate((len(line) + 1 for line in lines), initial=0))
    offsets[-1] = len(text)
    if not lines[-1]:
        offsets.pop()
    return offsets


def cut_points(
    text: str,
    offsets: Sequence[int],
    start: int,
    end: int,
    max_chars: int,
    begins: Collection[int] = frozenset(),
) -> list[int]:
    """Line numbers, `start` first, at which to cut the lines [start, end) into parts of `max_chars` or less.

    Among the lines that fit, the cut is where the text is least nested, best after a blank line and
    where a line in `begins` starts something; the parts come out near equal in size. A single line
    over the budget stays whole.
    """
    cuts = [start]
    first = start
    while offsets[end] - offsets[first] > max_chars:
        rest = offsets[end] - offsets[first]
        # Equal parts rather than full ones and a crumb: ceil(rest / max) parts are needed anyway.
        goal = rest / -(-rest // max_chars)
        best, best_cost = 0, float("inf")
        line = first + 1
        while line < end and offsets[line] - offsets[first] <= max_chars:
            size = offsets[line] - offsets[first]
            if size >= _EARLIEST * goal:
                cost = _cut_cost(text, offsets, line) + _OFF_GOAL * abs(size - goal) / goal
                if line in begins:
                    cost -= _BEGIN
                if cost < best_cost:
                    best, best_cost = line, cost
            line += 1
        if not best:
            # Nothing past half of the goal fits: the next line is over-long by itself.
            best = max(first + 1, line - 1)
        if best >= end:
            break
        cuts.append(best)
        first = best
    return cuts


def _cut_cost(text: str, offsets: Sequence[int], line: int) -> float:
    """How much a cut before `line` hurts: deep indentation and closers cost, a blank line before helps."""
    current = text[offsets[line] : offsets[line + 1]]
    body = current.lstrip()
    if not body:
        return 6.0  # the blank line goes with what is above it
    indent = len(current) - len(body) + 3 * current.count("\t", 0, len(current) - len(body))
    cost = min(indent, 40) / 4.0
    if body.startswith(_CLOSERS):
        cost += 4.0
    if text[offsets[line - 1] : offsets[line]].isspace():
        cost -= 3.0
    return cost


def split_chunk(chunk: Chunk, max_chars: int) -> list[Chunk]:
    """The chunk in parts of at most `max_chars` characters, cut between lines; the text is kept whole.

    Every part keeps path, language, symbol, kind and signature. One line that is longer than
    `max_chars` cannot be cut and stays over-long; a chunk that fits comes back alone. Raises
    `ValueError` when `max_chars` is below 1.
    """
    if max_chars < 1:
        raise ValueError("max_chars must be at least 1")
    if len(chunk.text) <= max_chars:
        return [chunk]
    offsets = line_offsets(chunk.text)
    count = len(offsets) - 1
    cuts = [*cut_points(chunk.text, offsets, 0, count, max_chars), count]
    bounds = _without_blank_parts(chunk.text, offsets, cuts)
    return [
        replace(
            chunk,
            start_line=chunk.start_line + first,
            end_line=chunk.start_line + last - 1,
            text=chunk.text[offsets[first] : offsets[last]],
        )
        for first, last in pairwise(bounds)
    ]


def split_line(chunk: Chunk, max_chars: int) -> list[Chunk]:
    """The chunk in parts of about `max_chars` characters, where it holds a line of more: those are cut between words,
    and the parts of a line share its number. The text is kept whole."""
    parts: list[Chunk] = []
    for part in split_chunk(chunk, max_chars):
        while len(part.text) >= 2 * max_chars:
            blank = part.text.rfind(" ", max_chars // 2, max_chars)
            cut = blank + 1 if blank >= 0 else max_chars
            passed = part.text.count("\n", 0, cut)
            # Blank lines before it may share a chunk with a long line.
            parts.append(replace(part, text=part.text[:cut], end_line=part.start_line + passed))
            part = replace(part, text=part.text[cut:], start_line=part.start_line + passed)
        parts.append(part)
    return parts


def _without_blank_parts(text: str, offsets: Sequence[int], cuts: list[int]) -> list[int]:
    """The cuts without those that would leave a part of whitespace alone."""
    kept = [cuts[0]]
    for first, last in pairwise(cuts):
        if text[offsets[first] : offsets[last]].isspace():
            if len(kept) > 1:
                kept[-1] = last  # joins the part before it
                continue
            if last != cuts[-1]:
                continue  # joins the part after it
        kept.append(last)
    return kept
