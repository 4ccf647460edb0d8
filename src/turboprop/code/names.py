"""How a definition is called: the naming rules that the rows of `languages` choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_NAME = 120


class Found(NamedTuple):
    """A definition. Its members are among the children of `node`.

    With `is_file_scope` it has none: its siblings to the end are named after it (`package Foo;`). `scope` is the
    prefix of its members' names, where that is not its own name.
    """

    kind: str
    names: tuple[str, ...]
    node: Node
    is_file_scope: bool = False
    scope: str = ""


Naming = Callable[["Node"], str]


def text_of(node: Node | None) -> str:
    """The source of a node on one line, at most `MAX_NAME` characters; '' for None."""
    if node is None:
        return ""
    raw = node.text
    if raw is None:
        return ""
    text = raw[: MAX_NAME * 4].decode("utf-8", "replace")
    return (text if text.isidentifier() else " ".join(text.split()))[:MAX_NAME]


def dotted(name: str) -> str:
    """`a::b`, `a:b` (Lua) and `a\\b` (PHP) as `a.b`: one way to write a qualified name in all languages. An operator
    (`::` of Scala) is no name of that kind."""
    if name.isidentifier() or not any(char.isalnum() or char == "_" for char in name):
        return name
    return name.replace("::", ".").replace(":", ".").replace("\\", ".").strip(".")


def field_name(node: Node) -> str:
    """What the field `name` holds."""
    return dotted(text_of(node.child_by_field_name("name")))


_NAME_TYPES = ("identifier", "name", "bare_key", "dotted_key", "word", "constructor")


def first_name(node: Node) -> str:
    """The first child that is a name, for grammars without fields."""
    named = node.child_by_field_name("name")
    if named is not None:
        return dotted(text_of(named))
    for child in node.named_children:
        kind = child.type
        if kind.endswith(_NAME_TYPES) or kind == "quoted_key":
            return text_of(child)
        if kind in (
            "variable_declaration",
            "function_signature",
            "getter_signature",
            "constructor_signature",
        ):
            return first_name(child)
        if kind == "static_final_declaration":
            return first_name(child)
    if node.type == "companion_object":
        return "Companion"
    if node.type == "secondary_constructor":
        return "constructor"
    return ""


def _first_identifier(node: Node) -> str:
    """The leftmost identifier of a signature, taking a dotted name whole (Julia)."""
    named = node.child_by_field_name("name")
    current = node if named is None else named
    for _ in range(8):
        if current.type in ("identifier", "field_expression", "operator"):
            return text_of(current)
        if not current.named_child_count:
            break
        current = current.named_children[0]
    return ""


NAMINGS: dict[str, Naming] = {
    "field": field_name,
    "first": first_name,
    "first_identifier": _first_identifier,
}
