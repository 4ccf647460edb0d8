"""What a syntax node defines, where its type alone does not say.

A hook takes a node of the type that a row of `languages` gives to it, and finds kind and name where
the grammar hides them: a C declarator, a Go receiver, a JavaScript function in a variable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from turboprop.code import hooks_data
from turboprop.code.names import Found, dotted, field_name, first_name, text_of

if TYPE_CHECKING:
    from tree_sitter import Node


Hook = Callable[["Node"], Found | None]


_KEYWORDS = {
    "class": "class",
    "struct": "struct",
    "enum": "enum",
    "interface": "interface",
    "extension": "implementation",
    "actor": "class",
}


def _keyword(node: Node) -> Found | None:
    kind = "class"
    for child in node.children:
        found = _KEYWORDS.get(child.type)
        if found is not None:
            kind = found
            break
    name = first_name(node)
    return Found(kind, (name.partition("<")[0],), node) if name else None


_FUNCTION_VALUES = frozenset(
    {"arrow_function", "function_expression", "function", "generator_function", "function_definition"}
)


def _js_binding(node: Node) -> Found | None:
    kind = node.type
    if kind in ("lexical_declaration", "variable_declaration"):
        names = []
        for child in node.named_children:
            if child.type != "variable_declarator":
                continue
            name = child.child_by_field_name("name")
            value = _js_unwrapped(child.child_by_field_name("value"))
            if value is not None and value.type in _FUNCTION_VALUES:
                return Found("function", (text_of(name),), value)
            if value is not None and value.type == "class":
                return Found("class", (text_of(name),), value)
            if name is not None and name.type == "identifier":
                names.append(text_of(name))
        return Found("constant", tuple(names), node) if names else None
    if kind == "expression_statement":
        assignment = node.named_children[0] if node.named_child_count else None
        if assignment is None:
            return None
        if assignment.type == "internal_module":
            return Found("module", (field_name(assignment),), assignment)
        if assignment.type != "assignment_expression":
            return None
        target, value = assignment.child_by_field_name("left"), assignment.child_by_field_name("right")
    else:
        target = node.child_by_field_name("key") or node.child_by_field_name("property")
        target = target or node.child_by_field_name("name")
        value = node.child_by_field_name("value")
    value = _js_unwrapped(value)
    if value is None or target is None or value.type not in (*_FUNCTION_VALUES, "class"):
        return None
    title = text_of(target).replace(".prototype.", ".").strip("'\"`")
    title = title.removeprefix("module.").removeprefix("exports.").removeprefix("this.")
    if title == "exports":
        title = text_of(value.child_by_field_name("name")) or title
    return Found("class" if value.type == "class" else "function", (title,), value)


def _js_unwrapped(value: Node | None) -> Node | None:
    """The function inside `memo(() => ...)`, `useCallback(function ...)` and the like."""
    if value is not None and value.type == "call_expression":
        arguments = value.child_by_field_name("arguments")
        if arguments is not None and arguments.named_child_count:
            first = arguments.named_children[0]
            if first.type in _FUNCTION_VALUES:
                return first
    return value


def _python_assignment(node: Node) -> Found | None:
    left = node.child_by_field_name("left")
    if left is not None and left.type in ("pattern_list", "tuple_pattern"):
        names = tuple(text_of(child) for child in left.named_children if child.type == "identifier")
        return Found("constant", names, node) if names else None
    if left is None or left.type != "identifier":
        return None
    return Found("constant", (text_of(left),), node)


def _ruby_assignment(node: Node) -> Found | None:
    left = node.child_by_field_name("left")
    return Found("constant", (text_of(left),), node) if left is not None and left.type == "constant" else None


def _go_method(node: Node) -> Found | None:
    name = text_of(node.child_by_field_name("name"))
    receiver = node.child_by_field_name("receiver")
    if receiver is None or not receiver.named_child_count:
        return Found("method", (name,), node)
    owner: Node | None = receiver.named_children[0].child_by_field_name("type")
    while owner is not None and owner.type in ("pointer_type", "parenthesized_type", "generic_type"):
        owner = owner.child_by_field_name("type") or (owner.named_children[0] if owner.named_children else None)
    return Found("method", (f"{text_of(owner)}.{name}" if owner is not None else name,), node)


def _go_type(node: Node) -> Found | None:
    specs = [child for child in node.named_children if child.type in ("type_spec", "type_alias")]
    if not specs:
        return None
    names = tuple(text_of(spec.child_by_field_name("name")) for spec in specs)
    type_node = specs[0].child_by_field_name("type")
    kinds = {"struct_type": "struct", "interface_type": "interface"}
    return Found(kinds.get(type_node.type, "type") if type_node else "type", names, node)


def _go_constants(node: Node) -> Found | None:
    names: list[str] = []
    for child in node.named_children:
        specs = child.named_children if child.type == "var_spec_list" else [child]
        names.extend(text_of(spec.child_by_field_name("name")) for spec in specs if spec.type.endswith("_spec"))
    names = [name for name in names if name and name != "_"]
    return Found("constant", tuple(names), node) if names else None


def _rust_impl(node: Node) -> Found | None:
    name = _rust_type(node.child_by_field_name("type"))
    trait = _rust_type(node.child_by_field_name("trait")).rpartition(".")[2]
    if not name:
        return None
    return _implementation(trait, name, node) if trait else Found("implementation", (name,), node, scope=name)


def _rust_type(node: Node | None) -> str:
    while node is not None and node.type in _RUST_AROUND_TYPES:
        node = node.child_by_field_name("trait" if node.type == "dynamic_type" else "type")
    return dotted(text_of(node))


_RUST_AROUND_TYPES = frozenset({"generic_type", "reference_type", "pointer_type", "dynamic_type"})


def _c_declarator(current: Node | None) -> tuple[str, bool]:
    """(name, is a function) at the core of a declarator; wrapped by pointers, arrays and parameters."""
    is_function = False
    for _ in range(32):
        if current is None:
            return "", is_function
        kind = current.type
        if kind in ("identifier", "type_identifier", "field_identifier"):
            return text_of(current), is_function
        if kind.endswith("identifier") or kind in ("destructor_name", "operator_name", "operator_cast"):
            name = _c_name(current)
            # A conversion has its parameters within its name.
            return name, is_function or "operator " in name
        if kind == "template_function":
            current = current.child_by_field_name("name")
            continue
        if kind == "function_declarator":
            is_function = True
        inner = current.child_by_field_name("declarator")
        if inner is None and current.named_child_count:
            inner = current.named_children[-1 if kind == "attributed_declarator" else 0]
        current = inner
    return "", is_function


def _c_name(node: Node | None) -> str:
    """`Box<T>::operator bool() const` as `Box.operator bool`, `operator ()` as `operator()`."""
    if node is None:
        return ""
    kind = node.type
    if kind == "qualified_identifier":
        return ".".join(
            filter(None, (_c_name(node.child_by_field_name("scope")), _c_name(node.child_by_field_name("name"))))
        )
    if kind in ("template_type", "template_function"):
        return _c_name(node.child_by_field_name("name"))
    if kind == "operator_cast":
        return text_of(node).partition("(")[0].strip()
    if kind == "operator_name":
        sign = text_of(node).removeprefix("operator").strip()
        return f"operator {sign}" if sign[:1].isalpha() else "operator" + sign.replace(" ", "")
    return dotted(text_of(node))


def _c_function(node: Node) -> Found | None:
    name, is_function = _c_declarator(node.child_by_field_name("declarator"))
    if not name:
        # `struct foo {...};` parses as a declaration without declarator inside some headers.
        inner = node.child_by_field_name("type")
        return _c_struct(inner) if inner is not None and inner.type.endswith("_specifier") else None
    if node.type == "function_definition":
        if is_function:
            return Found("function", (name,), node)
        # `class EXPORT_MACRO name {` parses as a function `name` that returns `class EXPORT_MACRO`.
        kind = _C_KINDS.get(getattr(node.child_by_field_name("type"), "type", ""))
        return Found(kind, (name,), node) if kind else None
    if node.type == "field_declaration":
        return Found("function", (name,), node) if is_function else None
    inner = node.child_by_field_name("type")
    if inner is not None and inner.child_by_field_name("body") is not None:
        return _c_struct(inner)
    if is_function:
        return Found("function", (name,), node)
    further = [_c_declarator(each)[0] for each in node.children_by_field_name("declarator")[1:]]
    return Found("constant", (name, *filter(None, further)), node)


_C_KINDS = {
    "struct_specifier": "struct",
    "union_specifier": "union",
    "enum_specifier": "enum",
    "class_specifier": "class",
}


def _c_struct(node: Node) -> Found | None:
    if node.type == "type_definition":
        name, _ = _c_declarator(node.child_by_field_name("declarator"))
        inner = node.child_by_field_name("type")
        if inner is not None and inner.type == "macro_type_specifier":  # `typedef NS_ENUM(NSInteger, Color) {`
            error = next((child for child in inner.named_children if child.type == "ERROR"), None)
            tag = text_of(error.named_children[0]) if error is not None and error.named_child_count else ""
            return Found("enum", (tag,), node) if tag else None
        if inner is not None and inner.child_by_field_name("body") is not None:
            tag = text_of(inner.child_by_field_name("name"))
            names = (name, tag) if tag and tag != name else (name,)
            return Found(_C_KINDS.get(inner.type, "type"), names, inner) if name else None
        return Found("type", (name,), node) if name else None
    if node.child_by_field_name("body") is None:
        return None  # `struct foo` as a type, or a forward declaration
    name = dotted(text_of(node.child_by_field_name("name")).partition("<")[0])
    return Found(_C_KINDS.get(node.type, "type"), (name,), node) if name else None


def _objc_method(node: Node) -> Found | None:
    parts = [text_of(child) for child in node.named_children if child.type == "identifier"]
    takes = any(child.type == "method_parameter" for child in node.named_children)
    return Found("method", (":".join(parts) + ":" * takes,), node) if parts else None


def _csharp_operator(node: Node) -> Found | None:
    if node.type == "destructor_declaration":
        return Found("function", (f"~{field_name(node)}",), node)
    sign = "operator" if node.type == "operator_declaration" else "type"
    operator = text_of(node.child_by_field_name(sign))
    is_operator = operator and node.type != "indexer_declaration"
    return Found("function", (f"operator {operator}" if is_operator else "this[]",), node)


def _file_scope(node: Node) -> Found | None:
    name = field_name(node)
    return Found("module", (name,), node, is_file_scope=True) if name else None


def _file_scope_body(node: Node) -> Found | None:
    """A namespace or package: with a block it is a module, without one it names what follows."""
    name = field_name(node)
    if not name:
        return None
    has_block = any(child.type in ("block", "compound_statement") for child in node.named_children)
    return Found("module", (name,), node, is_file_scope=not has_block)


def _php_constants(node: Node) -> Found | None:
    names = tuple(text_of(c.named_children[0]) for c in node.named_children if c.type == "const_element")
    return Found("constant", names, node) if names else None


def _swift_special(node: Node) -> Found | None:
    return Found("function", (node.type.removesuffix("_declaration"),), node)


def _swift_property(node: Node) -> Found | None:
    name = text_of(node.child_by_field_name("name"))
    computed = any(child.type == "computed_property" for child in node.named_children)
    return Found("function" if computed else "constant", (name,), node) if name else None


def _pattern_constant(node: Node) -> Found | None:
    pattern = node.child_by_field_name("pattern")
    return Found("constant", (text_of(pattern),), node) if pattern is not None else None


def _lua_assignment(node: Node) -> Found | None:
    if node.type == "variable_declaration":
        inner = next((c for c in node.named_children if c.type == "assignment_statement"), None)
        if inner is None:
            return None
        node = inner
    if node.type == "field":
        target, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    else:
        if node.named_child_count < 2:
            return None
        target, value = node.named_children[0], node.named_children[1]
        value = value.named_children[0] if value.named_child_count else None
    if target is None or value is None:
        return None
    if target.type == "variable_list":
        target = target.named_children[0]  # without `<const>`
    name = dotted(text_of(target))
    if target.type == "bracket_index_expression":
        key = target.child_by_field_name("field")
        if key is None or key.type != "string":
            return None
        name = f"{text_of(target.child_by_field_name('table'))}.{text_of(key.child_by_field_name('content'))}"
    if value.type == "function_definition":
        return Found("function", (name,), value)
    return Found("constant", (name,), node) if node.type != "field" else None


_ELIXIR_KINDS = {
    "defmodule": "module",
    "defprotocol": "interface",
    "defimpl": "implementation",
    "def": "function",
    "defp": "function",
    "defdelegate": "function",
    "defguard": "function",
    "defguardp": "function",
    "defmacro": "macro",
    "defmacrop": "macro",
    "test": "test",
    "describe": "test",
}


def _elixir_call(node: Node) -> Found | None:
    kind = _ELIXIR_KINDS.get(text_of(node.child_by_field_name("target")))
    if kind is None or node.named_child_count < 2:
        return None
    arguments = node.named_children[1]
    if not arguments.named_child_count:
        return None
    head = arguments.named_children[0]
    if kind == "implementation":
        return _implementation(text_of(head), _elixir_for(arguments), node)
    if head.type == "binary_operator" and head.named_child_count:
        operator = head.child_by_field_name("operator")
        if operator is not None and operator.type != "when":  # def a + b
            return Found(kind, (operator.type,), node)
        head = head.named_children[0]  # def f(x) when guard
    if head.type == "call":
        head = head.child_by_field_name("target") or head
    return Found(kind, (text_of(head).strip('"'),), node)


def _elixir_for(arguments: Node) -> str:
    """The type of `defimpl Protocol, for: Type`."""
    for keywords in arguments.named_children[1:]:
        for pair in keywords.named_children:
            if text_of(pair.child_by_field_name("key")).strip() == "for:":
                return dotted(text_of(pair.child_by_field_name("value")))
    return ""


def _implementation(trait: str, name: str, node: Node) -> Found:
    """What a type does as `trait` is looked for by both names, and defines neither of them anew."""
    trait = dotted(trait)
    if not name:
        return Found("implementation", (trait,), node)
    return Found("implementation", (f"{trait.rpartition('.')[2]} for {name}",), node, scope=name)


def _zig_declaration(node: Node) -> Found | None:
    for child in node.named_children:
        if child.type == "FnProto":
            return Found("function", (text_of(child.child_by_field_name("function")),), node)
        if child.type == "VarDecl":
            name = text_of(child.child_by_field_name("variable_type_function"))
            source = (child.text or b"")[:400]
            for word, kind in ((b"struct", "struct"), (b"enum", "enum"), (b"union", "union")):
                if word + b" {" in source or word + b"(" in source:
                    return Found(kind, (name,), node)
            return Found("constant", (name,), node)
    return None


_OCAML_KINDS = {"module_binding": "module", "type_binding": "type", "class_binding": "class"}


def _ocaml_binding(node: Node) -> Found | None:
    names: list[str] = []
    kind = "constant"
    for child in node.named_children:
        if child.type == "let_binding":
            names.append(text_of(child.child_by_field_name("pattern")).strip("( )"))
            body = child.child_by_field_name("body")
            is_function = body is not None and body.type in ("fun_expression", "function_expression")
            if is_function or any(part.type == "parameter" for part in child.named_children):
                kind = "function"
        elif child.type in _OCAML_KINDS:
            kind = _OCAML_KINDS[child.type]
            own = child.child_by_field_name("name")
            names.append(text_of(own) if own is not None else first_name(child))
    return Found(kind, tuple(names), node) if names and names[0] not in ("", "_") else None


def _r_assignment(node: Node) -> Found | None:
    left, right = node.child_by_field_name("lhs"), node.child_by_field_name("rhs")
    operator = node.child_by_field_name("operator")
    if left is None or right is None or operator is None or operator.type not in ("<-", "=", "<<-"):
        return None
    name = text_of(left).strip("'\"`")
    if right.type == "function_definition":
        return Found("function", (name,), right)
    is_class = text_of(right.child_by_field_name("function")) in ("R6Class", "R6.R6Class", "setRefClass", "setClass")
    return Found("class" if is_class else "constant", (name,), node)


def _julia_assignment(node: Node) -> Found | None:
    """`f(x) = x`, and `f = x -> x`."""
    target, value = node.named_children[0], node.named_children[-1]
    if target.type == "where_expression" and target.named_child_count:
        target = target.named_children[0]
    if target.type == "call_expression" and target.named_child_count:
        name = target.named_children[0]
        return Found("function", (text_of(name).replace(":", ""),), node) if name.type in _JULIA_NAMES else None
    if value.type == "arrow_function_expression" and target.type == "identifier":
        return Found("function", (text_of(target),), node)
    return None


_JULIA_NAMES = frozenset({"identifier", "field_expression", "operator"})


def _haskell_function(node: Node) -> Found | None:
    name = text_of(node.child_by_field_name("name")).strip("()")
    if not name and node.named_child_count and node.named_children[0].type == "infix":
        name = text_of(node.named_children[0].child_by_field_name("operator")).strip("`")
    return Found("function", (name,), node) if name else None


def _haskell_instance(node: Node) -> Found | None:
    patterns = node.child_by_field_name("patterns")
    name = text_of(patterns).strip("()").partition(" ")[0]
    return _implementation(text_of(node.child_by_field_name("name")), name, node)


def _erlang_type(node: Node) -> Found | None:
    name = field_name(node).partition("(")[0]
    return Found("type", (name,), node) if name else None


def _erlang_function(node: Node) -> Found | None:
    clause = node.child_by_field_name("clause")
    name = text_of(clause.child_by_field_name("name")) if clause is not None else ""
    return Found("function", (name,), node) if name else None


def _lisp(node: Node) -> Found | None:
    symbols = [child for child in node.named_children[:3] if child.type == "sym_lit"]
    if len(symbols) < 2:
        return None
    word = text_of(symbols[0])
    if not (word.startswith("def") or word == "ns"):
        return None
    name = symbols[1].named_children[-1] if symbols[1].named_child_count else symbols[1]
    kinds = {"def": "constant", "defonce": "constant", "ns": "constant", "defmacro": "macro"}
    kinds |= {"defprotocol": "interface", "defrecord": "struct", "deftype": "struct", "deftest": "test"}
    return Found(kinds.get(word, "function"), (text_of(name),), node)


HOOKS: dict[str, Hook] = {
    "@keyword": _keyword,
    "@js_binding": _js_binding,
    "@python_assignment": _python_assignment,
    "@ruby_assignment": _ruby_assignment,
    "@go_method": _go_method,
    "@go_type": _go_type,
    "@go_constants": _go_constants,
    "@rust_impl": _rust_impl,
    "@c_function": _c_function,
    "@c_struct": _c_struct,
    "@objc_method": _objc_method,
    "@csharp_operator": _csharp_operator,
    "@file_scope": _file_scope,
    "@file_scope_body": _file_scope_body,
    "@php_constants": _php_constants,
    "@swift_special": _swift_special,
    "@swift_property": _swift_property,
    "@pattern_constant": _pattern_constant,
    "@lua_assignment": _lua_assignment,
    "@elixir_call": _elixir_call,
    "@html_element": hooks_data.html_element,
    "@css_rule": hooks_data.css_rule,
    "@sql_create": hooks_data.sql_create,
    "@nix_binding": hooks_data.nix_binding,
    "@key": hooks_data.key,
    "@zig_declaration": _zig_declaration,
    "@ocaml_binding": _ocaml_binding,
    "@r_assignment": _r_assignment,
    "@erlang_function": _erlang_function,
    "@erlang_type": _erlang_type,
    "@haskell_function": _haskell_function,
    "@haskell_instance": _haskell_instance,
    "@julia_assignment": _julia_assignment,
    "@lisp": _lisp,
    "@hcl_block": hooks_data.hcl_block,
    "@docker_stage": hooks_data.docker_stage,
    "@make_rule": hooks_data.make_rule,
    "@cmake_function": hooks_data.cmake_function,
}
