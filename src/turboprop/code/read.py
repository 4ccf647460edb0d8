"""One file from disk: its bytes once, their digest, and the text in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import xxhash

from turboprop.code import include, notebook
from turboprop.code.detect import refine_language
from turboprop.code.encoding import Decoded, decode, normalise_newlines
from turboprop.code.exclude import Reason
from turboprop.code.generated import generator_mark
from turboprop.code.languages import LANGUAGES
from turboprop.code.longlines import is_minified
from turboprop.code.walk import Skipped, SourceFile
from turboprop.files import NotRegularFileError, open_regular


@dataclass(frozen=True, slots=True)
class SourceText:
    """The text of one file. Lines end with `\\n`, a byte-order mark is gone; of a notebook it is the cells' lines.

    `language` is final (a shebang or the content may have changed what the name said), `digest` is
    the xxh3-128 of the bytes on disk in hex, `encoding` a Python codec name. `size`, `mtime_ns` and
    `inode` are those of the open file, so a file that changed after the walk is recorded as read; `mtime_ns` is 0,
    which no file has, where only a rule of the user's keeps the file in: it is read again, since the rule may go.
    `notes` say what is not as it is in the file.
    """

    path: str
    language: str
    text: str
    digest: str
    encoding: str
    size: int
    mtime_ns: int
    inode: int
    notes: tuple[str, ...] = ()


def read_text(path: str, data: bytes) -> tuple[Decoded, str] | None:
    """The text of a file called `path` as it is indexed, and the language of a notebook, '' for another file. None
    where its bytes are data."""
    found = decode(data)
    if found is None:
        return None
    language = ""
    text = normalise_newlines(found.text)
    if path.endswith(notebook.SUFFIX) and (cells := notebook.read_notebook(text)) is not None:
        text, language = cells
    return found._replace(text=text), language


def read_source(file: SourceFile, *, max_filesize: int = 1_000_000) -> SourceText | Skipped:
    """The text of a file of the walk, or why it is left out.

    A file that vanished, turned into a link or a pipe, grew over `max_filesize` bytes or may not be
    read since the walk is a `Skipped`, never an exception.
    """
    largest = max_filesize
    if Reason.TOO_LARGE in file.exempt:
        largest = max(largest, include.LARGEST)
    elif file.path.endswith(notebook.SUFFIX):
        largest = max(largest, notebook.LARGEST)
    # A link put in the file's place is not followed; a pipe in its place does not block.
    try:
        with open_regular(file.location) as stream:
            status = os.fstat(stream.fileno())
            data = stream.read(largest + 1)
    except NotRegularFileError:
        return Skipped(file.path, Reason.SPECIAL_FILE, "replaced since the walk")
    except (OSError, ValueError) as error:
        return Skipped(file.path, Reason.UNREADABLE, getattr(error, "strerror", None) or str(error))
    if len(data) > largest:
        return Skipped(file.path, Reason.TOO_LARGE, f"grew over {largest} bytes since the walk")

    notes: list[str] = []
    kept_by_rule = False
    read = read_text(file.path, data)
    if read is None:
        if Reason.BINARY not in file.exempt:
            return Skipped(file.path, Reason.BINARY, "by content")
        kept_by_rule = True
        read = Decoded(normalise_newlines(data.decode("utf-8", "replace")), "utf-8", data.count(0)), ""
    decoded, language = read
    text = decoded.text
    if decoded.replaced:
        notes.append(f"bytes that are no {decoded.encoding}, which are replaced: {decoded.replaced:,}")
    if language:
        language = language if language in LANGUAGES else ""
        if len(text) > max(max_filesize, include.LARGEST if Reason.TOO_LARGE in file.exempt else 0):
            return Skipped(file.path, Reason.TOO_LARGE, f"{len(text)} characters of cells, the limit is {max_filesize}")
    else:
        language = refine_language(file.language, file.path, text)
        if file.path.endswith(notebook.SUFFIX):
            language = ""
            notes.append("it is no notebook: not JSON, or without cells; read as plain text")
        for reason, detail in _judgements(text, language):
            if reason not in file.exempt:
                return Skipped(file.path, reason, detail)
            kept_by_rule = True
    return SourceText(
        path=file.path,
        language=language,
        text=text,
        digest=xxhash.xxh3_128_hexdigest(data),
        encoding=decoded.encoding,
        size=len(data),
        mtime_ns=0 if kept_by_rule else status.st_mtime_ns,
        inode=status.st_ino,
        notes=tuple(notes),
    )


def _judgements(text: str, language: str) -> Iterator[tuple[Reason, str]]:
    if mark := generator_mark(text, language):
        yield Reason.GENERATED, f"its first lines say {mark!r}"
    if is_minified(text, language):
        yield Reason.MINIFIED, "all of it is in lines too long to read"
