"""What words are searched by: identifiers in parts and whole, their parts stemmed.

`getUserName` gives get, user, name (stemmed) and the whole `=getusername`, so that a query in plain
words finds it and the exact name finds it better. Terms are kept as 32-bit hashes: two of 200,000
different ones meet by chance in one of 20,000 lookups.

Text that is not ASCII is brought to NFKC first, as Python does with its identifiers: a letter is the same however it
was typed, and whatever its width. Scripts without blanks between words are looked up by pairs of signs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import groupby
from unicodedata import category, normalize

import Stemmer
import xxhash

_ASCII_WORD = re.compile(r"[^\W\d][\w$]*|\$[\w$]+|\d+", re.ASCII)
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u07a6-\u07b0\u07eb-\u07f3\u0816-\u082d"
    "\u0859-\u085b\u08d3-\u0903\u093a-\u0963\u0971-\u0dff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc"
    "\u0ec8-\u0ecd\u0f18\u0f19\u0f35\u0f37\u0f39\u0f71-\u0fbc\u102b-\u103e\u1056-\u1059\u135d-\u135f\u17b4-\u17d3"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\u3099\u309a\ua8e0-\ua8f1\ufe20-\ufe2f\u200c\u200d"
)
"""Vowel signs and accents that stand behind their letter, which `\\w` leaves out, and joiners within words."""
_WORD = re.compile(rf"[^\W\d][\w${_MARKS}]*|\$[\w$]+|\d+")
_SIGNS = (
    "\u1100-\u11ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u302f\u3031-\u3035\u3040-\u312f\u3131-\u318e\u31a0-\u31ff"
    "\u3400-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00016fe0-\U00018dff\U0001b000-\U0001b2ff"
    "\U00020000-\U0003ffff"
)
"""Han, kana and hangul: a sign can be a word."""
_SIGN = re.compile(f"[{_SIGNS}]")
_WIDE = re.compile(f"[{_SIGNS}\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\uaa60-\uaa7f]")
"""Scripts without blanks between words: those and Thai, Lao, Burmese and Khmer."""
_STEMMED_SCRIPTS = (
    ("\u0370", "\u03ff", "greek"),
    ("\u0400", "\u04ff", "russian"),
    ("\u0600", "\u06ff", "arabic"),
    ("\u0900", "\u097f", "hindi"),
)
"""Scripts, from and to, whose words have the endings of one language mostly, by the name of its Snowball stemmer."""
_KNOWN_WORDS = 16_384
"""Words whose hashes are kept: 97.2% of 30 MB of Python are among the last so many, 97.7% among the last 200,000, which
take 100 MB once stems and terms are kept beside them."""
MAX_WORD = 100
"""Longer runs of letters are data: base64, minified code. A sentence without blanks may be longer."""

_stem = Stemmer.Stemmer("porter").stemWord


def folded(text: str) -> str:
    """The text as it is compared: NFKC, without case."""
    return text.lower() if text.isascii() else normalize("NFKC", normalize("NFKC", text).casefold())


def words(text: str) -> list[str]:
    """The identifiers, words and numbers of a text, as they stand; of one that is not ASCII, in NFKC."""
    return _ASCII_WORD.findall(text) if text.isascii() else _WORD.findall(normalize("NFKC", text))


def placed_words(text: str) -> Iterator[tuple[int, str]]:
    """The same, each with the place where it begins."""
    return ((match.start(), match.group()) for match in _WORD.finditer(text))


def split_identifier(word: str) -> list[str]:
    """The parts of an identifier in lower case: `HTTPServer_v2` is http, server, v, 2."""
    if word.isascii():
        return [part.lower() for part in _PART.findall(word)]
    return _split(word)


def has_wide_script(text: str) -> bool:
    """Whether a text has signs of a script that is written without blanks between words."""
    return not text.isascii() and _WIDE.search(text) is not None


def stem(part: str) -> str:
    """The stem of a lower-case part: Porter's in ASCII, Snowball's for scripts of one language, else the part.
    Stems are worth 0.02 NDCG@10 to a search by words alone."""
    if part.isascii():
        return str(_stem(part)) if len(part) > 2 else part
    for first, last, language in _STEMMED_SCRIPTS:
        if first <= part[0] <= last:
            return str(_stemmer(language).stemWord(part))
    return part


def terms(word: str) -> tuple[str, ...]:
    """The terms of one word: stems of its parts, and `=` with the whole where it has several. A run of a script
    without blanks gives its pairs of signs."""
    is_wide = has_wide_script(word)
    if len(word) > MAX_WORD and not is_wide:
        return ()
    parts = split_identifier(word)
    found = [f"={folded(word).strip('_$')}"] if len(parts) > 1 and len(word) <= MAX_WORD else []
    for part in parts:
        if is_wide and len(part) > 2 and _WIDE.match(part):
            found.extend(part[at : at + 2] for at in range(len(part) - 1))
        else:
            found.append(stem(part))
    return tuple(found)


def stored_terms(word: str) -> tuple[str, ...]:
    """The terms by which a text is found that holds the word: as `terms`, and each sign of Han, kana and hangul, so
    that a query of one sign finds it."""
    found = terms(word)
    if not has_wide_script(word):
        return found
    single = {sign for part in split_identifier(word) if len(part) > 1 for sign in _SIGN.findall(part)}
    return (*found, *sorted(single))


@lru_cache(_KNOWN_WORDS)
def _hashes(word: str) -> tuple[int, ...]:
    return tuple(term_hash(term) for term in stored_terms(word))


def term_hash(term: str) -> int:
    """32 bits of a term."""
    return xxhash.xxh32_intdigest(term.encode("utf-8", "replace"))


def counted_terms(text: str) -> dict[int, int]:
    """The hashes of all terms of a text, and how often each occurs. Words are counted first: of 114 in a chunk of code
    some 50 differ, and the rest cost nothing then."""
    found: dict[int, int] = {}
    known = found.get
    for word, count in Counter(words(text)).items():
        for term in _hashes(word):
            found[term] = known(term, 0) + count
    return found


def defined_names(symbol: str) -> list[str]:
    """The names that a chunk with this symbol defines, bare and in lower case (`A.run, B.stop`: run, stop)."""
    return list(dict.fromkeys(map(folded, bare_names(symbol))))


def bare_names(symbol: str) -> list[str]:
    """The same as they are written."""
    names = (name.strip().rpartition(".")[2] for name in symbol.split(","))
    return list(dict.fromkeys(name for name in names if name))


def definition_hash(name: str) -> int:
    """The hash under which the definitions of a bare name are listed, whatever the case of its letters."""
    return term_hash(f"def {folded(name)}")


def spelled_hash(name: str) -> int:
    """The hash under which those are listed that are spelled just so, where the name has capitals."""
    return term_hash(f"Def {name}")


def _split(word: str) -> list[str]:
    """The parts of an identifier with letters beyond ASCII: cut where the script or the case says so."""
    parts: list[str] = []
    for kind, run in groupby(word, _kind):
        text = "".join(run)
        if kind == "letters":
            parts.extend(_split_case(text))
        elif kind:
            parts.append(text)
    return [part for part in map(folded, parts) if part]


def _kind(char: str) -> str:
    if _WIDE.match(char):
        return "wide"
    if char.isdigit():
        return "digits"
    return "letters" if char.isalnum() or category(char)[0] == "M" or char in "\u200c\u200d" else ""


def _split_case(text: str) -> Iterator[str]:
    """At a capital letter behind a small one, and before the last of several capitals that a small one follows."""
    begin = 0
    for at in range(1, len(text)):
        rises = text[at].isupper() and not text[at - 1].isupper()
        falls = text[at - 1].isupper() and text[at].islower() and at - 1 > begin and text[at - 2].isupper()
        if rises or falls:
            end = at if rises else at - 1
            if end > begin:
                yield text[begin:end]
            begin = end
    yield text[begin:]


@cache
def _stemmer(language: str) -> Stemmer.Stemmer:
    return Stemmer.Stemmer(language)
