"""What a syntax tree says by name, as queries of tree-sitter, one a language. What they capture:

    @call      an identifier in call position, or a function that is named as a value (`map(Point::area)`)
    @value     an identifier that is passed on: a reference where the file defines a function of that name
    @base      a type that a type extends or implements
    @is.KIND   the name of a definition that no row of `languages` has: too slight to be cut by (a member of an
               enumeration), or made by a call (`attr_reader :name`)
    @not       an identifier that stands in call position and is none

A query runs in C over the whole tree, which a walk in Python would take ten times as long for. A constructor counts as
a call of its type. By name alone: which of two definitions of a name is meant is not known.
"""

from __future__ import annotations

_JS_MEMBER = "(member_expression property: [(property_identifier) (private_property_identifier)] @call)"
_JS_CALLS = f"""
(call_expression function: [(identifier) @call {_JS_MEMBER}])
(new_expression constructor: [(identifier) @call {_JS_MEMBER}])
(arguments (identifier) @value)
((arguments (member_expression object: (identifier) @_type property: (property_identifier) @call))
 (#match? @_type "^[A-Z]") (#match? @call "^[a-z]"))
(decorator (identifier) @call)
"""
_JS_MIXED_IN = """(call_expression arguments: (arguments [
  (identifier) @base (member_expression property: (property_identifier) @base)
]))"""
# An element in small letters is one of HTML.
_JSX_CALLS = """
((jsx_opening_element name: (identifier) @call) (#match? @call "^[A-Z_$]"))
((jsx_self_closing_element name: (identifier) @call) (#match? @call "^[A-Z_$]"))
(jsx_opening_element name: (member_expression property: (property_identifier) @call))
(jsx_self_closing_element name: (member_expression property: (property_identifier) @call))
(jsx_attribute (jsx_expression (identifier) @value))
((jsx_attribute (property_identifier) @_event (jsx_expression (identifier) @call)) (#match? @_event "^on[A-Z]"))
"""
_TS_TYPE = """[
  (type_identifier) @base (nested_type_identifier name: (type_identifier) @base)
  (generic_type name: [(type_identifier) @base (nested_type_identifier name: (type_identifier) @base)])
]"""
_TS_BASES = f"""
(extends_clause value: [
  (identifier) @base (member_expression property: (property_identifier) @base) {_JS_MIXED_IN}
])
(implements_clause {_TS_TYPE})
(extends_type_clause type: {_TS_TYPE})
(enum_body [
  (property_identifier) @is.constant (enum_assignment name: (property_identifier) @is.constant)
])
(public_field_definition "static" name: (property_identifier) @is.constant)
"""
_PYTHON_CALLS = "(call function: [(identifier) @call (attribute attribute: (identifier) @call)])"
_C_CALLS = """
(call_expression function: [(identifier) @call (field_expression field: (field_identifier) @call)])
(argument_list (identifier) @value)
(argument_list (pointer_expression argument: (identifier) @value))
(initializer_pair value: [(identifier) @call (pointer_expression argument: (identifier) @call)])
(initializer_list (identifier) @value)
(enumerator name: (identifier) @is.constant)
"""
_JAVA_TYPE = (
    "[(type_identifier) @{0} (generic_type (type_identifier) @{0}) (scoped_type_identifier (type_identifier) @{0} .)]"
)
_CPP_TYPE = """[
  (type_identifier) @{0} (template_type name: (type_identifier) @{0})
  (qualified_identifier name: [(type_identifier) @{0} (template_type name: (type_identifier) @{0})])
]"""
_RUST_TYPE = """[
  (type_identifier) @{0} (scoped_type_identifier name: (type_identifier) @{0})
  (generic_type type: [(type_identifier) @{0} (scoped_type_identifier name: (type_identifier) @{0})])
]"""

_GO_TYPE = """[
  (type_identifier) @base (qualified_type name: (type_identifier) @base)
  (generic_type type: [(type_identifier) @base (qualified_type name: (type_identifier) @base)])
]"""

_SCALA_TYPE = """[
  (type_identifier) @base (stable_type_identifier (type_identifier) @base .)
  (generic_type type: [(type_identifier) @base (stable_type_identifier (type_identifier) @base .)])
]"""

_ELIXIR_RESERVED = (
    "^(moduledoc|doc|typedoc|spec|typep?|opaque|(macro)?callback|optional_callbacks|impl|behaviour|derive|enforce_keys|"
    "deprecated|since|dialyzer|compile|external_resource|(module|describe)?tag|attr|shortdoc)$"
)

REFERENCES: dict[str, str] = {
    "python": _PYTHON_CALLS
    + """
(class_definition superclasses: (argument_list [
  (identifier) @base (attribute attribute: (identifier) @base)
  (keyword_argument name: (identifier) @_keyword value: [
    (identifier) @base (attribute attribute: (identifier) @base)
  ])
  (subscript value: [(identifier) @base (attribute attribute: (identifier) @base)])
]) (#eq? @_keyword "metaclass"))
(decorator [(identifier) @call (attribute attribute: (identifier) @call)])
(argument_list (identifier) @value)
(keyword_argument value: (identifier) @value)
([
  (argument_list (attribute object: (identifier) @_type attribute: (identifier) @call))
  (keyword_argument value: (attribute object: (identifier) @_type attribute: (identifier) @call))
] (#match? @_type "^[A-Z]") (#match? @call "^[a-z]"))
""",
    "starlark": _PYTHON_CALLS
    + """
(argument_list (identifier) @value)
(keyword_argument value: (identifier) @value)
(module (expression_statement (call arguments: (argument_list
  (keyword_argument name: (identifier) @_keyword value: (string (string_content) @is.constant))
))) (#eq? @_keyword "name"))
""",
    "javascript": _JS_CALLS
    + _JSX_CALLS
    + f"""
(class_heritage [(identifier) @base (member_expression property: (property_identifier) @base) {_JS_MIXED_IN}])
(field_definition "static" property: (property_identifier) @is.constant)
""",
    "typescript": _JS_CALLS + _TS_BASES,
    "tsx": _JS_CALLS + _JSX_CALLS + _TS_BASES,
    "go": """
(call_expression function: [(identifier) @call (selector_expression field: (field_identifier) @call)])
(type_conversion_expression type: (generic_type type: (type_identifier) @call))
(composite_literal type: [(type_identifier) @call (qualified_type name: (type_identifier) @call)])
(field_declaration !name type: GO_TYPE)
(interface_type (type_elem . GO_TYPE .))
(method_elem name: (field_identifier) @is.method)
(argument_list (identifier) @value)
(keyed_element (literal_element) (literal_element (identifier) @value))
""".replace("GO_TYPE", _GO_TYPE),
    "rust": """
(call_expression function: [
  (identifier) @call (field_expression field: (field_identifier) @call) (scoped_identifier name: (identifier) @call)
  (generic_function function: [
    (identifier) @call (field_expression field: (field_identifier) @call) (scoped_identifier name: (identifier) @call)
  ])
])
(macro_invocation macro: [(identifier) @call (scoped_identifier name: (identifier) @call)])
(token_tree (identifier) @call . (token_tree . "("))
(arguments (identifier) @value)
((arguments (scoped_identifier name: (identifier) @call)) (#match? @call "^[a-z]"))
(enum_variant name: (identifier) @is.constant)
((attribute (identifier) @_derive arguments: (token_tree (identifier) @base . ",")) (#eq? @_derive "derive"))
((attribute (identifier) @_derive arguments: (token_tree (identifier) @base . ")")) (#eq? @_derive "derive"))
(struct_expression name: TYPE_CALL)
(impl_item trait: TYPE_BASE)
(trait_item bounds: (trait_bounds TYPE_BASE))
""".replace("TYPE_CALL", _RUST_TYPE.format("call")).replace("TYPE_BASE", _RUST_TYPE.format("base")),
    "java": f"""
(method_invocation name: (identifier) @call)
(object_creation_expression type: {_JAVA_TYPE.format("call")})
(method_reference (_) "::" (identifier) @call)
(method_reference [(identifier) @call (generic_type (type_identifier) @call)] "::" "new")
(object_creation_expression type: {_JAVA_TYPE.format("base")} (class_body))
(superclass {_JAVA_TYPE.format("base")})
(super_interfaces (type_list {_JAVA_TYPE.format("base")}))
(extends_interfaces (type_list {_JAVA_TYPE.format("base")}))
((marker_annotation name: (identifier) @call) (#not-eq? @call "Override"))
(annotation name: (identifier) @call)
(enum_constant name: (identifier) @is.constant)
(constant_declaration declarator: (variable_declarator name: (identifier) @is.constant))
(field_declaration (modifiers "static" "final") declarator: (variable_declarator name: (identifier) @is.constant))
""",
    "kotlin": """
(call_expression . [(simple_identifier) @call (navigation_expression (navigation_suffix (simple_identifier) @call) .)])
(infix_expression (_) . (simple_identifier) @call)
(delegation_specifier [
  (user_type (type_identifier) @base .) (user_type (type_identifier) @base . (type_arguments))
  (constructor_invocation (user_type (type_identifier) @base .))
  (constructor_invocation (user_type (type_identifier) @base . (type_arguments)))
  (explicit_delegation . (user_type (type_identifier) @base .))
  (explicit_delegation . (user_type (type_identifier) @base . (type_arguments)))
])
(callable_reference "::" (simple_identifier) @call)
(annotation [(user_type (type_identifier) @call) (constructor_invocation (user_type (type_identifier) @call))])
(enum_entry . (simple_identifier) @is.constant)
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
(compound_literal_expression type: {_CPP_TYPE.format("call")})
(pointer_expression "&" argument: (qualified_identifier name: [
  (identifier) @call (qualified_identifier name: (identifier) @call)
]))
(field_declaration (storage_class_specifier) declarator: (field_identifier) @is.constant default_value: (_))
(base_class_clause {_CPP_TYPE.format("base")})
""",
    "objc": _C_CALLS
    + """
(message_expression method: (identifier) @call)
(class_interface superclass: (identifier) @base)
(class_interface (parameterized_arguments (type_name (type_identifier) @base)))
(protocol_declaration (protocol_reference_list (identifier) @base))
(property_declaration (struct_declaration (struct_declarator [
  (identifier) @is.constant (pointer_declarator declarator: (identifier) @is.constant)
])))
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
  (identifier) @call (generic_name (identifier) @call)
  (qualified_name name: [(identifier) @call (generic_name (identifier) @call)])
])
(base_list [
  (identifier) @base (generic_name (identifier) @base)
  (qualified_name name: [(identifier) @base (generic_name (identifier) @base)])
  (primary_constructor_base_type type: [(identifier) @base (generic_name (identifier) @base)])
])
(argument [(identifier) @value (member_access_expression expression: "this" name: (identifier) @value)])
(assignment_expression right: [
  (identifier) @value (member_access_expression expression: "this" name: (identifier) @value)
])
(variable_declarator name: (identifier) (identifier) @value)
(enum_member_declaration name: (identifier) @is.constant)
(event_field_declaration (variable_declaration (variable_declarator name: (identifier) @is.constant)))
(event_declaration name: (identifier) @is.constant)
((field_declaration (modifier) @_constant (variable_declaration (variable_declarator name: (identifier) @is.constant)))
 (#any-of? @_constant "const" "static"))
""",
    "ruby": """
(call method: [(identifier) (constant)] @call)
(superclass [(constant) @base (scope_resolution name: (constant) @base)])
((call method: (identifier) @_mixin arguments: (argument_list [
  (constant) @base (scope_resolution name: (constant) @base)
])) (#any-of? @_mixin "include" "extend" "prepend"))
((call receiver: (constant) @_class method: (identifier) @_new arguments: (argument_list . (constant) @base))
 (#eq? @_class "Class") (#eq? @_new "new"))
((call method: (identifier) @_makes arguments: (argument_list [(simple_symbol) (string (string_content))] @is.method))
 (#any-of? @_makes "attr_accessor" "attr_reader" "attr_writer" "attr" "cattr_accessor" "cattr_reader" "cattr_writer"
  "mattr_accessor" "mattr_reader" "mattr_writer" "class_attribute" "delegate"))
((call method: (identifier) @_makes arguments: (argument_list . [(simple_symbol) (string (string_content))] @is.method))
 (#any-of? @_makes "define_method" "define_singleton_method" "alias_method" "scope"))
((call method: (identifier) @_makes arguments: (argument_list . (_) [(simple_symbol) (string)] @is.method))
 (#any-of? @_makes "def_delegators" "def_instance_delegators" "def_delegator"))
(alias name: (identifier) @is.method)
(block_argument (simple_symbol) @call)
((call method: (identifier) @_takes arguments: (argument_list . (simple_symbol) @call))
 (#any-of? @_takes "method" "send" "public_send" "__send__" "instance_method"))
((call !receiver method: (identifier) @_takes arguments: (argument_list (simple_symbol) @call))
 (#match? @_takes "^((before|after|around|skip_before|skip_after)_[a-z_]+|validate|helper_method)$"))
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
(enum_declaration_list (use_declaration [(name) @base (qualified_name (name) @base)]))
(enum_case name: (name) @is.constant)
((function_call_expression function: (name) @_define
  arguments: (arguments . (argument (string (string_content) @is.constant)))) (#eq? @_define "define"))
""",
    "swift": """
(call_expression . [
  (simple_identifier) @call (navigation_expression suffix: (navigation_suffix suffix: (simple_identifier) @call))
])
(constructor_expression constructed_type: (user_type (type_identifier) @call))
(inheritance_specifier inherits_from: [
  (user_type (type_identifier) @base .) (user_type (type_identifier) @base . (type_arguments))
])
(enum_entry name: (simple_identifier) @is.constant)
(associatedtype_declaration name: (type_identifier) @is.type)
(protocol_property_declaration name: (pattern bound_identifier: (simple_identifier) @is.constant))
(selector_expression (simple_identifier) @call)
(value_argument value: (simple_identifier) @value)
((value_argument value: (navigation_expression
  target: (simple_identifier) @_type suffix: (navigation_suffix suffix: (simple_identifier) @call)
)) (#match? @_type "^[A-Z]"))
""",
    "scala": """
(call_expression function: [
  (identifier) @call (field_expression field: (identifier) @call)
  (generic_function function: [(identifier) @call (field_expression field: (identifier) @call)])
])
(infix_expression operator: (identifier) @call)
(instance_expression [(type_identifier) @call (generic_type type: (type_identifier) @call)])
(instance_expression [(type_identifier) @base (generic_type type: (type_identifier) @base)] (template_body))
(extends_clause SCALA_TYPE)
(derives_clause SCALA_TYPE)
(given_definition return_type: SCALA_TYPE)
(arguments (identifier) @value)
((arguments (field_expression value: (identifier) @_type field: (identifier) @call))
 (#match? @_type "^[A-Z]") (#match? @call "^[a-z]"))
(simple_enum_case name: (identifier) @is.constant)
(full_enum_case name: (identifier) @is.constant)
""".replace("SCALA_TYPE", _SCALA_TYPE),
    "bash": """
(command name: (command_name (word) @call))
((command name: (command_name (word) @_trap) . argument: (word) @call) (#eq? @_trap "trap"))
((command name: (command_name (word) @_alias) argument: [(word) @is.function (concatenation . (word) @is.function)])
 (#eq? @_alias "alias"))
""",
    "fish": """
(command name: (word) @call)
((command name: (word) @_alias . argument: (word) @is.function) (#eq? @_alias "alias"))
""",
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
(arguments (identifier) @value)
((field name: (identifier) @_index value: (identifier) @base) (#eq? @_index "__index"))
(assignment_statement (expression_list value: (function_call name:
  (method_index_expression table: (identifier) @base method: (identifier) @_extend))
) (#any-of? @_extend "extend" "subclass"))
""",
    "elixir": """
(call target: [(identifier) @call (dot right: (identifier) @call)])
(binary_operator operator: "|>" right: (identifier) @call)
((call target: (identifier) @_word (arguments . (alias) @base)) (#any-of? @_word "use" "defimpl"))
(unary_operator operator: "&" operand: (binary_operator left: (identifier) @call operator: "/"))
(unary_operator operator: "@" operand: (call target: (identifier) @not))
((unary_operator operator: "@" operand: (call target: (identifier) @is.constant))
 (#not-match? @is.constant "ELIXIR_RESERVED"))
(unary_operator operator: "@" operand: (call target: (identifier) @_type (arguments (binary_operator
  left: [(identifier) @is.type (call target: (identifier) @is.type)] operator: "::"
))) (#any-of? @_type "type" "typep" "opaque"))
(unary_operator operator: "@" operand: (call target: (identifier) @_callback (arguments (binary_operator
  left: (call target: (identifier) @is.function) operator: "::"
))) (#any-of? @_callback "callback" "macrocallback"))
(unary_operator operator: "@" operand: (call target: (identifier) @_type (arguments (binary_operator
  left: (call target: (identifier) @not) operator: "::"
))) (#any-of? @_type "type" "typep" "opaque" "callback" "macrocallback" "spec"))
(unary_operator operator: "@" operand: (call target: (identifier) @_behaviour (arguments (alias) @base))
 (#eq? @_behaviour "behaviour"))
""".replace("ELIXIR_RESERVED", _ELIXIR_RESERVED),
    "dart": """
((identifier) @call . (selector (argument_part)))
((selector [
  (unconditional_assignable_selector (identifier) @call) (conditional_assignable_selector (identifier) @call)
]) . (selector (argument_part)))
(cascade_section (cascade_selector (identifier) @call) (argument_part))
(new_expression (type_identifier) @call)
((superclass (type_identifier) @base) (#match? @base "^[A-Z_$]"))
((mixins (type_identifier) @base) (#match? @base "^[A-Z_$]"))
((interfaces (type_identifier) @base) (#match? @base "^[A-Z_$]"))
((mixin_declaration (type_identifier) @base) (#match? @base "^[A-Z_$]"))
((mixin_application (type_identifier) @base) (#match? @base "^[A-Z_$]"))
(mixin_application_class (identifier) @is.class)
(enum_constant name: (identifier) @is.constant)
(getter_signature name: (identifier) @is.method)
(setter_signature name: (identifier) @is.method)
(operator_signature (binary_operator) @is.method)
(operator_signature ["[]" "[]="] @is.method)
(constructor_signature (identifier) @is.method . (formal_parameter_list))
(constant_constructor_signature (identifier) @is.method . (formal_parameter_list))
(factory_constructor_signature (identifier) @is.method . (formal_parameter_list))
(argument (identifier) @value .)
""",
    "haskell": """
(apply function: [(variable) @call (qualified id: (variable) @call)])
(infix operator: (infix_id (variable) @call))
((infix left_operand: (variable) @call operator: (operator) @_operator)
 (#any-of? @_operator "$" "$!" "." "<$>" "=<<" ">=>"))
((infix operator: (operator) @_operator right_operand: (variable) @call)
 (#any-of? @_operator "." ">>=" "&" "<&>" ">=>"))
(function (infix operator: (infix_id (variable) @not)))
(apply argument: (variable) @value)
(instance name: (name) @base)
(deriving classes: [(name) @base (_ (name) @base)])
(deriving_instance name: (name) @base)
(class_declarations (signature name: (variable) @is.method))
(data_constructor [(prefix name: (constructor) @is.constant) (record name: (constructor) @is.constant)])
(newtype_constructor name: (constructor) @is.constant)
(field_name (variable) @is.function)
""",
    "ocaml": """
(application_expression function: (value_path (value_name) @call))
(infix_expression operator: _ right: (value_path (value_name) @call))
(inheritance_definition class: [
  (class_path (class_name) @base) (class_application class: (class_path (class_name) @base))
])
(module_binding module_type: (module_type_path (module_type_name) @base))
(include_module module: (module_path (module_name) @base .))
(application_expression argument: (value_path . (value_name) @value))
(variant_declaration (constructor_declaration (constructor_name) @is.constant))
(exception_definition (constructor_declaration (constructor_name) @is.type))
(method_definition (method_name) @is.method)
(value_specification (value_name) @is.function)
(class_type_binding (class_type_name) @is.interface)
""",
    "zig": """
(SuffixExpr variable_type_function: (IDENTIFIER) @call . (FnCallArguments))
(FieldOrFnCall function_call: (IDENTIFIER) @call)
((ErrorUnionExpr (SuffixExpr variable_type_function: (IDENTIFIER) @call .)) . (InitList))
(ErrorSetDecl field_constant: (IDENTIFIER) @is.constant)
(ContainerDecl (ContainerDeclType "enum") (ContainerField
  (ErrorUnionExpr (SuffixExpr variable_type_function: (IDENTIFIER) @is.constant))
))
""",
    "julia": """
(call_expression . [(identifier) @call (field_expression value: (_) (identifier) @call)])
(macrocall_expression (macro_identifier (identifier) @call))
(broadcast_call_expression . [(identifier) @call (field_expression value: (_) (identifier) @call)])
((binary_expression (operator) @_pipe . (identifier) @call .) (#eq? @_pipe "|>"))
(argument_list (identifier) @value)
((macrocall_expression (macro_identifier (identifier) @_enum) (macro_argument_list . (identifier) @is.enum))
 (#eq? @_enum "enum"))
((macrocall_expression (macro_identifier (identifier) @_enum) (macro_argument_list . (_) (identifier) @is.constant))
 (#eq? @_enum "enum"))
(type_head (binary_expression (_) (operator) [(identifier) @base (parametrized_type_expression . (identifier) @base)]))
""",
    "r": """
(call function: [
  (identifier) @call (namespace_operator rhs: (identifier) @call) (extract_operator rhs: (identifier) @call)
])
(argument value: (identifier) @value)
((call function: (identifier) @_class arguments: (arguments . (argument value:
  (string content: (string_content) @is.class))))
 (#any-of? @_class "setClass" "setRefClass" "R6Class"))
((call function: (identifier) @_generic arguments: (arguments . (argument value:
  (string content: (string_content) @is.function)))) (#any-of? @_generic "setGeneric" "setMethod"))
((argument name: (identifier) @_builds value: [(identifier) @base (string content: (string_content) @base)])
 (#any-of? @_builds "contains" "inherit"))
((call function: (identifier) @_list arguments: (arguments
  (argument name: (identifier) @is.method value: (function_definition)))) (#eq? @_list "list"))
""",
    "perl": """
(function_call_expression function: (function) @call)
(ambiguous_function_call_expression function: (function) @call)
((method_call_expression method: (method) @call) (#not-match? @call "^[$]"))
(refgen_expression (function (varname) @call))
(use_statement module: (package) @_parent PERL_NAMES (#any-of? @_parent "parent" "base" "fields"))
((assignment_expression left: (variable_declaration (array (varname) @_isa)) PERL_NAMES) (#eq? @_isa "ISA"))
((ambiguous_function_call_expression function: (function) @_with arguments: PERL_NAMES)
 (#any-of? @_with "extends" "with"))
((ambiguous_function_call_expression function: (function) @_has . arguments: [
  (autoquoted_bareword) @is.method (string_literal content: (string_content) @is.method)
  (list_expression . (autoquoted_bareword) @is.method)
]) (#eq? @_has "has"))
((use_statement module: (package) @_constant [
  (list_expression . (autoquoted_bareword) @is.constant)
  (anonymous_hash_expression (list_expression (autoquoted_bareword) @is.constant))
]) (#eq? @_constant "constant"))
(assignment_expression left: (glob (varname) @is.function) right: (anonymous_subroutine_expression))
""".replace(
        "PERL_NAMES",
        """[
  (string_literal content: (string_content) @base) (interpolated_string_literal content: (string_content) @base)
  (quoted_word_list content: (string_content) @base)
  (list_expression [
    (string_literal content: (string_content) @base) (interpolated_string_literal content: (string_content) @base)
  ])
]""",
    ),
    "erlang": """
(call expr: [(atom) @call (remote fun: (atom) @call)])
(internal_fun fun: (atom) @call)
(external_fun fun: (atom) @call)
(behaviour_attribute name: (atom) @base)
(pp_define lhs: (macro_lhs name: (_) @is.macro))
(opaque name: (type_name name: (atom) @is.type))
(callback fun: (atom) @is.function)
(module_attribute name: (atom) @is.module)
""",
    "clojure": """
(list_lit . value: (sym_lit name: (sym_name) @call))
((list_lit . value: (sym_lit name: (sym_name) @_type) value: (list_lit . value: (sym_lit name: (sym_name) @is.method)))
 (#any-of? @_type "defprotocol" "definterface" "defrecord" "deftype"))
((list_lit . value: (sym_lit name: (sym_name) @_type) value: (list_lit . value: (sym_lit name: (sym_name) @not)))
 (#any-of? @_type "extend-type" "extend-protocol" "reify" "proxy"))
((list_lit . value: (sym_lit name: (sym_name) @_type) . value: (sym_lit) value: (sym_lit name: (sym_name) @base))
 (#any-of? @_type "defrecord" "deftype" "extend-type"))
((list_lit . value: (sym_lit name: (sym_name) @_type) value: (sym_lit name: (sym_name) @base)) (#eq? @_type "reify"))
((list_lit . value: (sym_lit name: (sym_name) @_type) . value: (sym_lit name: (sym_name) @base))
 (#eq? @_type "extend-protocol"))
(list_lit value: (sym_lit) value: (sym_lit name: (sym_name) @value))
""",
    "solidity": """
(call_expression function: (expression [
  (identifier) @call (member_expression property: (identifier) @call)
  (new_expression name: (type_name (user_defined_type (identifier) @call)))
]))
(emit_statement name: (expression (identifier) @call))
(revert_statement error: (expression (identifier) @call))
(modifier_invocation (identifier) @call)
(inheritance_specifier ancestor: (user_defined_type (identifier) @base))
(enum_value) @is.constant
(state_variable_declaration name: (identifier) @is.constant)
(constant_variable_declaration name: (identifier) @is.constant)
(user_defined_type_definition name: (identifier) @is.type)
(constructor_definition "constructor" @is.method)
""",
    "sql": """
(invocation (object_reference name: (identifier) @call))
(relation (object_reference name: (identifier) @call))
(insert (object_reference name: (identifier) @call))
(alter_table (object_reference name: (identifier) @call))
(column_definition (keyword_references) . (object_reference name: (identifier) @call))
(create_trigger (keyword_execute) (_) . (object_reference name: (identifier) @call))
(create_trigger (keyword_on) . (object_reference name: (identifier) @call))
""",
    "nix": """
(apply_expression function: (variable_expression name: (identifier) @call))
(apply_expression function: (select_expression attrpath: (attrpath attr: (identifier) @call .)))
""",
    "graphql": """
(implements_interfaces (named_type (name) @base))
(fragment_spread (fragment_name (name) @call))
((type (named_type (name) @call)) (#not-match? @call "^(String|Int|Float|Boolean|ID)$"))
((non_null_type (named_type (name) @call)) (#not-match? @call "^(String|Int|Float|Boolean|ID)$"))
(enum_value (name) @is.constant)
""",
    "proto": """
(message_or_enum_type (identifier) @call .)
(enum_field . (identifier) @is.constant)
""",
    "hcl": """
(function_call (identifier) @call)
(expression (variable_expr) . (get_attr (identifier) @call))
((expression (variable_expr (identifier) @_data) . (get_attr) . (get_attr (identifier) @call)) (#eq? @_data "data"))
((block . (identifier) @_locals (body (attribute . (identifier) @is.constant))) (#eq? @_locals "locals"))
""",
    "cmake": """
(normal_command (identifier) @call)
((normal_command (identifier) @_makes (argument_list . (argument (unquoted_argument) @is.constant)))
 (#match? @_makes "^(?i:set|option|add_library|add_executable|add_custom_target)$"))
((normal_command (identifier) @_links (argument_list . (argument) (argument (unquoted_argument) @call)))
 (#match? @_links "^(?i:target_link_libraries|add_dependencies)$")
 (#not-match? @call "^(PUBLIC|PRIVATE|INTERFACE)$"))
""",
    "make": """
((prerequisites (word) @call) (#not-match? @call "[.%/$]"))
(function_call "call" (arguments argument: (text) @call))
""",
    "scss": """
(include_statement (identifier) @call) (call_expression (function_name) @call)
((stylesheet (declaration (property_name) @is.constant)) (#match? @is.constant "^[$]"))
""",
}
"""By grammar. Data and markup have none."""
