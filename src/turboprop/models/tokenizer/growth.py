"""What the rules of a tokenizer may make of a text at most, told from the rules before they are run.

The rules run one after the other, and each may write what the next one finds: four times `a` to a hundred `a` make
100,000,000 of one. So the look begins at the end: from what each character becomes in the rules behind a rule follows
what it becomes in that rule and those behind it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turboprop.errors import ModelFormatError

if TYPE_CHECKING:
    from turboprop.models.tokenizer.pattern_cost import PatternCost

Rule = Mapping[str, Any]

_UNICODE_FORMS = {"NFC": 3, "NFD": 3, "NFKC": 11, "NFKD": 11}
"""Bytes that one byte becomes at most (Unicode Standard Annex 15, table 8, version 16); none of ASCII changes."""
_CASE = 1.5
"""Of 2 bytes U+0130 becomes 3 in lower case."""
_CHINESE_SPACES = 2 / 3
"""BERT puts a space before and after each ideograph of 3 bytes."""
_ASCII = [chr(number) for number in range(128)]
_LEAST_TRIE = 1024
"""Bytes: SentencePiece makes them in blocks of 256 units (darts-clone)."""
_SHORTEST_ABOVE = 2
"""Bytes of the shortest character that is not ASCII."""


@dataclass(slots=True)
class Growth:
    """Bytes that a character becomes in the rules from some place on.

    `of` holds every ASCII character and those that the rules name; `others` is for a byte of any other character, and
    `piece` is added once to each piece that a rule takes on its own.
    """

    of: dict[str, float]
    others: float = 1.0
    piece: float = 0.0

    @classmethod
    def of_nothing(cls, named: Iterable[str]) -> Growth:
        return cls({char: float(_bytes(char)) for char in (*_ASCII, *named)})

    def text(self, text: str) -> float:
        """Bytes that a text becomes."""
        return sum(self.of.get(char, self.others * _bytes(char)) for char in text)

    @property
    def most(self) -> float:
        """Bytes that one byte becomes at most, alone in its piece."""
        return max(self.others, max(value / _bytes(char) for char, value in self.of.items())) + self.piece

    @property
    def _anything(self) -> float:
        return max(self.others, max(value / _bytes(char) for char, value in self.of.items()))

    def before(self, rule: Rule, pattern: PatternCost | None) -> Growth:
        """The same from one rule earlier on. `pattern` is of a rule with a regular expression."""
        made = Growth(dict(self.of), self.others, self.piece)
        match rule.get("type"):
            case "Replace":
                self._replace(made, rule, pattern)
            case "Prepend":
                made.piece += self.text(str(rule.get("prepend", "")))
            case "NFC" | "NFD" | "NFKC" | "NFKD" as form:
                made._others_become(_UNICODE_FORMS[form] * self._anything)
            case "Lowercase":
                made._ascii_becomes(lambda char: self.of[char.lower()])
                made._others_become(_CASE * self._anything)
            case "Nmt":
                made._ascii_becomes(lambda char: max(self.of[char], self.of[" "]))
                made._others_become(max(self._anything, self.of[" "]))
            case "BertNormalizer":
                made._ascii_becomes(lambda char: max(self.of[char], self.of[char.lower()], self.of[" "]))
                spaces = _CHINESE_SPACES * self.of[" "]
                made._others_become(_CASE * _UNICODE_FORMS["NFD"] * self._anything + spaces)
            case "ByteLevel":
                self._bytes_apart(made, rule)
            case "Metaspace":
                sign = self.text(str(rule.get("replacement", "\u2581")))
                made.of[" "] = max(sign, self.of[" "])
                if rule.get("prepend_scheme", "always") != "never":
                    made._all_more(sign)
            case "Precompiled":
                self._precompiled(made, rule)
        return made

    def _ascii_becomes(self, value: Callable[[str], float]) -> None:
        self.of.update({char: value(char) for char in _ASCII})

    def _others_become(self, value: float) -> None:
        self.others = value
        self.of.update({char: max(old, value * _bytes(char)) for char, old in self.of.items() if not char.isascii()})

    def _all_more(self, value: float) -> None:
        self.of = {char: old + value for char, old in self.of.items()}
        self.others += value / _SHORTEST_ABOVE

    def _replace(self, made: Growth, rule: Rule, pattern: PatternCost | None) -> None:
        becomes = self.text(str(rule.get("content", "")))
        text = pattern_text(rule)
        if text:
            for char in text:
                made.of[char] = max(made.of[char], becomes / len(text))
            return
        if pattern is None or not pattern.least:  # it matches between any two characters, and at both ends
            made._all_more(2 * becomes)
            return
        each = becomes / pattern.least
        for char in made.of if pattern.takes is None else pattern.takes:
            made.of[char] = max(made.of[char], each)
        if pattern.takes is None:
            made.others = max(made.others, each / _SHORTEST_ABOVE)

    def _bytes_apart(self, made: Growth, rule: Rule) -> None:
        """Each byte becomes a character: printable ASCII itself, any other one of two bytes."""
        above = max([2 * self.others, *(value for char, value in self.of.items() if not char.isascii())])
        made._ascii_becomes(lambda char: self.of[char] if "!" <= char <= "~" else above)
        made._others_become(max(above, self._anything))
        if rule.get("add_prefix_space"):  # the normalizer of the name has no such key
            made._all_more(above)

    def _precompiled(self, made: Growth, rule: Rule) -> None:
        charsmap = rule.get("precompiled_charsmap") or ""
        try:
            data = base64.b64decode(charsmap, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise ModelFormatError("a precompiled_charsmap is no base64 text") from None
        # 4 bytes length of the trie, the trie, then the texts that it points into, each ended by a zero.
        trie = int.from_bytes(data[:4], "little")
        if trie % 4 or not _LEAST_TRIE <= trie <= len(data) - 4:
            raise ModelFormatError("a precompiled_charsmap is damaged: its trie is not whole")
        longest = max(map(len, data[4 + trie :].split(b"\0")), default=0)
        made._others_become(max(longest / _SHORTEST_ABOVE, 1) * self._anything)
        mapped = _mapped_ascii(data)
        made._ascii_becomes(lambda char: max(self.of[char], self.text(mapped[char])))


def _mapped_ascii(charsmap: bytes) -> dict[str, str]:
    from tokenizers import normalizers

    try:
        normalizer = normalizers.Precompiled(charsmap)
        mapped = {char: normalizer.normalize_str(char) for char in _ASCII}
        line = normalizer.normalize_str("\r\n")  # the one cluster of two ASCII characters
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelFormatError(f"a precompiled_charsmap is damaged ({str(error)[:200]})") from None
    return {**mapped, "\r": max(mapped["\r"], line, key=len), "\n": max(mapped["\n"], line, key=len)}


def pattern_text(rule: Rule) -> str:
    """The text that a rule looks for, empty where it has a regular expression."""
    pattern = rule.get("pattern")
    text = pattern.get("String") if isinstance(pattern, dict) else None
    return text if isinstance(text, str) else ""


def named_characters(rules: Iterable[Rule]) -> set[str]:
    """The characters beside ASCII that rules are about."""
    named: set[str] = set()
    for rule in rules:
        named.update(pattern_text(rule))
        for key in ("content", "prepend", "replacement"):
            named.update(str(rule.get(key, "")))
    return {char for char in named if not char.isascii()}


def _bytes(char: str) -> int:
    return len(char.encode("utf-8", "surrogatepass"))
