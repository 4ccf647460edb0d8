"""Definitions and references by name: `where is X defined`, `what calls X`, `who implements X`.

By name, and not by type: a call of `close` is found for every `close` there is. The records lie in a column of the
table (`turboprop.code.symbols`), which Lance looks through: 7 ms for 36,000 chunks, whose records have 5 MB.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from turboprop import limits
from turboprop.code.symbols import BASE, CALL, Definition, around_line, read_symbols
from turboprop.index import schema
from turboprop.index.lance_table import sql_text
from turboprop.search.filters import condition_in
from turboprop.search.path_rules import place_of
from turboprop.types import Hit, Match, SearchFilter

if TYPE_CHECKING:
    from turboprop.index.read import IndexReader

ANSWER_SCORE = 2.0
"""Of a chunk that answers a question for a name: it stands above what only resembles the question."""
_ASKED_FOR = 100.0
"""How much the place that was asked for counts among the matches of its chunk."""
_COLUMNS = [schema.PATH, schema.LANGUAGE, schema.START_LINE, schema.END_LINE, schema.SYMBOLS]
_SEPARATORS = re.compile(r"::|->|[.#:\\/]")
_SIGNS = re.compile(r"[\w$]")
_OPERATOR = re.compile(r"(?:operator\s*)?(?P<sign>[^\w\s$.`'\"]{1,3})", re.ASCII)
"""`==`, `operator==`, `operator ==`: what many languages define, and each names in its own way."""
_DUNDERS = {
    "+": "add", "-": "sub", "*": "mul", "/": "truediv", "//": "floordiv", "%": "mod", "**": "pow", "@": "matmul",
    "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", "&": "and", "|": "or", "^": "xor",
    "<<": "lshift", ">>": "rshift", "~": "invert", "[]": "getitem", "()": "call", "+=": "iadd", "-=": "isub",
}  # fmt: skip
"""Python's names of operators, without `__`."""
_KOTLIN = {
    "+": "plus", "-": "minus", "*": "times", "/": "div", "%": "rem", "==": "equals", "[]": "get", "()": "invoke",
    "+=": "plusAssign", "-=": "minusAssign", "!": "not", "++": "inc", "--": "dec",
}  # fmt: skip
_SELECTOR = re.compile(r"[+-]?\[?(?P<first>[A-Za-z_]\w*):(?:\w+:)*\]?", re.ASCII)
"""`run:with:` of Objective-C, which is one name."""
_SLIGHT = frozenset({"constant", "module", "declaration", "section", "table"})


_BEFORE = frozenset({"rust"})
"""Where a type may say what it implements before it begins: `#[derive(Debug)]`."""
_TYPES = frozenset({"struct", "enum", "union", "trait", "implementation"})


class Asked(StrEnum):
    """What is asked of a name."""

    DEFINITIONS = "definitions"
    CALLS = "calls"
    IMPLEMENTATIONS = "implementations"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a name is defined or referred to.

    `kind` is that of a definition, or "call" or "implementation"; `name` is qualified where it is a definition, and
    `inside` the definition that a reference stands in, '' at the top of a file. Lines are 1-based and inclusive: those
    of a definition, or one. `text` is the first of them.
    """

    path: str
    first_line: int
    last_line: int
    name: str
    kind: str
    inside: str
    language: str
    text: str
    row_id: int

    def as_json(self) -> dict[str, Any]:
        """What is told of it outside; a row's id holds within one reader."""
        told = dataclasses.asdict(self)
        del told["row_id"]
        return told


def find_definitions(
    reader: IndexReader, query: str, limit: int, *, wanted: SearchFilter | None = None, exact: bool = False
) -> list[Place]:
    """The definitions whose names hold every word of the query, the likest first; with `exact` only those of that name.

    A name may be qualified (`Server.run`, `Server::run`). The case of letters decides only between names that are else
    the same. Raises `UsageError` for a bad query or filter.
    """
    limits.NAME.check(query)
    if (operator := _OPERATOR.fullmatch(query.strip())) is not None:
        return _find_operators(reader, operator["sign"], limit, wanted)
    words = query.split()
    if not any(map(_SIGNS.search, words)):
        return []
    scope, name = _split(query.strip()) if len(words) == 1 else ("", "")
    sought = [name.lower()] if name else [_split(word)[1].lower() or word.lower() for word in words]
    found: list[tuple[tuple[Any, ...], Definition, dict[str, Any]]] = []
    for row in _rows(reader, [f"contains(lower({schema.SYMBOLS}), {sql_text(word)})" for word in sought], wanted):
        begun, _, _ = read_symbols(row[schema.SYMBOLS], row[schema.START_LINE], row[schema.END_LINE])
        for each in begun:
            likeness = _likeness(each, name, scope, sought, row[schema.PATH])
            if likeness is not None and (not exact or likeness < 2):
                place = place_of(row[schema.PATH], row[schema.LANGUAGE])
                slight = each.kind in _SLIGHT
                order = (likeness, place.is_test, place.is_prose, slight, len(each.name), row[schema.PATH], each.first)
                found.append((order, each, row))
    return _first_places(reader, found, limit)


def _find_operators(reader: IndexReader, sign: str, limit: int, wanted: SearchFilter | None) -> list[Place]:
    """The definitions of an operator, as each language names it."""
    names = {sign, f"operator{sign}", f"operator {sign}"}
    if sign == "[]":
        names |= {"this[]", "subscript"}
    names |= {f"__{_DUNDERS[sign]}__"} if sign in _DUNDERS else set()
    kotlin = {_KOTLIN[sign]} if sign in _KOTLIN else set()
    any_name = " OR ".join(
        f"contains({schema.SYMBOLS}, {sql_text(f'{chr(10)}={name}{chr(9)}')})" for name in sorted(names | kotlin)
    )
    found = []
    for row in _rows(reader, [f"({any_name})"], wanted):
        begun, _, _ = read_symbols(row[schema.SYMBOLS], row[schema.START_LINE], row[schema.END_LINE])
        place = place_of(row[schema.PATH], row[schema.LANGUAGE])
        for each in begun:
            if each.name in names or (each.name in kotlin and row[schema.LANGUAGE] == "kotlin"):
                found.append(((place.is_test, place.is_prose, row[schema.PATH], each.first), each, row))
    return _first_places(reader, found, limit)


def _first_places(
    reader: IndexReader, found: list[tuple[tuple[Any, ...], Definition, dict[str, Any]]], limit: int
) -> list[Place]:
    found.sort(key=lambda each: each[0])
    return _with_text(
        reader,
        [
            Place(
                path=row[schema.PATH],
                first_line=each.first,
                last_line=each.last,
                name=each.qualified,
                kind=each.kind,
                inside=each.scope,
                language=row[schema.LANGUAGE],
                text="",
                row_id=row["_rowid"],
            )
            for _, each, row in found[:limit]
        ],
    )


def find_references(
    reader: IndexReader, name: str, limit: int, *, asked: Asked = Asked.CALLS, wanted: SearchFilter | None = None
) -> list[Place]:
    """Where a name is called, or which types extend or implement it; code before tests, in path order.

    Of a qualified name the last part counts. Letters match in the case that is written, where there is any such
    reference, else in any. Raises `UsageError` for a bad name or filter.
    """
    limits.NAME.check(name)
    selector = _SELECTOR.fullmatch(name.strip())
    # A message is kept by the parts of its selector.
    bare = selector["first"] if selector else _split(name.strip().removesuffix("()"))[1]
    if not _SIGNS.search(bare):
        return []
    sign = BASE if asked is Asked.IMPLEMENTATIONS else CALL
    found: list[tuple[tuple[Any, ...], Place]] = []
    for column, sought in ((schema.SYMBOLS, bare), (f"lower({schema.SYMBOLS})", bare.lower())):
        for row in _rows(reader, [f"contains({column}, {sql_text(f'{chr(10)}{sign}{sought}{chr(9)}')})"], wanted):
            begun, going_on, references = read_symbols(
                row[schema.SYMBOLS], row[schema.START_LINE], row[schema.END_LINE]
            )
            place = place_of(row[schema.PATH], row[schema.LANGUAGE])
            for each in references:
                if each.kind != sign or (each.name != bare and each.name.lower() != sought):
                    continue
                holder = around_line([*going_on, *begun], each.line)
                if sign == BASE and row[schema.LANGUAGE] in _BEFORE and (not holder or holder.kind not in _TYPES):
                    holder = next((one for one in begun if one.first > each.line), holder)
                inside = holder.qualified if holder is not None else ""
                kind = "call" if sign == CALL else "implementation"
                one = Place(
                    path=row[schema.PATH],
                    first_line=each.line,
                    last_line=each.line,
                    name=each.name,
                    kind=kind,
                    inside=inside,
                    language=row[schema.LANGUAGE],
                    text="",
                    row_id=row["_rowid"],
                )
                found.append(((place.is_test, place.is_prose, one.path, each.line), one))
        if found:
            break
    found.sort(key=lambda each: each[0])
    return _with_text(reader, [each for _, each in found[:limit]])


def _rows(reader: IndexReader, conditions: list[str], wanted: SearchFilter | None) -> Iterator[dict[str, Any]]:
    if reader.rows == 0:
        return iter(())
    where = condition_in(reader, wanted)
    return iter(reader.rows_where(" AND ".join([*([where] if where else []), *conditions]), _COLUMNS))


def _likeness(one: Definition, name: str, scope: str, sought: Sequence[str], path: str) -> int | None:
    """How like a definition's name is to what is sought, 0 for the same; None where it is not."""
    bare = one.name.lower()
    if name:
        # `flask.app.Flask` is how `Flask` of `src/flask/app.py` is imported.
        module = path.rpartition(".")[0].removesuffix("/__init__").replace("/", ".")
        within = f".{module}.{one.scope}".rstrip(".").lower()
        if scope and not within.endswith(f".{scope}".lower()):
            return None
        if one.name == name:
            return 0
        if bare == name.lower():
            return 1
        if bare.startswith(name.lower()):
            return 2
        return 3 if name.lower() in bare else None
    whole = one.qualified.lower()
    if not all(word in whole for word in sought):
        return None
    return 4 if all(word in bare for word in sought) else 5


def _split(name: str) -> tuple[str, str]:
    """Scope and bare name of a name as any language writes it."""
    if _SELECTOR.fullmatch(name):
        return "", name.strip("+-[]")
    parts = [part for part in _SEPARATORS.split(name.strip("`'\"")) if part]
    return (".".join(parts[:-1]), parts[-1]) if parts else ("", "")


def _with_text(reader: IndexReader, places: list[Place]) -> list[Place]:
    """The places with their first lines, from the rows that they were found in."""
    rows = dict.fromkeys(each.row_id for each in places)
    read = reader.fetch(list(rows), [schema.START_LINE, schema.TEXT])
    texts = {
        row_id: (row[schema.START_LINE], row[schema.TEXT].split("\n")) for row_id, row in zip(rows, read, strict=True)
    }
    shown = []
    for each in places:
        start, lines = texts[each.row_id]
        at = each.first_line - start
        shown.append(dataclasses.replace(each, text=lines[at].strip() if 0 <= at < len(lines) else ""))
    return shown


_PART = r"[A-Za-z_$][\w$]*(?:-\w+)*"
_NAME = rf"[`'\"]?(?P<name>operator\s?[^\w\s]{{1,3}}|{_PART}(?:(?:::|\.|#|->){_PART})*)(?:\(\))?[`'\"]?"
_NOUN = r"(?:functions?|methods?|class(?:es)?|types?|structs?|traits?|interfaces?|macros?|constants?|variables?)"
_IT = rf"(?:(?:the|a|an)\s+)?(?:{_NOUN}\s+)?{_NAME}(?:\s+{_NOUN})?"
_ALL = r"(?:(?:find|show|list|go\s+to)\s+)?(?:(?:all|the)\s+)*"
_WHO = r"(?:what|who|which\s+\w+|where\s+do\s+we)\s+(?:all\s+)?"
_BUILDS = r"(?:implements?|extends?|subclass(?:es)?|inherits?(?:\s+from)?|derives?\s+from)"
_QUESTIONS = {
    Asked.CALLS: (
        rf"{_WHO}(?:calls?|invokes?|uses?)\s+(?:to\s+)?{_IT}",
        rf"{_ALL}(?:callers?|usages?|uses|calls|references)\s+(?:of|to|for)\s+{_IT}",
        rf"where\s+is\s+{_IT}\s+(?:called|used|invoked|referenced)(?:\s+from)?",
    ),
    Asked.DEFINITIONS: (
        rf"where\s+(?:is|are)\s+{_IT}\s+(?:defined|declared)",
        rf"{_ALL}(?:definitions?|declarations?)\s+of\s+{_IT}",
    ),
    Asked.IMPLEMENTATIONS: (
        rf"{_WHO}{_BUILDS}\s+{_IT}",
        rf"{_ALL}(?:implementations?|implement[eo]rs?|subclasses|subtypes)\s+of\s+{_IT}",
        rf"{_ALL}{_NOUN}\s+(?:that|which)\s+{_BUILDS}\s+{_IT}",
    ),
}
_COMPILED = [
    (asked, re.compile(rf"\s*{question}\s*[?.!]*\s*", re.IGNORECASE))
    for asked, questions in _QUESTIONS.items()
    for question in questions
]
_LONGEST_QUESTION = 300


def question_of(query: str) -> tuple[Asked, str] | None:
    """What a query asks of which name, where it is a question of that form; None for every other query."""
    if len(query) > _LONGEST_QUESTION:
        return None
    for asked, question in _COMPILED:
        if (found := question.fullmatch(query)) is not None:
            return asked, found["name"]
    return None


def answer(reader: IndexReader, query: str, limit: int, wanted: SearchFilter | None = None) -> list[Place]:
    """The places that answer a query which asks for definitions, calls or implementations of a name; else none.

    A plain word (`where is configuration defined`) is a name only where something is called exactly that.
    """
    question = question_of(query)
    if question is None:
        return []
    asked, name = question
    found: list[Place] = []
    for sought in (name, f"{name}?", f"{name}!"):  # names of Ruby, whose sign a question's own would hide
        if asked is Asked.DEFINITIONS:
            found = find_definitions(reader, sought, limit, wanted=wanted, exact=True)
        else:
            found = find_references(reader, sought, limit, asked=asked, wanted=wanted)
            if not found and asked is Asked.CALLS:  # what a type is used for may be to build on it
                found = find_references(reader, sought, limit, asked=Asked.IMPLEMENTATIONS, wanted=wanted)
        if found or sought not in query:
            break
    if _OPERATOR.fullmatch(name):  # each language has a name of its own for it
        return found
    bare = _split(name)[1]
    exact = [each for each in found if bare == (_split(each.name)[1])]
    return exact or ([] if name.islower() and name.isalpha() else found)


def answer_hits(reader: IndexReader, query: str, limit: int, wanted: SearchFilter | None = None) -> list[Hit]:
    """The same as hits: the chunks that hold these places, each with what it is and where. All are sure."""
    places: dict[int, list[Place]] = {}
    for each in answer(reader, query, limit, wanted):
        places.setdefault(each.row_id, []).append(each)
    rows = reader.fetch(list(places))
    return [
        Hit(
            path=row[schema.PATH],
            start_line=row[schema.START_LINE],
            end_line=row[schema.END_LINE],
            score=ANSWER_SCORE,
            language=row[schema.LANGUAGE],
            symbol=row[schema.SYMBOL],
            text=row[schema.TEXT],
            kind=row[schema.KIND],
            parts={"symbol": ANSWER_SCORE},
            sure="strong",
            why=_said(found),
            matches=tuple(_matches(row, found)),
        )
        for row, found in zip(rows, places.values(), strict=True)
    ]


def _matches(row: dict[str, Any], places: Sequence[Place]) -> Iterator[Match]:
    lines = row[schema.TEXT].split("\n")
    for each in places:
        at = each.first_line - row[schema.START_LINE]
        text = lines[at] if 0 <= at < len(lines) else ""
        name = _split(each.name)[1]
        begin = text.find(name)
        # A name that stands on another line of its definition: this one is shown, and nothing in it is marked.
        yield Match(each.first_line, *((begin, begin + len(name)) if begin >= 0 else (0, 0)), _ASKED_FOR)


def _said(places: Iterable[Place]) -> str:
    parts: dict[str, list[str]] = {}
    for each in places:
        if each.kind == "call":
            what = f"calls {each.name}" + (f" in {each.inside}" if each.inside else "")
        elif each.kind == "implementation":
            what = f"{each.inside or 'a type'} builds on {each.name}"
        else:
            what = f"defines {each.kind} {each.name}"
        parts.setdefault(what, []).append(str(each.first_line))
    return "; ".join(f"{what} (line{'s' * (len(lines) > 1)} {', '.join(lines)})" for what, lines in parts.items())
