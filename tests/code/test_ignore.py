"""Ignore rules by the library mean what Git makes of them, and none of them takes long."""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from turboprop.code.ignore import IgnoreRules
from turboprop.code.ignore_pattern import IgnorePattern

PIECES = ["*", "a", "b", "?", ".", "\\*", "a*b", "*a*", "*.b", "a?*", "*a*b*a*"]
CLASSES = ["[ab]", "[!a]", "*[^a]*", "[+-9]*", "a[]!]b", "[a-c]?"]


def rule(chance: random.Random) -> str:
    names = ["".join(chance.choices(PIECES + CLASSES, k=chance.randint(1, 3))) for _ in range(chance.choice([1, 1, 2]))]
    # Git takes three stars for two, and `**/` at the end for the folders below; the library does not.
    names = [re.sub(r"\*\*+", "*", name) for name in names] + ["**"] * chance.choice([0, 0, 1, 2])
    chance.shuffle(names)
    return chance.choice(["", "", "/"]) + "/".join(names) + ("" if names[-1] == "**" else chance.choice(["", "", "/"]))


def path(chance: random.Random) -> str:
    names = ["".join(chance.choices("ab.x", k=chance.randint(1, 4))) for _ in range(chance.randint(1, 4))]
    return "/".join(name for name in names if name.strip(".")) or "a"


def test_the_same_paths_as_git(tmp_path: Path) -> None:
    """600 rules that chance made, each in a folder of its own, for eight paths each."""
    chance = random.Random(7)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    asked: list[str] = []
    for number in range(600):
        folder = tmp_path / f"r{number}"
        folder.mkdir()
        (folder / ".gitignore").write_text(rule(chance) + "\n")
        asked += [f"r{number}/{path(chance)}" for _ in range(8)]
    done = subprocess.run(
        ["git", "-C", tmp_path, "check-ignore", "--stdin", "-z", "--no-index"],
        input="\0".join(asked).encode(),
        capture_output=True,
        check=False,
    )
    ignored = set(done.stdout.decode().split("\0"))
    rules = IgnoreRules(f"{tmp_path}/", ".gitignore")
    differing = []
    for name in asked:
        folder, _, base = name.rpartition("/")
        if rules.excludes(folder, base) != (name in ignored):
            differing.append(((tmp_path / name.partition("/")[0] / ".gitignore").read_text(), name, name in ignored))
    assert len(ignored) > 300
    assert differing == []


@given(
    st.lists(st.sampled_from([*PIECES, "**", "a**", "**b", "/", "/**/", "!", "\\"]), max_size=12).map("".join),
    st.randoms(),
)
def test_the_same_paths_as_the_library(text: str, chance: random.Random) -> None:
    try:
        before, kind = GitIgnoreSpecPattern.pattern_to_regex(text)
    except GitIgnorePatternError:
        with pytest.raises(GitIgnorePatternError):
            IgnorePattern.pattern_to_regex(text)
        return
    after, same_kind = IgnorePattern.pattern_to_regex(text)
    assert (kind, before is None) == (same_kind, after is None)
    if before is None or after is None:
        return
    for _ in range(10):
        name = path(chance) + chance.choice(["", "/"])
        one, other = re.match(before, name), re.match(after, name)
        assert (one is None) == (other is None), name
        if one is not None and other is not None:
            assert one.groupdict() == other.groupdict(), name


@pytest.mark.filterwarnings("ignore:Possible:FutureWarning")  # of `[[a]`, as the library writes it
@given(st.text(alphabet="[]!^-\\ab*?/. {}()|+$\n", max_size=20))
def test_any_text_is_a_rule_or_none(text: str) -> None:
    try:
        found, _ = IgnorePattern.pattern_to_regex(text)
    except GitIgnorePatternError:
        return
    try:
        valid = GitIgnoreSpecPattern.pattern_to_regex(text)[0]
        re.compile(valid or "")
    except re.error:
        return  # the library's own fault
    re.compile(found or "")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("*a" * 40 + "*b", "a" * 200),
        ("*?" * 100 + "b", "a" * 250),
        ("*[a-z]" * 40 + "b", "a" * 200),
        ("**/a/" * 30 + "b", "a/" * 500 + "c"),
        ("/" + "*a*/**/" * 30 + "b", "aaaa/" * 400 + "c"),
        ("**/" + "*a*/" * 30 + "b", "aaaa/" * 400 + "c"),
        ("**a" * 30 + "/**/" + "*a" * 40 + "*b", ("a" * 200 + "/") * 19 + "a"),
        ("/" + "*/" * 200 + "b", "a/" * 1_000 + "c"),
    ],
)
def test_no_rule_takes_long(text: str, name: str) -> None:
    """The library's own expressions take longer than anybody waits for all but the last."""
    rules = GitIgnoreSpec.from_lines([text], IgnorePattern, backend="simple")
    assert rules.check_file(name).include is None


def test_rule_files_that_are_none(tmp_path: Path) -> None:
    for name in ("pipe", "link", "folder", "large", "fine"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipe/.tpignore")
    (tmp_path / "rules").write_text("*\n")
    (tmp_path / "link/.tpignore").symlink_to(tmp_path / "rules")
    (tmp_path / "folder/.tpignore").mkdir()
    (tmp_path / "large/.tpignore").write_text("*\n" * 600_000)
    (tmp_path / "fine/.tpignore").write_text("*\n")
    rules = IgnoreRules(f"{tmp_path}/", ".tpignore")
    excluded = [name for name in ("pipe", "link", "folder", "large", "fine") if rules.excludes(name, "a.py")]
    assert excluded == ["fine"]
