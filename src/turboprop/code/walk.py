"""Which files of a folder are indexed: names and `stat` only, no file is opened but ignore files.

In a Git work tree these are exactly the files that Git sees (tracked or untracked, and not ignored);
elsewhere the `.gitignore` rules are applied by a library. `.tpignore` files (gitignore syntax, in any
folder) exclude further on top of both. They can only exclude: a `!` takes back what an earlier line
of theirs excluded, never what Git ignores.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from turboprop.code.detect import language_by_name
from turboprop.code.exclude import Reason, extension_of, reason_by_name
from turboprop.code.gitview import GitView, git_view, is_work_tree
from turboprop.code.ignore import IgnoreRules, is_real_folder
from turboprop.errors import UsageError

INDEX_FOLDER = ".turboprop"
_NO_NAMES = ("", ".", "..", ".git")

# Outside Git nobody said what is not source: version-control stores, installed packages and caches.
_NEVER_SOURCE = frozenset(
    [
        ".git",
        ".hg",
        ".svn",
        ".bzr",
        ".jj",
        "CVS",
        "node_modules",
        "bower_components",
        "jspm_packages",
        "__pycache__",
        ".venv",
        "venv",
        ".tox",
        ".nox",
        ".eggs",
        ".mypy_cache",
        ".ruff_cache",
        ".pytest_cache",
        ".hypothesis",
        ".ipynb_checkpoints",
        ".gradle",
        ".terraform",
        ".next",
        ".nuxt",
        ".svelte-kit",
        ".parcel-cache",
        ".cache",
        ".bundle",
        ".cargo",
        ".dart_tool",
        ".stack-work",
        ".idea",
        ".vs",
        "DerivedData",
        "Pods",
        "Carthage",
    ]
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that may be indexed, as `stat` saw it.

    `path` is relative to the walk's root, with `/`, bytes that are not UTF-8 as `\\xNN`. `location`
    opens it (bytes that are not UTF-8 as surrogate escapes). `language` is what the name promises,
    '' for plain text; reading may correct it.
    """

    path: str
    location: str
    size: int
    mtime_ns: int
    inode: int
    language: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file, link or folder that the walk met and left out."""

    path: str
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Walk:
    """What a walk found: both lists in path order. `notes` are for the user, whole sentences."""

    root: Path
    files: list[SourceFile] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    from_git: bool = False


@dataclass(frozen=True, slots=True)
class _Limits:
    max_filesize: int
    excluded: IgnoreRules | None


def walk(root: Path, *, max_filesize: int = 1_000_000, exclude: Sequence[str] = ()) -> Walk:
    """The files under `root` that may be indexed, and what was left out and why.

    What Git ignores (or `.gitignore` excludes) is not listed at all. Files over `max_filesize` bytes, binary,
    minified, generated and lock files (by name), links, special files, nested repositories and matches of
    `.tpignore` files or of `exclude` (gitignore syntax, from `root`) are listed as skipped. Links are never
    followed and special files never opened. Raises `UsageError` when `root` is no folder or cannot be listed.
    """
    top = _checked_root(root)
    limits = _Limits(max_filesize, IgnoreRules(f"{top}/", top=exclude) if exclude else None)
    view = git_view(top)
    if view is None or view.error:
        found = Walk(root=Path(top))
        if view is not None:
            found.notes.append(shown(f"{view.error} The .gitignore rules were applied without Git."))
        _sort_out(found, _list_without_git(top, found.skipped), limits)
    else:
        found = Walk(root=Path(top), from_git=True)
        _sort_out_git(found, view, limits)
    # As shown, so that "the first N files" are the same on every machine.
    found.files.sort(key=lambda file: file.path)
    found.skipped.sort(key=lambda item: (item.path, item.reason))
    return found


def shown(name: str) -> str:
    """A file name for people and JSON: what is not UTF-8 in it appears as `\\xNN`."""
    if name.isascii():
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _checked_root(root: Path) -> str:
    top = os.path.realpath(root)
    try:
        mode = Path(top).stat().st_mode
    except OSError as error:
        raise UsageError(f"Cannot open the folder {root}: {error.strerror}. Check the path.") from error
    if not stat.S_ISDIR(mode):
        raise UsageError(f"{root} is not a folder. Name the folder that holds the repository.")
    if not os.access(top, os.R_OK | os.X_OK):
        raise UsageError(f"The folder {root} may not be read. Check its permissions.")
    return top


def _sort_out_git(found: Walk, view: GitView, limits: _Limits) -> None:
    """Sorts out a work tree and, below it, every submodule that is checked out."""
    pending = [("", view)]
    stopped = ""
    while pending:
        prefix, view = pending.pop()
        for name in view.nested:
            skipped = Skipped(shown(prefix + name), Reason.NESTED_REPOSITORY, "not a submodule")
            found.skipped.append(skipped)
        for name in view.unreadable:
            found.skipped.append(Skipped(shown(prefix + name), Reason.UNREADABLE, "folder may not be read"))
        for folder in _sort_out(found, [prefix + name for name in view.names], limits):
            location = f"{found.root}/{folder}"
            # Without a `.git` it is not checked out, and Git would answer for the repository around it.
            if not is_work_tree(location):
                continue
            # Where one of a thousand submodules held Git, the others would, too: nobody waits for each.
            inner = GitView(error=stopped) if stopped else git_view(location)
            if inner is None:
                continue
            if inner.error:
                stopped = stopped or (inner.error if inner.stopped else "")
                found.skipped.append(Skipped(shown(folder), Reason.NESTED_REPOSITORY, shown(inner.error)))
            else:
                pending.append((f"{folder}/", inner))


def _sort_out(found: Walk, names: Iterable[str], limits: _Limits) -> list[str]:
    """Stats every name and puts it into `found.files` or `found.skipped`; returns those that are folders."""
    top = str(found.root)
    files, skipped = found.files, found.skipped
    prefix = top if top.endswith("/") else top + "/"
    rules = IgnoreRules(prefix, ".tpignore")
    folders_within: list[str] = []
    enterable: dict[str, bool] = {"": True}
    escaped: set[str] = set()

    # Each name once (a conflict lists a path once a stage), in an order that does not hang on the disk.
    for name in sorted(set(names)):
        folder, _, base = name.rpartition("/")
        if base in _NO_NAMES:
            continue  # no file of a work tree is called so, but an index that Git did not write can say it
        real = enterable.get(folder)
        if real is None:
            real = _may_enter(prefix, folder, enterable)
        if not real:
            continue
        location = prefix + name
        try:
            status = os.lstat(location)
        except (FileNotFoundError, NotADirectoryError):
            continue  # tracked by Git and deleted from the work tree
        except OSError as error:
            skipped.append(Skipped(shown(name), Reason.UNREADABLE, error.strerror or str(error)))
            continue
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            if base != INDEX_FOLDER and not rules.excludes_folder(name):
                folders_within.append(name)
            continue
        path = shown(name)
        if rules.excludes(folder, base):
            skipped.append(Skipped(path, Reason.TPIGNORE))
        elif stat.S_ISLNK(mode):
            skipped.append(Skipped(path, Reason.SYMBOLIC_LINK, _link_detail(top, location)))
        elif not stat.S_ISREG(mode):
            skipped.append(Skipped(path, Reason.SPECIAL_FILE))
        elif (reason := reason_by_name(base, extension := extension_of(base))) is not None:
            skipped.append(Skipped(path, reason, "by name"))
        elif limits.excluded is not None and limits.excluded.excludes(folder, base):
            skipped.append(Skipped(path, Reason.EXCLUDED))
        elif status.st_size > limits.max_filesize:
            detail = f"{status.st_size} bytes, the limit is {limits.max_filesize}"
            skipped.append(Skipped(path, Reason.TOO_LARGE, detail))
        # Only a name with a backslash can look like the escaped form of another.
        elif "\\" in path and path in escaped:
            skipped.append(Skipped(path, Reason.NAME_CLASH, "another file is shown by the same name"))
        else:
            if "\\" in path:
                escaped.add(path)
            language = language_by_name(base, extension)
            files.append(SourceFile(path, location, status.st_size, status.st_mtime_ns, status.st_ino, language))
    return folders_within


def _may_enter(prefix: str, folder: str, known: dict[str, bool]) -> bool:
    """Whether no part of `folder` is a link (Git may still list files behind one) or our index."""
    # Without recursion: a path may be two thousand folders deep.
    unknown: list[str] = []
    while folder not in known:
        unknown.append(folder)
        folder = folder.rpartition("/")[0]
    allowed = known[folder]
    for name in reversed(unknown):
        base = name.rpartition("/")[2]
        allowed = allowed and base != INDEX_FOLDER and base not in _NO_NAMES and is_real_folder(prefix + name)
        known[name] = allowed
    return allowed


def _link_detail(top: str, location: str) -> str:
    try:
        target = os.path.realpath(location)
    except OSError as error:  # the system names no target, as for the links in /proc
        return f"cannot be followed: {error.strerror}"
    if target == top or target.startswith(top + os.sep):
        return f"points to {shown(os.path.relpath(target, top)).replace(os.sep, '/')}"
    return "leads out of the repository"


def _list_without_git(top: str, skipped: list[Skipped]) -> Iterator[str]:
    """Relative names of everything under `top` that `.gitignore` files do not exclude."""
    rules = IgnoreRules(f"{top}/", ".gitignore")
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(f"{top}/{folder}") as listing:
                entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
        except OSError as error:
            skipped.append(Skipped(shown(folder), Reason.UNREADABLE, error.strerror or str(error)))
            continue
        for base, is_folder in entries:
            name = f"{folder}/{base}" if folder else base
            if is_folder:
                if base in _NEVER_SOURCE or base == INDEX_FOLDER or rules.excludes_folder(name):
                    continue
                pending.append(name)
            elif base not in _NEVER_SOURCE and not rules.excludes(folder, base):
                yield name
