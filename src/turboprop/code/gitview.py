"""What Git sees in a folder, asked in a way that runs nothing of the repository's own.

A cloned repository is untrusted: its `.git/config` can name programs (`core.fsmonitor`, hooks, the
transports of a partial clone). The command below only lists names; every setting that could start a
program while it does so is overridden or switched off.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field

# Variables that a Git hook or wrapper sets for its own repository; `GIT_CONFIG_*` stays, since that
# is how users and continuous integration mark a folder as safe.
_LOCAL_VARIABLES = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_IMPLICIT_WORK_TREE"),
    *("GIT_GRAFT_FILE", "GIT_SHALLOW_FILE", "GIT_REPLACE_REF_BASE", "GIT_INTERNAL_SUPER_PREFIX"),
    *("GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"),
)
_GIT = (
    *("git", "--no-pager", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}"),
    # A folder inside a clone can pose as a bare repository with a configuration of its own.
    *("-c", "safe.bareRepository=explicit", "-c", "core.quotePath=false"),
)
_LIST = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
_UNREADABLE = re.compile(r"warning: could not open directory '(.*?)/?': ")


@dataclass(slots=True)
class GitView:
    """What one `git ls-files` said.

    `names` are relative to the asked folder, as Git gave them (surrogate escapes for raw bytes); a
    submodule is among them, by the name of its folder. `nested` are repositories inside that are not
    submodules, `unreadable` are folders. `error`, a sentence, is set when Git would not list a work
    tree.
    """

    names: list[str] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    error: str = ""


def git_view(top: str) -> GitView | None:
    """What Git lists under `top`; None where `top` is in no work tree, or ignored by the one around it."""
    try:
        done = _run(top, *_LIST)
    except OSError:
        if not _has_git_above(top):
            return None
        return GitView(error="This is a Git work tree, but the program git could not be started.")
    if done.returncode != 0:
        return _refusal(top, done.stderr)
    view = GitView(unreadable=_UNREADABLE.findall(done.stderr.decode("utf-8", "surrogateescape")))
    for name in done.stdout.decode("utf-8", "surrogateescape").split("\0"):
        if name.endswith("/"):
            view.nested.append(name.rstrip("/"))
        elif name:
            view.names.append(name)
    if not view.names and not view.nested and _is_ignored(top):
        return None
    return view


def is_work_tree(folder: str) -> bool:
    """Whether `folder` is the top of a work tree (a submodule that is checked out)."""
    return os.path.lexists(f"{folder}/.git")


def tracks(folder: str, name: str) -> bool:
    """Whether a work tree's Git tracks the file `name` in `folder`; false where no Git can tell."""
    try:
        return bool(_run(folder, "ls-files", "-z", "--cached", "--", f":(literal){name}").stdout)
    except OSError:
        return False


def _run(folder: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in _LOCAL_VARIABLES}
    environment.update(
        GIT_OPTIONAL_LOCKS="0",
        GIT_TERMINAL_PROMPT="0",
        # A partial clone would fetch a missing .gitignore through a command from its configuration.
        GIT_NO_LAZY_FETCH="1",
        GIT_ALLOW_PROTOCOL="none",
        LC_ALL="C",
    )
    return subprocess.run(
        [*_GIT, "-C", folder, *arguments], capture_output=True, env=environment, stdin=subprocess.DEVNULL
    )


def _refusal(top: str, stderr: bytes) -> GitView | None:
    message = stderr.decode("utf-8", "replace").strip()
    if "dubious ownership" in message:
        return GitView(
            error=f"Git does not trust {top}, which another user owns"
            f" (`git config --global --add safe.directory {top}` would change that)."
        )
    if not _has_git_above(top):
        return None
    first = message.partition("\n")[0].removeprefix("fatal: ")
    return GitView(error=f"Git could not list this work tree ({first}).")


def _has_git_above(top: str) -> bool:
    folder = top
    while True:
        if os.path.lexists(f"{folder}/.git"):
            return True
        parent = folder.rpartition("/")[0] or "/"
        if parent == folder:
            return False
        folder = parent


def _is_ignored(top: str) -> bool:
    """Whether the work tree around `top` ignores it: then its owner asked for it by name."""
    return _run(top, "check-ignore", "-q", ".").returncode == 0
