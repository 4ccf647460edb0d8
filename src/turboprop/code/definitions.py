"""Whether a syntax node is a definition, by the row of its language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turboprop.code.hooks import HOOKS
from turboprop.code.names import NAMINGS, Found

if TYPE_CHECKING:
    from tree_sitter import Node

    from turboprop.code.languages import Language


def definition(node: Node, row: Language) -> Found | None:
    """What `node` defines by the rules of `row`, looking through wrappers; None for anything else."""
    # Wrappers nest (an exported, decorated declaration): a handful of levels at most.
    for _ in range(6):
        kind = row.definitions.get(node.type)
        if kind is not None:
            if kind.startswith("@"):
                return HOOKS[kind](node)
            name = NAMINGS[row.naming](node)
            return Found(kind, (name,), node) if name else None
        if node.type not in row.wrappers:
            return None
        inner = _wrapped(node, row)
        if inner is None:
            return None
        node = inner
    return None


def _wrapped(node: Node, row: Language) -> Node | None:
    for child in reversed(node.named_children):
        if child.type in row.definitions or child.type in row.wrappers:
            return child
    return None
