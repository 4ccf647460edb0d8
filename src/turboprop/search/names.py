"""How far a query covers the name of a file or folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from turboprop.code.terms import stem

SHORTEST = 3
"""Letters under which a part of a word is no evidence: `os` is not `position`."""
_LONG = 4
_MOST_OF_QUERY = 0.85
_ABBREVIATES = 0.55
"""Share of a query's stem from which a name that it begins with is short for it: `auth` of `authent` is, `conf` of
`conflict` is not. Without the bound nothing is gained, with 0.6 `auth.py` and 0.0016 NDCG@10 are lost (25
repositories)."""


class NameCoverage:
    """How far one query covers names; words that many files share are compared once."""

    def __init__(self, query_stems: frozenset[str], idf: Callable[[str], float]) -> None:
        self._stems = query_stems
        self._idf = idf
        self._known: dict[str, tuple[float, float]] = {}

    def of(self, words: Sequence[str]) -> tuple[float, float]:
        """The share of a name's words (lower case, unstemmed) that the query covers, weighted by rarity, and the
        sum of the covered weights. A word counts whole where its stem is the query's, else by what they share."""
        covered = total = 0.0
        for word in words:
            if word not in self._known:
                self._known[word] = self._idf(word), _word_coverage(word, self._stems)
            weight, share = self._known[word]
            total += weight
            covered += weight * share
        return (covered / total if total else 0.0), covered


def _word_coverage(word: str, query_stems: frozenset[str]) -> float:
    own = stem(word)
    if own in query_stems or word in query_stems:
        return 1.0
    shared = [False] * len(word)
    for query in query_stems:
        if not query.startswith("=") and (span := _shared(query, word)) is not None:
            shared[span[0] : span[1]] = [True] * (span[1] - span[0])
    best = sum(shared) / len(word) if word else 0.0
    # An ending that stemming took off is not held against the word.
    return 1.0 if best > 0 and own != word and all(shared[: len(own)]) else best


def _shared(query: str, word: str) -> tuple[int, int] | None:
    """The letters of `word` that a query's stem accounts for: `auth` of `authenticator`, `config` of `appconfig`."""
    if len(query) < SHORTEST:
        return (0, len(word)) if query == word else None
    at = word.find(query)
    if at >= 0 and (len(query) >= _LONG or at == 0):
        return at, at + len(query)
    same = 0
    while same < min(len(query), len(word)) and query[same] == word[same]:
        same += 1
    whole = same == len(word) and same >= max(SHORTEST, _ABBREVIATES * len(query))
    return (0, same) if whole or (same >= _LONG and same >= _MOST_OF_QUERY * len(query)) else None
