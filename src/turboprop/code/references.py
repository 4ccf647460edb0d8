"""Where a syntax tree refers to something by name: identifiers in call position (`@call`), and the types that a type
extends or implements (`@base`), as queries of tree-sitter.

A query runs in C over the whole tree, which a walk in Python would take ten times as long for. A constructor counts as
a call of its type. By name alone: which of two definitions of a name is meant is not known.
"""

from __future__ import annotations

_JS_CALLS = """
(call_expression function: [(identifier) @call (member_expression property: (property_identifier) @call)])
(new_expression constructor: [(identifier) @call (member_expression property: (property_identifier) @call)])
"""
_JSX_CALLS = """
(jsx_opening_element name: [(identifier) @call (member_expression property: (property_identifier) @call)])
(jsx_self_closing_element name: [(identifier) @call (member_expression property: (property_identifier) @call)])
"""
_TS_BASES = """
(extends_clause value: [(identifier) @base (member_expression property: (property_identifier) @base)])
(implements_clause [
  (type_identifier) @base (generic_type name: (type_identifier) @base)
  (nested_type_identifier name: (type_identifier) @base)
])
(extends_type_clause type: [
  (type_identifier) @base (generic_type name: (type_identifier) @base)
  (nested_type_identifier name: (type_identifier) @base)
])
"""
_PYTHON_CALLS = "(call function: [(identifier) @call (attribute attribute: (identifier) @call)])"
_C_CALLS = """
(call_expression function: [(identifier) @call (field_expression field: (field_identifier) @call)])
"""
_JAVA_TYPE = (
    "[(type_identifier) @{0} (generic_type (type_identifier) @{0}) (scoped_type_identifier (type_identifier) @{0} .)]"
)
_CPP_TYPE = """[
  (type_identifier) @{0} (template_type name: (type_identifier) @{0})
  (qualified_identifier name: [(type_identifier) @{0} (template_type name: (type_identifier) @{0})])
]"""
_RUST_TYPE = """[
  (type_identifier) @{0} (generic_type type: (type_identifier) @{0})
  (scoped_type_identifier name: (type_identifier) @{0})
]"""

REFERENCES: dict[str, str] = {
    "python": _PYTHON_CALLS
    + """
(class_definition superclasses: (argument_list [
  (identifier) @base (attribute attribute: (identifier) @base)
  (subscript value: [(identifier) @base (attribute attribute: (identifier) @base)])
]))
(decorator [(identifier) @call (attribute attribute: (identifier) @call)])
""",
    "starlark": _PYTHON_CALLS,
    "javascript": _JS_CALLS
    + _JSX_CALLS
    + "(class_heritage [(identifier) @base (member_expression property: (property_identifier) @base)])",
    "typescript": _JS_CALLS + _TS_BASES,
    "tsx": _JS_CALLS + _JSX_CALLS + _TS_BASES,
    "go": """
(call_expression function: [(identifier) @call (selector_expression field: (field_identifier) @call)])
(type_conversion_expression type: (generic_type type: (type_identifier) @call))
(composite_literal type: [(type_identifier) @call (qualified_type name: (type_identifier) @call)])
(field_declaration !name type: [(type_identifier) @base (qualified_type name: (type_identifier) @base)])
(interface_type (type_elem . [(type_identifier) @base (qualified_type name: (type_identifier) @base)] .))
""",
    "rust": """
(call_expression function: [
  (identifier) @call (field_expression field: (field_identifier) @call) (scoped_identifier name: (identifier) @call)
  (generic_function function: [
    (identifier) @call (field_expression field: (field_identifier) @call) (scoped_identifier name: (identifier) @call)
  ])
])
(macro_invocation macro: [(identifier) @call (scoped_identifier name: (identifier) @call)])
(struct_expression name: TYPE_CALL)
(impl_item trait: TYPE_BASE)
(trait_item bounds: (trait_bounds TYPE_BASE))
""".replace("TYPE_CALL", _RUST_TYPE.format("call")).replace("TYPE_BASE", _RUST_TYPE.format("base")),
    "java": f"""
(method_invocation name: (identifier) @call)
(object_creation_expression type: {_JAVA_TYPE.format("call")})
(method_reference (identifier) (identifier) @call)
(superclass {_JAVA_TYPE.format("base")})
(type_list {_JAVA_TYPE.format("base")})
""",
    "kotlin": """
(call_expression . [(simple_identifier) @call (navigation_expression (navigation_suffix (simple_identifier) @call) .)])
(infix_expression (_) . (simple_identifier) @call)
(delegation_specifier [
  (user_type (type_identifier) @base) (constructor_invocation (user_type (type_identifier) @base))
  (explicit_delegation . (user_type (type_identifier) @base))
])
""",
    "c": _C_CALLS,
    "cpp": _C_CALLS
    + f"""
(call_expression function: [
  (qualified_identifier name: [
    (identifier) @call (template_function name: (identifier) @call)
    (qualified_identifier name: [
      (identifier) @call (template_function name: (identifier) @call)
      (qualified_identifier name: [(identifier) @call (template_function name: (identifier) @call)])
    ])
  ])
  (template_function name: (identifier) @call)
  (field_expression field: (template_method name: (field_identifier) @call))
])
(new_expression type: {_CPP_TYPE.format("call")})
(base_class_clause {_CPP_TYPE.format("base")})
""",
    "objc": _C_CALLS
    + """
(message_expression method: (identifier) @call)
(class_interface superclass: (identifier) @base)
(class_interface (parameterized_arguments (type_name (type_identifier) @base)))
""",
    "csharp": """
(invocation_expression function: [
  (identifier) @call (generic_name (identifier) @call)
  (member_access_expression name: [(identifier) @call (generic_name (identifier) @call)])
  (conditional_access_expression (member_binding_expression name: [
    (identifier) @call (generic_name (identifier) @call)
  ]))
])
(object_creation_expression type: [
  (identifier) @call (generic_name (identifier) @call) (qualified_name name: (identifier) @call)
])
(base_list [
  (identifier) @base (generic_name (identifier) @base) (qualified_name name: (identifier) @base)
  (primary_constructor_base_type type: (identifier) @base)
])
""",
    "ruby": """
(call method: [(identifier) (constant)] @call)
(superclass [(constant) @base (scope_resolution name: (constant) @base)])
((call method: (identifier) @_mixin arguments: (argument_list [
  (constant) @base (scope_resolution name: (constant) @base)
])) (#any-of? @_mixin "include" "extend" "prepend"))
""",
    "php": """
(function_call_expression function: [(name) @call (qualified_name (name) @call)])
(member_call_expression name: (name) @call)
(nullsafe_member_call_expression name: (name) @call)
(scoped_call_expression name: (name) @call)
(object_creation_expression [(name) @call (qualified_name (name) @call)])
(base_clause [(name) @base (qualified_name (name) @base)])
(class_interface_clause [(name) @base (qualified_name (name) @base)])
(declaration_list (use_declaration [(name) @base (qualified_name (name) @base)]))
""",
    "swift": """
(call_expression . [
  (simple_identifier) @call (navigation_expression suffix: (navigation_suffix suffix: (simple_identifier) @call))
])
(inheritance_specifier inherits_from: (user_type (type_identifier) @base))
""",
    "scala": """
(call_expression function: [
  (identifier) @call (field_expression field: (identifier) @call)
  (generic_function function: [(identifier) @call (field_expression field: (identifier) @call)])
])
(infix_expression operator: (identifier) @call)
(instance_expression [(type_identifier) @call (generic_type type: (type_identifier) @call)])
(extends_clause [(type_identifier) @base (generic_type type: (type_identifier) @base)])
""",
    "bash": "(command name: (command_name (word) @call))",
    "fish": "(command name: (word) @call)",
    "powershell": """
(command command_name: (command_name) @call)
(invokation_expression (member_name (simple_name) @call))
(class_statement (simple_name) (simple_name) @base)
""",
    "lua": """
(function_call name: [
  (identifier) @call
  (dot_index_expression field: (identifier) @call)
  (method_index_expression method: (identifier) @call)
])
""",
    "elixir": """
(call target: [(identifier) @call (dot right: (identifier) @call)])
(binary_operator operator: "|>" right: (identifier) @call)
((call target: (identifier) @_word (arguments . (alias) @base)) (#any-of? @_word "use" "defimpl"))
(unary_operator operator: "@" operand: (call target: (identifier) @_behaviour (arguments (alias) @base))
 (#eq? @_behaviour "behaviour"))
""",
    "dart": """
((identifier) @call . (selector (argument_part)))
((selector [
  (unconditional_assignable_selector (identifier) @call) (conditional_assignable_selector (identifier) @call)
]) . (selector (argument_part)))
(cascade_section (cascade_selector (identifier) @call) (argument_part))
(new_expression (type_identifier) @call)
(superclass (type_identifier) @base)
(mixins (type_identifier) @base)
(interfaces (type_identifier) @base)
""",
    "haskell": """
(apply function: [(variable) @call (qualified id: (variable) @call)])
(infix operator: (infix_id (variable) @call))
(instance name: (name) @base)
""",
    "ocaml": """
(application_expression function: (value_path (value_name) @call))
(infix_expression operator: _ right: (value_path (value_name) @call))
(inheritance_definition class: (class_path (class_name) @base))
""",
    "zig": """
(SuffixExpr variable_type_function: (IDENTIFIER) @call . (FnCallArguments))
(FieldOrFnCall function_call: (IDENTIFIER) @call)
""",
    "julia": """
(call_expression . [(identifier) @call (field_expression value: (_) (identifier) @call)])
(macrocall_expression (macro_identifier (identifier) @call))
(type_head (binary_expression (_) (operator) [(identifier) @base (parametrized_type_expression . (identifier) @base)]))
""",
    "r": """
(call function: [
  (identifier) @call (namespace_operator rhs: (identifier) @call) (extract_operator rhs: (identifier) @call)
])
""",
    "perl": """
(function_call_expression function: (function) @call)
(ambiguous_function_call_expression function: (function) @call)
(method_call_expression method: (method) @call)
(use_statement (string_literal content: (string_content) @base))
""",
    "erlang": "(call expr: [(atom) @call (remote fun: (atom) @call)])",
    "clojure": "(list_lit . value: (sym_lit name: (sym_name) @call))",
    "solidity": """
(call_expression function: (expression [
  (identifier) @call (member_expression property: (identifier) @call)
  (new_expression name: (type_name (user_defined_type (identifier) @call)))
]))
(emit_statement name: (expression (identifier) @call))
(inheritance_specifier ancestor: (user_defined_type (identifier) @base))
""",
    "sql": "(invocation (object_reference name: (identifier) @call))",
    "graphql": "(implements_interfaces (named_type (name) @base))",
    "hcl": "(function_call (identifier) @call)",
    "cmake": "(normal_command (identifier) @call)",
    "scss": "(include_statement (identifier) @call) (call_expression (function_name) @call)",
}
"""By grammar. Data, markup and build files that call nothing have none."""
