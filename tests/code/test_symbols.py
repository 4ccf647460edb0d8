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
        "B D E",
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
        "struct A; interface I; method A.f",
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
        "module A; function A.f; implementation P",
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
        "function f; implementation Show; method Show.show",
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
    "sql": ("CREATE VIEW v AS SELECT f(1), s.g(2) FROM t;\n", "table v", "f g", ""),
    "graphql": ("type A implements B & C { x: D }\n", "struct A", "", "B C"),
    "proto": ("service S { rpc F(Req) returns (Res); }\n", "interface S; method S.F", "", ""),
    "hcl": ('resource "a" "b" { x = f(1) }\n', "table resource.a.b", "f", ""),
    "cmake": ("f(1)\nfunction(g)\nendfunction()\n", "function g", "f", ""),
    "scss": (".a { @include f(1); color: g(2); }\n", "", "f g", ""),
    "make": ("all: dep\n\techo\n", "function all", "", ""),
    "json": ('{"key": {"inner": 1}}\n', "", "", ""),
    "yaml": ("key:\n  inner: 1\n", "", "", ""),
    "vue": ("<script>\nfunction f() { g() }\n</script>\n", "function f", "g", ""),
}


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
