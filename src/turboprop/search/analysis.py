"""What a query is: its kind, its weighted terms, the names and phrases that it asks for."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice

from turboprop.code.terms import folded, has_wide_script, split_identifier, stem, term_hash, terms, words
from turboprop.search.places import Mention, find_mentions, gist

LONG_WORDS = 20
"""Different words from which a query is no longer a question but a report: the longest of the public question sets
have 13 (semble) and 14 (CoSQA), a bug report has 30 to 300."""
MAX_WORDS = 64
"""Different words of a query that all count; of a longer one, as pasted code is, those count that say most."""
MOST_WORDS = 1_000
"""Different words of a query that are looked at for those."""
WORDS_OF_FRAMES = 200
"""The same of a traceback, whose message and telling frames come first."""
TITLE_WEIGHT = 2.0
"""What a word of a report's title counts beside one of its text."""
_SHORTEST_TITLE, _LONGEST_TITLE = 3, 200
"""Words, and characters."""
_LONGEST_QUESTION = 300
_FIRST_LINES = 4
"""A report says first, in prose, what it is about, and shows code and logs later: its first line that is not blank is
prose, and one of the three after it. That takes 84 of 84 commit messages and 4 of 4 issues,
and 13% of random pieces of code, comments among them."""
_NAMES_WITHIN = 10_000
"""Characters within which names and phrases are looked for."""
STOP_WEIGHT = 0.2
"""What a word such as `the` or `how` counts in a sentence: 0 loses queries made of them, 1 costs 0.006."""

QUALIFIED, IDENTIFIER, CAPITALISED = 1.0, 0.5, 0.3
"""How surely a word names a definition: alone; as an identifier in a sentence; by its capital letter."""

STOP_WORDS = frozenset(
    """
    a about across after all an and any are as at be been before being between by can could did do does
    done during each every for from he here how i if in into is it its may me might must my no not of on
    one ones onto or other our over she should so some such than that the their then there these they
    this those to under us via vs was we were what when where which who whom why will with without would
    you your
    """.split()  # noqa: SIM905  a list of words reads better than a list of literals
)
"""Words of English that say nothing of what a text is about."""
_QUALIFIED = re.compile(r"[^\W\d][\w$]*(?:(?:::|\.|#|->)[^\W\d][\w$]*)*|\$[\w$]+")
_SEPARATOR = re.compile(r"::|\.|#|->")
_CASED = re.compile(r"[a-z0-9][A-Z]|[A-Z]{2}[a-z]")
_PHRASE = re.compile(r'"([^"\n]{3,200})"')
_PATH = re.compile(r"\.?/?(?:[\w.@+-]+/)+[\w.@+-]*(?::\d+)?")
_ERROR = re.compile(r"\b(?:[A-Z]\w*(?:Error|Exception|Warning)|Traceback|panic|fatal|segfault|undefined reference)\b")
_TRACE = re.compile(r"Traceback|panic:|thread '|Exception in thread|Fatal error", re.IGNORECASE)
"""How what a program prints begins, besides places."""
_PLAIN = re.compile(r"[(\"'*]?(?:[^\W_]+(?:['’/-][^\W_]+)*|\d+(?:[.,]\d+)*%?)[)\"'*]?[.,:;?!]?")  # noqa: RUF001
"""A word of prose."""
_QUOTED = re.compile(r"`[^`]+`")
"""Code within a sentence."""
_FRAGMENT = re.compile(
    r"\t| {4}| \*|\*/|//|/\*|<|(?:import|from|package|use|using|class|return)\b(?!.*[.?!]$)|.*[;{}=\\]$"
    r"|\d{1,4}[-/:]\d\d|.{0,40}\d\d:\d\d:\d\d"
)
"""A line of code, a comment, or a line of a log."""
_PROGRAM = re.compile(r"\"\"\"|'''|/[/*]|#!|# -\*-|<[?!]")
"""How a file of code begins."""
_PREDICATE = re.compile(
    r"\s*(?:where|how|when)\s+(?:is|are|was|were|does|do|gets?)\s.*\s(?P<verb>configured|defined|declared|implemented|"
    r"located|specified|set|used|called)\s*\??\s*",
    re.IGNORECASE,
)
"""A question whose verb says nothing of what the file is called: "where is the timeout configured" means no
`config.yml`."""
_TESTS = re.compile(r"\b(?:tests?|testing|tested|specs?)\b", re.IGNORECASE)
_PROSE = re.compile(
    r"\b(?:docs?|documentation|readme|changelog|guide|tutorial|markdown|release notes?|licen[cs]e|install(?:ation)?)\b",
    re.IGNORECASE,
)


class QueryKind(StrEnum):
    """What a query looks like; a symbol and a path are one word."""

    SYMBOL = "symbol"
    PATH = "path"
    ERROR = "error message"
    WORDS = "words"
    MIXED = "words and identifiers"


@dataclass(frozen=True, slots=True)
class Query:
    """An analysed query.

    `terms` are hashes with their weights, `stems` the terms that carry meaning (for names of files and
    folders), `names` bare names of definitions, as they are written, with how surely each is meant, `phrases` what
    stood in quotes, `mentions` the places that it may name. `asks_*` say that the user wants what is held back
    otherwise. `is_long` says that it has more words than count, `is_report`
    that it is no question any more but a report: of a defect, say.
    """

    text: str
    kind: QueryKind
    terms: Mapping[int, float]
    stems: frozenset[str]
    names: Mapping[str, float]
    phrases: tuple[str, ...] = ()
    mentions: tuple[Mention, ...] = ()
    is_long: bool = False
    is_report: bool = False
    path: str = ""
    if_there: frozenset[int] = frozenset()
    """Terms that count only where something holds them: `httpserver` may be `HTTPServer` without its capitals."""
    asks_tests: bool = False
    asks_prose: bool = False


def analyse(text: str) -> Query:
    """Take a query apart. Any text will do; one without a word has no terms."""
    pasted, mentions, telling = text.strip(), tuple(find_mentions(text)), gist(text)
    stripped = pasted if telling is text else telling.strip()
    kind = _kind(stripped)
    alone = kind in (QueryKind.SYMBOL, QueryKind.PATH)
    weights: dict[str, float] = {}
    most = MOST_WORDS if stripped is pasted else WORDS_OF_FRAMES
    different = list(dict.fromkeys(islice(words(stripped), 20 * MOST_WORDS)))[:most]
    is_report = len({word.lower() for word in different}) > LONG_WORDS and (
        (kind is QueryKind.ERROR and stripped is not pasted) or _is_prose(pasted)
    )
    titled = set(words(title)) if is_report and (title := title_of(text)) else set()
    for word in different:
        parts = split_identifier(word)
        is_stop = not alone and len(parts) == 1 and parts[0] in STOP_WORDS
        for term in terms(word):
            worth = TITLE_WEIGHT if word in titled else 1.0
            weights[term] = max(weights.get(term, 0.0), STOP_WEIGHT if is_stop else worth)
    strong = {term for term, weight in weights.items() if weight > STOP_WEIGHT} or set(weights)
    whole = {f"={folded(word)}" for word in words(stripped) if len(split_identifier(word)) == 1} if alone else set()
    return Query(
        text=text,
        kind=kind,
        terms={term_hash(term): weight for term, weight in (weights | dict.fromkeys(whole, 1.0)).items()},
        if_there=frozenset(term_hash(term) for term in whole),
        stems=frozenset(strong - {_verb(stripped)} or strong),
        names=_names(stripped[:_NAMES_WITHIN], alone),
        mentions=mentions,
        is_long=len(different) > MAX_WORDS,
        is_report=is_report,
        phrases=_phrases(stripped[:_NAMES_WITHIN], mentions),
        path=stripped.partition(":")[0].strip("/").lower() if kind is QueryKind.PATH else "",
        asks_tests=_TESTS.search(stripped) is not None,
        asks_prose=_PROSE.search(stripped) is not None,
    )


def title_of(text: str) -> str:
    """The first line of a report, '' where it is none: of a traceback, of a text of one line."""
    title, _, rest = text.strip().partition("\n")
    title = title.strip()
    if not rest.strip() or len(title) > _LONGEST_TITLE or len(words(title)) < _SHORTEST_TITLE:
        return ""
    return "" if find_mentions(title) or _TRACE.match(title) or not _is_prose(text) else title


def _is_prose(text: str) -> bool:
    """Whether a text begins as people write, or as a program or its log does."""
    if _PROGRAM.match(text.lstrip()):
        return False
    lines = [line.rstrip() for line in text[:_NAMES_WITHIN].splitlines() if line.strip()][:_FIRST_LINES]
    return _is_sentence(lines[0]) and (len(lines) == 1 or any(map(_is_sentence, lines[1:]))) if lines else False


def _is_sentence(line: str) -> bool:
    """Whether two of three words of a line are plain ones."""
    found = _QUOTED.sub("code", line).split()
    plain = sum(_PLAIN.fullmatch(word) is not None or has_wide_script(word) for word in found)
    return 3 * plain >= 2 * len(found) and not _FRAGMENT.match(line)


def _verb(text: str) -> str:
    """The stem of a question's verb that no file is named after, '' where there is none."""
    asked = _PREDICATE.fullmatch(text) if len(text) <= _LONGEST_QUESTION else None
    return stem(asked["verb"].lower()) if asked is not None else ""


def _phrases(text: str, mentions: Sequence[Mention]) -> tuple[str, ...]:
    """What stands in quotes and is not the path of a place."""
    # Sorted by their ends, since thousands of phrases may meet thousands of mentions.
    befores = sorted(mention.before[::-1] for mention in mentions)

    def ends_one(phrase: str) -> bool:
        at = bisect_left(befores, phrase[::-1])
        return at < len(befores) and befores[at].startswith(phrase[::-1])

    return tuple(phrase for phrase in _PHRASE.findall(text) if not ends_one(phrase))


def is_searchable(text: str) -> bool:
    """Whether a query has a word, or names a place; `???` has neither."""
    return bool(words(text)) or bool(find_mentions(text))


def by_worth(query: Query, worth: Callable[[int], float]) -> Query:
    """A long query with the terms alone that say most: those that are held at all, rare ones first. `worth` is a
    term's, 0 for one that nothing holds; any other query is returned as it is."""
    if not query.is_long:
        return query
    valued = sorted(query.terms, key=lambda term: -worth(term) * query.terms[term])
    kept = {term: query.terms[term] for term in valued[: 2 * MAX_WORDS]}
    return replace(query, terms=kept, stems=frozenset(stem for stem in query.stems if term_hash(stem) in kept))


def _kind(text: str) -> QueryKind:
    # A sentence of a script without blanks has none either.
    if not re.search(r"\s", text) and (not has_wide_script(text) or _PATH.fullmatch(text)):
        return QueryKind.PATH if _PATH.fullmatch(text) else QueryKind.SYMBOL
    if _ERROR.search(text):
        return QueryKind.ERROR
    named = any(weight == IDENTIFIER for weight in _names(text, alone=False).values())
    return QueryKind.MIXED if named else QueryKind.WORDS


def _names(text: str, alone: bool) -> dict[str, float]:
    if alone or (has_wide_script(text) and not re.search(r"\s", text)):
        # An operator of C++ may end with a separator.
        last = (_SEPARATOR.split(text)[-1] or text).strip("()")
        return {last: QUALIFIED} if last else {}
    found: dict[str, float] = {}
    for at, word in enumerate(_QUALIFIED.findall(text)):
        last = _SEPARATOR.split(word)[-1]
        if last != word or "_" in word.strip("_") or _CASED.search(word):
            found[last] = max(found.get(last, 0.0), IDENTIFIER)
        elif at > 0 and len(word) > 2 and word[0].isupper() and word[1:].islower():
            found[last] = max(found.get(last, 0.0), CAPITALISED)
    return found
