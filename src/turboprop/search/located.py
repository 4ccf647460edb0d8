"""The rows at the places that a query names, and their way to the top of a ranking."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from turboprop.code.terms import defined_names
from turboprop.index.lance_table import sql_in
from turboprop.index.schema import END_LINE, PATH, START_LINE, SYMBOL, TEXT
from turboprop.search.places import Mention, match_files
from turboprop.search.ranking import Ranked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turboprop.index.lexicon import Lexicon
    from turboprop.index.read import IndexReader

MOST_PLACES = 200
"""Places of one query that are looked up: more than anybody reads."""
_ROWS_OF_A_RANGE = 5
_TELLING_CODE = 12
"""Characters under which a line of code may stand anywhere."""


def place_rows(reader: IndexReader, mentions: Sequence[Mention], where: str | None) -> dict[int, str]:
    """The rows (of the reader's lexicon) that hold the places, in their order; `where` is a Lance condition.

    A line that no chunk holds, as of a file that has changed since, is at the nearest chunk of its file: each row has
    what to say of that where the line lies beyond the file's end, '' elsewhere.
    """
    lexicon = reader.lexicon
    paths = [path for path, _ in lexicon.files]
    repository = reader.header.scope.root.replace("\\", "/").rpartition("/")[2]
    matched = list(islice(match_files(mentions, paths, repository), MOST_PLACES))
    if not matched:
        return {}
    condition = sql_in(PATH, {paths[at] for _, at in matched})
    if where is not None:
        condition = f"({condition}) AND ({where})"
    by_path: dict[str, list[Mapping[str, Any]]] = {}
    for row in reader.rows_where(condition, [PATH, START_LINE, END_LINE, SYMBOL, TEXT]):
        by_path.setdefault(row[PATH], []).append(row)
    for rows in by_path.values():
        rows.sort(key=lambda row: (row[START_LINE], row[END_LINE]))
    told: dict[int, str] = {}
    for number, group in groupby(matched, key=lambda each: each[0]):
        mention = mentions[number]
        files = [by_path[paths[at]] for _, at in group if paths[at] in by_path]
        # Of files of one name, those that are too short are not meant.
        long_enough = [rows for rows in files if rows[-1][END_LINE] >= mention.line]
        for rows in long_enough or files:
            # With a condition the last row that it lets through need not be the file's.
            last = rows[-1][END_LINE] if where is None else mention.line
            beyond = f"line {mention.line} is beyond the end: the last line with text is {last}"
            for each in _at(rows, mention):
                told.setdefault(each["_rowid"], beyond if mention.line > last else "")
    rows_of = lexicon.rows_of(list(told)).tolist()
    return {row: said for row, said in zip(rows_of, told.values(), strict=True) if row >= 0}


def with_places(
    orders: Sequence[list[Ranked]],
    rows: Sequence[Collection[int]],
    lexicons: Sequence[Lexicon],
    limit: int,
    *,
    by_file: bool,
) -> list[list[Ranked]]:
    """The ranking of each table with the rows of its places in front, each once, with `by_file` one of a file.

    Their scores lie above that of the best hit of all tables, whatever `limit` is.
    """
    best = max((order[0].score for order in orders if order), default=0.0)
    return [
        _put_first(order, named, max(best, 1.0), lexicon.file_of if by_file else None)[:limit]
        for order, named, lexicon in zip(orders, rows, lexicons, strict=True)
    ]


def _put_first(
    ranked: Sequence[Ranked], rows: Collection[int], best: float, file_of: NDArray[np.uint32] | None
) -> list[Ranked]:
    named = set(rows)
    known = {one.row: one for one in ranked}
    first = []
    for place, row in enumerate(rows):
        before = known.get(row, Ranked(row, 0.0, {"words": 0.0, "cosine": 0.0}))
        score = best + 1 - place / len(rows)
        first.append(Ranked(row, score, {**before.parts, "place": score - before.score}))
    both = [*first, *(one for one in ranked if one.row not in named)]
    if file_of is None:
        return both
    of_files: dict[int, Ranked] = {}
    for one in both:
        of_files.setdefault(int(file_of[one.row]), one)
    return list(of_files.values())


def _at(rows: Sequence[Mapping[str, Any]], mention: Mention) -> Sequence[Mapping[str, Any]]:
    """The rows of one file (in the order of their lines) that a mention means."""
    name = mention.symbol.lower()
    named = [row for row in rows if name and name in defined_names(row[SYMBOL])]
    if not mention.line:
        return named[:1] or rows[:1]
    here = [row for row in rows if row[START_LINE] <= mention.last and mention.line <= row[END_LINE]]
    # Two chunks may share a line: the one that begins there is meant.
    here.sort(key=lambda row: (row[START_LINE] > mention.line, abs(row[START_LINE] - mention.line)))
    here = here[: _ROWS_OF_A_RANGE if mention.last > mention.line else 1]

    def distance(row: Mapping[str, Any]) -> int:
        return int(min(abs(row[START_LINE] - mention.line), abs(row[END_LINE] - mention.line)))

    # The code and the name of the function still hold where the lines have moved since.
    holding = [row for row in rows if len(mention.code) >= _TELLING_CODE and mention.code in row[TEXT]]
    of_the_name = {row["_rowid"] for row in named}
    both = [row for row in holding if row["_rowid"] in of_the_name]
    for there in (both, holding, named):
        if there:
            return here if any(row in there for row in here) else [min(there, key=distance), *here]
    return here or [min(rows, key=distance)]
