r"""Text of repositories and models, made safe for the place that it goes to.

A file name or a line of code can hold characters that act where they are shown, or that show something else than is
there: control characters move a terminal's cursor, set its title and write to the clipboard; bidirectional controls
reorder a line; tags, fillers and zero-width characters say something to a language model that nobody sees. All of them
are shown by their numbers (`\x1b`, `\u202e`, `\U000e0041`): controls, line and paragraph separators, lone surrogates,
bidirectional controls and what Unicode calls default ignorable (DerivedCoreProperties.txt).

What people write needs a few of the invisible ones, and keeps them there: joiners between letters of scripts that join
or stack (Arabic, Syriac, Mongolian, the Indic ones) and between the parts of an emoji; one variation selector after an
emoji, a Han or a Mongolian character. Elsewhere, and from the second one on, they are shown. Letters, combining marks
and emoji are never changed, so letters of two alphabets that look alike stay as they are.

Machines get the exact text: JSON has escapes of its own. `edges/web/assets/js/format.js` says the same for the page.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from typing import Any

# BMP and beyond, as character classes. Tab and newline are left out: they are a text's own.
_NEVER = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufe03-\ufe0d\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
_SOMETIMES = "\u180b-\u180d\u180f\u200c\u200d\ufe00-\ufe02\ufe0e\ufe0f\U000e0100-\U000e01ef"
_JOINING = (
    "\u0620-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u17b3\u17b6-\u17ff\u1807\u180a\u1820-\u18af\u1a20-\u1cff"
    "\ua800-\ua8ff\ua980-\ua9ff\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00010aff\U00011000-\U000117ff"
)
_EMOJI = (
    "\xa9\xae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2900-\u297f"
    "\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
)
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KEPT = (
    f"(?<=[{_JOINING}])\u200c(?=[{_JOINING}])",
    f"(?<=[{_JOINING}])\u200d(?![{_NEVER}{_SOMETIMES}])",
    f"(?<=[{_EMOJI}\ufe0f])\u200d(?=[{_EMOJI}])",
    f"(?<=[{_EMOJI}])[\ufe0e\ufe0f]",
    "(?<=[0-9#*])\ufe0f(?=\u20e3)",
    f"(?<=[{_HAN}])[\ufe00-\ufe02\U000e0100-\U000e01ef]",
    "(?<=[\u1820-\u18aa])[\u180b-\u180d\u180f]",
)
_PLAIN_NAME = re.compile(r'[^\s:|"]+')


def printable(text: str) -> str:
    r"""The text with hidden characters shown by their numbers, but for tabs and newlines."""
    if text.isascii() and text.replace("\n", " ").replace("\t", " ").isprintable():
        return text
    return _hidden().sub(_number, text)


def printable_name(name: str) -> str:
    """The same for what stands on one line: a file's name may hold a newline."""
    return printable(name).replace("\n", "\\x0a").replace("\t", "\\x09")


def printable_message(text: str) -> str:
    """The same for a message, which quotes names: a line after the first is set in, so that it begins nothing."""
    return printable(text).replace("\n", "\n    ")


def quoted_name(name: str) -> str:
    """A name that other text follows on its line: as it is where that is plain to see, else as a JSON string.

    What has a space, a colon, a bar, a quote or a hidden character is quoted, so that `a.py:1-2` begins with the name
    of a file `a.py` and with no other. `named` reads it back.
    """
    if _PLAIN_NAME.fullmatch(name) and printable_name(name) == name:
        return name
    return _hidden().sub(_json_number, json.dumps(name, ensure_ascii=False))


def named(text: str) -> str:
    """The name that `quoted_name` wrote; any other text is a name as it stands."""
    if text.startswith('"'):
        try:
            name = json.loads(text)
        except ValueError:
            return text
        if isinstance(name, str):
            return name
    return text


def echo(text: object = "", *, err: bool = False, nl: bool = True, dim: bool = False) -> None:
    """Print on the terminal, safe for it whatever the text quotes; every command prints through this."""
    import click

    shown = printable(str(text))
    click.echo(click.style(shown, dim=True) if dim and not os.environ.get("NO_COLOR") else shown, err=err, nl=nl)


def echo_json(value: object, **options: Any) -> None:
    """Print as JSON in ASCII: the exact text, which a terminal can show too. `options` are those of `json.dumps`."""
    import click

    click.echo(json.dumps(value, **options).replace("\x7f", "\\u007f"))


def _number(found: re.Match[str]) -> str:
    if _is_kept(found):
        return found[0]
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_number(found: re.Match[str]) -> str:
    if _is_kept(found):
        return found[0]
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _is_kept(found: re.Match[str]) -> bool:
    return _kept().match(found.string, found.start()) is not None


@cache
def _hidden() -> re.Pattern[str]:
    return re.compile(f"[{_NEVER}{_SOMETIMES}]")


@cache
def _kept() -> re.Pattern[str]:
    """Compiled when the first is met: 5 ms that most commands do without."""
    return re.compile("|".join(_KEPT))


def human_size(count: float) -> str:
    """Bytes for people: 1.2 MB."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
