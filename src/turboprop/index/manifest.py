"""The manifest: which files an index holds, and which version of the table says so.

Three lines of JSON. The first is small and is all that most looks read:

    {"format": "turboprop-index", "schema": 4, "place": ..., "table": ..., "version": 7, "rows": 1234,
     "model": ..., "fingerprint": ..., "dimensions": 384, "prompts": ["", ""], "chunker": ...,
     "created": ..., "updated": ..., "superseded": [[5, 1700000000.0]], "complete": true,
     "waiting": 0, "scope": [1000000, null, []], "files": 210, "body": "BLAKE2b-128 of the second line",
     "stored": "BLAKE2b-128 of the third line", "signature": ..., "sum": "xxh3-64 of the others"}

The second holds the repository's files column by column, which loads five times faster than an object a file:

    {"path": [...], "size": [...], ..., "left_out": {"path": [...], ..., "reason": [...]}}

The third lists the files of the table that this version needs, with a digest of each of their blocks, see
`turboprop.index.integrity`: {"<name>": [size, "digests, one after the other"]}.

It is written to a random name, flushed to the disk and renamed, so a reader sees the old one or the
new one, whole. `sum` tells damage; `signature` tells a manifest of this user from one that came with a
repository: it is made with a key that lies in the user's data folder, over the first line and by the two digests
over everything that the index holds. A manifest that is not this user's is used only after `tp trust`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import IO, Any

import xxhash

from turboprop.errors import IndexDamagedError, IndexMismatchError, IndexNotFoundError, IndexUntrustedError
from turboprop.files import NotRegularFileError, open_regular, replacing
from turboprop.index.failures import damaged, translated
from turboprop.index.integrity import BLOCK_BYTES, StoredFile
from turboprop.index.provenance import manifest_files, place_of, why_foreign
from turboprop.index.schema import SCHEMA_VERSION, WORDS, IndexSpec, manifest_file, table_name
from turboprop.settings import user_data_home
from turboprop.settings.trust import is_trusted, sign
from turboprop.types import DEFAULT_SCOPE, IndexedFile, IndexScope, Prompts

FORMAT = "turboprop-index"
_MAX_HEADER_BYTES = 1_000_000
_MAX_STORED_BYTES = 100_000_000
_MAX_BODY_BYTES = 2_000_000_000
_DIGEST_DIGITS = 16

# What a header may say. An index is written by this program; a value outside of these was never written by it.
_MOST_DIMENSIONS = 1 << 16
_MOST_COUNT = 1 << 40
_LATEST_VERSION = 1 << 62
_MOST_SUPERSEDED = 100_000
_LONGEST_NAME = 4_096
_LONGEST_PROMPT = 100_000
_LONGEST_PATH = 65_536


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
    readers may still hold them. `complete` is false while a run still has files to index, and `waiting` counts the
    rows that have no vector yet. `scope` is what the last run was asked for. `place` is the folder where it was
    written. `made_here` is false for a manifest of someone else that the user trusts: its model is a name to compare
    with, and not a wish.
    """

    spec: IndexSpec
    table: str
    version: int
    rows: int
    created: float
    updated: float
    superseded: tuple[tuple[int, float], ...] = ()
    complete: bool = True
    waiting: int = 0
    scope: IndexScope = DEFAULT_SCOPE
    file_count: int = 0
    stored_digest: str = ""
    body_digest: str = ""
    place: str = ""
    made_here: bool = True

    @property
    def vectors(self) -> int:
        """How many rows have a vector."""
        return self.rows - self.waiting if self.spec.dimensions else 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole manifest, files by path; `stored` are the table's own by their names in its folder."""

    header: Header
    stored: dict[str, StoredFile] = field(default_factory=dict)
    files: dict[str, IndexedFile] = field(default_factory=dict)
    left_out: dict[str, LeftOutFile] = field(default_factory=dict)


_verified: dict[Path, tuple[tuple[int, ...], Header]] = {}
"""Headers that this process verified, each with the state of its file: a warm search reads three times what was
published, 0.3 ms each time."""
_MOST_VERIFIED = 64


def read_header(path: Path) -> Header:
    """The first line of a manifest.

    Raises `IndexNotFoundError`, `IndexDamagedError`, `IndexMismatchError` (another schema version) and
    `IndexUntrustedError` (of someone else, and not trusted).
    """
    with _opened(path) as stream:
        stat = os.fstat(stream.fileno())
        # The time of change tells also where an owner or a name changed; on POSIX nobody can set it.
        stamp = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        known = _verified.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        header = _trusted(path, _read_header(path, stream))
        if header.made_here:  # what the user trusts may be distrusted again
            if len(_verified) >= _MOST_VERIFIED:
                _verified.clear()
            _verified[path] = stamp, header
        return header


def foreign_header(path: Path) -> tuple[Header, str, str] | None:
    """A manifest that is not this user's own: its header, the hash that `tp trust` records, and what shows it.

    None for one that is. Raises as `read_header` does, but for `IndexUntrustedError`.
    """
    with _opened(path) as stream:
        line = _read_header(path, stream)
        why = why_foreign(path, line.header.place, line.content, line.signature)
    return (line.header, line.sha256, why) if why else None


def index_tables(directory: Path) -> list[Header]:
    """The headers of every table in an index folder, the one written last first."""
    headers = [read_header(path) for path in manifest_files(directory)]
    return sorted(headers, key=lambda header: header.updated, reverse=True)


def read_stored(path: Path) -> tuple[Header, dict[str, StoredFile]]:
    """The header, and the table's files that its version needs; errors as `read_header`."""
    with _opened(path) as stream:
        header = _trusted(path, _read_header(path, stream))
        stream.readline(_MAX_BODY_BYTES)
        return header, _read_stored(path, header, stream)


def read_manifest(path: Path) -> Manifest:
    """A whole manifest, each line checked against the first; errors as `read_header`."""
    with _opened(path) as stream:
        header = _trusted(path, _read_header(path, stream))
        body = stream.readline(_MAX_BODY_BYTES)
        stored = _read_stored(path, header, stream)
    if _digest(body) != header.body_digest:
        raise _damaged(path, "its list of files was cut or changed")
    try:
        columns = json.loads(body)
        left_out = columns.pop("left_out")
        return Manifest(header, stored, _rows(IndexedFile, columns), _rows(LeftOutFile, left_out))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(path, str(error)) from error


def write_manifest(
    path: Path,
    header: Header,
    files: Mapping[str, IndexedFile],
    left_out: Mapping[str, LeftOutFile],
    stored: Mapping[str, StoredFile],
) -> Header:
    """Replace the manifest in one step, signed by this user; returns the header as written.

    Raises `StorageError`, and `SettingsError` where the user's key cannot be kept.
    """
    columns: dict[str, Any] = _columns(IndexedFile, files)
    columns["left_out"] = _columns(LeftOutFile, left_out)
    body = _line(columns)
    del columns
    third = _line({name: [file.size, "".join(file.blocks)] for name, file in stored.items()})
    written = replace(
        header,
        file_count=len(files),
        stored_digest=_digest(third),
        body_digest=_digest(body),
        place=place_of(path),
        made_here=True,
    )
    values = _header_json(written)
    values["signature"] = sign(user_data_home(), _canonical(values))
    values["sum"] = xxhash.xxh3_64_hexdigest(_canonical(values))
    with translated(path.parent, f"write {path.name}"), replacing(path, durable=True) as stream:
        stream.writelines((json.dumps(values).encode() + b"\n", body, third))
    return written


def _line(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, separators=(",", ":")) + "\n").encode()


def check_spec(found: IndexSpec, wanted: IndexSpec, directory: Path) -> None:
    """Raise `IndexMismatchError`, naming both, where an index was not made with what is wanted. What was cut by other
    rules can be searched all the same."""
    for what, have, want in (
        ("model", (found.model, found.fingerprint), (wanted.model, wanted.fingerprint)),
        ("number of dimensions", found.dimensions, wanted.dimensions),
        ("prompts", found.prompts, wanted.prompts),
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
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        if path.parent.is_symlink():
            raise NotRegularFileError(0, "its folder is a link")
        stream = open_regular(path)
    except FileNotFoundError:
        raise IndexNotFoundError(
            f"there is no index in {path.parent}. Make one with `tp index`, or search with --build"
        ) from None
    except NotRegularFileError as error:
        raise IndexUntrustedError(
            f"{path} is not used ({error.strerror}): it did not get there by indexing. "
            "Look at it and remove it, then make the index with `tp index`"
        ) from None
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror}") from error
    with stream, translated(path.parent, f"read {path.name}"):
        yield stream


@dataclass(frozen=True, slots=True)
class _HeaderLine:
    """The first line as it was read: what it says, what was signed, by what, and the hash of the whole."""

    header: Header
    content: bytes
    signature: str
    sha256: str


def _trusted(path: Path, line: _HeaderLine) -> Header:
    """The header, unless it is someone else's and not trusted. Raises `IndexUntrustedError`."""
    why = why_foreign(path, line.header.place, line.content, line.signature)
    if not why:
        return line.header
    if is_trusted(user_data_home(), path, line.sha256):
        return replace(line.header, made_here=False)
    raise IndexUntrustedError(
        f"the index in {path.parent} was not made here by you ({why}), so it is not used. Look at where it came "
        f"from and run `tp trust` to use it as it is now, or make your own in its place with `tp index --rebuild`"
    )


def _canonical(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def _digest(line: bytes) -> str:
    """BLAKE2b-128, in hex. Not xxh3: whoever can make two lines of one digest could swap what was signed."""
    return hashlib.blake2b(line, digest_size=16).hexdigest()


def _damaged(path: Path, cause: str) -> IndexDamagedError:
    return damaged(path.parent, f"{path.name}: {cause}")


def _header_json(header: Header) -> dict[str, Any]:
    spec = header.spec
    return {
        "format": FORMAT,
        "schema": SCHEMA_VERSION,
        "place": header.place,
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
        "waiting": header.waiting,
        "scope": _scope_json(header.scope),
        "files": header.file_count,
        "stored": header.stored_digest,
        "body": header.body_digest,
    }


def _read_header(path: Path, stream: IO[bytes]) -> _HeaderLine:
    line = stream.readline(_MAX_HEADER_BYTES)
    try:
        values = json.loads(line)
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise _damaged(path, "it is not a manifest of TurboProp")
        if values.get("schema") != SCHEMA_VERSION:
            raise IndexMismatchError(
                f"the index in {path.parent} has schema version {str(values.get('schema'))[:20]}, this version of "
                f"TurboProp reads {SCHEMA_VERSION}. Make it anew with `tp index --rebuild`"
            )
        if values.pop("sum", None) != xxhash.xxh3_64_hexdigest(_canonical(values)):
            raise _damaged(path, "its first line was changed")
        signature = _text(values.pop("signature"), 64)
        header = _header(values)
        if manifest_file(path.parent, header.table) != path:
            raise ValueError(f"it speaks of the table {header.table!r}")
        return _HeaderLine(header, _canonical(values), signature, hashlib.sha256(line).hexdigest())
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise _damaged(path, str(error)[:300] or "its first line is cut") from error


def _header(values: Mapping[str, Any]) -> Header:
    """Every value checked: nothing here may name another table, or be too large for what uses it."""
    query, document = values["prompts"]
    fingerprint = _text(values["fingerprint"], _LONGEST_NAME)
    if values["table"] != table_name(fingerprint):
        raise ValueError(f"its table is {str(values['table'])[:80]!r}, which is not that of its model")
    superseded = values["superseded"]
    if len(superseded) > _MOST_SUPERSEDED:
        raise ValueError(f"{len(superseded)} superseded versions")
    return Header(
        spec=IndexSpec(
            model=_text(values["model"], _LONGEST_NAME, least=1),
            fingerprint=fingerprint,
            dimensions=_count(values["dimensions"], 0 if fingerprint == WORDS else 1, _MOST_DIMENSIONS),
            prompts=Prompts(_text(query, _LONGEST_PROMPT), _text(document, _LONGEST_PROMPT)),
            chunker=_text(values["chunker"], _LONGEST_NAME),
        ),
        table=values["table"],
        version=_count(values["version"], 1, _LATEST_VERSION),
        rows=_count(values["rows"]),
        created=_seconds(values["created"]),
        updated=_seconds(values["updated"]),
        superseded=tuple((_count(version, 1, _LATEST_VERSION), _seconds(when)) for version, when in superseded),
        complete=_switch(values["complete"]),
        waiting=_count(values["waiting"], 0, values["rows"]),
        scope=_scope(values["scope"]),
        file_count=_count(values["files"]),
        stored_digest=_text(values["stored"], 64),
        body_digest=_text(values["body"], 64),
        place=_text(values["place"], _LONGEST_PATH),
    )


def _read_stored(path: Path, header: Header, stream: IO[bytes]) -> dict[str, StoredFile]:
    line = stream.read(_MAX_STORED_BYTES)
    if _digest(line) != header.stored_digest:
        raise _damaged(path, "its list of the table's files was cut or changed")
    try:
        return {_inside(name): _stored_file(size, digests) for name, (size, digests) in json.loads(line).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, str(error)[:300]) from error


def _stored_file(size: Any, digests: Any) -> StoredFile:
    count = -(-_count(size) // BLOCK_BYTES)
    if not isinstance(digests, str) or len(digests) != count * _DIGEST_DIGITS:
        raise ValueError(f"{count} blocks with {len(digests)} digits")
    starts = range(0, len(digests), _DIGEST_DIGITS)
    return StoredFile(size, tuple(digests[start : start + _DIGEST_DIGITS] for start in starts))


def _inside(name: object) -> str:
    """A relative path that stays where it begins."""
    text = _text(name, _LONGEST_PATH, least=1)
    if text.startswith("/") or "\\" in text or any(part in ("", ".", "..") for part in text.split("/")):
        raise ValueError(f"{text[:80]!r} leads elsewhere")
    return text


def _text(value: object, most: int, least: int = 0) -> str:
    if not isinstance(value, str) or not least <= len(value) <= most or "\0" in value:
        raise ValueError(f"{str(value)[:80]!r} is not a text of at most {most} characters")
    return value


def _count(value: object, least: int = 0, most: int = _MOST_COUNT) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{str(value)[:80]} is not a count from {least} to {most}")
    return value


def _seconds(value: object) -> float:
    """Seconds since the epoch that a clock could have shown."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1e11:  # NaN is not
        raise ValueError(f"{str(value)[:80]} is not a time")
    return float(value)


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{str(value)[:80]} is neither true nor false")
    return value


def _columns(kind: type, entries: Mapping[str, Any]) -> dict[str, Any]:
    names = [item.name for item in fields(kind)]
    columns = zip(*map(attrgetter(*names), entries.values()), strict=True)
    return dict(zip(names, columns, strict=True)) if entries else {name: [] for name in names}


def _rows(kind: type[Any], columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    ordered = [columns[item.name] for item in fields(kind)]
    if len({len(column) for column in ordered}) > 1:
        raise ValueError("its columns differ in length")
    for item, column in zip(fields(kind), ordered, strict=True):
        wanted = int if item.type == "int" else str
        # A bool is an int that no writer of ours puts there; sizes and times of a file have 64 bits.
        if set(map(type, column)) - {wanted}:
            raise ValueError(f"its column {item.name} holds something else than {wanted.__name__}")
        if wanted is int and column and not (min(column) >= -(1 << 63) and max(column) < 1 << 64):
            raise ValueError(f"its column {item.name} holds a number of more than 64 bits")
    for name in columns["path"]:
        if name.startswith("/") or "\0" in name or (".." in name and ".." in name.split("/")):
            raise ValueError(f"the file {name[:80]!r} lies outside of the repository")
    return {values[0]: kind(*values) for values in zip(*ordered, strict=True)}


def _scope_json(scope: IndexScope) -> list[Any]:
    return [scope.max_filesize, scope.limit, list(scope.exclude), scope.root, list(scope.include)]


def _scope(value: Any) -> IndexScope:
    # Before roots were recorded, and then what is included.
    max_filesize, limit, exclude, root, included = [*value, *("", [])[len(value) - 3 :]] if len(value) < 5 else value
    return IndexScope(
        _count(max_filesize),
        None if limit is None else _count(limit),
        tuple(_text(pattern, _LONGEST_PATH) for pattern in exclude),
        _text(root, _LONGEST_PATH),
        tuple(_text(pattern, _LONGEST_PATH) for pattern in included),
    )
