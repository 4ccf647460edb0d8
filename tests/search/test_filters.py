from __future__ import annotations

import re

import lance
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turboprop.code.language_names import languages_called, nearest_language
from turboprop.errors import UsageError
from turboprop.search.filters import MAX_GLOB_CHARS, compile_filter, glob_regex
from turboprop.types import SearchFilter

PATHS = [
    "README.md",
    "setup.py",
    "src/app.py",
    "src/App.PY",
    "src/net/pool.py",
    "src/net/pool.go",
    "src/net/a/b/deep.ts",
    "srcs/app.py",
    "tests/test_app.py",
    "src/tests/test_pool.py",
    "docs/it's.md",
    "docs/100%.md",
    "docs/a_b.md",
    "docs/axb.md",
    "docs/[x].md",
    "docs/x.md",
    "docs/back\\slash.md",
    "docs/\\xff.md",
    "docs/new\nline.md",
    "docs/été 漢.md",
    "docs/{a,b}.md",
    "docs/a.md",
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory):
    languages = ["python" if path.lower().endswith(".py") else "markdown" for path in PATHS]
    rows = pa.table({"path": PATHS, "language": languages})
    return lance.write_dataset(rows, str(tmp_path_factory.mktemp("filters") / "t.lance"))


def found(table, **wanted: tuple[str, ...]) -> list[str]:
    where = compile_filter(SearchFilter(**wanted))
    return table.to_table(columns=["path"], filter=where)["path"].to_pylist()


def fits(glob: str) -> list[str]:
    expression = re.compile(glob_regex(glob))
    return [path for path in PATHS if expression.fullmatch(path)]


@pytest.mark.parametrize(
    ("glob", "paths"),
    [
        ("*.go", ["src/net/pool.go"]),
        ("src/*.py", ["src/app.py"]),
        ("/setup.py", ["setup.py"]),
        ("src/**/*.py", ["src/app.py", "src/net/pool.py", "src/tests/test_pool.py"]),
        ("src/net/**", ["src/net/pool.py", "src/net/pool.go", "src/net/a/b/deep.ts"]),
        ("src/net", ["src/net/pool.py", "src/net/pool.go", "src/net/a/b/deep.ts"]),
        ("net/", ["src/net/pool.py", "src/net/pool.go", "src/net/a/b/deep.ts"]),
        ("tests", ["tests/test_app.py", "src/tests/test_pool.py"]),
        ("/tests", ["tests/test_app.py"]),
        ("**/deep.ts", ["src/net/a/b/deep.ts"]),
        ("src/*/*/b", ["src/net/a/b/deep.ts"]),
        ("src/*/b", []),
        ("src/net/a/b", ["src/net/a/b/deep.ts"]),
        ("test_*.py", ["tests/test_app.py", "src/tests/test_pool.py"]),
        ("docs/?.md", ["docs/x.md", "docs/a.md"]),
        ("docs/[ax].md", ["docs/x.md", "docs/a.md"]),
        ("docs/[!x].md", ["docs/a.md"]),
        ("docs/[a-c].md", ["docs/a.md"]),
        ("docs/[[]x].md", ["docs/[x].md"]),
        ("docs/\\[x\\].md", ["docs/[x].md"]),
        ("docs/{a,x}.md", ["docs/x.md", "docs/a.md"]),
        ("docs/\\{a,b}.md", ["docs/{a,b}.md"]),
        ("docs/it's.md", ["docs/it's.md"]),
        ("docs/100%.md", ["docs/100%.md"]),
        ("docs/a_b.md", ["docs/a_b.md"]),
        ("docs/été 漢.md", ["docs/été 漢.md"]),
        ("docs/new*.md", ["docs/new\nline.md"]),
        ("docs/back\\\\slash.md", ["docs/back\\slash.md"]),
        ("*.{go,ts}", ["src/net/pool.go", "src/net/a/b/deep.ts"]),
    ],
)
def test_what_a_glob_means(table, glob: str, paths: list[str]) -> None:
    assert found(table, globs=(glob,)) == paths
    assert fits(glob) == paths


@pytest.mark.parametrize(
    ("glob", "paths"),
    [
        ("./setup.py", ["setup.py"]),
        ("./src/net", ["src/net/pool.py", "src/net/pool.go", "src/net/a/b/deep.ts"]),
        (".\\src\\net\\", ["src/net/pool.py", "src/net/pool.go", "src/net/a/b/deep.ts"]),
        ("src\\net\\pool.py", ["src/net/pool.py"]),
        ("src\\net\\*.go", ["src/net/pool.go"]),
        ("docs/back\\slash.md", ["docs/back\\slash.md"]),
        ("docs/\\xff.md", ["docs/\\xff.md"]),
        ("docs/\udcff.md", ["docs/\\xff.md"]),
        ("docs/[x].md", ["docs/[x].md", "docs/x.md"]),
        ("docs/[x]*", ["docs/[x].md", "docs/x.md"]),
        ("[x].md", ["docs/[x].md", "docs/x.md"]),
        ("/home/me/repo/src/app.py", ["src/app.py"]),
        ("/home/me/repo/src/net/", ["src/net/pool.py", "src/net/pool.go", "src/net/a/b/deep.ts"]),
        ("/home/me/repo/setup.py", ["setup.py"]),
        ("!/home/me/repo/src", [path for path in PATHS if not path.startswith("src/")]),
        ("/home/me/other/setup.py", []),
    ],
)
def test_globs_as_people_write_them(table, glob: str, paths: list[str]) -> None:
    where = compile_filter(SearchFilter(globs=(glob,)), "/home/me/repo")
    assert sorted(table.to_table(columns=["path"], filter=where)["path"].to_pylist()) == sorted(paths)


@pytest.mark.parametrize(
    ("glob", "said"),
    [
        ("[", r"a \[ without its \]"),
        ("src/[ab", r"a \[ without its \]"),
        ("!src/[", r"a \[ without its \]"),
        ("../other/**", "leads out of the repository"),
        ("/../other/**", "leads out of the repository"),
        ("src/../../x", "leads out of the repository"),
        ("..\\other", "leads out of the repository"),
    ],
)
def test_a_glob_that_can_match_nothing_is_an_error(glob: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compile_filter(SearchFilter(globs=(glob,)), "/home/me/repo")


@pytest.mark.parametrize(
    ("name", "languages"),
    [
        ("py", "python"),
        (".py", "python"),
        ("PY", "python"),
        ("js", "javascript"),
        ("jsx", "javascript"),
        ("ts", "typescript tsx"),
        ("typescript", "typescript tsx"),
        ("tsx", "tsx"),
        ("c++", "cpp"),
        ("cc", "cpp"),
        ("hpp", "cpp"),
        ("c#", "csharp"),
        ("cs", "csharp"),
        ("golang", "go"),
        ("rs", "rust"),
        ("rb", "ruby"),
        ("sh", "bash"),
        ("shell", "bash"),
        ("yml", "yaml"),
        ("md", "markdown"),
        ("kt", "kotlin"),
        ("hs", "haskell"),
        ("objective-c", "objc"),
        ("terraform", "hcl"),
        ("klingon", "klingon"),
    ],
)
def test_languages_as_people_call_them(name: str, languages: str) -> None:
    assert languages_called(name) == tuple(languages.split())


@pytest.mark.parametrize(
    ("name", "near"),
    [("typescrpt", "typescript"), ("pyhton", "python"), ("javscript", "javascript"), ("python", ""), ("klingon", "")],
)
def test_a_slip_in_a_language(table, name: str, near: str) -> None:
    assert nearest_language(name) == near
    if near:
        with pytest.raises(UsageError, match=f"did you mean {near}"):
            found(table, languages=(name,))


@pytest.mark.parametrize("kind", ["languages", "extensions", "globs"])
def test_bytes_that_are_not_utf_8_find_nothing(table, kind: str) -> None:
    assert found(table, **{kind: ("q\udcffz",)}) == []


PIECES = st.sampled_from([*"ab.*?/_[]{},!-\\'%^$|()+#é漢\n\" ", "**", "**/", "src", "docs/", "[a-x]", "{a,b}"])


@given(st.lists(PIECES, min_size=1, max_size=8).map("".join))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_the_table_and_python_agree_on_every_glob(table, glob: str) -> None:
    try:
        expected = fits(glob.removeprefix("!"))
    except UsageError:
        with pytest.raises(UsageError):
            compile_filter(SearchFilter(globs=(glob,)))
        return
    if glob.startswith("!"):
        expected = [path for path in PATHS if path not in expected]
    assert found(table, globs=(glob,)) == expected


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_value_breaks_out_of_its_place(table, value: str) -> None:
    if not nearest_language(value):
        every = languages_called(value)
        expected = [path for path in PATHS if ("python" if path.lower().endswith(".py") else "markdown") in every]
        assert found(table, languages=(value,)) == expected
    ending = value.lower() if value.startswith(".") else "." + value.lower()
    if value.strip("."):
        expected = [path for path in PATHS if path.lower().endswith(ending)]
        assert found(table, extensions=(value,)) == expected


@pytest.mark.parametrize("value", ["' OR true --", "x'; DROP TABLE t; --", "%", "_", ".%", ".p_"])
def test_sql_in_a_filter_is_only_text(table, value: str) -> None:
    assert found(table, languages=(value,)) == []
    assert found(table, extensions=(value,)) == []
    assert found(table, globs=(value,)) == []


def test_the_last_glob_that_matches_decides(table) -> None:
    assert found(table, globs=("src/**", "!src/net", "deep.ts")) == [
        "src/app.py",
        "src/App.PY",
        "src/net/a/b/deep.ts",
        "src/tests/test_pool.py",
    ]
    assert found(table, globs=("!docs", "!src")) == [
        "README.md",
        "setup.py",
        "srcs/app.py",
        "tests/test_app.py",
    ]
    assert found(table, globs=("!src/net", "src/**")) == [path for path in PATHS if path.startswith("src/")]


def test_kinds_narrow_each_other_and_widen_within(table) -> None:
    assert found(table, extensions=(".py", ".go"), globs=("src/net",)) == ["src/net/pool.py", "src/net/pool.go"]
    assert found(table, extensions=("PY",), globs=("src/*",)) == ["src/app.py", "src/App.PY"]
    assert found(table, languages=("Python",), extensions=(".md",)) == []
    assert len(found(table, languages=("python", "markdown"))) == len(PATHS)


def test_an_empty_filter_is_none() -> None:
    assert compile_filter(SearchFilter()) is None


@pytest.mark.parametrize("glob", ["", "!", "/", "///", "x{a,b", "x" * (MAX_GLOB_CHARS + 1)])
def test_what_is_no_glob_is_a_usage_error(glob: str) -> None:
    with pytest.raises(UsageError):
        compile_filter(SearchFilter(globs=(glob,)))


@pytest.mark.parametrize("extension", ["", ".", ".."])
def test_an_empty_file_type_is_a_usage_error(extension: str) -> None:
    with pytest.raises(UsageError, match="--filetype"):
        compile_filter(SearchFilter(extensions=(extension,)))


@pytest.mark.parametrize("glob", ["?" * MAX_GLOB_CHARS, "*" * MAX_GLOB_CHARS, "*a" * 500, "[a-z]" * 200, "{a,b}" * 200])
def test_the_longest_globs_are_answered(table, glob: str) -> None:
    if "*" in glob:  # Python would try every way to share out the stars
        assert found(table, globs=(glob,)) == (PATHS if glob.strip("*") == "" else [])
    else:
        assert found(table, globs=(glob,)) == fits(glob)
