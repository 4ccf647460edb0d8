"""A parsed file as a list of marks: from this line on, this is what the text defines.

The tree is walked from the top and only where something is larger than a chunk may be: a small
definition is one mark, a large class is a mark for its header and then its members. The walk keeps a
stack of its own and stops descending at a depth, so nesting cannot exhaust Python's.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from turboprop.code.definitions import definition
from turboprop.code.languages import LANGUAGES, MINOR, SCOPES, Language
from turboprop.code.names import Found
from turboprop.code.nesting import too_deep
from turboprop.code.symbols import Symbols, find_symbols

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

# Real code nests some 30 levels of syntax; below this the lines decide.
MAX_DEPTH = 200
MAX_NAMES = 8
MAX_SIGNATURE = 200
# Class, its body, a guard or wrapper inside: members deeper down are not worth a look.
_MEMBER_DEPTH = 3
_CLASS_LIKE = frozenset({"class", "interface", "struct", "trait", "implementation", "enum", "object", "union"})
# Macros that are no syntax without a preprocessor: `class EXPORT_API name {` reads as a function, and
# `BEGIN_NAMESPACE` alone on a line swallows what follows it. Blanked, everything keeps its place.
_MACRO = re.compile(
    rb"(?<=\bclass )[A-Z][A-Z0-9_]{2,}(?:\([^()\n]*\))?(?= +\w+\s*(?:final\b\s*)?(?:<[^;{}]*>\s*)?[:{])"
    rb"|(?<=\bstruct )[A-Z][A-Z0-9_]{2,}(?:\([^()\n]*\))?(?= +\w+\s*(?:final\b\s*)?(?:<[^;{}]*>\s*)?[:{])"
    rb"|^[A-Z][A-Z0-9_]{3,}(?= +(?:template|class|struct|namespace|inline|static|extern)\b)"
    rb"|^[ \t]*[A-Z][A-Z0-9_]{3,}(?:\([\w, ]*\))?[ \t]*$",
    re.MULTILINE,
)
# A rule inside a media query and an element inside an element are called by their own name.
_UNSCOPED = frozenset({"rule", "element", "step"})
_EMBEDDING = frozenset({"script_element", "style_element"})
# In front of a definition and part of its node; a signature begins behind them.
_ORNAMENTS = frozenset({"attribute_list", "decorator", "annotation", "description"})
_local = threading.local()


class Owner(NamedTuple):
    """The definition that lines belong to. `scope` is the prefix of the names of its members."""

    symbol: str = ""
    kind: str = "block"
    signature: str = ""
    scope: str = ""


class Mark(NamedTuple):
    """From `line` (0-based) to the next mark: part of `owner`, or a definition of its own.

    `names` are what the lines define, qualified; `apart` says that it is a whole definition that
    stands by itself, `kind` and `signature` are then its own; `opens` that `owner` begins here.
    """

    line: int
    owner: Owner
    names: tuple[str, ...] = ()
    kind: str = ""
    signature: str = ""
    apart: bool = False
    opens: bool = False


FILE = Owner()


def parser_for(grammar: str) -> Parser:
    """This thread's parser for a grammar of tree-sitter-language-pack; made on first use."""
    parsers: dict[str, Parser] | None = getattr(_local, "parsers", None)
    if parsers is None:
        parsers = _local.parsers = {}
    parser = parsers.get(grammar)
    if parser is None:
        from tree_sitter_language_pack import get_parser

        # The pack types its names as a Literal; ours come from a table that a test goes through.
        parser = parsers[grammar] = get_parser(grammar)  # type: ignore[arg-type]
    return parser


def marks(text: str, row: Language, offsets: Sequence[int], max_chars: int) -> list[Mark]:
    """The marks of a text in a language that has a grammar, in line order.

    `offsets` are the line offsets of `text` (`lines.line_offsets`); whatever is longer than
    `max_chars` is looked into.
    """
    return outline(text, row, offsets, max_chars)[0]


def outline(
    text: str, row: Language, offsets: Sequence[int], max_chars: int, above: int = 0
) -> tuple[list[Mark], Symbols]:
    """The same, and what the text defines and refers to, from one parse. `above` lines of its file stand before it, and
    count where lines of symbols are told."""
    source = text.encode("utf-8", "replace")
    if row.has_macros:
        source = _MACRO.sub(lambda found: b" " * len(found[0]), source)
    if too_deep(source, row.name):
        return [], Symbols([], [])
    tree = parser_for(row.grammar).parse(source)
    walked = _Outline(row, offsets, max_chars, above)
    found = walked.walk(tree.root_node)
    symbols = find_symbols(tree.root_node, row, above)
    for inner in walked.embedded:
        symbols.definitions.extend(inner.definitions)
        symbols.references.extend(inner.references)
    return found, symbols


class _Outline:
    """One walk over one tree."""

    def __init__(self, row: Language, offsets: Sequence[int], max_chars: int, above: int) -> None:
        self.row = row
        self.above = above
        self.offsets = offsets
        self.lines = len(offsets) - 1
        self.max_chars = max_chars
        self.marks: list[Mark] = []
        self.embedded: list[Symbols] = []
        # Comments and attributes that wait for what they belong to: lines [start, end), or -1.
        self.lead_start = self.lead_end = -1
        # The first line that no node so far reaches.
        self.covered = 0

    def walk(self, root: Node) -> list[Mark]:
        stack: list[tuple[list[Node], Owner]] = [(root.named_children[::-1], FILE)]
        while stack:
            siblings, owner = stack[-1]
            if not siblings:
                stack.pop()
                continue
            node = siblings.pop()
            first = node.start_point[0]
            last, column = node.end_point
            end = min(last + 1 if column else max(last, first + 1), self.lines)
            if node.type in self.row.leading:
                self.keep_lead(first, end, owner)
                continue
            if end <= self.covered and node.type not in self.row.definitions:
                continue  # wholly on lines that another node began
            found = definition(node, self.row)
            if found is not None and found.kind in MINOR and owner.kind in ("function", "method"):
                found = None  # a local variable
            lead = self.take_lead(first, owner)
            size = self.offsets[end] - self.offsets[lead]
            large = end - first > 1 and size > self.max_chars and len(stack) < MAX_DEPTH
            if found is not None and found.is_file_scope:
                self.add(Mark(lead, owner, found.names))
                # Of its owner alone: a second `package` or `namespace` does not lie in the first.
                stack[-1] = (siblings, owner._replace(scope=_join(owner.symbol, found.names[0])))
            elif node.type in _EMBEDDING:
                self.add(Mark(lead, owner))
                self.embed(node)
            elif found is not None and large:
                owner = self.owner_of(found, node, owner)
                self.add(Mark(lead, owner, opens=True))
                stack.append((found.node.named_children[::-1], owner))
                continue
            elif found is not None:
                self.add(self.whole(found, node, lead, owner))
            elif large:
                if lead == first:
                    self.add(Mark(first, owner))
                else:
                    self.lead_start = lead  # for the first definition inside
                stack.append((node.named_children[::-1], owner))
                continue
            else:
                self.add(self.plain(node, lead, owner))
            self.covered = max(self.covered, end)
            if self.row.ends_with_comments:
                self.give_back(node, owner)
        if self.lead_start >= 0:
            self.add(Mark(self.lead_start, FILE))
        return self.marks

    def keep_lead(self, first: int, end: int, owner: Owner) -> None:
        """Holds a comment or attribute on [first, end) back for what follows it."""
        if first < self.covered:
            self.covered = max(self.covered, end)  # behind something on its line
            return
        if self.lead_start >= 0 and first > self.lead_end:
            self.add(Mark(self.lead_start, owner))
            self.lead_start = -1
        if self.lead_start < 0:
            self.lead_start = first
        self.lead_end = self.covered = end

    def take_lead(self, first: int, owner: Owner) -> int:
        """The line where a node on line `first` begins, with what was held back for it."""
        lead, self.lead_start = self.lead_start, -1
        if lead < 0:
            return first
        # One blank line between a comment and what it is about is a common style.
        if first <= self.lead_end + 1:
            return lead
        self.add(Mark(lead, owner))
        return first

    def give_back(self, node: Node, owner: Owner) -> None:
        """Comments that end a node (a TOML table) are about what follows it."""
        tail: Node | None = None
        for child in reversed(node.named_children):
            if child.type not in self.row.leading:
                break
            tail = child
        if tail is not None and tail.start_point[0] > node.start_point[0]:
            self.covered = tail.start_point[0]
            self.keep_lead(tail.start_point[0], node.end_point[0], owner)

    def embed(self, node: Node) -> None:
        """The marks of a script or style sheet inside a page, at their lines in the page."""
        raw = next((child for child in node.named_children if child.type == "raw_text"), None)
        row = LANGUAGES.get(_embedded_language(node))
        if raw is None or row is None or raw.text is None:
            return
        first = raw.start_point[0]
        offsets = self.offsets[first : raw.end_point[0] + 2]
        if len(offsets) < 3:
            return
        tree = parser_for(row.grammar).parse(raw.text)
        self.embedded.append(find_symbols(tree.root_node, row, self.above + first))
        for mark in _Outline(row, offsets, self.max_chars, self.above).walk(tree.root_node):
            self.add(mark._replace(line=mark.line + first))

    def add(self, mark: Mark) -> None:
        """Appends a mark; one on the line of the last lends it its names instead."""
        if not self.marks or mark.line > self.marks[-1].line:
            self.marks.append(mark)
            return
        last = self.marks[-1]
        own = (mark.owner.symbol,) if mark.opens else ()
        names = tuple(dict.fromkeys((*last.names, *own, *mark.names)))[:MAX_NAMES]
        if (mark.apart or mark.opens) and not last.apart and not last.owner.symbol:
            self.marks[-1] = mark._replace(line=last.line, names=names)
        elif names != last.names:
            self.marks[-1] = last._replace(names=names)

    def plain(self, node: Node, start: int, owner: Owner) -> Mark:
        """What defines nothing by itself; a guard or an error may hold definitions."""
        names: tuple[str, ...] = ()
        if node.end_point[0] > node.start_point[0]:
            names = tuple(self.members(node, owner.scope))
        return Mark(start, owner, names)

    def whole(self, found: Found, node: Node, start: int, owner: Owner) -> Mark:
        names = [_join(owner.scope, name) for name in found.names[:MAX_NAMES]]
        kind = _kind_in(found.kind, owner)
        if kind in SCOPES and found.node.end_point[0] > found.node.start_point[0]:
            inner = _join(owner.scope, found.scope) if found.scope else names[0]
            names.extend(self.members(found.node, inner)[: MAX_NAMES - len(names)])
        apart = kind not in MINOR
        return Mark(
            start,
            owner,
            tuple(names),
            kind,
            _signature(node, found.node, self.row.leading) if apart else "",
            apart,
        )

    def owner_of(self, found: Found, node: Node, owner: Owner) -> Owner:
        name = _join(owner.scope, found.names[0])
        scope = owner.scope if found.kind in _UNSCOPED else _join(owner.scope, found.scope) if found.scope else name
        signature = _signature(node, found.node, self.row.leading)
        return Owner(name, _kind_in(found.kind, owner), signature, scope)

    def members(self, node: Node, scope: str) -> list[str]:
        """Qualified names of the definitions inside a small node, without going into functions."""
        names: list[str] = []
        stack = [(node.named_children[::-1], scope, 0)]
        while stack and len(names) < MAX_NAMES:
            siblings, prefix, depth = stack[-1]
            if not siblings:
                stack.pop()
                continue
            child = siblings.pop()
            found = definition(child, self.row)
            if found is not None:
                if found.kind in MINOR:
                    continue
                names.append(_join(prefix, found.names[0]))
                if found.kind in SCOPES and depth < _MEMBER_DEPTH:
                    inner = _join(prefix, found.scope) if found.scope else names[-1]
                    stack.append((found.node.named_children[::-1], inner, depth))
            elif depth < _MEMBER_DEPTH and child.end_point[0] > child.start_point[0]:
                stack.append((child.named_children[::-1], prefix, depth + 1))
        return list(dict.fromkeys(names))


def _embedded_language(node: Node) -> str:
    tag = node.named_children[0].text if node.named_child_count else None
    if node.type == "style_element":
        return "scss" if tag and b"scss" in tag else "css"
    return "typescript" if tag and (b'"ts"' in tag or b"typescript" in tag) else "javascript"


def _join(scope: str, name: str) -> str:
    if not scope:
        return name
    # `def self.build` and `function M.run` repeat no scope; a C++ definition may.
    return name if name.startswith(scope + ".") else f"{scope}.{name}"


def _kind_in(kind: str, owner: Owner) -> str:
    return "method" if kind == "function" and owner.kind in _CLASS_LIKE else kind


def _signature(node: Node, inner: Node, leading: frozenset[str]) -> str:
    """The lines of a definition before its body, on one line, without a wrapper's decorators."""
    raw = node.text
    if raw is None:
        return ""
    outer = inner if inner.start_point[0] > node.start_point[0] else node
    begin, end = outer.start_byte, -1
    body = inner.child_by_field_name("body")
    for child in inner.named_children:
        if child.start_byte <= begin and child.type in _ORNAMENTS:
            following = child.next_sibling
            begin = following.start_byte if following is not None else begin
        elif child.type in leading:
            break  # a comment behind the first line
        elif child.start_byte > begin and (child == body or child.type.endswith(("body", "block"))):
            end = child.start_byte
            break
    raw = raw[begin - node.start_byte :]
    raw = raw[: end - begin] if end >= 0 else raw.partition(b"\n")[0]
    text = " ".join(raw[: 4 * MAX_SIGNATURE].decode("utf-8", "replace").split())
    return text[:MAX_SIGNATURE].rstrip(" {(:=")
