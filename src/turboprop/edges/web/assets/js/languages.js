// What the highlighter knows of each language: comments, strings, keywords. Names are those of the index.

const words = (text) => new Set(text.trim().split(/\s+/));
const C_LIKE = { line: ["//"], block: [["/*", "*/"]], strings: ['"', "'"] };

const JS_WORDS = `async await break case catch class const continue debugger default delete do else export extends false
  finally for from function get if import in instanceof let new null of return set static super switch this throw true
  try typeof undefined var void while with yield`;
const C_WORDS = `auto break case char const continue default do double else enum extern float for goto if inline int long
  register return short signed sizeof static struct switch typedef union unsigned void volatile while NULL true false bool
  #include #define #ifdef #ifndef #endif #if #else #elif #pragma #undef #error`;

const RULES = {
  python: {
    line: ["#"],
    strings: ['"""', "'''", '"', "'"],
    decorators: true,
    words: `False None True and as assert async await break case class continue def del elif else except finally for from
      global if import in is lambda match nonlocal not or pass raise return try type while with yield self cls`,
  },
  javascript: { ...C_LIKE, strings: ['"', "'", "`"], decorators: true, words: JS_WORDS },
  typescript: {
    ...C_LIKE,
    strings: ['"', "'", "`"],
    decorators: true,
    words: `${JS_WORDS} abstract any as asserts boolean declare enum implements infer interface is keyof namespace never
      number object private protected public readonly satisfies string symbol type unknown`,
  },
  java: {
    ...C_LIKE,
    strings: ['"""', '"', "'"],
    decorators: true,
    words: `abstract assert boolean break byte case catch char class const continue default do double else enum extends
      final finally float for if implements import instanceof int interface long native new null package private protected
      public record return sealed short static super switch synchronized this throw throws transient true false try var
      void volatile while yield permits`,
  },
  c: { ...C_LIKE, words: C_WORDS },
  cpp: {
    ...C_LIKE,
    words: `${C_WORDS} alignas and catch class concept consteval constexpr const_cast co_await co_return co_yield decltype
      delete dynamic_cast explicit export final friend mutable namespace new noexcept not nullptr operator or override
      private protected public reinterpret_cast requires static_assert static_cast template this throw try typename using
      virtual`,
  },
  csharp: {
    ...C_LIKE,
    words: `abstract as async await base bool break byte case catch char class const continue decimal default delegate do
      double else enum event explicit extern false finally fixed float for foreach get if implicit in init int interface
      internal is lock long namespace new null object operator out override params private protected public readonly record
      ref return sealed set short sizeof static string struct switch this throw true try typeof uint ulong unchecked using
      var virtual void volatile when where while yield`,
  },
  go: {
    ...C_LIKE,
    strings: ['"', "'", "`"],
    raw: "`",
    words: `break case chan const continue default defer else fallthrough for func go goto if import interface map package
      range return select struct switch type var nil true false iota string int bool byte error float64 int64 any`,
  },
  rust: {
    ...C_LIKE,
    strings: ['"'],
    lifetimes: true,
    words: `as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move
      mut pub ref return self Self static struct super trait true type unsafe use where while u8 u16 u32 u64 usize i8 i16
      i32 i64 isize f32 f64 bool str char`,
  },
  ruby: {
    line: ["#"],
    strings: ['"', "'"],
    words: `BEGIN END alias and begin break case class def defined? do else elsif end ensure false for if in module next nil
      not or redo rescue retry return self super then true undef unless until when while yield require attr_reader
      attr_accessor private`,
  },
  php: {
    line: ["//", "#"],
    block: [["/*", "*/"]],
    strings: ['"', "'"],
    words: `abstract and array as break callable case catch class clone const continue declare default do echo else elseif
      empty enum extends final finally fn for foreach function global if implements include instanceof interface isset list
      match namespace new null or private protected public readonly require return static switch this throw trait true false
      try unset use var while yield`,
  },
  swift: {
    ...C_LIKE,
    strings: ['"""', '"'],
    decorators: true,
    words: `actor as associatedtype async await break case catch class continue default defer deinit do else enum extension
      false fileprivate final for func guard if import in init inout internal is lazy let mutating nil open operator
      override private protocol public repeat required rethrows return self Self some static struct subscript super switch
      throw throws true try typealias var weak where while`,
  },
  kotlin: {
    ...C_LIKE,
    strings: ['"""', '"', "'"],
    decorators: true,
    words: `abstract as break by catch class companion const constructor continue data do else enum false final finally for
      fun get if import in init inline interface internal is lateinit null object open operator out override package
      private protected public return sealed set super suspend this throw true try typealias val var vararg when where
      while`,
  },
  scala: {
    ...C_LIKE,
    strings: ['"""', '"'],
    decorators: true,
    words: `abstract case catch class def do else enum extends extension false final finally for given if implicit import in
      lazy match new null object override package private protected return sealed super then this throw trait true try type
      using val var while with yield`,
  },
  dart: {
    ...C_LIKE,
    strings: ['"""', "'''", '"', "'"],
    decorators: true,
    words: `abstract as assert async await break case catch class const continue default do else enum export extends
      extension factory false final finally for get if implements import in is late library mixin new null on operator part
      required return set static super switch this throw true try typedef var void while with yield`,
  },
  zig: {
    line: ["//"],
    strings: ['"', "'"],
    words: `and break catch comptime const continue defer else enum errdefer error export extern false fn for if inline null
      or orelse pub return struct switch test true try undefined union unreachable usingnamespace var while u8 u32 usize
      bool void`,
  },
  lua: {
    line: ["--"],
    block: [["--[[", "]]"]],
    strings: ['"', "'"],
    words: `and break do else elseif end false for function goto if in local nil not or repeat return then true until while`,
  },
  haskell: {
    line: ["--"],
    block: [["{-", "-}"]],
    strings: ['"'],
    words: `case class data default deriving do else family forall foreign if import in infix infixl infixr instance let
      module newtype of qualified then type where`,
  },
  elixir: {
    line: ["#"],
    strings: ['"""', '"', "'"],
    decorators: true,
    words: `after alias and case catch cond def defmacro defmodule defp defstruct do else end false fn for if import in nil
      not or quote raise receive rescue require true try unless unquote use when with`,
  },
  r: {
    line: ["#"],
    strings: ['"', "'"],
    words: `break else FALSE for function if in Inf library NA NaN next NULL repeat return TRUE while`,
  },
  bash: {
    line: ["#"],
    strings: ['"', "'"],
    hashAfterSpace: true,
    raw: "'",
    words: `case do done elif else esac exit export fi for function if in local readonly return select set shift then trap
      unset until while echo cd source`,
  },
  sql: {
    line: ["--"],
    block: [["/*", "*/"]],
    strings: ["'", '"'],
    anyCase: true,
    words: `add all alter and as asc begin between by case check column commit constraint create cross default delete desc
      distinct drop else end exists foreign from full group having if in index inner insert integer into is join key left
      like limit not null numeric on or order outer primary references returning right select set table text then timestamp
      trigger union unique update using values varchar view when where with`,
  },
  json: { strings: ['"'], keys: true, words: `true false null` },
  yaml: { line: ["#"], strings: ['"', "'"], keys: true, hashAfterSpace: true, words: `true false null yes no on off` },
  toml: { line: ["#"], strings: ['"""', "'''", '"', "'"], keys: true, words: `true false` },
  css: {
    block: [["/*", "*/"]],
    strings: ['"', "'"],
    keys: true,
    words: `@media @import @supports @layer @property important`,
  },
  html: { block: [["<!--", "-->"]], strings: ['"', "'"], tags: true, words: "" },
  markdown: { headings: true, words: "" },
  dockerfile: {
    line: ["#"],
    strings: ['"', "'"],
    hashAfterSpace: true,
    words: `FROM RUN CMD LABEL EXPOSE ENV ADD COPY ENTRYPOINT VOLUME USER WORKDIR ARG ONBUILD STOPSIGNAL HEALTHCHECK SHELL AS`,
  },
  hcl: {
    line: ["#", "//"],
    block: [["/*", "*/"]],
    strings: ['"'],
    words: `resource data variable output module provider locals terraform for in if true false null`,
  },
  protobuf: {
    ...C_LIKE,
    words: `syntax package import message enum service rpc returns option repeated optional oneof map string bytes bool int32 int64 uint32 uint64 float double true false`,
  },
};

const ALIASES = {
  py: "python",
  js: "javascript",
  jsx: "javascript",
  mjs: "javascript",
  ts: "typescript",
  tsx: "typescript",
  "c++": "cpp",
  "c#": "csharp",
  c_sharp: "csharp",
  cs: "csharp",
  golang: "go",
  rs: "rust",
  rb: "ruby",
  kt: "kotlin",
  hs: "haskell",
  ex: "elixir",
  sh: "bash",
  shell: "bash",
  zsh: "bash",
  fish: "bash",
  make: "bash",
  makefile: "bash",
  yml: "yaml",
  jsonc: "json",
  xml: "html",
  svg: "html",
  vue: "html",
  svelte: "html",
  scss: "css",
  less: "css",
  md: "markdown",
  rst: "markdown",
  docker: "dockerfile",
  terraform: "hcl",
  proto: "protobuf",
  objc: "c",
  cuda: "cpp",
  glsl: "c",
  graphql: "typescript",
  groovy: "java",
  cmake: "bash",
  perl: "ruby",
  ini: "toml",
  powershell: "bash",
  julia: "ruby",
  solidity: "javascript",
  ocaml: "haskell",
};

const made = new Map();

/** The rule of a language, by any of its names; null where there is none. */
export function ruleOf(language) {
  const name = String(language ?? "").toLowerCase();
  const key = ALIASES[name] ?? name;
  if (!Object.hasOwn(RULES, key)) return null;
  if (!made.has(key)) {
    const rule = RULES[key];
    made.set(key, { line: [], block: [], strings: [], ...rule, words: words(rule.words || " "), name: key });
  }
  return made.get(key);
}
