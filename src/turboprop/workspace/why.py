"""Why one file of a repository is indexed or not."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from pathlib import Path

from turboprop.code.exclude import Reason
from turboprop.code.gitview import ignored_by
from turboprop.code.longlines import cut_long_lines
from turboprop.code.read import read_source
from turboprop.code.walk import Skipped, shown, walk
from turboprop.errors import IndexNotFoundError, UsageError
from turboprop.index.lance_table import sql_text
from turboprop.index.schema import PATH
from turboprop.types import IndexScope
from turboprop.workspace.index import Index
from turboprop.workspace.location import Location


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where one chunk of a file is; lines are 1-based and inclusive."""

    start_line: int
    end_line: int
    kind: str
    symbol: str


@dataclass(frozen=True, slots=True)
class FileReason:
    """`state` is indexed, stale, not indexed yet or left out; `reason` says by which rule."""

    path: str
    indexed: bool
    state: str
    reason: str
    chunks: tuple[ChunkPlace, ...] = ()


def explain_file(location: Location, path: str) -> FileReason:
    """Look at a file as a run of `tp index` would. Raises `UsageError` for a path outside of the repository."""
    root = location.root
    # As `tp search` prints it, else as the shell completes it in a folder of the repository.
    place = next((place for place in (root / path, Path.cwd() / path) if _may_be_there(place)), root / path)
    try:
        name = shown(place.resolve().relative_to(root).as_posix())
    except ValueError:
        raise UsageError(f"{shown(path)} lies outside of the repository {root}") from None
    chunks, known, scope = _indexed(location, name)
    found = walk(root, max_filesize=scope.max_filesize, exclude=scope.exclude, include=scope.include)
    file = next((file for file in found.files if file.path == name), None)
    if file is not None:
        source = read_source(file, max_filesize=scope.max_filesize)
        if isinstance(source, Skipped):
            return FileReason(name, bool(chunks), "left out", _said(source), chunks)
        by = "Git sees it and does not ignore it" if found.from_git else "no ignore rule excludes it"
        if file.wanted_by:
            by = f"{file.wanted_by} brings it in"
        by += f"; read as {source.encoding}"
        cut = sum(map(operator.ne, source.text.split("\n"), cut_long_lines(source.text).split("\n")))
        notes = (*source.notes, f"lines too long to read, which are cut: {cut:,}" if cut else "", *found.notes)
        by += "".join(f" ({note})" for note in notes if note)
        if known is None:
            return FileReason(name, False, "not indexed yet", f"{by}; run `tp index`")
        if known != source.digest:
            return FileReason(name, True, "stale", "it has changed since it was indexed; run `tp index`", chunks)
        return FileReason(name, True, "indexed", by, chunks)
    skipped = next((one for one in found.skipped if name == one.path or name.startswith(f"{one.path}/")), None)
    if skipped is not None:
        return FileReason(name, bool(chunks), "left out", _said(skipped), chunks)
    if not _may_be_there(place):
        state = "gone; the next `tp index` forgets it" if chunks else "no such file"
        return FileReason(name, bool(chunks), "stale" if chunks else "left out", state, chunks)
    if place.is_dir():
        raise UsageError(f"{name} is a folder; give a file, or see `tp index --dry-run`")
    if not place.is_file():
        return FileReason(name, bool(chunks), "left out", f"{name} is left out: {Reason.SPECIAL_FILE}", chunks)
    rule = ignored_by(str(root), name) if found.from_git else None
    why = f"ignored by {rule[0]!r} ({rule[1]})" if rule else "an ignore rule excludes it"
    return FileReason(name, bool(chunks), "left out", why, chunks)


def _may_be_there(place: Path) -> bool:
    try:
        place.lstat()
    except PermissionError:  # in a folder that may not be read
        return True
    except OSError:
        return False
    return True


_BY_CONTENT = "by content"
_OVERRULED = {Reason.BINARY, Reason.GENERATED, Reason.MINIFIED, Reason.LOCK_FILE, Reason.TOO_LARGE}
"""What a rule to include a file overrules."""


def _said(skipped: Skipped) -> str:
    detail = f" ({skipped.detail})" if skipped.detail else ""
    said = f"{skipped.path} is left out: {skipped.reason}{detail}"
    if skipped.reason in _OVERRULED and skipped.detail != _BY_CONTENT:
        said += f"; `tp index --include /{skipped.path}`, or a line !/{skipped.path} in .tpignore, brings it in"
    return said


def _indexed(location: Location, name: str) -> tuple[tuple[ChunkPlace, ...], str | None, IndexScope]:
    """Its chunks in the index, the digest that it had, and which files the index is of."""
    try:
        with Index.open(location) as index:
            rows = index.reader.rows_where(f"{PATH} = {sql_text(name)}", ["start_line", "end_line", "kind", "symbol"])
            known = index.reader.manifest().files.get(name)
            scope = index.scope
    except IndexNotFoundError:
        return (), None, location.scope()
    places = (ChunkPlace(row["start_line"], row["end_line"], row["kind"], row["symbol"]) for row in rows)
    return tuple(sorted(places, key=lambda one: one.start_line)), known.digest if known else None, scope
