"""One file from disk: its bytes once, their digest, and the text in them."""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass

import xxhash

from turboprop.code.detect import refine_language
from turboprop.code.exclude import Reason, looks_binary, looks_generated, looks_minified
from turboprop.code.walk import Skipped, SourceFile
from turboprop.files import NotRegularFileError, open_regular

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class SourceText:
    """The text of one file. Lines end with `\\n`, a byte-order mark is gone.

    `language` is final (a shebang or the content may have changed what the name said), `digest` is
    the xxh3-128 of the bytes on disk in hex, `encoding` a Python codec name. `size`, `mtime_ns` and
    `inode` are those of the open file, so a file that changed after the walk is recorded as read.
    """

    path: str
    language: str
    text: str
    digest: str
    encoding: str
    size: int
    mtime_ns: int
    inode: int


def normalise_newlines(text: str) -> str:
    """Text whose lines end with `\\n` alone.

    `\\r\\n` becomes `\\n`. A lone `\\r` ends a line only in a file without any `\\n` (classic Mac OS);
    elsewhere it is a character of its line, as for Git and most editors. Form feeds, U+2028 and their
    like never end a line.
    """
    if "\r" not in text:
        return text
    if "\n" not in text:
        return text.replace("\r", "\n")
    return text.replace("\r\n", "\n")


def decode(data: bytes) -> tuple[str, str]:
    """(text, codec name) of a file's bytes; every input decodes.

    A byte-order mark decides, then UTF-8, then cp1252, then Latin-1, which takes any byte.
    """
    for mark, codec in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(codec, "replace"), codec
    for codec in ("utf-8", "cp1252"):
        try:
            return data.decode(codec), codec
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1"


def read_source(file: SourceFile, *, max_filesize: int = 1_000_000) -> SourceText | Skipped:
    """The text of a file of the walk, or why it is left out.

    A file that vanished, turned into a link or a pipe, grew over `max_filesize` bytes or may not be
    read since the walk is a `Skipped`, never an exception.
    """
    # A link put in the file's place is not followed; a pipe in its place does not block.
    try:
        with open_regular(file.location) as stream:
            status = os.fstat(stream.fileno())
            data = stream.read(max_filesize + 1)
    except NotRegularFileError:
        return Skipped(file.path, Reason.SPECIAL_FILE, "replaced since the walk")
    except (OSError, ValueError) as error:
        return Skipped(file.path, Reason.UNREADABLE, getattr(error, "strerror", None) or str(error))
    if len(data) > max_filesize:
        return Skipped(file.path, Reason.TOO_LARGE, f"grew over {max_filesize} bytes since the walk")

    text, encoding = decode(data)
    if encoding.startswith(("utf-16", "utf-32")):
        data_as_text = text.encode()
        if "\0" in text:
            return Skipped(file.path, Reason.BINARY, f"NUL characters in {encoding}")
    elif looks_binary(data):
        return Skipped(file.path, Reason.BINARY, "by content")
    else:
        data_as_text = data
    text = normalise_newlines(text)
    language = refine_language(file.language, file.path, text)
    if looks_generated(data_as_text, language):
        return Skipped(file.path, Reason.GENERATED, "marked in its first lines")
    if looks_minified(data_as_text, language):
        return Skipped(file.path, Reason.MINIFIED, "very long lines")
    return SourceText(
        path=file.path,
        language=language,
        text=text,
        digest=xxhash.xxh3_128_hexdigest(data),
        encoding=encoding,
        size=len(data),
        mtime_ns=status.st_mtime_ns,
        inode=status.st_ino,
    )
