"""From ids to text as it is written: whole characters, stop texts cut off, reasoning apart from the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from turboprop.models.tokenizer.load import decode_ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
_CONTEXT_IDS = 8
"""Ids of the prompt that the first id of an answer is decoded behind: many tokenizers drop a space at the
very beginning, and an answer is none."""
_LONGEST_CHARACTER = 4
"""Ids that one character can be spread over; more than these without a whole one are no UTF-8."""


class Detokenizer:
    """Text of one answer, id by id; a character that is not whole yet is held back."""

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt[-_CONTEXT_IDS:])
        self._begin = 0
        self._shown = len(self._ids)

    def push(self, number: int) -> str:
        """What this id adds; empty while a character is incomplete."""
        self._ids.append(number)
        return self._more(len(self._ids) - self._shown > _LONGEST_CHARACTER)

    def finish(self) -> str:
        """What is left, an incomplete character as U+FFFD."""
        return self._more(True)

    def _more(self, everything: bool) -> str:
        before = self._decode(self._ids[self._begin : self._shown])
        now = self._decode(self._ids[self._begin :])
        if len(now) <= len(before) or (now.endswith(_INCOMPLETE) and not everything):
            return ""
        # The last shown ids stay as context: what one id decodes to depends on its neighbours.
        self._begin, self._shown = self._shown, len(self._ids)
        return now[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return decode_ids(self._tokenizer, ids) if ids else ""


class StopFilter:
    """Passes text on until one of the stop texts is complete; what may be the beginning of one waits.

    The text ends before the stop text that is complete first, wherever the pieces were cut.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped: str | None = None

    def push(self, text: str) -> str:
        """What may be shown now; nothing once `stopped` is set."""
        if self.stopped is not None:
            return ""
        self._held += text
        found = [(start + len(stop), start, stop) for stop in self._stops if (start := self._held.find(stop)) >= 0]
        if found:
            _, start, self.stopped = min(found)
            text, self._held = self._held[:start], ""
            return text
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text

    def finish(self) -> str:
        """What waited and was no stop text after all."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`, not all of it."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


Part = tuple[Literal["text", "reasoning"], str]
_OPEN, _CLOSE = "<think>", "</think>"


class ReasoningSplitter:
    """Tells reasoning from answer: what stands between `<think>` and `</think>` at the beginning.

    `thinking`: the prompt has opened the tag already. The tags and the blank lines after them are dropped.
    """

    def __init__(self, thinking: bool = False) -> None:
        self._state: Literal["begin", "reasoning", "between", "text"] = "reasoning" if thinking else "begin"
        self._held = ""

    def push(self, text: str) -> list[Part]:
        """The parts that may be shown now, in order."""
        parts: list[Part] = []
        self._held += text
        if self._state == "begin":
            bare = self._held.lstrip()
            if bare.startswith(_OPEN):
                self._state, self._held = "reasoning", bare[len(_OPEN) :]
            elif not _OPEN.startswith(bare):
                self._state = "text"
        if self._state == "reasoning":
            start = self._held.find(_CLOSE)
            keep = 0 if start >= 0 else _overlap(self._held, _CLOSE)
            end = start if start >= 0 else len(self._held) - keep
            if end:
                parts.append(("reasoning", self._held[:end]))
            self._held = self._held[end:]
            if start >= 0:
                self._state, self._held = "between", self._held[len(_CLOSE) :]
        if self._state == "between":
            self._held = self._held.lstrip()
            if self._held:
                self._state = "text"
        if self._state == "text" and self._held:
            parts.append(("text", self._held))
            self._held = ""
        return parts

    def finish(self) -> list[Part]:
        """What waited and was no tag after all."""
        text, self._held = self._held, ""
        if not text:
            return []
        return [("reasoning" if self._state == "reasoning" else "text", text)]
