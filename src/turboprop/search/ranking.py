"""From candidates to an order: one function a rule, its constants beside it.

Each rule has its row in the table of docs/decisions/0003-ranking.md, made by `scripts/bench retrieval
--ablate`; a constant was chosen on nine repositories and checked by leaving each out and on seven others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from turboprop.code.terms import definition_hash, spelled_hash
from turboprop.index.lexicon_build import name_words
from turboprop.search.analysis import Query, QueryKind
from turboprop.search.names import NameCoverage
from turboprop.search.path_rules import place_of

if TYPE_CHECKING:
    from turboprop.index.history import History
    from turboprop.index.lexicon import Lexicon

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Weights:
    """What each rule is worth beside the best base score of a query, which is 1; 0 (penalties: 1) switches one off."""

    dense: float = 1.0
    dense_symbol: float = 0.3
    file_name: float = 0.6
    file_name_recall: float = 0.3
    file_words: float = 0.2
    folder: float = 0.2
    definition: float = 0.6
    coherence: float = 0.35
    path: float = 1.0
    phrase: float = 0.5
    tests: float = 0.4
    prose: float = 0.4
    diversity: float = 0.3
    # Of reports (`Query.is_report`) alone:
    definition_report: float = 1.2
    said_before: float = 0.5


DEFAULT = Weights()
OTHER_CASE = 0.5
"""What the definition of a name counts beside one whose capitals are those of the query, too."""
DENSE_DEVIATIONS = 6.0
"""A chunk whose cosine lies this many standard deviations above the index's mean counts as a whole match. The best
chunk of a query lies 3.5 to 6 above (nine repositories, all-MiniLM-L6-v2)."""


@dataclass(slots=True)
class Candidates:
    """The rows that are ranked, with what is known of them; arrays are float64 [n].

    `lexical` is the share of the query's words, 0 to 1; `deviations` how far the cosine lies above the
    mean of the index, in standard deviations, both cosine and it 0 where vectors take no part.
    """

    rows: NDArray[np.int64]
    lexical: Floats
    cosine: Floats
    deviations: Floats
    more: bool = False
    """Whether rows were left behind that the words or the vectors would have brought next."""

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Ranked:
    """One row in its place. `parts` say what its score is made of, in the rules' names."""

    row: int
    score: float
    parts: Mapping[str, float]


def rank(
    query: Query,
    lexicon: Lexicon,
    found: Candidates,
    phrases: Floats | None = None,
    weights: Weights = DEFAULT,
    *,
    limit: int | None = None,
    by_file: bool = False,
    best: float | None = None,
    history: History | None = None,
) -> list[Ranked]:
    """Order candidates, best first; `phrases` is 1 where a row holds what the query has in quotes.

    `limit` bounds what is returned, `by_file` leaves the best row of each file.

    The score is relative to what the query's best candidate reaches by words and vectors, times that; `best` is that
    of all tables where several are searched together. `history` takes part where it is given: for reports alone.
    """
    if not len(found):
        return []
    base = base_score(query, found, weights)
    best = float(base.max()) if best is None else best
    base = base / (best or 1.0)
    numbers, file_of = np.unique(lexicon.file_of[found.rows], return_inverse=True)
    files = [lexicon.files[int(number)] for number in numbers]
    defined = weights.definition_report if query.is_report else weights.definition
    added = {
        "file words": weights.file_words * file_words(query, lexicon, numbers)[file_of],
        "file name": weights.file_name * file_name(query, lexicon, files, weights)[file_of],
        "folder": weights.folder * folder(query, lexicon, files)[file_of],
        "definition": defined * definition(query, lexicon, found.rows),
        "path": weights.path * same_path(query, files)[file_of],
    }
    if phrases is not None:
        added["phrase"] = weights.phrase * phrases
    if history is not None:
        added["said before"] = weights.said_before * said_before(query, history, numbers)[file_of]
    factor = penalties(query, files, weights)[file_of]
    added["coherence"] = weights.coherence * coherence(base, factor, file_of) * base
    scores = (base + sum(added.values(), np.zeros(len(base)))) * factor * (best or 1.0)
    parts = {
        "words": found.lexical,
        "cosine": found.cosine,
        **{name: value * (best or 1.0) for name, value in added.items()},
        "kind of file": factor,
    }
    order, repeated = diversity(scores, file_of, weights)
    if by_file:
        _, first = np.unique(file_of[order], return_index=True)
        order, repeated = order[np.sort(first)], repeated[np.sort(first)]
    return [
        Ranked(
            int(found.rows[at]),
            float(scores[at] * again),
            {
                **{name: float(value[at]) for name, value in parts.items()},
                "same file": float(again),
            },
        )
        for at, again in zip(order[:limit], repeated[:limit], strict=True)
    ]


def base_score(query: Query, found: Candidates, weights: Weights) -> Floats:
    """Words and vectors: the share of the query's words plus how far the cosine stands out, less for a lone symbol.

    Score fusion keeps MRR 0.851 on CoSQA, as the vectors alone; reciprocal rank fusion falls to 0.76.
    """
    weight = weights.dense
    if query.kind in (QueryKind.SYMBOL, QueryKind.PATH):
        weight *= weights.dense_symbol
    return found.lexical + weight * np.clip(found.deviations, 0, None) / DENSE_DEVIATIONS


def file_words(query: Query, lexicon: Lexicon, numbers: NDArray[np.uint32]) -> Floats:
    """What the query's words weigh in the files as wholes, over the best file's: BM25F with a file for a document.

    Words that stand in different chunks of one file speak for it together; `base_score` sees each chunk alone. A file
    of one chunk has nothing to add: counted twice, words outweigh vectors (MRR on CoSQA 0.846, not 0.858).
    """
    weighed = lexicon.file_scores(query.terms, numbers)
    has_several = np.bincount(lexicon.file_of, minlength=len(lexicon.files))[numbers] > 1
    return weighed * has_several / (weighed.max(initial=0.0) or 1.0)


def file_name(query: Query, lexicon: Lexicon, files: list[tuple[str, str]], weights: Weights) -> Floats:
    """The query covers the words of the file's name, more so where no other file is covered better."""
    names = NameCoverage(query.stems, lexicon.stem_idf)
    covered = [names.of(_stem_words(path)) for path, _ in files]
    most = max((matched for _, matched in covered), default=0.0) or 1.0
    recall = weights.file_name_recall
    return np.array([share * (1 - recall + recall * matched / most) for share, matched in covered])


def folder(query: Query, lexicon: Lexicon, files: list[tuple[str, str]]) -> Floats:
    """The query covers the words of the innermost folder's name."""
    names = NameCoverage(query.stems, lexicon.folder_idf)
    return np.array([names.of(_folder_words(path))[0] for path, _ in files])


def definition(query: Query, lexicon: Lexicon, rows: NDArray[np.int64]) -> Floats:
    """The chunk defines a name that the query has."""
    score = np.zeros(len(rows))
    for name, weight in query.names.items():
        defining, _ = lexicon.postings(definition_hash(name))
        spelled, _ = lexicon.postings(spelled_hash(name))
        # `Session` is the class before the function `session`; where none is spelled so, either is meant.
        score = np.maximum(score, weight * (OTHER_CASE if len(spelled) else 1.0) * np.isin(rows, defining))
        score = np.maximum(score, weight * np.isin(rows, spelled))
    return score


def same_path(query: Query, files: list[tuple[str, str]]) -> Floats:
    """The query is a path, and the file's path ends with it or lies below it."""
    wanted = query.path
    if not wanted:
        return np.zeros(len(files))
    paths = [f"/{path.lower()}" for path, _ in files]
    return np.array([float(path.endswith(f"/{wanted}") or f"/{wanted}/" in path) for path in paths])


def said_before(query: Query, history: History, numbers: NDArray[np.uint32]) -> Floats:
    """The file was changed by commits whose messages are like the query."""
    return history.of_alike_messages(query.terms)[numbers]


def coherence(base: Floats, factor: Floats, file_of: NDArray[np.int64]) -> Floats:
    """Several good chunks speak for their file: the sum of their squared scores over the best file's."""
    total = np.bincount(file_of, weights=base**2 * factor)
    return total[file_of] / (total.max() or 1.0)


def penalties(query: Query, files: list[tuple[str, str]], weights: Weights) -> Floats:
    """Tests and prose stand behind code, unless the query asks for them."""
    factor = np.ones(len(files))
    for at, (path, language) in enumerate(files):
        place = place_of(path, language)
        if place.is_test and not query.asks_tests:
            factor[at] *= weights.tests
        if place.is_prose and not query.asks_prose:
            factor[at] *= weights.prose
    return factor


def diversity(
    scores: Floats, file_of: NDArray[np.int64], weights: Weights
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The order, and the factor of each place: the n-th further chunk of a file counts `diversity` to the n."""
    order = np.argsort(-scores, kind="stable")
    seen: dict[int, int] = {}
    factor = np.ones(len(order))
    for place, at in enumerate(order):
        before = seen.get(int(file_of[at]), 0)
        factor[place] = weights.diversity**before
        seen[int(file_of[at])] = before + 1
    again = np.argsort(-(scores[order] * factor), kind="stable")
    return order[again], factor[again]


def _stem_words(path: str) -> tuple[str, ...]:
    name = path.rpartition("/")[2]
    return name_words(name.rpartition(".")[0] or name)


def _folder_words(path: str) -> tuple[str, ...]:
    return name_words(path.rpartition("/")[0].rpartition("/")[2])


def without(rule: str) -> Weights:
    """The weights with one rule switched off, for the ablation."""
    off = dict.fromkeys(("dense_symbol", "tests", "prose", "diversity"), 1.0)
    # A report's weight of definitions stands in for that of other queries.
    off["definition_report"] = DEFAULT.definition
    return replace(DEFAULT, **{rule: off.get(rule, 0.0)})
