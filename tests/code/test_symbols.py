"""What a file defines and refers to, in each language that has a grammar."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turboprop.code.chunk import chunk_text
from turboprop.code.languages import LANGUAGES
from turboprop.code.references import REFERENCES
from turboprop.code.symbols import BASE, CALL, Definition, around_line, defined_in, read_symbols

# Source, definitions, calls, base types.
CASES: dict[str, tuple[str, str, str, str]] = {
    "python": (
        (
            "@deco\n@a.b(1)\nclass A(B, c.D, E[int], metaclass=M):\n  X = 1\n  def m(self):\n    y = 2\n"
            "    def inner(): pass\n    x = g(h.k(1))\nZ = 3\n"
        ),
        "class A; constant A.X; method A.m; function A.m.inner; constant Z",
        "b deco g k",
        "B D E M",
    ),
    "javascript": (
        "class A extends B.C { f() { g(1); a.b.h(2); new Y(1); x?.k(); } }\nconst z = () => w();\n",
        "class A; method A.f; function z",
        "Y g h k w",
        "C",
    ),
    "typescript": (
        "class A<T> extends B<T> implements C, D.E { f() { g<T>(1); new Y(1); } }\ninterface I extends J, K<T> {}\n",
        "class A; method A.f; interface I",
        "Y g",
        "B C E J K",
    ),
    "tsx": ("const a = <Foo x={1}><Bar.Baz/></Foo>\n", "constant a", "Baz Foo", ""),
    "go": (
        (
            "package p\ntype A struct { B\n *C\n d int }\ntype I interface { J\n K() }\n"
            "func (a *A) f() { g(1); a.b.h(2); x[int](1); go k(); A{} }\n"
        ),
        "struct A; interface I; method I.K; method A.f",
        "A g h k x",
        "B C J",
    ),
    "rust": (
        (
            "impl<T> Tr<T> for Foo<T> { fn f() { g(1); a.b.h::<i32>(2); X::k(1); mac!(x); S { a: 1 }; } }\n"
            "trait A: B + C {}\nimpl Foo { fn n<T: Bound>() {} }\n"
        ),
        "implementation Tr for Foo; method Foo.f; trait A; implementation Foo; method Foo.n",
        "S g h k mac",
        "B C Tr",
    ),
    "java": (
        (
            "class A extends B<X> implements C, D<Y> { void f() { g(1); a.b.h(2); new Y<>(1); x(X::k); } }\n"
            "interface I extends J {}\nenum E implements Q {}\n"
        ),
        "class A; method A.f; interface I; enum E",
        "Y g h k x",
        "B C D J Q",
    ),
    "kotlin": (
        "class A(x: Int) : B(x), C<Int> { fun f() { g(1); a.b.h<Int>(2); x?.k(); l { it } } }\nobject O : P\n",
        "class A; method A.f; object O",
        "g h k l",
        "B C P",
    ),
    "c": (
        "int decl(int x);\nvoid f(void) { int l = g(1); a->h(2); }\nstruct s { int a; };\n",
        "declaration decl; function f; struct s",
        "g h",
        "",
    ),
    "cpp": (
        "class A : public B, private ns::C<int> { void f() { g(1); p->k(); ns::l<int>(1); a::b::m(); new Y(1); } };\n",
        "class A; method A.f",
        "Y g k l m",
        "B C",
    ),
    "objc": (
        "@interface A : B <C>\n@end\n@implementation A\n- (void)f { g(1); [self h:1]; [X new]; }\n@end\n",
        "class A; implementation A; method A.f",
        "g h new",
        "B C",
    ),
    "csharp": (
        "class A : B, C<int> { void F() { G(1); a.b.H(2); x?.K(); new Y(1); L<int>(1); } }\n",
        "class A; method A.F",
        "G H K L Y",
        "B C",
    ),
    "ruby": (
        "class A < B\n  include C\n  LIMIT = 2\n  def f\n    g 1\n    x.h(2)\n    New.new(1)\n  end\nend\n",
        "class A; constant A.LIMIT; method A.f",
        "g h include new",
        "B C",
    ),
    "php": (
        (
            "<?php class A extends B implements C, D { use T; function f() { g(1); $this->h(2); X::k(); new Y(1); } }\n"
            "interface I extends J {}\n"
        ),
        "class A; method A.f; interface I",
        "Y g h k",
        "B C D J T",
    ),
    "swift": (
        "class A: B, C { func f() { g(1); a.b.h(2); x?.k() } }\nstruct S: P {}\n",
        "class A; method A.f; struct S",
        "g h k",
        "B C P",
    ),
    "scala": (
        "class A extends B(1) with C { def f = { g(1); a.b.h[Int](2); new X(1); x map y } }\nobject O extends P\n",
        "class A; method A.f; object O",
        "X g h map",
        "B C P",
    ),
    "bash": ("f() { g 1; $(h); k | l; }\nf\n", "function f", "f g h k l", ""),
    "fish": ("function f\n g 1\n h | k\nend\n", "function f", "g h k", ""),
    "powershell": (
        "function F { G 1; $a.H(1) }\nclass A : B {}\n",
        "function F; class A",
        "G H",
        "B",
    ),
    "lua": ("local function f() g(1) a.b.h(2) x:k() end\n", "function f", "g h k", ""),
    "elixir": (
        "defmodule A do\n use B\n def f(x) do\n g(1)\n A.B.h(2)\n x |> k()\n end\nend\ndefimpl P, for: A do\nend\n",
        "module A; function A.f; implementation P for A",
        "g h k use",
        "B P",
    ),
    "dart": (
        "class A extends B<X> with M implements C { void f() { g(1); a.b.h(2); x?.k(); new Y(1); } }\n",
        "class A; method A.f",
        "Y g h k",
        "B C M",
    ),
    "haskell": (
        "f x = g (h x) + foldr k 0 xs\ninstance Show A where\n  show a = x\n",
        "function f; implementation Show for A; method A.show",
        "foldr g h",
        "Show",
    ),
    "ocaml": ("let f x = g 1; A.h 2\nclass a = object inherit b end\n", "function f; class a", "g h", "b"),
    "zig": ("fn f() void { g(1); a.b.h(2); const x = K.init(1); }\n", "function f", "g h init", ""),
    "julia": ("function f(x)\n  g(1) + A.h(2)\nend\nstruct S <: P end\n", "function f; struct S", "g h", "P"),
    "r": ("f <- function(x) { g(1); a::h(2); x$k(1) }\n", "function f", "g h k", ""),
    "perl": ("package A;\nsub f { g(1); $x->k(2); A::B::h(3); }\n", "module A; function A.f", "g h k", ""),
    "erlang": ("f(X) -> g(1), m:h(2).\n", "function f", "g h", ""),
    "clojure": ("(defn f [x] (g 1) (a/h 2))\n", "function f", "g h", ""),
    "solidity": (
        "contract A is B, C { function f() public { g(1); x.h(2); emit E(1); } }\n",
        "class A; method A.f",
        "E g h",
        "B C",
    ),
    "starlark": ("def f():\n    g(1)\n    a.h(2)\n", "function f", "g h", ""),
    "sql": ("CREATE VIEW v AS SELECT f(1), s.g(2) FROM t;\n", "table v", "f g t", ""),
    "nix": (
        "{ lib }:\nlet v = 1; f = a: b: lib.g a; in stdenv.mk { name = f 1; h = { x }: x; }\n",
        "constant v; function f; function h",
        "f g mk",
        "",
    ),
    "graphql": ("type A implements B & C { x: D }\n", "struct A", "D", "B C"),
    "proto": ("service S { rpc F(Req) returns (Res); }\n", "interface S; method S.F", "Req Res", ""),
    "hcl": ('resource "a" "b" { x = f(1) }\n', "table resource.a.b", "f", ""),
    "cmake": ("f(1)\nfunction(g)\nendfunction()\n", "function g", "f", ""),
    "scss": (".a { @include f(1); color: g(2); }\n", "", "f g", ""),
    "make": ("all: dep\n\techo\n", "function all", "dep", ""),
    "json": ('{"key": {"inner": 1}}\n', "", "", ""),
    "yaml": ("key:\n  inner: 1\n", "", "", ""),
    "vue": ("<script>\nfunction f() { g() }\n</script>\n", "function f", "g", ""),
}


# What no row of the languages defines, and what is said of a name without a call: names, calls, base types.
FURTHER: dict[str, tuple[str, str, str, str]] = {
    "python": (
        "a, b = 1, 2\ndef on(): pass\nclass P:\n  def __add__(self, o): map(P.make, on); x(P.RED, key=self.y)\n",
        "a b on P __add__",
        "make map on x",
        "",
    ),
    "javascript": (
        (
            "class F extends mixin(B, c.D) { static n = 0; #h() { this.#h() } }\n"
            "function on() {}\nf(F.create, on, F.X, y)\n"
        ),
        "F n h on",
        "create f h mixin on",
        "B D",
    ),
    "typescript": (
        (
            "enum C { Red = 1, Green }\nnamespace N.I { export const x = 1 }\n"
            "@Deco class A implements a.b.C<S> {}\nconst X = class {}\n"
        ),
        "C Red Green N.I x A X",
        "Deco",
        "C",
    ),
    "tsx": ("const a = <div onClick={go} title={t}><Foo/><b/></div>\n", "a", "Foo go", ""),
    "go": ("type S struct { G[int]; *p.Q[int] }\nfunc on() {}\nfunc f() { h(on, x) }\n", "S on f", "h on", "G Q"),
    "rust": (
        (
            "#[derive(Debug, serde::Serialize)]\nenum E { A(f64), B }\nimpl std::ops::Add<P> for &mut Foo<T> {}\n"
            "fn f() { x.map(P::new); assert!(parse(y)); }\n"
        ),
        "E A B Add for Foo f",
        "assert map new parse",
        "Add Debug Serialize",
    ),
    "java": (
        (
            "@Service class A { static final int MAX = 3; int y; enum C { RED(1), GREEN { void f() {} } }\n"
            "  @Override void g() { x(this::conv, Foo::new, List<X>::new); new R() {}; } }\n"
            "sealed interface S extends Q permits T { int ONE = 1; }\n"
        ),
        "A MAX C RED GREEN f g S ONE",
        "Foo List R Service conv x",
        "Q R",
    ),
    "kotlin": (
        "enum class C {\n  RED,\n  GREEN\n}\n@Ann class B : a.b.D<Int>()\nfun f() { x(::parse, P::area) }\n",
        "C RED GREEN B f",
        "Ann area parse x",
        "D",
    ),
    "c": (
        (
            "enum c { RED, GREEN = 2 };\nint x, *y;\nvoid on(void) {}\n"
            "struct ops o = { .open = my_open, .close = &my_close };\nvoid f(void) { sort(a, on); }\n"
        ),
        "c RED GREEN x y on o f",
        "my_close my_open on sort",
        "",
    ),
    "cpp": (
        (
            "struct A { operator bool() const { return 1; } void operator()(int x) {} static constexpr int kMax "
            "= 3; };\n"
            "Foo::operator int() const { return 1; }\n"
            "template <class T> void a::Box<T>::draw() const { F{1}; t(&Foo::run); }\n"
        ),
        "A operator bool operator() kMax operator int draw",
        "F run t",
        "",
    ),
    "objc": (
        "@protocol S <N>\n@property (nonatomic) int size;\n@end\ntypedef NS_ENUM(NSInteger, Color) { Red };\n",
        "S size Color",
        "",
        "N",
    ),
    "csharp": (
        (
            "class A : N.I<int> { const int Max = 3; static readonly int Z = 1; int w; event E Changed; ~A() {}\n"
            "  public static implicit operator int(A s) => 1;\n"
            "  void F() { b.Click += On; new N.G<int>(); } void On() {}\n"
            "  void H() { P(R, this.R); var r = R; r = R; int On2 = 1; P(On2); } void R() {} }\nenum C { Red }\n"
        ),
        "A Max Z Changed ~A operator int F On H R C Red",
        "G On P R",
        "I",
    ),
    "ruby": (
        (
            "class A\n  attr_accessor :host, 'port'\n  private attr_reader :key\n  alias go start\n"
            "  alias_method :run, :start\n"
            "  define_method(:dyn) { |x| x }\n  delegate :foo, to: :bar\n  def_delegators :@list, :size\n"
            "  def self.make; end\n"
            "  before_action :check\n  def each; xs.map(&:to_s).each(&method(:handle)); send(:dyn); end\n"
            "  Err = Class.new(Base)\nend\n"
        ),
        "A host port key go run dyn foo size make each Err",
        (
            "alias_method attr_accessor attr_reader before_action check def_delegators define_method delegate "
            "dyn each handle"
            " map method new private send to_s"
        ),
        "Base",
    ),
    "php": (
        "<?php\nnamespace A;\nenum S: string { use T; case Hearts = 'H'; }\nnamespace B;\ndefine('OLD', 2);\n",
        "A S Hearts B OLD",
        "define",
        "T",
    ),
    "swift": (
        (
            "enum I { case a, b; case c(Int) }\nprotocol P { associatedtype X; var name: String { get } }\n"
            "class A: Foo.Bar {}\nfunc f() { x(A.make, #selector(tap)); G<Int>(1) }\n"
        ),
        "I a b c P X name A f",
        "G make tap x",
        "Bar",
    ),
    "scala": (
        (
            "class A extends D.E with F { def ::(x: Int) = x; def f = xs.map(Foo.bar) }\nenum C { case Red, Blue }\n"
            "trait S derives Eq\n"
        ),
        "A :: f C Red Blue S",
        "bar map",
        "E Eq F",
    ),
    "bash": ("alias ll='ls -l'\ntrap clean EXIT\n", "ll", "alias clean trap", ""),
    "lua": (
        (
            "local x <const> = 3\nM['q'] = function() end\nlocal C = setmetatable({}, { __index = Base })\n"
            "local S = C:extend()\nlocal t = { f = function() end }\n"
        ),
        "x q C S t f",
        "extend setmetatable",
        "Base C",
    ),
    "elixir": (
        (
            "defmodule A do\n  @moduledoc 1\n  @max 3\n  @type t :: integer()\n  @callback cb(integer) :: atom\n"
            "  def f(0), do: 1\n  def f(n), do: map(&parse/1, &B.c/2)\n  def a + b, do: 1\nend\n"
            "defimpl Size, for: B.C do\n  def size(x), do: 1\nend\n"
        ),
        "A max t cb f + Size for B.C size",
        "c integer map parse",
        "Size",
    ),
    "dart": (
        (
            "class A {\n  A(this.x);\n  A.named(int x);\n  factory A.make() => B();\n  int get g => h();\n"
            "  set w(int v) {}\n"
            "  A operator +(A o) => o;\n}\nmixin M on Base implements I {}\nenum C { red }\nclass D = B with N;\n"
        ),
        "A A named make g w + M C red D",
        "B h",
        "B Base I N",
    ),
    "haskell": (
        (
            "data S = C Int | R { w :: Int } deriving (Show, Eq)\nclass A a where\n  area :: a -> Int\n"
            "f 0 = 1\nf n = go $ n\na <+> b = 1\nx `op` y = x\n"
        ),
        "S C R w A area f <+> op",
        "go",
        "Eq Show",
    ),
    "ocaml": (
        (
            "type c = Red | Green\nexception Bad\nlet ( + ) a b = 1\nlet g = fun x -> x\nlet _ = 1\n"
            "class p = object inherit base x method get = 1 end\nmodule M : S = struct include Foo end\n"
        ),
        "c Red Green Bad + g p get M",
        "",
        "Foo S base",
    ),
    "zig": (
        "const E = error{ Bad };\nconst C = enum { red };\nfn f() void { x = P{ .a = 1 }; }\n",
        "E Bad C red f",
        "P",
        "",
    ),
    "julia": (
        "area(c::T) = pi\nBase.:+(a, b) = g.(a)\n@enum Color red\nk = x -> x |> h\n",
        "area + Color red k",
        "enum g h",
        "",
    ),
    "r": (
        (
            "Stack <- R6Class('Stack', inherit = Base, public = list(push = function(x) 1))\n"
            "setClass('P', contains = 'Q')\nsetGeneric('area', function(o) 1)\n'%+%' <- function(a, b) 1\n"
        ),
        "Stack push P area %+%",
        "R6Class list setClass setGeneric",
        "Base Q",
    ),
    "perl": (
        (
            "package A;\nuse parent -norequire, 'B';\nuse base qw(C D);\nour @ISA = ('E');\nextends 'F::G';\n"
            "has name => (is => 1);\n"
            "use constant MAX => 3;\nmy $f = \\&handler;\n&old(2);\npackage Other;\nsub x { $o->$m(); }\n"
        ),
        "A name MAX Other x",
        "extends handler has old",
        "B C D E G",
    ),
    "erlang": (
        (
            "-module(srv).\n-behaviour(gen_server).\n-define(MAX, 3).\n-type t() :: ok.\nf(0) -> 1;\n"
            "f(N) -> m(fun g/1, fun h:k/1).\n"
        ),
        "srv MAX t f",
        "g k m",
        "gen_server",
    ),
    "clojure": (
        "(defprotocol S (area [this]))\n(defrecord C [r] S (area [this] (g 1)))\n(extend-type String S (area [s] 1))\n",
        "S area C area",
        "g",
        "S",
    ),
    "solidity": (
        (
            "contract A { uint constant MAX = 3; enum K { X } constructor(uint x) B(x) {} function f() only { "
            "revert Er(); } }\n"
        ),
        "A MAX K X constructor f",
        "B Er only",
        "",
    ),
    "starlark": (
        "M = rule(implementation = _impl)\ncc_library(name = 'foo')\ndef _impl(): pass\n",
        "M foo _impl",
        "_impl cc_library rule",
        "",
    ),
    "proto": ("enum K { A = 0; }\n", "K A", "", ""),
    "graphql": ("enum K { A }\nquery Q { u { ...F } }\n", "K A Q", "F", ""),
    "hcl": ('locals {\n  a = 1\n}\noutput "o" {\n  value = aws_instance.web.ip\n}\n', "locals a output.o", "web", ""),
    "cmake": (
        "set(MAX 3)\nadd_library(lib x.c)\ntarget_link_libraries(app PRIVATE lib)\n",
        "MAX lib",
        "add_library lib set target_link_libraries",
        "",
    ),
    "make": ("all: dep x.o\n\t$(call fn,x)\n", "all", "dep fn", ""),
    "scss": ("$color: red;\n", "$color", "", ""),
    "fish": ("alias ll 'ls -l'\n", "ll", "alias", ""),
}


@pytest.mark.parametrize("language", FURTHER)
def test_names_beyond_the_definitions_of_a_grammar(language: str) -> None:
    source, definitions, calls, bases = FURTHER[language]
    begun, references = [], []
    for chunk in chunk_text("x", source, language):
        one, _, three = read_symbols(chunk.symbols or "", chunk.start_line, chunk.end_line)
        begun += one
        references += three
    assert " ".join(each.name for each in begun) == definitions.replace("N.I", "I").replace("output.o", "o")
    assert " ".join(sorted({each.name for each in references if each.kind == CALL})) == calls
    assert " ".join(sorted({each.name for each in references if each.kind == BASE})) == bases


def test_scopes() -> None:
    for language, source, expected in (
        ("typescript", "namespace N.I { export const x = 1 }\nenum C { Red, Green }", "N.I N.I.x C C.Red C.Green"),
        ("lua", "local t = { f = function() end }", "t t.f"),
        ("perl", "package A;\nsub f {}\npackage B;\nsub g {}\n", "A A.f B B.g"),
        ("cpp", "template <class T> void a::Box<T>::draw() {}", "a.Box.draw"),
        ("r", "S <- R6Class('S', public = list(push = function(x) 1))", "S S.push"),
    ):
        begun = [
            each
            for chunk in chunk_text("x", source, language)
            for each in read_symbols(chunk.symbols or "", chunk.start_line, chunk.end_line)[0]
        ]
        assert " ".join(each.qualified for each in begun) == expected


def test_a_body_belongs_to_its_signature_in_dart() -> None:
    (chunk,) = chunk_text("x.dart", "class A {\n  int f() {\n    return g();\n  }\n}\n", "dart")
    begun, _, (call,) = read_symbols(chunk.symbols or "", chunk.start_line, chunk.end_line)
    holder = around_line(begun, call.line)
    assert holder is not None
    assert (holder.qualified, holder.last) == ("A.f", 4)


@pytest.mark.parametrize("language", CASES)
def test_definitions_and_references(language: str) -> None:
    source, definitions, calls, bases = CASES[language]
    chunks = chunk_text("x", source, language)
    begun, going_on, references = [], [], []
    for chunk in chunks:
        assert chunk.symbols is not None
        one, two, three = read_symbols(chunk.symbols, chunk.start_line, chunk.end_line)
        begun += one
        going_on += two
        references += three
    assert "; ".join(f"{each.kind} {each.qualified}" for each in begun) == definitions
    assert " ".join(sorted({each.name for each in references if each.kind == CALL})) == calls
    assert " ".join(sorted({each.name for each in references if each.kind == BASE})) == bases
    lines = source.split("\n")
    for each in references:
        assert each.name in lines[each.line - 1]


def test_every_language_with_calls_has_a_case() -> None:
    assert {row.grammar for row in LANGUAGES.values() if row.grammar in REFERENCES} == set(REFERENCES)
    assert {LANGUAGES[name].grammar for name in CASES} >= set(REFERENCES)


def test_a_definition_that_is_cut_reaches_into_its_further_chunks() -> None:
    body = "".join(f"        total += compute_{number}(total, {number})\n" for number in range(120))
    chunks = chunk_text("x.py", f"class A:\n    def long(self):\n{body}\ndef after():\n    return long()\n", "python")
    assert len(chunks) > 3
    defining = [list(defined_in(chunk.symbols or "")) for chunk in chunks]
    assert sorted(name for names in defining for name in names) == ["A", "after", "long"]
    middle = chunks[2]
    begun, going_on, references = read_symbols(middle.symbols or "", middle.start_line, middle.end_line)
    assert begun == []
    assert [each.qualified for each in going_on] == ["A", "A.long"]
    holder = around_line(going_on, references[0].line)
    assert holder is not None
    assert holder.qualified == "A.long"
    assert sorted(each.line for each in references) == list(range(middle.start_line, middle.end_line + 1))


def test_records_of_any_text() -> None:
    assert read_symbols("\n=a\tfunction\t1\n>b\tx\n^\n\n=c\tfunction\t2\t3\tA\n>d\t2,9\n", 1, 5) == (
        [Definition("c", "function", 2, 3, "A")],
        [],
        [("d", CALL, 2)],
    )


@given(st.text("ab(){}\n\t =:.'\"<>defclasnx", max_size=200), st.sampled_from(sorted(CASES)))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_text_has_records_that_are_read_back(text: str, language: str) -> None:
    for chunk in chunk_text("x", text, language):
        begun, going_on, references = read_symbols(chunk.symbols or "", chunk.start_line, chunk.end_line)
        for each in (*begun, *going_on):
            assert each.name
            assert each.first <= each.last
        records = [record for record in (chunk.symbols or "").split("\n") if record]
        lines = sum(record.count(",") for record in records if record[0] in CALL + BASE)
        assert len(begun) + len(going_on) + len(references) == len(records) + lines


def test_the_same_text_has_the_same_records() -> None:
    """Queries give their captures in another order each time."""
    source = "class A(Z, Y, X):\n" + "".join(f"    def m{n}(self): return a{n}(b{n}(c{n}()))\n" for n in range(40))
    first, *others = ([chunk.symbols for chunk in chunk_text("x.py", source, "python")] for _ in range(10))
    assert all(other == first for other in others)
