"""The manifest: which files an index holds, and which version of the table says so.

Two lines of JSON. The first is small and is all that a search reads:

    {"format": "turboprop-index", "schema": 1, "table": ..., "version": 7, "rows": 1234,
     "model": ..., "fingerprint": ..., "dimensions": 384, "prompts": ["", ""], "chunker": ...,
     "created": ..., "updated": ..., "superseded": [[5, 1700000000.0]], "complete": true,
     "scope": [1000000, null, []], "files": 210, "body": "xxh3-64 of the second line"}

The second holds the files column by column, which loads five times faster than an object a file:

    {"path": [...], "size": [...], ..., "left_out": {"path": [...], ..., "reason": [...]}}

It is written to a temporary name, flushed to the disk and renamed, so a reader sees the old one or the
new one, whole.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

import xxhash

from turboprop.errors import IndexDamagedError, IndexMismatchError, IndexNotFoundError
from turboprop.index.failures import translated
from turboprop.index.schema import SCHEMA_VERSION, IndexSpec
from turboprop.types import DEFAULT_SCOPE, IndexedFile, IndexScope, Prompts

FORMAT = "turboprop-index"
_MAX_HEADER_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class LeftOutFile:
    """A file that was read and left out (binary, generated, ...), remembered so as not to read it again."""

    path: str
    size: int
    mtime_ns: int
    inode: int
    reason: str


@dataclass(frozen=True, slots=True)
class Header:
    """The first line. `version` is the Lance version that counts, times are seconds since the epoch.

    `superseded` are the versions that an earlier manifest named, with the time when it was replaced:
    readers may still hold them. `complete` is false while a run still has files to index. `scope` is
    what the last run was asked for.
    """

    spec: IndexSpec
    table: str
    version: int
    rows: int
    created: float
    updated: float
    superseded: tuple[tuple[int, float], ...] = ()
    complete: bool = True
    scope: IndexScope = DEFAULT_SCOPE
    file_count: int = 0
    body_digest: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole manifest, files by path."""

    header: Header
    files: dict[str, IndexedFile] = field(default_factory=dict)
    left_out: dict[str, LeftOutFile] = field(default_factory=dict)


def read_header(path: Path) -> Header:
    """The first line of a manifest.

    Raises `IndexNotFoundError`, `IndexDamagedError` and `IndexMismatchError` (another schema version).
    """
    with _opened(path) as stream:
        return _parse_header(path, stream.readline(_MAX_HEADER_BYTES))


def index_tables(directory: Path) -> list[Header]:
    """The headers of every table in an index folder, the one written last first."""
    headers = [read_header(path) for path in sorted(directory.glob("*.manifest.json"))]
    return sorted(headers, key=lambda header: header.updated, reverse=True)


def read_manifest(path: Path) -> Manifest:
    """A whole manifest, its second line checked against the first; errors as `read_header`."""
    with _opened(path) as stream:
        header = _parse_header(path, stream.readline(_MAX_HEADER_BYTES))
        body = stream.readline()
    if xxhash.xxh3_64_hexdigest(body) != header.body_digest:
        raise _damaged(path, "its list of files was cut or changed")
    try:
        columns = json.loads(body)
        left_out = columns.pop("left_out")
        files = _rows(IndexedFile, columns)
        return Manifest(header, files, _rows(LeftOutFile, left_out))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, str(error)) from error


def write_manifest(
    path: Path, header: Header, files: Mapping[str, IndexedFile], left_out: Mapping[str, LeftOutFile]
) -> Header:
    """Replace the manifest in one step; returns the header as written. Raises `StorageError`."""
    columns: dict[str, Any] = _columns(IndexedFile, files)
    columns["left_out"] = _columns(LeftOutFile, left_out)
    body = json.dumps(columns, separators=(",", ":")).encode() + b"\n"
    written = Header(
        spec=header.spec,
        table=header.table,
        version=header.version,
        rows=header.rows,
        created=header.created,
        updated=header.updated,
        superseded=header.superseded,
        complete=header.complete,
        scope=header.scope,
        file_count=len(files),
        body_digest=xxhash.xxh3_64_hexdigest(body),
    )
    replace_file(path, json.dumps(_header_json(written)).encode() + b"\n" + body)
    return written


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old content or the new one. Raises `StorageError`."""
    temporary = path.with_name(path.name + ".new")
    with translated(path.parent, f"write {path.name}"):
        try:
            with open(temporary, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk; systems that cannot open folders (Windows) need it not."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_spec(found: IndexSpec, wanted: IndexSpec, directory: Path) -> None:
    """Raise `IndexMismatchError`, naming both, where an index was not made with what is wanted."""
    for what, have, want in (
        ("model", (found.model, found.fingerprint), (wanted.model, wanted.fingerprint)),
        ("number of dimensions", found.dimensions, wanted.dimensions),
        ("prompts", found.prompts, wanted.prompts),
        ("chunker", found.chunker, wanted.chunker),
    ):
        if what == "model" and found.fingerprint == wanted.fingerprint:
            continue  # one model, reached by two names
        if have != want:
            raise IndexMismatchError(
                f"the index in {directory} was made with the {what} {_shown(have)}, but {_shown(want)} "
                "is asked for. Search with what it was made with, or make it anew with `tp index --rebuild`"
            )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        name, fingerprint = value
        return f"{name} ({str(fingerprint)[:16]})"
    if isinstance(value, Prompts):
        return f"query {value.query!r} and document {value.document!r}"
    return str(value)


@contextlib.contextmanager
def _opened(path: Path) -> Any:
    try:
        stream = open(path, "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        raise IndexNotFoundError(
            f"there is no index in {path.parent}. Make one with `tp index`, or search with --build"
        ) from None
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror}") from error
    with stream, translated(path.parent, f"read {path.name}"):
        yield stream


def _damaged(path: Path, cause: str) -> IndexDamagedError:
    return IndexDamagedError(f"{path} is damaged ({cause}). Make the index anew with `tp index --rebuild`")


def _header_json(header: Header) -> dict[str, Any]:
    spec = header.spec
    return {
        "format": FORMAT,
        "schema": SCHEMA_VERSION,
        "table": header.table,
        "version": header.version,
        "rows": header.rows,
        "model": spec.model,
        "fingerprint": spec.fingerprint,
        "dimensions": spec.dimensions,
        "prompts": [spec.prompts.query, spec.prompts.document],
        "chunker": spec.chunker,
        "created": header.created,
        "updated": header.updated,
        "superseded": [list(item) for item in header.superseded],
        "complete": header.complete,
        "scope": [header.scope.max_filesize, header.scope.limit, list(header.scope.exclude)],
        "files": header.file_count,
        "body": header.body_digest,
    }


def _parse_header(path: Path, line: bytes) -> Header:
    try:
        values = json.loads(line)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise _damaged(path, "it is not a manifest of TurboProp")
        if values.get("schema") != SCHEMA_VERSION:
            raise IndexMismatchError(
                f"the index in {path.parent} has schema version {values.get('schema')}, this version of "
                f"TurboProp reads {SCHEMA_VERSION}. Make it anew with `tp index --rebuild`"
            )
        query, document = values["prompts"]
        return Header(
            spec=IndexSpec(
                model=_text(values["model"]),
                fingerprint=_text(values["fingerprint"]),
                dimensions=_count(values["dimensions"]),
                prompts=Prompts(_text(query), _text(document)),
                chunker=_text(values["chunker"]),
            ),
            table=_text(values["table"]),
            version=_count(values["version"]),
            rows=_count(values["rows"]),
            created=float(values["created"]),
            updated=float(values["updated"]),
            superseded=tuple((_count(version), float(when)) for version, when in values["superseded"]),
            complete=bool(values["complete"]),
            scope=_scope(values.get("scope")),
            file_count=_count(values["files"]),
            body_digest=_text(values["body"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, str(error) or "its first line is cut") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def _columns(kind: type, entries: Mapping[str, Any]) -> dict[str, Any]:
    names = [item.name for item in fields(kind)]
    columns = zip(*map(attrgetter(*names), entries.values()), strict=True)
    return dict(zip(names, columns, strict=True)) if entries else {name: [] for name in names}


def _rows(kind: type[Any], columns: dict[str, list[Any]]) -> dict[str, Any]:
    ordered = [columns[item.name] for item in fields(kind)]
    if len({len(column) for column in ordered}) > 1:
        raise ValueError("its columns differ in length")
    return {values[0]: kind(*values) for values in zip(*ordered, strict=True)}


def _scope(value: Any) -> IndexScope:
    if value is None:  # written before scopes were recorded
        return DEFAULT_SCOPE
    max_filesize, limit, exclude = value
    return IndexScope(_count(max_filesize), None if limit is None else _count(limit), tuple(map(_text, exclude)))
