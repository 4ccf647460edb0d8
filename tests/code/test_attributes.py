"""Attributes of files as Git reads them."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from turboprop.code.attributes import NOTHING, AttributeRules, Attributes

PATTERNS = [
    "*.py",
    "*.min.js",
    "a.py",
    "/a.py",
    "sub/*.py",
    "sub/**",
    "**/a.py",
    "sub",
    "sub/",
    "*",
    "a?.py",
    "[ab].py",
]
PATTERNS += ["sub/**/a.py", "*b*", '"a b.py"', "!a.py", "/sub/deep/*", "\\#x.py", "*.PY", "deep/a.py", "b.min.js"]
VALUES = ["linguist-generated", "-linguist-generated", "linguist-generated=true", "linguist-generated=false"]
VALUES += [
    "binary",
    "-diff",
    "diff",
    "diff=python",
    "text",
    "-text",
    "text=auto",
    "eol=lf",
    "!diff",
    "made",
    "text -diff",
]
PATHS = [
    "a.py",
    "ab.py",
    "a b.py",
    "b.min.js",
    "sub/a.py",
    "sub/b.py",
    "sub/deep/a.py",
    "sub/deep/b.min.js",
    "#x.py",
    "x.PY",
]
ASKED = ["linguist-generated", "diff", "text"]


def said_by_git(root: Path, paths: list[str]) -> dict[str, Attributes]:
    done = subprocess.run(
        ["git", "-C", root, "check-attr", "-z", "--stdin", *ASKED],
        input="\0".join(paths).encode() + b"\0",
        capture_output=True,
        check=True,
    )
    fields = done.stdout.decode().split("\0")[:-1]
    values: dict[str, dict[str, str]] = {}
    for path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        values.setdefault(path, {})[name] = value
    kinds = {"set": True, "unset": False}
    found = {}
    for path, said in values.items():
        generated = {"true": True, "false": False, **kinds}.get(said["linguist-generated"])
        diff, text = kinds.get(said["diff"]), kinds.get(said["text"])
        found[path] = Attributes(generated, None if diff is None else not diff, text)
    return found


def test_the_same_as_git(tmp_path: Path) -> None:
    """300 sets of rules that chance made, in one, two or three folders."""
    chance = random.Random(5)
    asked = with_value = 0
    for number in range(300):
        root = tmp_path / f"r{number}"
        (root / "sub/deep").mkdir(parents=True)
        subprocess.run(["git", "init", "-q", root], check=True)
        folders = ["", *chance.sample(["sub", "sub/deep"], chance.randint(0, 2))]
        for folder in folders:
            lines = [f"{chance.choice(PATTERNS)} {chance.choice(VALUES)}" for _ in range(chance.randint(1, 5))]
            if not folder:
                lines.insert(0, "[attr]made linguist-generated -diff")
            (root / folder / ".gitattributes").write_text("\n".join(lines) + "\n# a comment\n\n")
        rules = AttributeRules(f"{root}/", folders)
        for path, wanted in said_by_git(root, PATHS).items():
            folder, _, base = path.rpartition("/")
            found = rules.of(folder, base)
            rules_text = {one: (root / one / ".gitattributes").read_text() for one in folders}
            assert found == wanted, (path, rules_text)
            asked += 1
            with_value += found != NOTHING
    assert asked == 3_000
    assert with_value > 300


def test_rules_that_are_none(tmp_path: Path) -> None:
    (tmp_path / ".gitattributes").write_bytes(
        b"\xef\xbb\xbf*.a binary\r\n*.b\n\n   \n*.c \xff\xfe binary\n[ binary\n" + b"*" * 70_000
    )
    rules = AttributeRules(f"{tmp_path}/", ["", "missing"])
    assert rules.of("", "x.a").binary is True
    assert rules.of("", "x.b") == NOTHING
    assert rules.of("", "x.c").binary is True
    assert rules.of("deep/down", "x.a").binary is True


def test_no_rule_takes_long(tmp_path: Path) -> None:
    (tmp_path / ".gitattributes").write_text("*a*a*a*a*a*a*a*b binary\n**/a/**/a/**/a/**/b binary\n")
    rules = AttributeRules(f"{tmp_path}/", [""])
    assert rules.of("", "a" * 250) == NOTHING
    assert rules.of("/".join("a" * 1_000), "c") == NOTHING
