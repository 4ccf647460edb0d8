"""What a node defines in markup, data, queries and build files; the hooks of `hooks` for these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turboprop.code.names import MAX_NAME, Found, text_of

if TYPE_CHECKING:
    from tree_sitter import Node


def html_element(node: Node) -> Found | None:
    tag = node.named_children[0] if node.named_child_count else None
    if tag is None:
        return None
    for attribute in tag.named_children:
        if attribute.type == "attribute" and attribute.named_child_count > 1:
            key, value = attribute.named_children[:2]
            if text_of(key) == "id":
                return Found("element", (text_of(value).strip("\"'"),), node)
    return None


def css_rule(node: Node) -> Found | None:
    raw = (node.text or b"")[:400].decode("utf-8", "replace").partition("{")[0]
    name = " ".join(raw.split()).replace(", ", ",")[:MAX_NAME]
    return Found("rule", (name,), node) if name else None


def sql_create(node: Node) -> Found | None:
    if node.type == "create_index":
        name = text_of(node.child_by_field_name("column"))
    else:
        target = next((c for c in node.named_children if c.type in ("object_reference", "identifier")), None)
        name = text_of(target).replace('"', "").replace("`", "")
    kinds = {"create_table": "table", "create_view": "table", "create_materialized_view": "table"}
    kinds |= {
        "create_type": "type",
        "create_index": "constant",
        "create_schema": "constant",
        "create_sequence": "constant",
    }
    return Found(kinds.get(node.type, "function"), (name,), node) if name else None


def nix_binding(node: Node) -> Found | None:
    """`f = x: ...` is a function, `a.b = 1` a constant; what is passed to a call in braces is an argument of it."""
    name = text_of(node.child_by_field_name("attrpath"))
    value = node.child_by_field_name("expression")
    if not name or value is None:
        return None
    around = node.parent.parent if node.parent is not None else None  # the set of a binding_set
    passed = around is not None and around.parent is not None and around.parent.type == "apply_expression"
    kind = "function" if value.type == "function_expression" else "key" if passed else "constant"
    return Found(kind, (name,), node)


def key(node: Node) -> Found | None:
    name = text_of(node.child_by_field_name("key")).strip("\"'")
    return Found("key", (name,), node) if name else None


def hcl_block(node: Node) -> Found | None:
    parts = []
    for child in node.named_children:
        if child.type not in ("identifier", "string_lit"):
            break
        parts.append(text_of(child).strip('"'))
    return Found("table", (".".join(parts),), node) if parts else None


def docker_stage(node: Node) -> Found | None:
    alias = text_of(node.child_by_field_name("as"))
    return Found("step", (alias,), node) if alias else None


def make_rule(node: Node) -> Found | None:
    targets = node.named_children[0] if node.named_child_count else None
    if targets is None or targets.type != "targets":
        return None
    names = tuple(text_of(target) for target in targets.named_children)
    return None if not names or names[0] == ".PHONY" else Found("function", names, node)


def cmake_function(node: Node) -> Found | None:
    command = node.named_children[0] if node.named_child_count else None
    if command is None:
        return None
    arguments = next((child for child in command.named_children if child.type == "argument_list"), None)
    if arguments is None or not arguments.named_child_count:
        return None
    kind = "macro" if node.type == "macro_def" else "function"
    return Found(kind, (text_of(arguments.named_children[0]),), node)
