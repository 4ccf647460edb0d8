"""Bytes to text: the one place where a file's encoding is found out.

A byte-order mark decides, then UTF-8 (also with a few stray bytes), then UTF-16 by where its zero bytes are or by how
usual its characters are, then what the file says of itself, then `legacy`: the language whose text it most likely is.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from typing import NamedTuple

# UTF-32 first: its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(
    rb"""coding[:=][ \t]*["']?([-\w.]+)|encoding=["']([-\w.]+)|charset=["']?([-\w.]+)""", re.IGNORECASE
)
_DECLARED_WITHIN = 1_024
# What a file may say of itself, as Python calls them: codecs in which ASCII bytes are their own characters. Any byte is
# something in UTF-16, so a wrong "utf-16" would be believed, and `unicode_escape` makes lines of what is none.
_DECLARABLE = re.compile(
    r"cp(?:125[0-8]|437|720|737|775|85[025678]|86[0123569]|874|932|949|950|1006|1125)|iso8859-\d+|koi8-[rtu]|kz1048"
    r"|mac-\w+|tis-620|ptcp154|hp-roman8|big5(?:hkscs)?|gb2312|gbk|gb18030|euc_\w+|johab|shift_jis"
)
_SAMPLE = 65_536
_FEW_BYTES = 2_048
# Bytes of text next to none of which are in hand-written files; tab, line ends, form feed and escape are not counted.
_CONTROL = bytes(range(1, 7)) + bytes(range(14, 27)) + bytes(range(28, 32))
# In UTF-8 one zero byte among a hundred is a test's odd string; a table of strings that end with one has 1 in 30.
_MOST_ZEROS = 0.01
# Of bytes that are no UTF-8: random ones have five times as many, texts hardly any.
_MOST_CONTROL = 0.02
# So many whole characters a stray byte are UTF-8, whatever else they could be; pairs of Big5 have been four for two.
_MANY = 4
# Of bytes beyond ASCII that are none of the encoding that fits best. Latin-1 takes any byte and is the last resort.
_MOST_STRAY = 0.02
# A test with a string of thousands of zero bytes has them in one line; what is binary has them everywhere.
_CLEAN_LINES = 0.9
_FEW_LINES = 5


class Decoded(NamedTuple):
    """A text, the codec that gave it and how many of its bytes are none of that codec."""

    text: str
    encoding: str
    replaced: int = 0


def decode(data: bytes) -> Decoded | None:
    """The text of a file; None where its bytes are data rather than text."""
    for mark, codec in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            found = _decoded(data[len(mark) :], codec)
            return found if found.text.count("\0") <= _MOST_ZEROS * len(found.text) else None
    sample = data[:_SAMPLE]
    if b"\x1b$" in sample and data.isascii():  # Japanese mail's, whose bytes are all ASCII
        with contextlib.suppress(UnicodeDecodeError):
            return Decoded(data.decode("iso2022_jp"), "iso2022_jp")
    zeros = sample.count(0)
    if zeros > _MOST_ZEROS * len(sample):
        if codec := _utf16_without_mark(sample):
            return _decoded(data, codec)
        if not _in_few_lines(sample):
            return None
    control = len(sample) - len(sample.translate(None, _CONTROL))
    odd = control > _MOST_CONTROL * len(sample)  # so is half of a text in Hebrew or Thai in UTF-16
    if odd and not len(data) % 2 and (codec := _utf16_without_mark(sample)):
        return _decoded(data, codec)
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        found = _decoded(data, "utf-8")
    # Each character of several bytes that is whole speaks for UTF-8; of other encodings' texts few pairs are.
    whole = len(found.text) - len(found.text.encode("ascii", "ignore")) - found.replaced
    if whole >= _MANY * found.replaced:
        return found
    if not len(data) % 2 and (codec := _utf16_without_mark(sample)):
        return _decoded(data, codec)
    if zeros or odd:
        return found if whole > found.replaced else None
    if whole and _declares_utf_8(data):
        return found
    return _declared(data) or _guessed(data, found if whole else None)


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


def _decoded(data: bytes, codec: str) -> Decoded:
    text = data.decode(codec, "replace")
    own = data.count("\ufffd".encode(codec)) if codec.startswith("utf") else 0
    return Decoded(text, codec, max(0, text.count("\ufffd") - own))


def _in_few_lines(sample: bytes) -> bool:
    """Whether the zero bytes are in few of many lines."""
    lines = sample.split(b"\n")
    clean = sum(0 not in line for line in lines)
    return len(lines) >= _FEW_LINES and clean >= _CLEAN_LINES * len(lines)


def _utf16_without_mark(sample: bytes) -> str:
    """The codec whose ASCII characters, a fifth of all at least, are whole, or all of whose characters are usual; ''
    for none."""
    from turboprop.code.legacy import are_usual

    sample = sample[: len(sample) // 2 * 2]
    if not sample:
        return ""
    for codec, zeros, letters in (("utf-16-le", sample[1::2], sample[0::2]), ("utf-16-be", sample[0::2], sample[1::2])):
        ascii_only = bytes(letter for zero, letter in zip(zeros, letters, strict=True) if not zero)
        control = len(ascii_only) - len(ascii_only.translate(None, _CONTROL + b"\0\x7f"))
        if len(ascii_only) >= len(zeros) / 5 and control <= _MOST_ZEROS * len(ascii_only):
            text = sample.decode(codec, "replace")
            if text.count("\ufffd") + sum("\ue000" <= one <= "\uf8ff" for one in text) <= _MOST_ZEROS * len(text):
                return codec
        if are_usual(sample[:_FEW_BYTES].decode(codec, "replace")):
            return codec
    return ""


def _declares_utf_8(data: bytes) -> bool:
    said = _DECLARED.search(data[:_DECLARED_WITHIN])
    return said is not None and next(filter(None, said.groups())).lower().replace(b"_", b"-") in (b"utf-8", b"utf8")


def _declared(data: bytes) -> Decoded | None:
    """A text in the encoding that it names itself, None where it names none that it is in."""
    for said in _DECLARED.finditer(data[:_DECLARED_WITHIN]):
        name = next(filter(None, said.groups())).decode("ascii", "replace")
        try:
            codec = codecs.lookup(name).name
            if _DECLARABLE.fullmatch(codec):
                return Decoded(data.decode(codec), codec)
        except (LookupError, UnicodeError, TypeError, ValueError):  # no such codec, not of it, or none of text
            continue
    return None


def _guessed(data: bytes, utf_8: Decoded | None) -> Decoded:
    """A text in the encoding in which its bytes are least surprising; `utf_8` is the text as that, where some of its
    characters are."""
    from turboprop.code.legacy import cheapest, of_utf_8

    lines = b"\n".join(line for line in data.split(b"\n") if not line.isascii())[:_SAMPLE]
    codec, bits = cheapest(lines)
    if utf_8 is not None:
        sample = _decoded(lines, "utf-8")
        if of_utf_8(sample.text, sample.replaced) <= bits:
            return utf_8
    found = _decoded(data, codec)
    beyond = len(data) - len(data.decode("ascii", "ignore"))
    if found.replaced > (0 if codec == "cp1252" else _MOST_STRAY * beyond):
        found = Decoded(data.decode("latin-1"), "latin-1")
    return found
