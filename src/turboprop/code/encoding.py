"""Bytes to text: the one place where a file's encoding is found out.

A byte-order mark decides, then UTF-8 (also with a few stray bytes), then UTF-16 by where its zero bytes are, then what
the file says of itself, then `charset_normalizer`. That library judges how much text looks like noise; of a comment of
ten Chinese characters it finds none in three encodings, and takes the wrong one. So what it lets pass is ranked by how
common the characters are: every double-byte standard puts its few thousand common ones into rows of their own.
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
# Of two that fit alike the first one is taken. Latin-1 takes any byte and is the last resort.
_LEGACY = ("cp1252", "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1251", "koi8_r", "cp1250")
_DECLARED = re.compile(
    rb"""coding[:=][ \t]*["']?([-\w.]+)|encoding=["']([-\w.]+)|charset=["']?([-\w.]+)""", re.IGNORECASE
)
_DECLARED_WITHIN = 1_024
_SAMPLE = 65_536
# Bytes of text next to none of which are in hand-written files; tab, line ends, form feed and escape are not counted.
_CONTROL = bytes(range(1, 7)) + bytes(range(14, 27)) + bytes(range(28, 32))
# In UTF-8 one zero byte among a hundred is a test's odd string; a table of strings that end with one has 1 in 30.
_MOST_ZEROS = 0.01
# Of bytes that are no UTF-8: random ones have five times as many, texts hardly any.
_MOST_CONTROL = 0.02
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
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        found = _decoded(data, "utf-8")
    # Each character of several bytes that is whole speaks for UTF-8; of other encodings' texts few pairs are.
    whole = len(found.text) - len(found.text.encode("ascii", "ignore")) - found.replaced
    if whole and whole >= found.replaced:
        return found
    control = len(sample) - len(sample.translate(None, _CONTROL))
    return None if zeros or control > _MOST_CONTROL * len(sample) else _legacy(data)


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
    """The codec whose ASCII characters, a fifth of all at least, are whole; '' for none."""
    sample = sample[: len(sample) // 2 * 2]
    for codec, zeros, letters in (("utf-16-le", sample[1::2], sample[0::2]), ("utf-16-be", sample[0::2], sample[1::2])):
        ascii_only = bytes(letter for zero, letter in zip(zeros, letters, strict=True) if not zero)
        control = len(ascii_only) - len(ascii_only.translate(None, _CONTROL + b"\0\x7f"))
        if len(ascii_only) >= len(zeros) / 5 and control <= _MOST_ZEROS * len(ascii_only):
            text = sample.decode(codec, "replace")
            if text.count("\ufffd") + sum("\ue000" <= one <= "\uf8ff" for one in text) <= _MOST_ZEROS * len(text):
                return codec
    return ""


def _legacy(data: bytes) -> Decoded:
    """A text in an encoding from before Unicode."""
    for said in _DECLARED.finditer(data[:_DECLARED_WITHIN]):
        name = next(filter(None, said.groups())).decode("ascii", "replace")
        try:
            codec = codecs.lookup(name).name
            if codec != "utf-8":
                return Decoded(data.decode(codec), codec)
        except (LookupError, UnicodeError, TypeError, ValueError):  # no such codec, not of it, or none of text
            continue
    from charset_normalizer import from_bytes  # 30 ms

    lines = b"\n".join(line for line in data.split(b"\n") if not line.isascii())[:_SAMPLE]
    matches = from_bytes(lines, cp_isolation=list(_LEGACY), threshold=0.5)
    chaos = {codec: match.chaos for match in matches for codec in match.could_be_from_charset}
    best, best_score = "cp1252", 0.0
    for codec in _LEGACY:
        if codec in chaos or (codec == "cp1252" and not _decoded(lines, codec).replaced):
            score = _commonness(lines.decode(codec, "ignore"), codec)
            # The library counts two accents in one word as noise, and takes French for that.
            score -= _CENTRAL if codec == "cp1250" else 0.0 if codec == "cp1252" else chaos[codec]
            if score > best_score + 1e-6:
                best, best_score = codec, score
    found = _decoded(data, best)
    return found if not found.replaced else Decoded(data.decode("latin-1"), "latin-1")


_COMMON_ROWS = {
    "gb18030": (0xB0, 0xD7, 0xA1),
    "big5": (0xA4, 0xC6, 0x40),
    "cp932": (0x88, 0x98, 0x40),
    "euc_jp": (0xB0, 0xCF, 0xA1),
    "cp949": (0xB0, 0xC8, 0xA1),
}
"""The first bytes of the rows with each standard's common ideographs or syllables, and the least second byte."""
_CYRILLIC = ("cp1251", "koi8_r")
_FURTHER_CYRILLIC = "\u0401\u0451\u0404\u0454\u0406\u0456\u0407\u0457\u0490\u0491\u040e\u045e"
"""Letters of Russian, Ukrainian and Belarusian outside the main rows."""
_RARE = 0.1
_CENTRAL = 0.15
"""Most letters of cp1250 are letters in cp1252, too, and more files are in that."""
_MARKS = "\u2013\u2014\u2018\u2019\u201c\u201d\u2026\u20ac\xa7\xa9\xab\xae\xb0\xb7\xbb\xb5\u2116"


def _commonness(text: str, codec: str) -> float:
    """From 0 to 1, how usual the characters beyond ASCII are in a text of that encoding."""
    text = f" {text[:20_000]} "
    beyond = [place for place, one in enumerate(text) if one > "\x7f"]
    total = sum(_usual(text[place], text[place - 1], text[place + 1], codec) for place in beyond)
    return total / len(beyond) if beyond else 0.0


def _usual(one: str, before: str, after: str, codec: str) -> float:
    if "\u3041" <= one <= "\u30ff":
        return 1.0 if codec in ("cp932", "euc_jp") else _RARE
    if codec in _COMMON_ROWS:
        first_own, last_own = ("\uac00", "\ud7a3") if codec == "cp949" else ("\u4e00", "\u9fff")
        if first_own <= one <= last_own:
            first, last, least = _COMMON_ROWS[codec]
            row, cell = one.encode(codec)[:2]
            return 1.0 if first <= row <= last and cell >= least else _RARE
        if "\u3000" <= one <= "\u3020" or "\uff01" <= one <= "\uff5e":  # punctuation of its width
            return 1.0
        # Other letters have rows of their own there, and seldom a text; Japan's narrow kana are in old ones.
        return 0.3 if "\uff61" <= one <= "\uff9f" else _RARE
    if not one.isalpha():
        return 0.5 if one in _MARKS else 0.0
    if codec in _CYRILLIC:
        # One letter of another script inside of a word is none of a text, and small letters outnumber capitals.
        if one < "\u0400" or (before.isascii() and before.isalpha()) or (after.isascii() and after.isalpha()):
            return 0.0
        if not ("\u0410" <= one <= "\u044f" or one in _FURTHER_CYRILLIC):
            return 0.3
    elif before > "\x7f" and before.isalpha():
        return 0.5  # two in a row are rare where most letters are ASCII
    if one.isupper():
        return 0.0 if before.islower() else 0.7
    return 1.0
