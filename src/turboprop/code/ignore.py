"""Ignore files in gitignore syntax, nested as Git nests them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from turboprop.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pathspec import GitIgnoreSpec

# A rule file is written by hand; one larger than this is something else under its name.
_MAX_RULES_BYTES = 1_000_000


def is_real_folder(location: str) -> bool:
    """Whether there is a folder itself at `location`, not a link to one."""
    try:
        return stat.S_ISDIR(os.lstat(location).st_mode)
    except (OSError, ValueError):
        return False


class IgnoreRules:
    """Which paths are excluded, by lines of gitignore syntax.

    The rules of all files called `file_name` under `prefix` (a folder, with its last `/`).

    Each file applies to its own folder and below; the nearest one that has an opinion decides.
    Nothing inside an excluded folder can be taken back. Folders and names are relative to `prefix`,
    with `/`. Without a `file_name` the lines `top` are the rules, from `prefix` on.
    """

    def __init__(self, prefix: str, file_name: str = "", top: Sequence[str] = ()) -> None:
        self._prefix = prefix
        self._file_name = file_name
        self._specs: dict[str, GitIgnoreSpec | None] = {"": compiled(top)} if top else {}
        self._folders: dict[str, bool | None] = {"": None}
        # Folders whose chain up to the top holds no rules at all: the usual case, kept cheap.
        self._free: dict[str, bool] = {}

    def excludes(self, folder: str, base: str) -> bool:
        """Whether the file `base` in `folder` is excluded."""
        return self.decision(folder, base) is True

    def excludes_folder(self, folder: str) -> bool:
        """Whether a folder, or one that it lies in, is excluded."""
        return self._of_folder(folder) is True

    def decision(self, folder: str, base: str) -> bool | None:
        """Whether the file `base` in `folder` is excluded, or taken back by a `!`; None where no rule is about it."""
        if self._is_free(folder):
            return None
        around = self._of_folder(folder)
        if around:
            return True
        own = self._decision(folder, base)
        return around if own is None else own

    def _of_folder(self, folder: str) -> bool | None:
        if folder not in self._folders:
            # From the top down and without recursion: a tree may be thousands of folders deep.
            known: bool | None = None
            parts = folder.split("/")
            for depth in range(1, len(parts) + 1):
                name = "/".join(parts[:depth])
                if name not in self._folders:
                    own = None if known else self._decision("/".join(parts[: depth - 1]), parts[depth - 1] + "/")
                    self._folders[name] = known if own is None else own
                known = self._folders[name]
        return self._folders[folder]

    def _decision(self, folder: str, base: str) -> bool | None:
        below = base
        while True:
            spec = self._spec(folder)
            if spec is not None:
                include = spec.check_file(below).include
                if include is not None:
                    return include
            if not folder:
                return None
            folder, _, last = folder.rpartition("/")
            below = f"{last}/{below}"

    def _is_free(self, folder: str) -> bool:
        free = self._free.get(folder)
        if free is None:
            free = self._spec(folder) is None
            rest = folder
            while free and rest:
                rest = rest.rpartition("/")[0]
                free = self._spec(rest) is None
            self._free[folder] = free
        return free

    def _spec(self, folder: str) -> GitIgnoreSpec | None:
        if folder not in self._specs:
            self._specs[folder] = self._read(folder) if self._file_name else None
        return self._specs[folder]

    def _read(self, folder: str) -> GitIgnoreSpec | None:
        location = f"{self._prefix}{folder}/{self._file_name}" if folder else self._prefix + self._file_name
        lines = rule_lines(location)
        return compiled(lines) if lines else None


def rule_lines(location: str) -> list[str]:
    """The lines of a rule file; none where it is missing, or is something else under its name."""
    try:
        # A link may lead out of the repository and a pipe would block: neither is a rule file.
        with open_regular(location) as stream:
            data = stream.read(_MAX_RULES_BYTES + 1)
    except (OSError, ValueError):
        return []
    if len(data) > _MAX_RULES_BYTES:
        return []
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return [line.removesuffix("\r") for line in text.split("\n")]


def compiled(lines: Iterable[str]) -> GitIgnoreSpec:
    """The rules of some lines; those that cannot be read are passed over, as Git does."""
    from pathspec import GitIgnoreSpec
    from pathspec.patterns.gitignore import GitIgnorePatternError

    from turboprop.code.ignore_pattern import IgnorePattern

    lines = list(lines)
    try:
        return GitIgnoreSpec.from_lines(lines, IgnorePattern, backend="simple")
    except GitIgnorePatternError:
        return GitIgnoreSpec.from_lines([line for line in lines if _is_valid(line)], IgnorePattern, backend="simple")


def _is_valid(line: str) -> bool:
    from pathspec import GitIgnoreSpec
    from pathspec.patterns.gitignore import GitIgnorePatternError

    try:
        GitIgnoreSpec.from_lines([line], backend="simple")
    except GitIgnorePatternError:
        return False
    return True
