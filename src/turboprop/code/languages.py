"""The languages, one row each: how a file is recognised, and which syntax nodes define something.

A row's `definitions` maps a node type of the grammar to a kind, or to `@hook`, a function of
`turboprop.code.hooks` that looks closer. `leading` are nodes that belong to what follows them
(comments, attributes), `wrappers` carry the definition as a child (`export`, decorators, templates).
A row without a grammar is cut by lines; Markdown has a splitter of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Definitions that open a scope: their members are named after them.
SCOPES = frozenset(
    {
        "class",
        "interface",
        "struct",
        "enum",
        "union",
        "trait",
        "implementation",
        "object",
        "module",
        "section",
    }
)
# Definitions too slight to stand apart: they lend their name to the chunk that they fall into.
MINOR = frozenset({"constant", "key", "rule", "element", "step"})
KINDS = tuple(sorted(SCOPES | MINOR | {"function", "method", "type", "macro", "table", "test", "block", "text"}))


@dataclass(frozen=True, slots=True)
class Language:
    """One language.

    `naming` is the rule of `turboprop.code.names` that finds a definition's name; `has_macros` says
    that a preprocessor's words stand in the source; `ends_with_comments` that its grammar counts a
    comment to what stands before it.
    """

    name: str
    grammar: str = ""
    extensions: tuple[str, ...] = ()
    filenames: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
    leading: frozenset[str] = frozenset({"comment", "line_comment", "block_comment", "multiline_comment"})
    wrappers: frozenset[str] = frozenset()
    naming: str = "field"
    has_macros: bool = False
    ends_with_comments: bool = False


def _row(
    name: str,
    grammar: str,
    extensions: str,
    definitions: str = "",
    *,
    filenames: str = "",
    interpreters: str = "",
    leading: str = "",
    wrappers: str = "",
    naming: str = "field",
    has_macros: bool = False,
    ends_with_comments: bool = False,
) -> Language:
    """A row from words: `definitions` reads `kind: node node; kind: node`."""
    kinds: dict[str, str] = {}
    for group in filter(None, (part.strip() for part in definitions.split(";"))):
        kind, _, nodes = group.partition(":")
        kinds.update(dict.fromkeys(nodes.split(), kind.strip()))
    comments = "comment line_comment block_comment multiline_comment"
    return Language(
        name=name,
        grammar=grammar,
        extensions=tuple(extensions.split()),
        filenames=tuple(filenames.split()),
        interpreters=tuple(interpreters.split()),
        definitions=kinds,
        leading=frozenset((comments + " " + leading).split()),
        wrappers=frozenset(wrappers.split()),
        naming=naming,
        has_macros=has_macros,
        ends_with_comments=ends_with_comments,
    )


_JS = (
    "function: function_declaration generator_function_declaration method_definition; class:"
    " class_declaration class; @js_binding: lexical_declaration variable_declaration expression_statement"
    " pair"
)
_TS = (
    _JS + "; @js_binding: public_field_definition; class: abstract_class_declaration; interface:"
    " interface_declaration; enum: enum_declaration; type: type_alias_declaration; module: internal_module"
    " module; function: function_signature method_signature abstract_method_signature"
)
_C = (
    "@c_function: function_definition declaration; @c_struct: struct_specifier union_specifier enum_specifier"
    " type_definition; macro: preproc_function_def; constant: preproc_def"
)

_ROWS = (
    _row(
        "python",
        "python",
        ".py .pyi .pyw",
        "function: function_definition; class: class_definition; type: type_alias_statement;"
        " @python_assignment: assignment",
        filenames="SConstruct SConscript wscript",
        interpreters="python python2 python3 pypy pypy3 uv",
        wrappers="decorated_definition",
    ),
    _row(
        "javascript",
        "javascript",
        ".js .jsx .mjs .cjs .es6",
        _JS + "; @js_binding: field_definition",
        interpreters="node nodejs bun",
        leading="decorator",
        wrappers="export_statement",
    ),
    _row(
        "typescript",
        "typescript",
        ".ts .mts .cts",
        _TS,
        interpreters="deno ts-node tsx",
        leading="decorator",
        wrappers="export_statement ambient_declaration",
    ),
    _row("tsx", "tsx", ".tsx", _TS, leading="decorator", wrappers="export_statement ambient_declaration"),
    _row(
        "go",
        "go",
        ".go",
        "function: function_declaration; @go_method: method_declaration; @go_type: type_declaration;"
        " @go_constants: const_declaration var_declaration",
    ),
    _row(
        "rust",
        "rust",
        ".rs",
        "function: function_item function_signature_item; struct: struct_item; enum: enum_item;"
        " union: union_item; trait: trait_item; @rust_impl: impl_item; module: mod_item;"
        " macro: macro_definition; type: type_item; constant: const_item static_item",
        interpreters="rust-script",
        leading="attribute_item inner_attribute_item",
    ),
    _row(
        "java",
        "java",
        ".java",
        "class: class_declaration record_declaration annotation_type_declaration; interface:"
        " interface_declaration;"
        " enum: enum_declaration; function: method_declaration constructor_declaration"
        " compact_constructor_declaration",
    ),
    _row(
        "kotlin",
        "kotlin",
        ".kt .kts",
        "@keyword: class_declaration; object: object_declaration companion_object;"
        " function: function_declaration secondary_constructor; type: type_alias; constant:"
        " property_declaration",
        naming="first",
    ),
    _row("c", "c", ".c .h", _C, has_macros=True),
    _row(
        "cpp",
        "cpp",
        ".cpp .cc .cxx .c++ .hpp .hh .hxx .h++ .ipp .tpp .inl .cu .cuh .ino",
        _C
        + "; @c_function: field_declaration; @c_struct: class_specifier; module: namespace_definition; type: alias_declaration"  # noqa: E501
        " concept_definition",
        wrappers="template_declaration",
        has_macros=True,
    ),
    _row(
        "objc",
        "objc",
        ".m .mm",
        _C + "; class: class_interface; implementation: class_implementation; interface:"
        " protocol_declaration;"
        " @objc_method: method_definition method_declaration",
        wrappers="implementation_definition",
        naming="first",
    ),
    _row(
        "csharp",
        "csharp",
        ".cs .csx",
        "class: class_declaration record_declaration; interface: interface_declaration; struct:"
        " struct_declaration"
        "; enum: enum_declaration; module: namespace_declaration;"
        " @file_scope: file_scoped_namespace_declaration; type: delegate_declaration;"
        " function: method_declaration constructor_declaration"
        " local_function_statement"
        " property_declaration; @csharp_operator: operator_declaration indexer_declaration"
        " conversion_operator_declaration destructor_declaration",
    ),
    _row(
        "ruby",
        "ruby",
        ".rb .rake .gemspec .ru .rbi .podspec",
        "class: class; module: module; function: method singleton_method; @ruby_assignment: assignment",
        filenames="Rakefile Gemfile Guardfile Podfile Vagrantfile Fastfile Brewfile Capfile",
        interpreters="ruby jruby rake",
    ),
    _row(
        "php",
        "php",
        ".php .phtml .php5 .php7 .inc",
        "class: class_declaration; interface: interface_declaration; trait: trait_declaration;"
        " enum: enum_declaration; function: function_definition method_declaration; @file_scope_body:"
        " namespace_definition; @php_constants: const_declaration",
        interpreters="php",
    ),
    _row(
        "swift",
        "swift",
        ".swift",
        "@keyword: class_declaration; interface: protocol_declaration; function: function_declaration"
        " protocol_function_declaration; @swift_special: init_declaration deinit_declaration"
        " subscript_declaration;"
        " type: typealias_declaration; @swift_property: property_declaration",
        interpreters="swift",
    ),
    _row(
        "scala",
        "scala",
        ".scala .sc .sbt",
        "class: class_definition; object: object_definition; trait: trait_definition; enum:"
        " enum_definition;"
        " function: function_definition function_declaration given_definition; type: type_definition;"
        " @pattern_constant: val_definition var_definition",
        interpreters="scala",
    ),
    _row(
        "bash",
        "bash",
        ".sh .bash .zsh .ksh .bats .ebuild",
        "function: function_definition; constant: variable_assignment",
        filenames=".bashrc .bash_profile .bash_aliases .profile .zshrc .zshenv PKGBUILD",
        interpreters="sh bash zsh dash ksh ash bats",
    ),
    _row(
        "lua",
        "lua",
        ".lua .luau .rockspec",
        "function: function_declaration; @lua_assignment: assignment_statement variable_declaration field",
        interpreters="lua luajit",
    ),
    _row(
        "elixir",
        "elixir",
        ".ex .exs",
        "@elixir_call: call",
        interpreters="elixir",
        leading="unary_operator",
    ),
    _row("html", "html", ".html .htm .xhtml", "@html_element: element"),
    _row("vue", "vue", ".vue"),
    _row("svelte", "svelte", ".svelte"),
    _row(
        "css",
        "css",
        ".css",
        "@css_rule: rule_set media_statement keyframes_statement supports_statement",
    ),
    _row(
        "scss",
        "scss",
        ".scss",
        "@css_rule: rule_set media_statement keyframes_statement supports_statement; function:"
        " mixin_statement"
        " function_statement",
        leading="js_comment",
    ),
    _row(
        "sql",
        "sql",
        ".sql .ddl .psql .pgsql",
        "@sql_create: create_table create_view create_materialized_view create_function"
        " create_type create_trigger create_index create_schema create_sequence",
        leading="marginalia",
        wrappers="statement",
    ),
    _row(
        "toml",
        "toml",
        ".toml",
        "table: table table_array_element; key: pair",
        filenames="Pipfile",
        ends_with_comments=True,
        naming="first",
    ),
    _row("yaml", "yaml", ".yaml .yml", "@key: block_mapping_pair", filenames=".clang-format .clang-tidy"),
    _row(
        "json",
        "json",
        ".json .jsonc .json5 .geojson .webmanifest .ipynb",
        "@key: pair",
        filenames=".babelrc .eslintrc",
    ),
    _row("markdown", "", ".md .mdx .markdown .mdc .qmd .rmd"),
    _row(
        "dart",
        "dart",
        ".dart",
        "class: class_definition mixin_declaration extension_declaration; enum: enum_declaration;"
        " function:"
        " function_signature method_signature; type: type_alias; constant: static_final_declaration_list",
        leading="documentation_comment annotation",
        naming="first",
    ),
    _row(
        "zig",
        "zig",
        ".zig .zon",
        "@zig_declaration: Decl; test: TestDecl",
        leading="doc_comment",
        naming="first",
    ),
    _row(
        "haskell",
        "haskell",
        ".hs",
        "@haskell_function: function bind; type: data_type newtype type_synomym; class: class;"
        " @haskell_instance: instance",
        leading="signature haddock pragma",
    ),
    _row(
        "ocaml",
        "ocaml",
        ".ml",
        "@ocaml_binding: value_definition module_definition type_definition class_definition;"
        " interface: module_type_definition; function: external; type: exception_definition",
        interpreters="ocaml",
        naming="first",
    ),
    _row(
        "julia",
        "julia",
        ".jl",
        "module: module_definition; struct: struct_definition; type: abstract_definition"
        " primitive_definition;"
        " function: function_definition; macro: macro_definition; constant: const_statement;"
        " @julia_assignment: assignment",
        interpreters="julia",
        leading="string_literal",
        naming="first_identifier",
    ),
    _row("r", "r", ".r", "@r_assignment: binary_operator", filenames=".Rprofile", interpreters="Rscript"),
    _row(
        "perl",
        "perl",
        ".pl .pm .t .psgi",
        "function: subroutine_declaration_statement method_declaration_statement; @file_scope_body:"
        " package_statement;"
        " class: class_statement",
        filenames="cpanfile",
        interpreters="perl",
        leading="pod",
    ),
    _row(
        "erlang",
        "erlang",
        ".erl .hrl",
        "@erlang_function: fun_decl; struct: record_decl; @erlang_type: type_alias",
        interpreters="escript",
        leading="spec",
    ),
    _row("clojure", "clojure", ".clj .cljs .cljc .edn .bb", "@lisp: list_lit", interpreters="bb"),
    _row(
        "solidity",
        "solidity",
        ".sol",
        "class: contract_declaration library_declaration; interface: interface_declaration; struct:"
        " struct_declaration; enum: enum_declaration; function: function_definition modifier_definition;"
        " type: event_definition error_declaration",
    ),
    _row(
        "powershell",
        "powershell",
        ".ps1 .psm1 .psd1",
        "function: function_statement class_method_definition; class: class_statement; enum: enum_statement",
        interpreters="pwsh",
        naming="first",
    ),
    _row("fish", "fish", ".fish", "function: function_definition", interpreters="fish"),
    _row(
        "starlark",
        "starlark",
        ".bzl .star",
        "function: function_definition; @python_assignment: assignment",
        filenames="BUILD WORKSPACE Tiltfile",
    ),
    _row(
        "proto",
        "proto",
        ".proto",
        "struct: message; enum: enum; interface: service; function: rpc",
        naming="first",
    ),
    _row(
        "graphql",
        "graphql",
        ".graphql .gql .graphqls",
        "struct: object_type_definition object_type_extension input_object_type_definition; interface:"
        " interface_type_definition; enum: enum_type_definition; type: scalar_type_definition"
        " union_type_definition; function: operation_definition fragment_definition directive_definition",
        leading="description",
        wrappers="definition type_system_definition type_definition type_system_extension type_extension"
        " executable_definition",
        naming="first",
    ),
    _row("hcl", "hcl", ".hcl .tf .tfvars .nomad", "@hcl_block: block"),
    _row(
        "dockerfile",
        "dockerfile",
        ".dockerfile",
        "@docker_stage: from_instruction",
        filenames="Dockerfile Containerfile",
    ),
    _row(
        "make",
        "make",
        ".mk .mak",
        "@make_rule: rule; macro: define_directive; constant: variable_assignment",
        filenames="Makefile makefile GNUmakefile",
        interpreters="make",
    ),
    _row(
        "cmake",
        "cmake",
        ".cmake",
        "@cmake_function: function_def macro_def",
        leading="bracket_comment",
        filenames="CMakeLists.txt",
    ),
    _row("nix", "nix", ".nix", "@nix_binding: binding"),
    _row("xml", "xml", ".xml .xsd .xsl .xslt .csproj .fsproj .vbproj .props .targets .plist .xaml .pom .resx .svg"),
    # Prose and languages whose grammar is missing or too weak: named for the filters, cut by lines.
    _row(
        "text",
        "",
        ".txt .rst .adoc .asciidoc .asc .org .tex .log .csv .tsv",
        filenames="LICENSE README CHANGELOG NOTICE",
    ),
    _row("less", "", ".less"),
    _row("sass", "", ".sass"),
    _row("groovy", "", ".groovy .gradle .gvy", filenames="Jenkinsfile", interpreters="groovy"),
    _row("fsharp", "", ".fs .fsx .fsi"),
    _row("nim", "", ".nim .nims"),
    _row("vim", "", ".vim", filenames=".vimrc"),
    _row("elisp", "", ".el"),
    _row("ada", "", ".adb .ads"),
    _row("assembly", "", ".s .asm"),
    _row("astro", "", ".astro"),
    _row("awk", "", ".awk", interpreters="awk gawk mawk"),
    _row("batch", "", ".bat .cmd"),
    _row("cobol", "", ".cbl .cob .cpy"),
    _row("common-lisp", "", ".lisp .lsp"),
    _row("coq", "", ""),
    _row("crystal", "", ".cr", interpreters="crystal"),
    _row("cue", "", ".cue"),
    _row("d", "", ".d"),
    _row("elm", "", ".elm"),
    _row("fortran", "", ".f .for .f77 .f90 .f95 .f03 .f08"),
    _row("gdscript", "", ".gd"),
    _row("glsl", "", ".glsl .vert .frag .comp .geom .tesc .tese .hlsl .wgsl .metal"),
    _row("haxe", "", ".hx"),
    _row("idris", "", ".idr"),
    _row("jsonnet", "", ".jsonnet .libsonnet"),
    _row("lean", "", ".lean"),
    _row("mathematica", "", ".wl .wls"),
    _row("matlab", "", ""),
    _row("mercury", "", ""),
    _row("modelica", "", ".mo"),
    _row("pascal", "", ".pas .dpr .lpr"),
    _row("prisma", "", ".prisma"),
    _row("prolog", "", ".prolog", interpreters="swipl"),
    _row("purescript", "", ".purs"),
    _row("racket", "", ".rkt", interpreters="racket"),
    _row("reason", "", ".re .rei"),
    _row("rego", "", ".rego"),
    _row("rescript", "", ".res .resi"),
    _row("scheme", "", ".scm .ss .sld", interpreters="guile"),
    _row("sml", "", ".sml .sig .fun"),
    _row("tcl", "", ".tcl", interpreters="tclsh wish"),
    _row("template", "", ".erb .j2 .jinja .jinja2 .hbs .mustache .ejs .twig .liquid .haml .slim .pug"),
    _row("thrift", "", ".thrift"),
    _row("verilog", "", ".v .vh .sv .svh"),
    _row("vhdl", "", ".vhd .vhdl"),
    _row("visual-basic", "", ".vb .vbs .bas"),
    _row(
        "ini",
        "",
        ".ini .cfg .conf .properties .editorconfig",
        filenames=".editorconfig .gitconfig .gitmodules",
    ),
)

LANGUAGES: Mapping[str, Language] = {row.name: row for row in _ROWS}
