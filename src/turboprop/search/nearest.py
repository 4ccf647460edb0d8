"""Words of an index that are written nearly like those of a query: what somebody may have meant who found nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from turboprop.code.terms import split_identifier, stem, term_hash, words
from turboprop.index.schema import PATH, SYMBOL, TEXT
from turboprop.search.analysis import STOP_WORDS

if TYPE_CHECKING:
    from turboprop.index.read import IndexReader

MOST_TEXTS = 1_000
"""Chunks whose texts are read for words, spread over the index, besides all names and paths."""
MOST_ASKED = 8
_SHORTEST, _LONGEST = 3, 40
_LIKENESS = 0.8
"""Likeness of two words (difflib's ratio) from which one may be the other with a slip: `configuraton`, 0.96."""


def nearest_words(readers: Sequence[IndexReader], query: str, most: int = 3) -> tuple[str, ...]:
    """Up to `most` words of the indexes for those of the query that none of them holds, the likest first."""
    asked = [part for word in dict.fromkeys(words(query)) for part in {word.lower(), *split_identifier(word)}]
    asked = [word for word in dict.fromkeys(asked) if _SHORTEST <= len(word) <= _LONGEST and word not in STOP_WORDS]
    unknown = [word for word in asked if not any(_holds(reader, word) for reader in readers)][:MOST_ASKED]
    if not unknown:
        return ()
    counted = Counter(word for reader in readers for word in _words_of(reader))
    found: dict[str, float] = {}
    for word in unknown:
        for other in counted:
            likeness = _likeness(word, other)
            if likeness >= _LIKENESS:
                found[other] = max(found.get(other, 0.0), likeness)
    return tuple(sorted(found, key=lambda word: (-found[word], -counted[word], word))[:most])


def _holds(reader: IndexReader, word: str) -> bool:
    return any(len(reader.lexicon.postings(term_hash(term))[0]) for term in (stem(word), f"={word}"))


def _words_of(reader: IndexReader) -> Iterable[str]:
    """The lower-case words of an index, as far as they are looked at."""
    for row in reader.rows_where("true", [PATH, SYMBOL]):
        yield from _parts(f"{row[PATH]} {row[SYMBOL]}")
    row_ids = reader.lexicon.row_ids
    step = -(-len(row_ids) // MOST_TEXTS) or 1
    for row in reader.fetch(row_ids[::step].tolist(), [TEXT]):
        yield from _parts(row[TEXT])


def _parts(text: str) -> Iterable[str]:
    for word in words(text):
        if len(word) <= _LONGEST:
            parts = split_identifier(word)
            yield from (part for part in parts if len(part) >= _SHORTEST)
            if len(parts) > 1:
                yield word.lower()


def _likeness(one: str, other: str) -> float:
    """How alike two words are, 0 to 1; 0 at once for most that are not."""
    if abs(len(one) - len(other)) > max(2, len(one) // 4) or len(set(one) & set(other)) < len(set(one)) // 2:
        return 0.0
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= _LIKENESS else 0.0
