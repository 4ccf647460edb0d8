"""Texts from the command line, or from standard input where there are none."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from turboprop.errors import UsageError


def texts_or_lines(texts: tuple[str, ...]) -> Iterator[str]:
    """The texts given, or the lines of standard input without their ends.

    Bytes that are not UTF-8 become lone surrogates, which every tokenizer here replaces. Raises
    `UsageError` where standard input is a terminal: nobody would know that it waits.
    """
    if texts:
        return iter(texts)
    _refuse_terminal("give a text, or send texts to standard input, one a line")
    return _lines()


def text_or_input(words: tuple[str, ...]) -> str:
    """The words as one text, or all of standard input; `UsageError` where that is a terminal."""
    if words:
        return " ".join(words)
    _refuse_terminal("give a text, or send one to standard input")
    return sys.stdin.buffer.read().decode("utf-8", "surrogateescape")


def _refuse_terminal(advice: str) -> None:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(advice)


def _lines() -> Iterator[str]:
    for line in sys.stdin.buffer:
        yield line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "surrogateescape")
