"""Which files of a folder are indexed: names and `stat` only, no file is opened but ignore files.

In a Git work tree these are exactly the files that Git sees (tracked or untracked, and not ignored); elsewhere the
`.gitignore` rules are applied by a library, in a Mercurial repository those of `.hgignore` as well. `.tpignore` files
(gitignore syntax, in any folder) and settings exclude further. What somebody asked for by name is taken whatever
leaves it out (`include`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from turboprop.code import attributes
from turboprop.code.attributes import AttributeRules
from turboprop.code.detect import language_by_name
from turboprop.code.exclude import Reason, extension_of, reason_by_name
from turboprop.code.gitfolder import bare_repository
from turboprop.code.gitview import GitView, git_view, ignored_names, is_work_tree
from turboprop.code.ignore import IgnoreRules, is_real_folder, rule_lines
from turboprop.code.include import IncludeRules
from turboprop.code.notebook import SUFFIX as NOTEBOOK
from turboprop.errors import UsageError
from turboprop.files import MOST_BYTES

INDEX_FOLDER = ".turboprop"
_TPIGNORE = ".tpignore"
_NO_NAMES = ("", ".", "..", ".git")
_STORES = frozenset([".git", ".hg", ".svn", ".bzr", ".jj", "CVS"])
"""Version control's own folders: nothing in them was written there by hand."""

# Outside Git nobody said what is not source: installed packages and caches.
_TOOL_FOLDERS = frozenset(
    [
        *("node_modules", "bower_components", "jspm_packages", "__pycache__", ".venv", "venv", ".tox", ".nox"),
        *(".eggs", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints", ".gradle"),
        *(".terraform", ".next", ".nuxt", ".svelte-kit", ".parcel-cache", ".cache", ".bundle", ".cargo"),
        *(".dart_tool", ".stack-work", ".idea", ".vs", "DerivedData", "Pods", "Carthage"),
    ]
)
_JUDGEMENTS = frozenset({Reason.GENERATED, Reason.MINIFIED, Reason.TOO_LARGE})
_NO_JUDGEMENTS: frozenset[Reason] = frozenset()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that may be indexed, as `stat` saw it.

    `path` is relative to the walk's root, with `/`, bytes that are not UTF-8 as `\\xNN`. `location`
    opens it (bytes that are not UTF-8 as surrogate escapes). `language` is what the name promises,
    '' for plain text; reading may correct it. `exempt` are reasons that do not leave it out, since `wanted_by`
    says so.
    """

    path: str
    location: str
    size: int
    mtime_ns: int
    inode: int
    language: str
    exempt: frozenset[Reason] = _NO_JUDGEMENTS
    wanted_by: str = ""


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


class _Limits:
    """What settings and a call leave out, and ask for."""

    def __init__(self, top: str, max_filesize: int, exclude: Sequence[str], wanted: Sequence[str]) -> None:
        prefix = f"{top}/"
        self.max_filesize = max_filesize
        self.excluded = IgnoreRules(prefix, top=exclude) if exclude else None
        self.wanted = IncludeRules(wanted)
        # Of what is ignored, `.tpignore` files bring some back, too.
        self.wanted_of_ignored = IncludeRules(wanted)


def walk(
    root: Path, *, max_filesize: int = 1_000_000, exclude: Sequence[str] = (), include: Sequence[str] = ()
) -> Walk:
    """The files under `root` that may be indexed, and what was left out and why.

    What Git ignores (or `.gitignore` excludes) is not listed at all. Files over `max_filesize` bytes, binary and lock
    files (by name), links, special files, nested repositories and matches of `.tpignore` files or of `exclude`
    (gitignore syntax, from `root`) are listed as skipped; so are files that `.gitattributes` call binary or generated.
    `include` (the same syntax) and lines with `!` in `.tpignore` files bring files back, also those that Git ignores.
    Links are never followed and special files never opened. Raises `UsageError` when `root` is no folder, cannot be
    listed or is a bare repository.
    """
    top = _checked_root(root)
    limits = _Limits(top, max_filesize, exclude, include)
    store, place = _nearest_store(top)
    view = git_view(top) if place in ("", ".git") else None
    if view is not None and view.is_bare:
        raise UsageError(_bare(top))
    if view is None or view.error:
        found = Walk(root=Path(top))
        if view is not None:
            found.notes.append(shown(f"{view.error} The .gitignore rules were applied without Git."))
        names = list(_list_without_git(top, store or top, place == ".hg", found, limits.wanted_of_ignored))
        _sort_out(found, names, limits)
    else:
        found = Walk(root=Path(top), from_git=True)
        view.names += _wanted_though_ignored(top, view.names, limits.wanted_of_ignored)
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
    if bare_repository(top):
        raise UsageError(_bare(top))
    return top


def _bare(top: str) -> str:
    if Path(top).name == ".git":
        return f"{shown(top)} is Git's own folder, which holds no files. Index the folder around it."
    return (
        f"{shown(top)} is a bare Git repository: it holds the history and no files. Index a work tree of it "
        f"(`git worktree add FOLDER`, or `git clone {shown(top)} FOLDER`)."
    )


def _nearest_store(top: str) -> tuple[str, str]:
    """The nearest folder, this one or one above it, that a version control works in, and what its own is called there;
    Git's where there are two. ('', '') for none."""
    for folder in (Path(top), *Path(top).parents):
        for store in (".git", ".jj", ".hg"):
            if os.path.lexists(folder / store):
                return str(folder), store
    return "", ""


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
    rules = IgnoreRules(prefix, _TPIGNORE)
    # Each name once (a conflict lists a path once a stage), in an order that does not hang on the disk.
    ordered = sorted(set(names))
    marked = AttributeRules(prefix, (name.rpartition("/")[0] for name in ordered if name.endswith(attributes.FILE)))
    wanted = limits.wanted if limits.wanted else None
    folders_within: list[str] = []
    enterable: dict[str, bool] = {"": True}
    escaped: set[str] = set()

    for name in ordered:
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
        decision = rules.decision(folder, base)
        exempt, wanted_by = _NO_JUDGEMENTS, ""
        if wanted is not None and wanted.match(folder, base):
            exempt, wanted_by = _JUDGEMENTS, "the setting include or --include"
        elif decision is False:
            exempt, wanted_by = _JUDGEMENTS, f"a line with ! in {_TPIGNORE}"
        extension = extension_of(base)
        if decision and not wanted_by:
            skipped.append(Skipped(path, Reason.TPIGNORE))
            continue
        if stat.S_ISLNK(mode):
            skipped.append(Skipped(path, Reason.SYMBOLIC_LINK, _link_detail(top, location)))
            continue
        if not stat.S_ISREG(mode):
            skipped.append(Skipped(path, Reason.SPECIAL_FILE))
            continue
        if not wanted_by:
            if limits.excluded is not None and limits.excluded.excludes(folder, base):
                skipped.append(Skipped(path, Reason.EXCLUDED))
                continue
            reason, detail = reason_by_name(base, extension), "by name"
            if marked.any:
                said = marked.of(folder, base)
                if said is not attributes.NOTHING:
                    reason, detail, exempt = _as_said(said, reason)
                    wanted_by = attributes.FILE if exempt else ""
            if reason is not None:
                skipped.append(Skipped(path, reason, detail))
                continue
        if status.st_size > limits.max_filesize and status.st_size > (largest := _largest(extension, exempt, limits)):
            skipped.append(Skipped(path, Reason.TOO_LARGE, f"{status.st_size} bytes, the limit is {largest}"))
        # Only a name with a backslash can look like the escaped form of another.
        elif "\\" in path and path in escaped:
            skipped.append(Skipped(path, Reason.NAME_CLASH, "another file is shown by the same name"))
        else:
            if "\\" in path:
                escaped.add(path)
            language = language_by_name(base, extension)
            size, times = status.st_size, status.st_mtime_ns
            files.append(SourceFile(path, location, size, times, status.st_ino, language, exempt, wanted_by))
    return folders_within


def _largest(extension: str, exempt: frozenset[Reason], limits: _Limits) -> int:
    # Most of a large notebook is images among its outputs.
    is_judged_otherwise = Reason.TOO_LARGE in exempt or extension == NOTEBOOK
    return max(limits.max_filesize, MOST_BYTES) if is_judged_otherwise else limits.max_filesize


def _as_said(said: attributes.Attributes, by_name: Reason | None) -> tuple[Reason | None, str, frozenset[Reason]]:
    """What `.gitattributes` make of a file that its name leaves out for `by_name`, or does not."""
    if said.generated:
        return Reason.GENERATED, f"linguist-generated in {attributes.FILE}", _NO_JUDGEMENTS
    if said.binary:
        return Reason.BINARY, f"binary or -diff in {attributes.FILE}", _NO_JUDGEMENTS
    exempt: set[Reason] = set()
    if said.generated is False:
        exempt |= {Reason.GENERATED, Reason.MINIFIED}
    # A name that is an image's stays one under `* text`, unless its content is text.
    if said.binary is False or (said.text and by_name is not Reason.BINARY):
        exempt |= {Reason.BINARY}
    called_text = by_name is Reason.BINARY and (said.text or said.binary is False)
    called_written = by_name is Reason.LOCK_FILE and said.generated is False
    return None if called_text or called_written else by_name, "by name", frozenset(exempt)


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
        allowed = allowed and base != INDEX_FOLDER and base not in _NO_NAMES and base not in _STORES
        allowed = allowed and is_real_folder(prefix + name)
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


def _list_without_git(top: str, store: str, is_mercurial: bool, found: Walk, wanted: IncludeRules) -> Iterator[str]:
    """Relative names of everything under `top` that ignore files do not exclude, or that is wanted nevertheless.

    `store` is the root of the repository that it is in, whose rules hold.
    """
    below = os.path.relpath(top, store).replace(os.sep, "/")
    offset = "" if below == "." else f"{below}/"  # names as the repository's rules have them
    store = store.rstrip("/") + "/"
    rules = IgnoreRules(store, ".gitignore")
    mercurial = None
    if is_mercurial:
        from turboprop.code.hgignore import HgIgnore

        mercurial = HgIgnore(store)
        found.notes.extend(mercurial.notes)
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            entries = _entries(f"{top}/{folder}")
        except OSError as error:
            found.skipped.append(Skipped(shown(folder), Reason.UNREADABLE, error.strerror or str(error)))
            continue
        inside = f"{folder}/" if folder else ""
        if (_TPIGNORE, False) in entries:
            wanted.take_back(folder, rule_lines(f"{top}/{inside}{_TPIGNORE}"))
        by_mercurial = [False] * len(entries)
        if mercurial is not None:
            by_mercurial = mercurial.excludes([f"{offset}{inside}{base}{'/' * is_dir}" for base, is_dir in entries])
        for (base, is_folder), ignored in zip(entries, by_mercurial, strict=True):
            name = inside + base
            if not is_folder:
                ignored = ignored or rules.excludes(f"{offset}{folder}".rstrip("/"), base)
                if not ignored or wanted.match(folder, base):
                    yield name
                continue
            if base in _TOOL_FOLDERS:
                detail = "--include brings in what it names there"
                found.skipped.append(Skipped(shown(name), Reason.TOOL_FOLDER, detail))
            elif not ignored and not rules.excludes_folder(offset + name):
                pending.append(name)
                continue
            yield from _wanted_below(top, name, wanted)


def _entries(location: str) -> list[tuple[str, bool]]:
    """Names in a folder, and whether each is a folder; without those of version control and our own."""
    with os.scandir(location) as listing:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
    return [(base, is_folder) for base, is_folder in entries if base not in _STORES and base != INDEX_FOLDER]


def _wanted_though_ignored(top: str, names: Sequence[str], wanted: IncludeRules) -> list[str]:
    """Names of files that Git ignores and that rules name."""
    for folder in sorted({_split(name)[0] for name in names if name.endswith(_TPIGNORE)} | {""}):
        wanted.take_back(folder, rule_lines(f"{top}/{folder}/{_TPIGNORE}" if folder else f"{top}/{_TPIGNORE}"))
    found: list[str] = []
    for name in ignored_names(top) if wanted else ():
        if name.endswith("/"):
            found += _wanted_below(top, name[:-1], wanted)
        elif wanted.match(*_split(name)):
            found.append(name)
    return found


def _wanted_below(top: str, folder: str, wanted: IncludeRules) -> Iterator[str]:
    """What is wanted in a folder that is ignored, where a rule names that folder."""
    pending = [folder] if wanted and _split(folder)[1] != INDEX_FOLDER and wanted.lead_into(folder) else []
    while pending:
        folder = pending.pop()
        try:
            entries = _entries(f"{top}/{folder}")
        except OSError:
            continue
        for base, is_folder in entries:
            if not is_folder:
                if wanted.match(folder, base):
                    yield f"{folder}/{base}"
            elif wanted.lead_into(f"{folder}/{base}", below=True) or wanted.match(folder, base):
                pending.append(f"{folder}/{base}")


def _split(name: str) -> tuple[str, str]:
    folder, _, base = name.rpartition("/")
    return folder, base
