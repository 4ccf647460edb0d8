"""A query to hits: candidates, ranking, threshold, the rows themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from turboprop.errors import UsageError
from turboprop.index.lance_table import sql_text
from turboprop.index.read import IndexReader
from turboprop.index.schema import PATH
from turboprop.limits import Mode, Unit
from turboprop.search.analysis import STOP_WEIGHT, Query, analyse, by_worth
from turboprop.search.candidates import WIDER, cosine_statistics, find_candidates, word_statistics
from turboprop.search.copies import Folding, Row, has_copies
from turboprop.search.filters import condition_in
from turboprop.search.located import place_rows, with_places
from turboprop.search.places import meant_file
from turboprop.search.ranking import DEFAULT, Ranked, Weights, base_score, rank
from turboprop.search.report import held_of, parts_of
from turboprop.search.sureness import anchors, sureness
from turboprop.types import Copy, CopyKind, Hit, SearchFilter, Sureness

COPY_COLUMNS = ("path", "start_line", "end_line")

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turboprop.index.adapter import Adapter
    from turboprop.index.history import History
    from turboprop.search.ranking import Candidates


@dataclass(frozen=True, slots=True)
class Learnt:
    """What an index learnt from the commits of its repository.

    `history` is asked where a query is a report, with `always` for any, and gives None where there is none.
    """

    history: Callable[[], History | None]
    adapter: Adapter | None = None
    always: bool = False

    def meant(self, vector: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        """A query's vector as it is compared with chunks."""
        return vector if vector is None or self.adapter is None else self.adapter.apply(vector)


def learnt_by(reader: IndexReader) -> Learnt:
    """What an index has beside its table."""
    return Learnt(reader.history, reader.adapter())


def search(
    reader: IndexReader,
    query: str,
    vector: NDArray[np.float32] | None,
    *,
    filters: SearchFilter | None = None,
    **options: Any,
) -> list[Hit]:
    """The best chunks for a query in one table, best first; as `search_together`."""
    return [hit for _, hit in search_together([reader], query, [vector], filters=[filters], **options)]


def search_together(
    readers: Sequence[IndexReader],
    query: str,
    vectors: Sequence[NDArray[np.float32] | None],
    *,
    limit: int = 10,
    mode: Mode = "hybrid",
    filters: Sequence[SearchFilter | None],
    threshold: float | None = None,
    by: Unit = "chunk",
    weights: Weights = DEFAULT,
    learnt: Sequence[Learnt] | None = None,
) -> list[tuple[int, Hit]]:
    """The best chunks for a query in all tables, best first, each with the place of its table in `readers`; with
    `by="file"` the best one of each file.

    `vectors` are the query's embeddings by each table's model, float32 [dimensions]; `lexical` needs none, nor does a
    table without vectors, which is ranked by words. `filters` are each table's. How rare a word is, and how far a
    cosine stands out, is counted over all tables (cosines over those of one model), so that one order holds for all.
    What each index learnt from its commits (`learnt`, None: its own) takes part: a vector is changed by its adapter.

    Scores are those of `ranking.rank` in every mode; hits below `threshold` are left out. `limits.check_search` says
    what may be asked. Raises `UsageError` for a missing vector or a bad filter.
    """
    with_vectors = [bool(reader.header.vectors) for reader in readers]
    if mode != "lexical" and any(has and vector is None for has, vector in zip(with_vectors, vectors, strict=True)):
        raise UsageError(f"the search mode {mode} needs the query's vector")
    if mode == "semantic" and any(reader.rows for reader in readers) and not any(with_vectors):
        raise UsageError("this index has no vectors (yet), so nothing can be found by meaning alone: search by words")
    where = [condition_in(reader, each) for each, reader in zip(filters, readers, strict=True)]
    analysed = analyse(query)
    known = [learnt_by(reader) for reader in readers] if learnt is None else learnt
    tables = [
        (at, reader, known[at].meant(vector) if mode != "lexical" and with_vectors[at] else None)
        for at, (reader, vector) in enumerate(zip(readers, vectors, strict=True))
        if reader.rows
    ]
    words = word_statistics(analysed, [reader.lexicon for _, reader, _ in tables])
    analysed = by_worth(analysed, words.rarity)
    cosines = {
        model: cosine_statistics([(r.lexicon.sample, v) for _, r, v in tables if _model(r) == model and v is not None])
        for model in {_model(reader) for _, reader, vector in tables if vector is not None}
    }

    def path_of(row: Row) -> str:
        lexicon = readers[row[0]].lexicon
        return lexicon.files[int(lexicon.file_of[row[1]])][0]

    def symbols_of(rows: Sequence[Row]) -> list[str]:
        known: dict[Row, str] = {}
        for table in {table for table, _ in rows}:
            mine = [row for row in rows if row[0] == table]
            ids = [int(readers[table].lexicon.row_ids[row]) for _, row in mine]
            found = readers[table].fetch(ids, ["symbol"])
            known.update((row, each["symbol"]) for row, each in zip(mine, found, strict=True))
        return [known[row] for row in rows]

    named = None
    beyond: dict[int, dict[int, str]] = {}
    if analysed.mentions:
        beyond = {at: place_rows(reader, analysed.mentions, where[at]) for at, reader, _ in tables}
        named = list(beyond.values()) if any(beyond.values()) else None  # `localhost:8080` names no file

    # Of several repositories each has messages that are the likest of its own, so they would not compare.
    alone = known[tables[0][0]] if len(tables) == 1 else None
    history = alone.history() if alone is not None and (analysed.is_report or alone.always) else None
    folding = Folding(query, path_of, symbols_of)

    def ranked_among(times: int) -> tuple[list[tuple[int, Ranked]], bool, bool]:
        """Each table's best rows with its place in `readers`, whether more candidates would give others, and whether
        there may be copies."""
        import numpy as np

        found = [
            find_candidates(
                reader,
                analysed,
                vector,
                words,
                cosines.get(_model(reader), (0.0, 1.0)),
                by_words=mode != "semantic",
                where=where[at],
                times=times,
            )
            for at, reader, vector in tables
        ]
        # Of copies one stays, so more are ranked than are shown. A place that was typed is meant as it was typed.
        folds = named is None and any(
            has_copies(reader.lexicon.files[file][0] for file in np.unique(reader.lexicon.file_of[each.rows]).tolist())
            for (_, reader, _), each in zip(tables, found, strict=True)
        )
        best = max((float(base_score(analysed, each, weights).max()) for each in found if len(each)), default=0.0)
        orders = [
            rank(
                analysed,
                reader.lexicon,
                each,
                _phrases(reader, analysed, each),
                weights,
                limit=None if folds else limit,
                by_file=by == "file",
                best=best,
                history=history,
            )
            for (_, reader, _), each in zip(tables, found, strict=True)
        ]
        if named is not None:
            lexicons = [reader.lexicon for _, reader, _ in tables]
            orders = with_places(orders, named, lexicons, limit, by_file=by == "file")
        every = [(at, one) for (at, _, _), order in zip(tables, orders, strict=True) for one in order if one.score > 0]
        every.sort(key=lambda each: -each[1].score)
        return every, any(each.more for each in found), folds

    def unit(at: int, one: Ranked) -> tuple[int, int]:
        return at, one.row if by == "chunk" else int(readers[at].lexicon.file_of[one.row])

    times = 1
    ranked, more, folds = ranked_among(times)
    there = {unit(*each) for each in ranked}
    if folds:
        ranked = folding.take(ranked)
    # What the first candidates gave stays in front, so that the first ten are the same whatever `limit` is.
    while more and len(ranked) < limit:
        times *= WIDER
        wider, more, folds = ranked_among(times)
        least = ranked[-1][1].score if ranked else math.inf
        wider = [(at, replace(one, score=min(one.score, least))) for at, one in wider if unit(at, one) not in there]
        there |= {unit(*each) for each in wider}
        ranked += folding.take(wider) if folds else wider
    ranked = [each for each in ranked[:limit] if threshold is None or each[1].score >= threshold]
    asked = [term for term, weight in analysed.terms.items() if weight > STOP_WEIGHT and term not in analysed.if_there]
    held = sum(words.holding[term] > 0 for term in asked) / max(1, len(asked))
    hits: dict[int, Iterator[Hit]] = {
        at: iter(_hits(reader, [one for place, one in ranked if place == at], mode, held, words.rows))
        for at, reader, _ in tables
    }
    copies = folding.copies
    found = [(at, _with_copies(readers[at], next(hits[at]), copies.get((at, one.row), ()))) for at, one in ranked]
    said = [beyond.get(at, {}).get(one.row, "") for at, one in ranked]
    if analysed.is_report:
        report = parts_of(query)
        worth = {term: words.rarity(term) * weight for term, weight in analysed.terms.items()}
        found = [(at, replace(hit, parts={**hit.parts, **held_of(report, worth, hit.text)})) for at, hit in found]
    return [(at, replace(hit, why=why) if why else hit) for (at, hit), why in zip(found, said, strict=True)]


def _with_copies(reader: IndexReader, hit: Hit, copies: Sequence[tuple[Row, CopyKind]]) -> Hit:
    if not copies:
        return hit
    places = reader.fetch([int(reader.lexicon.row_ids[row]) for (_, row), _ in copies], COPY_COLUMNS)
    kinds = [kind for _, kind in copies]
    return replace(hit, copies=tuple(Copy(**place, kind=kind) for place, kind in zip(places, kinds, strict=True)))


def _model(reader: IndexReader) -> str:
    return reader.header.spec.fingerprint


def similar_to(
    reader: IndexReader, path: str, line: int, *, limit: int, filters: SearchFilter | None = None
) -> list[Hit]:
    """The chunks nearest to the one at a line, by cosine, itself left out; `path` as `places.meant_file` takes it.
    Raises `UsageError` for no such place."""
    repository = reader.header.scope.root.replace("\\", "/").rpartition("/")[2]
    wanted = meant_file(path, reader.manifest().files, repository=repository)
    here = reader.rows_where(f"{PATH} = {sql_text(wanted)}", ["start_line", "end_line"])
    if not here:
        raise UsageError(f"{wanted} is not indexed; give a path relative to the repository, as `tp search` prints it")
    at = next((row for row in here if row["start_line"] <= line <= row["end_line"]), None)
    if at is None:
        last = max(row["end_line"] for row in here)
        raise UsageError(f"nothing is indexed at line {line} of {wanted}, which has {last} lines")
    vector = reader.vectors([at["_rowid"]])[0].astype("float32")
    if not vector.any():
        why = "waits for its vector: `tp index` makes what is missing" if reader.header.waiting else "has no vector"
        raise UsageError(f"{wanted}:{line} {why}, so there is nothing to compare by meaning")
    where = condition_in(reader, filters)
    nearest = [one for one in reader.vector_search(vector, limit + 1, where) if one.row_id != at["_rowid"]][:limit]
    rows = reader.fetch([one.row_id for one in nearest])
    return [_hit(row, one.score, {"cosine": one.score}) for row, one in zip(rows, nearest, strict=True)]


def _phrases(reader: IndexReader, query: Query, found: Candidates) -> NDArray[np.float64] | None:
    """1 where a candidate holds every phrase that the query has in quotes, None for a query without any."""
    if not query.phrases or not len(found):
        return None
    import numpy as np

    wanted = [phrase.casefold() for phrase in query.phrases]
    row_ids = [int(reader.lexicon.row_ids[row]) for row in found.rows]
    texts = [row["text"].casefold() for row in reader.fetch(row_ids, ["text"])]
    return np.array([float(all(phrase in text for phrase in wanted)) for text in texts])


def _hits(reader: IndexReader, ranked: list[Ranked], mode: Mode, held: float, in_all: int) -> list[Hit]:
    rows = reader.fetch([int(reader.lexicon.row_ids[one.row]) for one in ranked])
    known = anchors(reader.lexicon.sample) if ranked and mode != "lexical" and reader.header.vectors else None
    by_words = mode != "semantic"
    marks = [sureness(one.parts, known, by_words=by_words, held=held, rows=in_all) for one in ranked]
    return [_hit(row, one.score, dict(one.parts), mark) for row, one, mark in zip(rows, ranked, marks, strict=True)]


def _hit(row: dict[str, Any], score: float, parts: dict[str, float], sure: Sureness | None = None) -> Hit:
    return Hit(
        path=row["path"],
        start_line=row["start_line"],
        end_line=row["end_line"],
        score=score,
        language=row["language"],
        symbol=row["symbol"],
        text=row["text"],
        kind=row["kind"],
        parts=parts,
        sure=sure,
    )
