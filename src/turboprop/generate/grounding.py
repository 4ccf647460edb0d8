"""Names in code marks, such as `Session.sign_all()`, that an answer has and that nothing shown to the model has."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FENCE = re.compile(r"^\s*(```|~~~).*?(?:^\s*\1|\Z)", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)(`{1,2})(?!`)([^`\n]{2,120})\1(?!`)")
_NAME = re.compile(r"[@&*$]{0,2}([^\W\d][\w$]*(?:(?:\.|::|->|/|-)[\w$]+)*)(?:\(.*\)|\[\])?[;:,]?")
_WORD = re.compile(r"[\w$]+")
_EVERYWHERE = frozenset(
    """
    any array async await bool boolean break bytes case catch char class const continue def default dict do double
    elif else enum except export false final finally float for from func function if impl import in int integer
    interface lambda let list long map mut new nil none null number object private public pub raise return self set
    short static str string struct super switch this throw throws true try tuple type undefined var void while with
    yield json http https html utf-8 ascii python javascript typescript java rust ruby php swift kotlin bash shell git
    """.split()  # noqa: SIM905  a list of words reads better than a list of literals
)
"""What languages and formats bring along, in lower case: nothing that a source would have to show."""
MOST_NAMES = 10


def unknown_names(answer: str, shown: Iterable[str]) -> tuple[str, ...]:
    """Names in code marks of which a part occurs in none of the texts `shown`, in order, each once, at most
    `MOST_NAMES`. Blocks of code are passed over: what a model proposes there is new by its nature."""
    known: set[str] | None = None
    found: dict[str, None] = {}
    for span in _SPAN.finditer(_FENCE.sub("", answer)):
        name = _NAME.fullmatch(span[2].strip())
        if name is None or name[1].lower() in _EVERYWHERE:
            continue
        if known is None:
            known = {word for text in shown for word in _WORD.findall(text)}
        words = [word for word in _WORD.findall(name[1]) if word.lower() not in _EVERYWHERE]
        if any(word not in known for word in words):
            found[span[2].strip()] = None
        if len(found) == MOST_NAMES:
            break
    return tuple(found)
