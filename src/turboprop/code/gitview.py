"""What Git sees in a folder: its files, the rule that ignores one, its commits. How Git is asked is in `git`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from turboprop.code.git import MOST_OUTPUT, GitError, ask_git
from turboprop.code.gitfolder import has_git_above
from turboprop.files import open_regular

_LIST = ("-z", "--cached", "--others", "--exclude-standard")
_IGNORED = ("-z", "--others", "--ignored", "--exclude-standard", "--directory")
# The files of a commit need no content: only whole renames are found, no order is read from a file, and no
# signature, note or address book.
_QUIET = ("--no-merges", "--no-show-signature", "--no-mailmap", "--no-notes")
_LOG = (
    *(*_QUIET, "--name-status", "--relative", "-z", "--find-renames=100%", f"-O{os.devnull}", "--no-ext-diff"),
    "--ignore-submodules=none",  # said here, it is not looked for in .gitmodules
    *("--no-textconv", "--encoding=UTF-8", "--format=%x00%H%x00%ct%x00%P%x00%B"),
)
_HASH = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_UNREADABLE = re.compile(r"warning: could not open directory '(.*?)/?': ")


@dataclass(slots=True)
class GitView:
    """What one `git ls-files` said.

    `names` are relative to the asked folder, as Git gave them (surrogate escapes for raw bytes); a
    submodule is among them, by the name of its folder. `nested` are repositories inside that are not
    submodules, `unreadable` are folders. `error`, a sentence, is set when Git would not list a work
    tree, or must not be asked; `stopped` when it had to be ended; `is_bare` when there is no work tree.
    """

    names: list[str] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    error: str = ""
    stopped: bool = False
    is_bare: bool = False


class Commit(NamedTuple):
    """`time` in seconds since the epoch; `is_first` where no parent is known: of a repository or of a shallow clone.
    `files` are what it changed, by their new names, `renamed` the old and the new name of what was only moved."""

    hash: str
    time: int
    is_first: bool
    message: str
    files: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()


def git_view(top: str) -> GitView | None:
    """What Git lists under `top`; None where `top` is in no work tree, or ignored by the one around it."""
    try:
        done = ask_git(top, "ls-files", *_LIST)
    except GitError as error:
        return GitView(error=str(error), stopped=error.stopped)
    except OSError:
        if not has_git_above(top):
            return None
        return GitView(error="This is a Git work tree, but the program git could not be started.")
    if done.returncode != 0:
        refusal = _refusal(top, done.stderr)
        return GitView(error=refusal, is_bare=b"must be run in a work tree" in done.stderr) if refusal else None
    view = GitView(unreadable=_UNREADABLE.findall(done.stderr.decode("utf-8", "surrogateescape")))
    for name in done.stdout.decode("utf-8", "surrogateescape").split("\0"):
        if name.endswith("/"):
            view.nested.append(name.rstrip("/"))
        elif name:
            view.names.append(name)
    if not view.names and not view.nested and _is_ignored(top):
        return None
    return view


def ignored_names(top: str) -> list[str]:
    """What Git ignores under `top`; a folder that is ignored as a whole ends with `/` and is not looked into."""
    try:
        done = ask_git(top, "ls-files", *_IGNORED)
    except (GitError, OSError):
        return []
    return [name for name in done.stdout.decode("utf-8", "surrogateescape").split("\0") if name]


def is_work_tree(folder: str) -> bool:
    """Whether `folder` is the top of a work tree (a submodule that is checked out)."""
    return os.path.lexists(f"{folder}/.git")


def is_repository(folder: str) -> bool:
    """Whether `folder` is the top of a work tree of Git, jj or Mercurial."""
    return any(os.path.lexists(f"{folder}/{store}") for store in (".git", ".jj", ".hg"))


def is_submodule(folder: str) -> bool:
    """Whether the work tree at `folder` is a submodule, so that a walk of the work tree around it has its files."""
    try:
        with open_regular(Path(folder) / ".git") as file:
            head = file.read(4_096)
    except OSError:  # a folder: a repository of its own
        return False
    return head.startswith(b"gitdir: ") and b"/modules/" in head.replace(b"\\", b"/")


def tracks(folder: str, name: str) -> bool:
    """Whether a work tree's Git tracks the file `name` in `folder`; true also where Git refuses to answer there."""
    try:
        return bool(ask_git(folder, "ls-files", "-z", "--cached", "--", f":(literal){name}").stdout)
    except GitError:
        return True
    except OSError:  # there is no Git here that could track anything
        return False


def ignored_by(top: str, name: str) -> tuple[str, str] | None:
    """The rule that makes Git ignore a file and where it stands (`file:line`); None for none, or no answer."""
    given = os.fsencode(name) + b"\0"
    try:
        done = ask_git(top, "check-ignore", "--verbose", "-z", "--stdin", given=given)
    except (GitError, OSError):
        return None
    source, line, pattern, *_ = [*done.stdout.decode("utf-8", "replace").split("\0"), "", "", ""]
    return (pattern, f"{source}:{line}") if pattern else None


LOG_SECONDS = 20.0
_MOST_LOG = 64 << 20
"""What a history of 2,000 commits may cost at most: tokio's takes 0.3 s and 0.7 MB, a crafted one had no end."""


def commit_hashes(top: str, most: int) -> list[str]:
    """The hashes of the last commits but merges, the newest first; [] where there is none. Raises `GitError`."""
    return [
        line
        for line in _log(top, f"-{most}", *_QUIET, "--format=%H", longest=LOG_SECONDS).split("\n")
        if _HASH.fullmatch(line)
    ]


def commits(top: str, most: int) -> Iterator[Commit]:
    """The last commits but merges, the newest first, with the files that each changed, relative to `top`.

    Raises `GitError` where Git does not tell; a folder that is in no work tree has none.
    """
    # No name is empty and no message holds a zero byte, so an empty field ends a commit, whatever is in them.
    fields = iter(_log(top, f"-{most}", *_LOG, longest=LOG_SECONDS, most=_MOST_LOG).split("\0"))
    for commit in fields:
        if not _HASH.fullmatch(commit):
            continue
        told, parents, message = next(fields, "0"), next(fields, ""), next(fields, "")
        files: list[str] = []
        renamed: list[tuple[str, str]] = []
        while status := next(fields, "").strip("\n"):
            name = next(fields, "")
            if status.startswith("R"):
                renamed.append((name, next(fields, "")))
                name = renamed[-1][1]
            files.append(name)
        time = int(told) if told.isdecimal() else 0  # `%ct` of a damaged commit is empty
        yield Commit(commit, time, not parents, message.strip(), tuple(files), tuple(renamed))


def _log(top: str, *arguments: str, longest: float | None = None, most: int = MOST_OUTPUT) -> str:
    """What `git log` says, '' where nothing was committed yet or `top` is in no work tree. Raises `GitError`."""
    try:
        done = ask_git(top, "log", *arguments, longest=longest, most=most)
    except OSError as error:
        raise GitError("The program git could not be started.") from error
    nothing_yet = b"does not have any commits yet" in done.stderr
    if done.returncode != 0 and not nothing_yet and (refusal := _refusal(top, done.stderr)):
        raise GitError(refusal)
    return done.stdout.decode("utf-8", "backslashreplace")


def _refusal(top: str, stderr: bytes) -> str:
    """Why Git gave no answer; '' where `top` is in no work tree."""
    message = stderr.decode("utf-8", "replace").strip()
    if "dubious ownership" in message:
        return (
            f"Git does not trust {top}, which another user owns"
            f" (`git config --global --add safe.directory {top}` would change that)."
        )
    if not has_git_above(top):
        return ""
    first = message.partition("\n")[0].removeprefix("fatal: ")
    return f"Git gave no answer in this work tree ({first})."


def _is_ignored(top: str) -> bool:
    """Whether the work tree around `top` ignores it: then its owner asked for it by name."""
    try:
        return ask_git(top, "check-ignore", "-q", ".").returncode == 0
    except GitError:
        return False
