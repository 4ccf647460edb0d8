"""A look at what Git would open in a repository, before and while it does: a pipe there would hold it for ever.

`git clone` makes none of these files, an unpacked archive may: a pipe as `.git/index` or `.gitignore`, a link from
`.git/commondir` to a device without end, an included settings file that is a pipe. Nothing of this runs a program.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from turboprop.files import open_regular

_READ_AT_ONCE = ("", "/info", "/objects/info")
"""Folders of a Git directory that its commands open files of by name."""
_READ_IN_TREE = frozenset({".gitignore", ".gitattributes", ".gitmodules", ".mailmap"})
_READ_WHOLE = frozenset(
    [
        *("HEAD", "config", "config.worktree", "commondir", "gitdir", "shallow", "alternates", "exclude", "attributes"),
        *("sparse-checkout", "grafts", *_READ_IN_TREE),
    ]
)
_LARGEST_WHOLE = 100_000_000
"""In bytes, as newer versions of Git have it for ignore rules. A file of nothing has no size in an archive."""
_RULES = frozenset({".gitignore", "exclude"})
_MOST_DOUBLE_STARS = 4
"""In one ignore rule. For each, Git tries all folders of a path again: with 40 folders fourteen take it for ever."""
_LARGEST = 4_000_000
"""Settings and links to Git directories are looked at up to this size, in bytes; Git's own limit for a link is 1 MB."""
_MOST_INCLUDED = 100
"""Settings files, each as often as it is included: ten levels that Git goes down are 10,000 files for 2.5 a file."""
_MOST_NAMED = 1_000
_CONTINUED = rb"(?s)\\(?:(\r?\n)|.)"
_SPACE = b" \t\r\n"
_ESCAPES = {b"\\t": b"\t", b"\\n": b"\n", b"\\b": b"\b", b'\\"': b'"', b"\\\\": b"\\"}

# Names of settings are literal in a settings file, in any case; only values can be quoted and continued.
_LEADS_ELSEWHERE = re.compile(rb"include|excludesfile", re.IGNORECASE)
# The name of a section may hold what looks like a setting, so a value ends no match.
_PATH_VALUE = rb"(?im)(?:^|\])[ \t]*(path|excludesfile)[ \t]*=[ \t]*(?=(.{0,10000}))"
_BARE = rb"(?im)^[ \t]*bare[ \t]*(?:=[ \t]*(?:true|yes|on|1)[ \t]*)?\r?$"
# All are compiled for the few that name another file: 2 ms.


@dataclass(frozen=True, slots=True)
class GitFolder:
    """The repository that Git would find from a folder.

    `top` holds its `.git`, '' where there is none. `problem` is a sentence about a file that Git must not be led to.
    `names_work_tree`: its settings say where the work tree is, which a repository has no say in.
    """

    top: str = ""
    problem: str = ""
    names_work_tree: bool = False


def find_git_folder(folder: str) -> GitFolder:
    """Look at `folder` and those above it, as Git does; some thirty calls of `stat`."""
    for top in _upward(folder):
        # A folder can pose as a repository without a `.git`, and Git reads two of these to find out.
        for name in ("HEAD", "commondir", ".gitignore"):
            if problem := _problem(f"{top}/{name}"):
                return GitFolder(problem=problem)
        if not os.path.lexists(f"{top}/.git") or not (found := _directories(f"{top}/.git")):
            continue
        directory, common = found
        if problem := next(filter(None, map(_problem_in, dict.fromkeys(found))), ""):
            return GitFolder(top, problem)
        if _is_repository(directory, common):
            settings = {path: _content(path) for path in (f"{common}/config", f"{directory}/config.worktree")}
            problem = next(filter(None, (_problem_of_settings(*one, top) for one in settings.items())), "")
            return GitFolder(top, problem, any(b"worktree" in text.lower() for text in settings.values()))
    return GitFolder()


def has_git_above(folder: str) -> bool:
    """Whether `folder` or one above it has something called `.git`."""
    return any(os.path.lexists(f"{top}/.git") for top in _upward(folder))


def bare_repository(folder: str) -> bool:
    """Whether a folder is a `.git`, or what such a folder is and says that there are no files beside it."""
    if os.path.lexists(f"{folder}/.git") or not _is_repository(folder, folder):
        return False
    return folder.endswith("/.git") or re.search(_BARE, _content(f"{folder}/config")) is not None


def problems_below(folder: str) -> Iterator[str]:
    """One sentence for each folder below, '' where all is well: for a Git that takes long already.

    Links are not followed. All of a Git directory is looked at, and elsewhere what Git opens by its name.
    """
    pending = [(folder, False)]
    while pending:
        place, inside_git = pending.pop()
        try:
            with os.scandir(place or "/") as listing:
                entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
        except OSError:
            continue
        problem = ""
        for name, is_folder in entries:
            path = f"{place}/{name}"
            if is_folder:
                pending.append((path, inside_git or name == ".git"))
            elif inside_git or name in _READ_IN_TREE:
                problem = problem or _problem(path)
                if name in _RULES:
                    problem = problem or _problem_of_rules(path)
            elif name == ".git":
                problem = problem or next(filter(None, map(_problem_in, _directories(path))), "")
        yield problem


def _upward(folder: str) -> Iterator[str]:
    while folder:
        yield folder.removesuffix("/")
        folder = folder.rpartition("/")[0]
    yield ""


def _directories(git: str) -> tuple[str, ...]:
    """The Git directory that `.git` is or names, and the one that it shares with other work trees; () for none."""
    directory = git
    if not Path(git).is_dir():
        named = _content(git)
        if not named.startswith(b"gitdir: "):
            return ()
        directory = str(Path(git).parent / os.fsdecode(named[8:].rstrip(b"\r\n")))
    shared = os.fsdecode(_content(f"{directory}/commondir").rstrip(b"\r\n"))
    return directory, str(Path(directory, shared)) if shared else directory


def _is_repository(directory: str, common: str) -> bool:
    try:
        return os.path.lexists(f"{directory}/HEAD") and all(Path(common, name).is_dir() for name in ("objects", "refs"))
    except (OSError, ValueError):
        return False


def _problem_in(directory: str) -> str:
    for below in _READ_AT_ONCE:
        try:
            with os.scandir(directory + below) as listing:
                odd = [entry.path for entry in listing if entry.name in _READ_WHOLE or not _is_plain(entry)]
        except (OSError, ValueError):
            continue
        for path in odd:
            if problem := _problem(path):
                return problem
    return ""


def _is_plain(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)


def _problem(path: str) -> str:
    """Why Git must not open `path`; '' where it may, or where there is nothing."""
    try:
        status = os.lstat(path)
        is_link = stat.S_ISLNK(status.st_mode)
        if is_link:
            status = Path(path).stat()
    except (OSError, ValueError):
        return ""
    mode = status.st_mode
    # A socket (Git's own file monitor has one there) cannot be opened, so it holds nobody.
    if stat.S_ISDIR(mode) or stat.S_ISSOCK(mode) or _is_null_device(status):
        return ""
    if stat.S_ISREG(mode) and not (is_link and not status.st_size and _is_made_up(path)):
        if status.st_size <= _LARGEST_WHOLE or os.path.basename(path) not in _READ_WHOLE:  # noqa: PTH119
            return ""
        return f"Git was not asked, since {path} has more than {_LARGEST_WHOLE:,} bytes; remove it."
    kind = "a pipe" if stat.S_ISFIFO(mode) else "no ordinary file"
    return f"Git was not asked, since {path} {'leads to' if is_link else 'is'} {kind}; remove it."


def _is_made_up(path: str) -> bool:
    """Whether a link leads to what the system makes up while it is read: empty by its size, and maybe without end."""
    try:
        return Path(path).resolve().as_posix().startswith(("/proc/", "/sys/"))
    except (OSError, RuntimeError):
        return True


def _is_null_device(status: os.stat_result) -> bool:
    try:
        null = Path(os.devnull).stat()
    except OSError:
        return False
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == null.st_rdev


def _problem_of_settings(path: str, text: bytes, top: str) -> str:
    """What is wrong with the files that a settings file leads to: included ones and that of ignore rules."""
    included = 0
    pending = [(path, text)]
    while pending:
        path, text = pending.pop()
        for name, value in paths_named(text):
            target = _absolute(value, str(Path(path).parent) if name == "path" else top)
            if problem := _problem(target):
                return problem
            if name == "path":
                included += 1
                pending.append((target, _content(target)))
        if included > _MOST_INCLUDED:
            return f"Git was not asked, since {path} includes files that include others without end; remove that."
    return ""


def paths_named(text: bytes) -> list[tuple[str, str]]:
    """`path` and `excludesfile` with their values, in the order of a settings file and as Git reads it.

    Whatever section a `path` stands in, and some that are none. Values are without their quotes and comments, and not
    expanded.
    """
    if not _LEADS_ELSEWHERE.search(text):
        return []
    # A line that ends with a backslash goes on, but not in a comment: both readings are taken, and one where a zero
    # byte keeps the blanks before the backslash, which are of the value even where the next line is empty.
    joined, marked = (re.sub(_CONTINUED, lambda pair: by if pair[1] else pair[0], text) for by in (b"", b"\0"))  # noqa: B023
    texts = [text] if joined == text else [text, joined, marked]
    found = itertools.chain.from_iterable(itertools.islice(re.finditer(_PATH_VALUE, one), _MOST_NAMED) for one in texts)
    return [(one[1].lower().decode(), _unquoted(one[2])) for one in found]


def _unquoted(value: bytes) -> str:
    path, quoted, kept = bytearray(), False, 0
    for piece in re.findall(rb"\\.|[^\\\"#;]+|.", value.strip(_SPACE), re.DOTALL):
        if piece == b'"':
            quoted = not quoted
        elif piece in (b"#", b";") and not quoted:
            break
        else:
            path += _ESCAPES.get(piece, piece)
            # Blanks before a comment are none of the value, unless they are quoted or escaped.
            kept = len(path) if quoted or piece in _ESCAPES else max(kept, len(path.rstrip(_SPACE)))
    return os.fsdecode(bytes(path[:kept]).replace(b"\0", b""))


def _absolute(path: str, folder: str) -> str:
    try:
        return str(Path(folder, Path(path).expanduser()))
    except (RuntimeError, ValueError):  # the home of a user whom there is not
        return ""


def _problem_of_rules(path: str) -> str:
    most = max(line.count(b"**") for line in _content(path).split(b"\n"))
    if most <= _MOST_DOUBLE_STARS:
        return ""
    return f"Git was not asked, since {path} has a rule with {most} times **, which takes it too long; remove it."


def _content(path: str) -> bytes:
    """The bytes of a file, b'' where it is none or too large to be what it should."""
    try:
        with open_regular(path, follow=True) as stream:
            data = stream.read(_LARGEST + 1)
    except (OSError, ValueError):
        return b""
    return data if len(data) <= _LARGEST else b""
