"""What is shown of a hit: the lines that match, lines around them, or the whole definition that it is a part of."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turboprop.code.inside import lines_inside
from turboprop.code.terms import counted_terms, placed_words, words
from turboprop.errors import IndexNotFoundError, UsageError
from turboprop.index.lance_table import sql_in
from turboprop.index.schema import END_LINE, PATH, START_LINE, SYMBOL, TEXT
from turboprop.search.analysis import STOP_WORDS
from turboprop.types import Hit, Match

if TYPE_CHECKING:
    from turboprop.index.read import IndexReader
    from turboprop.search.analysis import Query
    from turboprop.search.places import Mention

_PLACE = 1_000.0
"""How much a line counts that the query names: all, whatever words stand elsewhere."""
_PHRASE = 20.0
"""How much a phrase in quotes counts among the matches of a hit; a rare word counts up to 10."""


def with_matches(reader: IndexReader, query: Query, hits: Sequence[Hit]) -> list[Hit]:
    """The hits with the words of the query in their texts, the rarer ones counting more; of words that stand in most
    sentences only where the query has no other."""
    lexicon = reader.lexicon
    most = max(query.terms.values(), default=0.0)
    weights = {
        term: weight * math.log(1 + lexicon.rows / (1 + len(lexicon.postings(term)[0])))
        for term, weight in query.terms.items()
        if weight == most
    }
    whole = {word.lower() for word in words(query.text) if word.lower() not in STOP_WORDS}
    return [
        replace(
            hit, matches=(*hit.matches, *_places(hit, query.mentions), *_matches(hit, weights, query.phrases, whole))
        )
        for hit in hits
    ]


def _places(hit: Hit, mentions: Sequence[Mention]) -> Iterator[Match]:
    """The lines that the query names, of a hit that was found by its place."""
    if not hit.parts.get("place"):
        return
    lines = hit.text.split("\n")
    name = hit.path.rpartition("/")[2].lower()
    for each in mentions:
        at = each.line - hit.start_line
        if each.line and 0 <= at < len(lines) and name in each.before.lower():
            text = lines[at]
            yield Match(each.line, len(text) - len(text.lstrip()), len(text.rstrip()), _PLACE)


def _matches(hit: Hit, weights: Mapping[int, float], phrases: Sequence[str], whole: Collection[str]) -> Iterator[Match]:
    known: dict[str, float] = {}
    for line, text in enumerate(hit.text.split("\n"), hit.start_line):
        for begin, word in placed_words(text):
            if word not in known:
                terms = counted_terms(word)
                known[word] = max((weights.get(term, 0.0) for term in terms), default=0.0)
                # A whole identifier is worth all its parts, and more than lines that hold those.
                if known[word] and word.lower() in whole:
                    known[word] = 1.5 * sum(weights.get(term, 0.0) for term in set(terms))
            if known[word]:
                yield Match(line, begin, begin + len(word), known[word])
        for phrase in phrases:
            at = text.casefold().find(phrase.casefold())
            if at >= 0 and len(text.casefold()) == len(text):
                yield Match(line, at, at + len(phrase), _PHRASE)


def shown_lines(hit: Hit, most: int) -> tuple[int, int]:
    """The first and the last line of a hit to show where `most` lines may be: those that hold most of the query.

    A word counts once, and a tenth for each further time, so that one line with all words beats many with one. Of equal
    ones, those that show the best line in their first third. Without matches it is the beginning.
    """
    last = hit.start_line + len(hit.text.rstrip().split("\n")) - 1
    if last - hit.start_line < most or not hit.matches:
        return hit.start_line, min(last, hit.start_line + most - 1)
    lines = hit.text.split("\n")
    on: dict[int, list[tuple[str, float]]] = {}
    for each in hit.matches:
        word = lines[each.line - hit.start_line][each.begin : each.end].lower()
        on.setdefault(each.line, []).append((word, each.weight))
    scores: dict[int, float] = {}
    for first in range(hit.start_line, last - most + 2):
        seen: set[str] = set()
        score = 0.0
        for line in range(first, first + most):
            for word, weight in on.get(line, ()):
                score += weight * (0.1 if word in seen else 1.0)
                seen.add(word)
        scores[first] = score
    highest = max(scores.values()) * (1 - 1e-9)
    middle = max(on, key=lambda line: (sum(dict(on[line]).values()), -line)) - most // 3
    first = min((first for first, score in scores.items() if score >= highest), key=lambda first: abs(first - middle))
    return first, first + most - 1


def best_match(hit: Hit) -> Match | None:
    """The match that tells most, on the line that holds most of the query."""
    on: dict[int, dict[str, float]] = {}
    lines = hit.text.split("\n")
    for each in hit.matches:
        word = lines[each.line - hit.start_line][each.begin : each.end].lower()
        on.setdefault(each.line, {})[word] = each.weight
    if not on:
        return None
    line = max(on, key=lambda number: (sum(on[number].values()), -number))
    return min((each for each in hit.matches if each.line == line), key=lambda each: (-each.weight, each.begin))


def whole_definitions(reader: IndexReader, hits: Sequence[Hit], longest: int | None = None) -> list[Hit]:
    """Each hit widened to all chunks of its definition; itself where it defines nothing or is whole.

    Of a definition with more than `longest` characters, the chunks around the hit are shown. The table is read once
    for all hits: 3 ms for 24 of them among 3,000 chunks, against 45 ms with one read for each.
    """
    chunks: dict[tuple[str, str], list[Mapping[str, Any]]] = {(hit.path, hit.symbol): [] for hit in hits if hit.symbol}
    if not chunks:
        return list(hits)
    where = f"{sql_in(PATH, {path for path, _ in chunks})} AND {sql_in(SYMBOL, {symbol for _, symbol in chunks})}"
    for row in reader.rows_where(where, [PATH, SYMBOL, START_LINE, END_LINE, TEXT]):
        if (row[PATH], row[SYMBOL]) in chunks:
            chunks[row[PATH], row[SYMBOL]].append(row)
    for rows in chunks.values():
        rows.sort(key=lambda row: row[START_LINE])
    return [_widened(hit, chunks.get((hit.path, hit.symbol), ()), longest) for hit in hits]


def _widened(hit: Hit, rows: Sequence[Mapping[str, Any]], longest: int | None) -> Hit:
    """The hit with its neighbours among `rows`, the chunks of its file and name in line order."""
    at = next((number for number, row in enumerate(rows) if row[START_LINE] == hit.start_line), None)
    if at is None:
        return hit
    first = last = at
    room = math.inf if longest is None else longest - len(rows[at][TEXT])
    growing, step = {-1, 1}, -1
    while growing:
        if step in growing:
            near = first - 1 if step < 0 else last + 1
            # Two definitions of one name may lie in a file: only what adjoins belongs together.
            if 0 <= near < len(rows) and _adjoin(rows, min(near, last)) and len(rows[near][TEXT]) <= room:
                first, last, room = min(first, near), max(last, near), room - len(rows[near][TEXT])
            else:
                growing.discard(step)
        step = -step
    shown = rows[first : last + 1]
    text = "".join(row[TEXT] for row in shown)
    return replace(hit, start_line=shown[0][START_LINE], end_line=shown[-1][END_LINE], text=text)


def _adjoin(rows: Sequence[Mapping[str, Any]], at: int) -> bool:
    """Whether no line lies between a chunk and the next one."""
    return bool(rows[at + 1][START_LINE] <= rows[at][END_LINE] + 1)


def with_context(root: Path, hit: Hit, lines: int) -> Hit:
    """The hit with lines before and after it from its file; itself where the file has changed since."""
    try:
        every = lines_inside(root, hit.path)
    except (IndexNotFoundError, UsageError):
        return hit
    shown = "\n".join(every[hit.start_line - 1 : hit.end_line])
    if shown.strip() != hit.text.strip():
        return hit
    first, last = max(1, hit.start_line - lines), min(len(every), hit.end_line + lines)
    return replace(hit, start_line=first, end_line=last, text="\n".join(every[first - 1 : last]))
