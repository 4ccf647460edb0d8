"""What a file defines, and what it refers to by name: definitions, calls, and the types that a type builds on.

A table row keeps those of its chunk as text, one record a line, lines counted from 1 in the file:

    =name <tab> kind <tab> first line <tab> last line <tab> scope     a definition that begins in the chunk
    ~name <tab> kind <tab> first line <tab> last line <tab> scope     one that began before it and reaches into it
    >name <tab> line,line                                             calls
    ^name <tab> line,line                                             base classes, traits, interfaces

Names are bare (`run`), scopes qualified (`Server.Pool`). All of it is by name: which of two definitions of one name is
called is not known.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from turboprop.code import sql_routines
from turboprop.code.definitions import definition
from turboprop.code.languages import MINOR, Language
from turboprop.code.names import MAX_NAME, Found, dotted
from turboprop.code.references import REFERENCES

if TYPE_CHECKING:
    from tree_sitter import Node, Query

CALL, BASE = ">", "^"
_BEGINS, _GOES_ON = "=", "~"
_DATA = frozenset({"key", "rule", "element"})
"""What is named in data and markup: nobody looks it up as a definition, and a JSON file has thousands."""
_FUNCTIONS = frozenset({"function", "method"})
_CLASS_LIKE = frozenset({"class", "interface", "struct", "trait", "implementation", "enum", "object", "union"})
_HEADS_ARE_CALLS = frozenset({"elixir", "julia", "clojure"})
"""Where `def f(x)` looks like a call of f, and of `def`."""
_METHODS_BY_NAME = frozenset({"csharp"})
"""Where a method of the own class is passed on by its bare name, and variables are written otherwise."""
_BY_CLAUSES = frozenset({"elixir", "erlang", "haskell"})
"""Where a function is a row of clauses, each a definition for the grammar."""
_AROUND_NAMES = frozenset(
    ["argument", "arguments", "argument_list", "string", "string_literal", "list_expression", "macro_argument_list"]
)
"""Nodes between a name and the call that defines it."""
_DEFINING = frozenset(
    [
        "def",
        "defp",
        "defmacro",
        "defmacrop",
        "defmodule",
        "defprotocol",
        "defimpl",
        "defguard",
        "defguardp",
        "defdelegate",
        "defstruct",
        "defexception",
        "defn",
        "defn-",
        "defonce",
        "defrecord",
        "deftype",
        "defmulti",
        "defmethod",
        "deftest",
        "ns",
        "extend-type",
        "extend-protocol",
        "reify",
    ]
)
_MOST = 100_000
"""Records of one file; a generated table has more."""
_DECLARED = frozenset({"declaration", "field_declaration"})
"""Nodes of C that say what is somewhere else."""


class Definition(NamedTuple):
    """A named piece of code on lines `first` to `last`, which are 1-based and inclusive; `scope` is what it is in."""

    name: str
    kind: str
    first: int
    last: int
    scope: str = ""

    @property
    def qualified(self) -> str:
        """The name with its scope."""
        return f"{self.scope}.{self.name}" if self.scope else self.name


class Reference(NamedTuple):
    """A name in call position (`CALL`), or that a type extends or implements (`BASE`), on a 1-based line."""

    name: str
    kind: str
    line: int


class Symbols(NamedTuple):
    """Of one file: definitions in the order of lines, references as 1-based line, and `CALL` or `BASE` and the name."""

    definitions: list[Definition]
    references: list[tuple[int, str]]


def find_symbols(root: Node, row: Language, above: int = 0) -> Symbols:
    """The definitions and references of a tree whose text has `above` lines of its file before its first one.

    What it costs is the query's way through the tree and a microsecond for each of its captures: 30 MB of Python have
    400,000 references, and take 5% longer to index.
    """
    from tree_sitter import QueryCursor

    query = _query(row.name)
    if query is None:
        return Symbols([], [])
    captured = QueryCursor(query).captures(root)
    named = {name: nodes for name, nodes in captured.items() if name.startswith("is.")}
    definitions = _definitions([*((node, None) for node in captured.get("def", ())), *_named(named)], row, above)
    references: list[tuple[int, str]] = []
    for kind, name in ((CALL, "call"), (BASE, "base")):
        nodes = captured.get(name, [])
        for node in nodes if len(nodes) <= _MOST else _in_order(nodes)[:_MOST]:
            text = (node.text or b"").decode("utf-8", "replace")
            line = node.start_point[0] + 1 + above
            if text.isidentifier():
                references.append((line, kind + text))
            else:  # Perl's `qw(A B)` is one text
                references += [(line, kind + _bare(word)) for word in (text.split() if kind == BASE else [text])]
    if values := captured.get("value"):
        kinds = _FUNCTIONS if row.name in _METHODS_BY_NAME else {"function"}
        functions = {each.name.encode() for each in definitions if each.kind in kinds}
        passed = [node for node in values[:_MOST] if node.text in functions]
        references += [(node.start_point[0] + 1 + above, f"{CALL}{_text(node)}") for node in passed]
    if row.name == "sql":
        text = (root.text or b"").decode("utf-8", "replace")
        read = {(each.name.rpartition(".")[2], each.first) for each in definitions}
        made = [(name, first + 1 + above, last + 1 + above) for name, first, last in sql_routines.routines(text)]
        more = [Definition(name, "function", first, last) for name, first, last in made if (name, first) not in read]
        definitions = sorted([*definitions, *more], key=lambda each: (each.first, -each.last))
        references += [(line + 1 + above, CALL + name) for name, line in sql_routines.calls(text)]
    if row.grammar in _HEADS_ARE_CALLS or "not" in captured:
        heads = {(found.first, CALL + found.name) for found in definitions}
        heads |= {(node.start_point[0] + 1 + above, CALL + _bare(_text(node))) for node in captured.get("not", ())}
        references = [each for each in references if each not in heads and each[1][1:] not in _DEFINING]
    return Symbols(_without_clauses(definitions) if row.grammar in _BY_CLAUSES else definitions, references)


def _named(captured: Mapping[str, Iterable[Node]]) -> list[tuple[Node, Found]]:
    """What the names that were captured as `is.KIND` define, each with the node around it."""
    names: dict[tuple[int, str], tuple[Node, list[str]]] = {}
    for capture, nodes in captured.items():
        for node in _in_order(nodes)[:_MOST]:
            owner = node.parent
            while owner is not None and owner.type in _AROUND_NAMES and owner.child_by_field_name("name") != node:
                owner = owner.parent
            if owner is not None:
                owner = node if owner.type.endswith("_body") else owner
                name = _text(node).strip(":'\"")
                name = name.partition("=")[0] if node.type == "word" else name  # `alias name=command`
                names.setdefault((owner.id, capture), (owner, []))[1].append(name)
    return [(owner, Found(capture[3:], tuple(found), owner)) for (_, capture), (owner, found) in names.items()]


def _definitions(nodes: list[tuple[Node, Found | None]], row: Language, above: int) -> list[Definition]:
    """The definitions at nodes, of which some are known already."""
    nodes.sort(key=lambda each: (each[0].start_byte, -each[0].end_byte, each[0].type))
    found: list[Definition] = []
    around: list[tuple[int, str, str]] = []  # of what is open: its last byte, its kind, the scope of its members
    values: set[int] = set()
    file_scopes: dict[str, int] = {}
    for node, known in nodes[:_MOST]:
        begin = node.start_byte
        while around and around[-1][0] <= begin:
            around.pop()
        if node.id in values and known is None:
            continue  # what a binding holds, which has its name already
        if file_scopes and node.type in file_scopes:  # a second `package` ends the one before
            del around[file_scopes.pop(node.type) :]
        in_function = bool(around) and around[-1][1] in _FUNCTIONS
        if known is None and in_function and (row.definitions[node.type] in MINOR or node.type in _DECLARED):
            continue
        one = known or definition(node, row)
        if one is None or one.kind in _DATA or (in_function and one.kind in MINOR):
            continue
        if one.node is not node:
            values.add(one.node.id)
        scope = around[-1][2] if around else ""
        kind = "method" if one.kind == "function" and around and around[-1][1] in _CLASS_LIKE else one.kind
        if node.type in _DECLARED and row.has_macros and kind in _FUNCTIONS:
            kind = "declaration"
        last_node = _with_body(node) if row.grammar == "dart" else node
        end_row, end_column = last_node.end_point
        first = node.start_point[0] + 1 + above
        last = max(first, end_row + (1 if end_column else 0) + above)
        known_already = True
        for name in one.names:
            # Whole are `impl Trait for Type` and operators, which may have a dot of their own.
            if name.isidentifier() or one.scope or not any(map(str.isalnum, name)):
                owner, bare = scope, name
            else:
                whole = name if not scope or name.startswith(f"{scope}.") else f"{scope}.{name}"
                owner, _, bare = whole.rpartition(".")
                owner = _clean(owner)
            bare = bare if bare.isidentifier() else _clean(bare)
            before = found[-1] if found else None
            if not bare or (before is not None and (before.first, before.name) == (first, bare)):
                continue
            known_already = False
            found.append(Definition(bare, kind, first, last, owner))
        if known_already:
            continue
        inner = one.scope or one.names[0]
        inner = inner if not scope or inner.startswith(f"{scope}.") else f"{scope}.{inner}"
        if one.is_file_scope:
            file_scopes[node.type] = len(around)
        parent = node.parent if one.is_file_scope else None
        around.append((parent.end_byte if parent is not None else last_node.end_byte, kind, inner))
    return found


def _without_clauses(definitions: Iterable[Definition]) -> list[Definition]:
    """Each function once, with all of its clauses."""
    found: list[Definition] = []
    for each in definitions:
        before = found[-1] if found else None
        if before is not None and (each.name, each.kind, each.scope) == (before.name, before.kind, before.scope):
            found[-1] = before._replace(last=each.last)
        else:
            found.append(each)
    return found


def _with_body(node: Node) -> Node:
    """The last node of a definition: for the grammar of Dart a body stands beside its signature."""
    if not node.type.endswith("_signature"):
        return node
    parent = node.parent
    outer = parent if parent is not None and parent.type == "method_signature" else node
    following = outer.next_named_sibling
    return following if following is not None and following.type == "function_body" else node


def _in_order(nodes: Iterable[Node]) -> list[Node]:
    """Captures come in any order, another one at each run; what is around others comes first here."""
    return sorted(nodes, key=lambda node: (node.start_byte, -node.end_byte, node.type))


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")


@cache
def _query(language: str) -> Query | None:
    from tree_sitter import Query
    from tree_sitter_language_pack import get_language

    from turboprop.code.languages import LANGUAGES

    row = LANGUAGES[language]
    kinds = {kind for kind in row.definitions.values() if kind not in _DATA and kind != "@key"}
    nodes = [f"({node})" for node, kind in row.definitions.items() if kind in kinds and node != "assignment"]
    wanted = [f"[{' '.join(nodes)}] @def"] if nodes else []
    if "assignment" in row.definitions:
        # Of an assignment's many places, those where a constant is defined: 30 of 31 of Python's are in functions.
        wanted += _ASSIGNMENTS[row.grammar]
    wanted.append(REFERENCES.get(row.grammar, ""))
    text = "\n".join(wanted).strip()
    # The pack types its names as a Literal; ours come from a table that a test goes through.
    return Query(get_language(row.grammar), text) if text else None  # type: ignore[arg-type]


_ASSIGNMENTS = {
    "python": (
        "(module (assignment) @def)",
        "(module (if_statement consequence: (block (assignment) @def)))",
        "(module (try_statement body: (block (assignment) @def)))",
        "(class_definition body: (block (assignment) @def))",
    ),
    "ruby": ("(assignment left: (constant)) @def",),
    "starlark": ("(module (expression_statement (assignment) @def))",),
    "julia": (
        "(assignment . [(call_expression) (where_expression)]) @def",
        "(assignment (arrow_function_expression) .) @def",
    ),
}


def _bare(text: str) -> str:
    # Without the signs of Ruby's symbols, Perl's functions and private members, and what Make passes on with it.
    return _clean(dotted(text).rpartition(".")[2]).partition(",")[0].lstrip(":&#")


def _clean(name: str) -> str:
    """A name that fits into a record, without the quotes and the mark of a private one (JavaScript)."""
    return " ".join(name.split())[:MAX_NAME].strip("'\"`").removeprefix("#")


def records_of(starts: Sequence[int], symbols: Symbols) -> list[str]:
    """The records of each chunk of a file; `starts` are the first lines of its chunks, 1-based, in their order."""
    records: list[list[str]] = [[] for _ in starts]
    for each in symbols.definitions:
        fields = f"{each.name}\t{each.kind}\t{each.first}\t{each.last}\t{each.scope}"
        at = max(0, bisect_right(starts, each.first) - 1)
        records[at].append(_BEGINS + fields)
        for further in range(at + 1, bisect_right(starts, each.last)):
            records[further].append(_GOES_ON + fields)
    # By line, as there are ten references for each chunk: 100,000 in 7 MB of Python.
    places: list[dict[str, list[int]]] = [{} for _ in starts]
    of_line = [places[0]] * starts[0] if starts else []
    for held, start, following in zip(places, starts, [*starts[1:], None], strict=True):
        last = following if following is not None else max((line for line, _ in symbols.references), default=start) + 1
        of_line.extend([held] * (last - start))
    for line, name in symbols.references:
        held = of_line[line]
        if name in held:
            held[name].append(line)
        else:
            held[name] = [line]
    for own, lines in zip(records, places, strict=True):
        own += [_record(name, lines[name]) for name in sorted(lines) if len(name) > 1]
    return ["".join(f"\n{record}" for record in own) + "\n" if own else "" for own in records]


def _record(name: str, lines: Sequence[int]) -> str:
    if len(lines) == 1:
        return f"{name}\t{lines[0]}"
    return f"{name}\t{','.join(map(str, sorted({*lines})))}"


def read_symbols(text: str, first: int, last: int) -> tuple[list[Definition], list[Definition], list[Reference]]:
    """Of a row of lines `first` to `last`: the definitions that begin in it, those that reach into it, and its
    references. A record that is none is passed over."""
    begun: list[Definition] = []
    going_on: list[Definition] = []
    references: list[Reference] = []
    for record in text.split("\n"):
        name, *fields = record[1:].split("\t")
        try:
            if record[:1] in (_BEGINS, _GOES_ON):
                kind, begin, end, scope = fields
                one = Definition(name, kind, int(begin), int(end), scope)
                # A chunk that was cut again for its model left all of its records to each part.
                if first <= one.first <= last:
                    begun.append(one)
                elif one.first < first <= one.last:
                    going_on.append(one)
            elif record[:1] in (CALL, BASE):
                lines = [int(number) for number in fields[0].split(",")]
                references += [Reference(name, record[0], line) for line in lines if first <= line <= last]
        except (ValueError, IndexError):
            continue
    return begun, going_on, references


def defined_in(text: str) -> Iterator[str]:
    """The bare names whose definitions begin in the chunk with these records."""
    for record in text.split("\n"):
        if record[:1] == _BEGINS:
            yield record[1:].partition("\t")[0]


def around_line(definitions: Iterable[Definition], line: int) -> Definition | None:
    """The innermost definition that a line is in."""
    holding = [each for each in definitions if each.first <= line <= each.last]
    return max(reversed(holding), key=lambda each: (each.first, -each.last), default=None)
