"""Definitions and references of a real index, and the questions that are answered from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from turboprop import Index
from turboprop.errors import UsageError
from turboprop.search.excerpt import best_match, shown_lines
from turboprop.search.symbols import Asked, question_of
from turboprop.types import Hit, Match

LONG = "".join(f"    step_{number} = number * {number}\n" for number in range(60))
FILES = {
    "src/config.py": "def parse_config(path):\n    return read_settings(path)\n\n\nclass Base:\n    pass\n",
    "src/app.py": f"from config import parse_config\n\n\nclass App(Base):\n    def start(self):\n"
    f"        self.conf = parse_config('a')\n        return parse_config('b')\n\n\n"
    f"def long(number):\n{LONG}    parse_config('late')\n    return number\n\n\nparse_config('top')\n",
    "src/shape.rs": "struct Point;\nimpl Display for Point {\n    fn fmt(&self) { parse_config(1) }\n}\n",
    "include/api.h": "int start_up(int argument);\n",
    "src/api.c": "int start_up(int argument) {\n    return argument;\n}\n",
    "tests/test_config.py": "def test_parse_config():\n    assert parse_config('x')\n",
    "data.json": '{"parse_config": {"start_up": 1}}\n',
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("symbols")
    for path, text in FILES.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture
def index(root: Path) -> Iterator[Index]:
    with Index.create(root) as made:
        yield made


def places(index: Index, name: str, asked: str = "definitions", **options: object) -> list[tuple[object, ...]]:
    return [(each.path, each.first_line, each.kind, each.name) for each in index.symbols(name, 20, asked, **options)]


def test_definitions(index: Index) -> None:
    parse_config = ("src/config.py", 1, "function", "parse_config")
    test = ("tests/test_config.py", 1, "function", "test_parse_config")
    assert places(index, "parse_config") == [parse_config, test]
    assert places(index, "PARSE_config") == [parse_config, test]
    assert places(index, "config parse") == [parse_config, test]
    assert places(index, "conf") == [parse_config, test]
    assert places(index, "App.start") == [("src/app.py", 5, "method", "App.start")]
    assert places(index, "App::start") == places(index, "App#start") == places(index, "App.start")
    assert places(index, "start_up") == [
        ("src/api.c", 1, "function", "start_up"),
        ("include/api.h", 1, "declaration", "start_up"),
    ]
    assert places(index, "start_up", filters=["include/**"]) == [("include/api.h", 1, "declaration", "start_up")]
    assert places(index, "parse_config", languages=["rust"]) == []
    assert places(index, "Point") == [
        ("src/shape.rs", 1, "struct", "Point"),
        ("src/shape.rs", 2, "implementation", "Display for Point"),
    ]
    for nothing in ("xyzzy", "?", "a'b%_\\", "..."):
        assert places(index, nothing) == []
    for wrong in ("", "x" * 20_000):
        with pytest.raises(UsageError):
            index.symbols(wrong)
    with pytest.raises(UsageError, match="definitions, calls, implementations"):
        index.symbols("x", 10, "nothing of it")


def test_calls_and_implementations(index: Index) -> None:
    found = index.symbols("parse_config", 20, Asked.CALLS)
    assert [(each.path, each.first_line, each.inside, each.text) for each in found] == [
        ("src/app.py", 6, "App.start", "self.conf = parse_config('a')"),
        ("src/app.py", 7, "App.start", "return parse_config('b')"),
        ("src/app.py", 71, "long", "parse_config('late')"),
        ("src/app.py", 75, "", "parse_config('top')"),
        ("src/shape.rs", 3, "Point.fmt", "fn fmt(&self) { parse_config(1) }"),
        ("tests/test_config.py", 2, "test_parse_config", "assert parse_config('x')"),
    ]
    assert index.symbols("config.parse_config()", 20, "calls") == found
    assert index.symbols("Parse_Config", 20, "calls") == found
    assert len(index.symbols("parse_config", 2, "calls")) == 2
    assert [(each.path, each.inside) for each in index.symbols("Base", 20, "implementations")] == [
        ("src/app.py", "App")
    ]
    assert [each.inside for each in index.symbols("Display", 20, "implementations")] == ["Display for Point"]


@pytest.mark.parametrize(
    ("query", "asked", "name"),
    [
        ("what calls parse_config", "calls", "parse_config"),
        ("Who calls parse_config?", "calls", "parse_config"),
        ("which functions call `parse_config`", "calls", "parse_config"),
        ("what uses the App class", "calls", "App"),
        ("callers of App.start()", "calls", "App.start"),
        ("find all usages of parse_config", "calls", "parse_config"),
        ("references to Server::run", "calls", "Server::run"),
        ("where is parse_config called?", "calls", "parse_config"),
        ("where is the function parse_config used", "calls", "parse_config"),
        ("where is parse_config defined", "definitions", "parse_config"),
        ("where is the App class defined?", "definitions", "App"),
        ("definition of parse_config", "definitions", "parse_config"),
        ("go to the definition of App", "definitions", "App"),
        ("who implements Display", "implementations", "Display"),
        ("implementations of Base", "implementations", "Base"),
        ("subclasses of Base", "implementations", "Base"),
        ("classes that extend Base", "implementations", "Base"),
        ("which classes inherit from Base", "implementations", "Base"),
        ("where is operator== defined", "definitions", "operator=="),
        ("what calls Get-Thing", "calls", "Get-Thing"),
        ("where is retry configured", None, ""),
        ("how are usages of a token counted", None, ""),
        ("what calls for a new approach to errors", None, ""),
        ("parse_config", None, ""),
        ("where is the error of the parser defined by the grammar", None, ""),
        ("what calls " + "x " * 500, None, ""),
    ],
)
def test_questions(query: str, asked: str | None, name: str) -> None:
    assert question_of(query) == ((Asked(asked), name) if asked else None)


def test_a_question_is_answered_first(index: Index) -> None:
    first, *_ = index.search("where is parse_config defined", 5, "lexical")
    assert (first.path, first.why) == ("src/config.py", "defines function parse_config (line 1)")
    hits = index.search("what calls parse_config", 8, "lexical")
    assert [hit.why for hit in hits][:5] == [
        "calls parse_config in App.start (lines 6, 7)",
        "calls parse_config in long (line 71)",
        "calls parse_config (line 75)",
        "calls parse_config in Point.fmt (line 3)",
        "calls parse_config in test_parse_config (line 2)",
    ] or "calls parse_config in long (line 71); calls parse_config (line 75)" in [hit.why for hit in hits]
    assert len({(hit.path, hit.start_line) for hit in hits}) == len(hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all("parse_config" in hit.text for hit in hits if hit.why)
    by_file = index.search("what calls parse_config", 8, "lexical", by="file")
    assert len({hit.path for hit in by_file}) == len(by_file)
    only = index.search("what calls parse_config", 8, "lexical", filters=["tests/**"])
    assert [hit.path for hit in only] == ["tests/test_config.py"]
    # A word that is no name of anything is searched as any other.
    assert not any(hit.why for hit in index.search("where is configuration defined", 5, "lexical"))
    assert index.search("who implements Display", 1, "lexical")[0].why == "Display for Point builds on Display (line 2)"


def test_the_index_follows_its_files(write_files: Callable[[dict[str, str]], Path]) -> None:
    root = write_files(FILES)
    with Index.create(root) as index:
        (root / "src/config.py").write_text("def parse_settings(path):\n    return parse_config(path)\n")
        (root / "src/app.py").unlink()
        assert places(index, "parse_settings") == [("src/config.py", 1, "function", "parse_settings")]
        changed = index.symbols("parse_config", 20, "calls")
    with Index.create(root, rebuild=True) as fresh:
        assert [each.path for each in changed] == ["src/config.py", "src/shape.rs", "tests/test_config.py"]
        again = fresh.symbols("parse_config", 20, "calls")
        assert [(e.path, e.first_line, e.inside) for e in again] == [(e.path, e.first_line, e.inside) for e in changed]


def test_the_lines_that_match_are_shown(index: Index) -> None:
    hit = next(hit for hit in index.search("parse_config late", 8, "lexical") if "'late'" in hit.text)
    first, last = shown_lines(hit, 5)
    assert first <= 71 <= last
    assert last - first == 4
    best = best_match(hit)
    assert best is not None
    assert hit.text.split("\n")[best.line - hit.start_line][best.begin : best.end] in ("parse_config", "late")
    assert best.line == 71
    assert shown_lines(hit, 1_000) == (hit.start_line, hit.start_line + len(hit.text.rstrip().split("\n")) - 1)


def test_nothing_is_marked_where_the_name_is_on_another_line(write_files: Callable[[dict[str, str]], Path]) -> None:
    with Index.create(write_files({"a.c": "static int\nrun_it(void)\n{\n    return 1;\n}\n"})) as index:
        (hit,) = index.search("where is run_it defined", 5, "lexical")
        assert hit.why == "defines function run_it (line 1)"
        marked = {(one.line, hit.text.split("\n")[one.line - 1][one.begin : one.end]) for one in hit.matches}
        assert {text for line, text in marked if line == 1} == {""}
        assert (2, "run_it") in marked


def test_windows() -> None:
    text = "".join(f"line {number}\n" for number in range(1, 101))

    def hit(*matches: Match) -> Hit:
        return Hit("a", 1, 100, 1.0, "", "", text, matches=matches)

    assert shown_lines(hit(), 10) == (1, 10)
    assert best_match(hit()) is None
    assert shown_lines(hit(Match(50, 0, 4, 1.0)), 10) == (47, 56)
    assert shown_lines(hit(Match(100, 0, 4, 1.0)), 10) == (91, 100)
    # Two words near each other beat one that is there more often.
    many = [Match(line, 0, 4, 1.0) for line in range(10, 20)]
    assert 80 in range(*shown_lines(hit(*many, Match(80, 0, 4, 1.0), Match(81, 5, 7, 1.0)), 5))
    assert shown_lines(hit(Match(3, 0, 4, 1.0)), 200) == (1, 100)


MORE = {
    "a.cpp": "bool Foo::operator==(const Foo& o) const { return true; }\n",
    "a.py": "class A:\n    def __eq__(self, other):\n        return True\n",
    "a.kt": "class A {\n  operator fun equals(o: Any?) = true\n}\n",
    "a.rb": "class A\n  attr_reader :host\n  def ==(other)\n    true\n  end\nend\n",
    "a.cs": "class A { public static bool operator ==(A a, A b) { return true; } }\n",
    "a.m": "@implementation A\n- (void)run:(int)x with:(int)y { }\n- (void)f { [self run:1 with:2]; }\n@end\n",
    "a.rs": "mod shapes {\n    #[derive(Debug, Clone)]\n    pub struct Point;\n    impl Display for Point {}\n}\n",
    "b.java": "class B extends Base { void f() { xs.map(B::convert); } }\n",
    "get.ps1": "function Get-Thing {\n  1\n}\nGet-Thing\n",
}


@pytest.fixture
def more(write_files: Callable[[dict[str, str]], Path]) -> Iterator[Index]:
    with Index.create(write_files(MORE)) as made:
        yield made


def test_an_operator_is_found_by_its_sign(more: Index) -> None:
    found = [
        ("a.cpp", 1, "function", "Foo.operator=="),
        ("a.cs", 1, "method", "A.operator =="),
        ("a.kt", 2, "method", "A.equals"),
        ("a.py", 2, "method", "A.__eq__"),
        ("a.rb", 3, "method", "A.=="),
    ]
    for query in ("==", "operator==", "operator =="):
        assert places(more, query) == found
    assert places(more, "<=") == places(more, "?") == []
    assert {hit.path for hit in more.search("where is operator== defined", 9, "lexical")} >= {"a.cpp", "a.py", "a.rb"}


def test_names_of_more_than_one_word(more: Index) -> None:
    method = ("a.m", 2, "method", "A.run:with:")
    assert places(more, "run:with:") == [method]
    assert places(more, "run:with:", "calls") == [("a.m", 3, "call", "run")]
    assert places(more, "Get-Thing", "calls") == [("get.ps1", 4, "call", "Get-Thing")]
    assert places(more, "host") == [("a.rb", 2, "method", "A.host")]


def test_who_is_asked_for(more: Index) -> None:
    """A derived trait is that of the type behind it, and a type that is only built on is used."""

    def inside(name: str, asked: str) -> list[str]:
        return [each.inside for each in more.symbols(name, 9, asked)]

    assert inside("Clone", "implementations") == ["shapes.Point"]
    assert inside("Display", "implementations") == ["shapes.Display for Point"]
    assert inside("convert", "calls") == ["B.f"]
    (hit,) = [hit for hit in more.search("usages of Base", 9, "lexical") if hit.sure == "strong"]
    assert hit.path == "b.java"
