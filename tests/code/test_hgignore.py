"""Ignore rules of Mercurial."""

from __future__ import annotations

from pathlib import Path

import pytest

from turboprop.code.hgignore import HgIgnore
from turboprop.code.walk import walk


def ignored(root: Path, rules: str, names: list[str]) -> set[str]:
    (root / ".hgignore").write_text(rules)
    return {name for name, said in zip(names, HgIgnore(f"{root}/").excludes(names), strict=True) if said}


NAMES = [
    "a.py",
    "a.pyc",
    "sub/b.pyc",
    "build/",
    "build/x.py",
    "sub/build/",
    "sub/build/y.o",
    "out.tmp",
    "A.LOG",
    "a#b",
    "lib/",
]


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        (r"\.pyc$", {"a.pyc", "sub/b.pyc"}),
        ("^build/", {"build/", "build/x.py"}),
        ("build$", {"build/", "sub/build/"}),
        ("build", {"build/", "build/x.py", "sub/build/", "sub/build/y.o"}),
        ("(?i)\\.log$", {"A.LOG"}),
        ("syntax: glob\n*.pyc\n", {"a.pyc", "sub/b.pyc"}),
        ("syntax: glob\nbuild/*.o\n", {"sub/build/y.o"}),
        ("syntax: glob\n*.{pyc,tmp}\n", {"a.pyc", "sub/b.pyc", "out.tmp"}),
        ("syntax: glob\nsub/b*\n", {"sub/b.pyc", "sub/build/", "sub/build/y.o"}),
        ("syntax: rootglob\n*.pyc\n", {"a.pyc"}),
        ("glob:*.tmp\n^lib/\n", {"out.tmp", "lib/"}),
        ("syntax: glob\n*.tmp\nsyntax: regexp\n^a\\.py$\n", {"a.py", "out.tmp"}),
        ("syntax: glob\nre:^a\\.pyc$\npath:sub/build\n", {"a.pyc", "sub/build/", "sub/build/y.o"}),
        ("# a comment\n\n  # another\n", set()),
        ("a\\#b", {"a#b"}),
        ("out # what is made\n", {"out.tmp"}),
        ("syntax: unknown\na\n", set()),
    ],
)
def test_rules(tmp_path: Path, rules: str, names: set[str]) -> None:
    assert ignored(tmp_path, rules, NAMES) == names


def test_a_rule_that_cannot_be_is_named_and_the_others_hold(tmp_path: Path) -> None:
    (tmp_path / ".hg").mkdir()
    (tmp_path / ".hgignore").write_text("a(\n(?=x)y\ninclude:other\n^gone$\n")
    for name in ("gone", "kept.py"):
        (tmp_path / name).write_text("x\n")
    found = walk(tmp_path)
    assert [file.path for file in found.files] == [".hgignore", "kept.py"]
    assert len(found.notes) == 3


def test_an_expression_that_backtracks_takes_no_time(tmp_path: Path) -> None:
    assert ignored(tmp_path, "^(a+)+$\n(.*a){20}b\n", ["a" * 4_000 + "c"]) == set()


def test_a_folder_of_a_repository_has_the_rules_of_all(tmp_path: Path) -> None:
    (tmp_path / ".hg/store").mkdir(parents=True)
    (tmp_path / "sub/out").mkdir(parents=True)
    (tmp_path / ".hgignore").write_text("^sub/out/\nsyntax: glob\n*.o\n")
    for name in ("sub/a.py", "sub/a.o", "sub/out/b.py", ".hg/store/c.py"):
        (tmp_path / name).write_text("x\n")
    assert [file.path for file in walk(tmp_path / "sub").files] == ["a.py"]
    assert [file.path for file in walk(tmp_path).files] == [".hgignore", "sub/a.py"]
