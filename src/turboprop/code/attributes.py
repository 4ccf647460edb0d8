"""What `.gitattributes` files say of a file: whether a program wrote it, and whether it is text.

Read here and not asked of Git: the rules hold outside of Git as well, and a process for each walk would cost more than
the walk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from turboprop.code.ignore import rule_lines

FILE = ".gitattributes"
_GENERATED, _DIFF, _TEXT, _BINARY = "linguist-generated", "diff", "text", "binary"
_FALSE = frozenset({"false", "0", "no", "off"})
_LINE = re.compile(r'[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s"]\S*))[ \t]+(.*)')
_PLAIN = re.compile(r"[^*?\[\]\\/!#]+")
_ENDING = re.compile(r"\*[^*?\[\]\\/]+")
_BELOW = "(?:(?P<ps_d>/)|$)"


class Attributes(NamedTuple):
    """`generated` by `linguist-generated`. `binary` is true where Git shows no differences (`binary`, `-diff`) and
    false where it is told to show them as text (`diff`); `text` where it is told to convert line ends. None for
    what no rule says, or the last one leaves open."""

    generated: bool | None = None
    binary: bool | None = None
    text: bool | None = None


NOTHING = Attributes()


class _Rule(NamedTuple):
    """Values for the files whose name ends with `ending`, or else those that `matches` by name and path takes."""

    ending: str
    matches: Callable[[str, str], bool]
    values: dict[str, bool | None]


class _Rules:
    """The rules of one file, last first. `endings` and `others` tell quickly that none of them is about a name."""

    def __init__(self, rules: list[_Rule]) -> None:
        self.rules = rules[::-1]
        self.endings = tuple(rule.ending for rule in rules if rule.ending)
        self.others = [rule for rule in rules if not rule.ending]

    def may_be_about(self, base: str, path: str) -> bool:
        return base.endswith(self.endings) or any(rule.matches(base, path) for rule in self.others)


class AttributeRules:
    """The rules of the `.gitattributes` files of a tree. `folders` are those that have one, relative to `prefix` (with
    its last `/`)."""

    def __init__(self, prefix: str, folders: Iterable[str]) -> None:
        macros: dict[str, dict[str, bool | None]] = {_BINARY: {_DIFF: False, _TEXT: False}}
        found = {
            folder: _rules(rule_lines(f"{prefix}{folder}/{FILE}" if folder else prefix + FILE), macros)
            for folder in sorted(folders)
        }
        # Where no rule says yes or no, none need take it back: `*.py diff=python` is about each file and says nothing.
        said = {
            name for rules in found.values() for rule in rules for name in rule.values if rule.values[name] is not None
        }
        rules = {folder: [rule for rule in rules if said & rule.values.keys()] for folder, rules in found.items()}
        self._all = {folder: _Rules(each) for folder, each in rules.items() if each}
        self._above: dict[str, list[tuple[_Rules, str]]] = {}
        self.any = bool(self._all)

    def of(self, folder: str, base: str) -> Attributes:
        """What is said of the file `base` in `folder`; the nearest file's last rule wins, for each attribute."""
        above = self._above.get(folder)
        if above is None:
            above = self._above[folder] = list(_above(self._all, folder))
        values: dict[str, bool | None] = {}
        for rules, below in above:
            path = below + base
            if rules.may_be_about(base, path):
                for rule in rules.rules:
                    if rule.values.keys() - values.keys() and rule.matches(base, path):
                        values = {**rule.values, **values}
        if not values:
            return NOTHING
        binary = values.get(_DIFF)
        return Attributes(values.get(_GENERATED), None if binary is None else not binary, values.get(_TEXT))


def _above(known: Mapping[str, _Rules], folder: str) -> Iterator[tuple[_Rules, str]]:
    """The rules for a folder, its own first, each with the folder's path relative to that of the rules."""
    below = ""
    while True:
        if folder in known:
            yield known[folder], below
        if not folder:
            return
        folder, _, last = folder.rpartition("/")
        below = f"{last}/{below}"


def _rules(lines: Iterable[str], macros: dict[str, dict[str, bool | None]]) -> list[_Rule]:
    found: list[_Rule] = []
    for line in lines:
        split = _LINE.match(line)
        if split is None or line.lstrip().startswith("#"):
            continue
        pattern = split[1] if split[1] is not None else split[2]
        values: dict[str, bool | None] = {}
        for word in split[3].split():
            name, equals, value = word.lstrip("-!").partition("=")
            said = not word.startswith("-")
            if name in macros and word == name:
                values.update(macros[name])
            elif name == _GENERATED:
                values[name] = said and value.lower() not in _FALSE
            elif name in (_DIFF, _TEXT):  # `diff=python` names a program, `text=auto` says nothing
                values[name] = None if equals else said
            if word.startswith("!") and name in values:
                values[name] = None
        if pattern.startswith("[attr]"):
            macros[pattern.removeprefix("[attr]")] = values
        elif values and (matches := _matcher(pattern)) is not None:
            ending = pattern[1:] if _ENDING.fullmatch(pattern) else ""
            found.append(_Rule(ending, matches, values))
    return found


def _matcher(pattern: str) -> Callable[[str, str], bool] | None:
    """Whether a rule is about a file, by its name and its path; None for a pattern that is about none."""
    if _ENDING.fullmatch(pattern):
        return lambda base, _: base.endswith(pattern[1:])
    if _PLAIN.fullmatch(pattern):
        return lambda base, _: base == pattern
    from pathspec.patterns.gitignore import GitIgnorePatternError

    from turboprop.code.ignore_pattern import IgnorePattern

    if pattern.startswith("!"):
        return None
    try:
        regex, _ = IgnorePattern.pattern_to_regex(pattern)
    except GitIgnorePatternError:
        return None
    if regex is None or regex.endswith("(?P<ps_d>/)"):
        return None  # of a folder, which has no attributes that its files inherit
    # A rule for a folder's name says nothing of what is in it, unlike an ignore rule.
    compiled = re.compile(regex.removesuffix(_BELOW) + "$" if regex.endswith(_BELOW) else regex)
    return lambda _, path: compiled.search(path) is not None
