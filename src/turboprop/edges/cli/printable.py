"""Text of repositories and models as a terminal may have it."""

from __future__ import annotations

import re

_IN_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    r"""Control characters as `\xNN`, but for tabs and newlines: others move the cursor, or write to the clipboard."""
    return _IN_TEXT.sub(_number, text)


def printable_name(name: str) -> str:
    """The same for what stands on one line."""
    return _IN_NAMES.sub(_number, name)


def _number(character: re.Match[str]) -> str:
    return f"\\x{ord(character[0]):02x}"
