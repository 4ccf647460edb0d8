"""Regular expressions over lines, in time that grows with the text alone.

The engine is RE2, which pyarrow brings along: it neither backtracks nor recurses, so that `(a+)+$` takes no longer than
`a+$`. The syntax is the one that RE2 and ripgrep's engine share. `\\w`, `\\d` and `\\s` mean Unicode's letters, digits
and blanks, as in ripgrep; so does `\\b` before the first and behind the last letter of a pattern, elsewhere it knows
ASCII's alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turboprop.code.terms import MAX_WORD, split_identifier, stem, term_hash
from turboprop.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST_PATTERN = 10_000

_WORD = r"\pL\pM\p{Nd}\p{Pc}"
_BLANK = r"\t\v\f\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
_UNICODE = (
    {
        "w": f"[{_WORD}]",
        "W": f"[^{_WORD}]",
        "s": f"[{_BLANK}]",
        "S": f"[^{_BLANK}]",
        "d": r"\p{Nd}",
        "D": r"\P{Nd}",
    },
    {"w": _WORD, "s": _BLANK, "d": r"\p{Nd}", "D": r"\P{Nd}"},
)
_ASCII = ({"s": r"[\s\v]", "S": r"[^\s\v]"}, {"s": r"\s\v"})
"""What stands for a class outside of brackets and inside. RE2's own are ASCII's, and its blanks lack one."""
_WHOLE_TEXT = re.compile(r"\\[Az]|\(\?[a-zA-Z]*-?[a-zA-Z]*m|\(\?[a-zA-Z]*-")
"""What means another thing in a file than in its line: then lines are looked at without looking at files first."""

_NOT_SOUGHT = re.compile(r"\\[^n]|\[\^\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
"""Where `\\n` seeks no end of a line: in a negated class, and behind another backslash."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What lines are looked for: `source` as the user wrote it, one or more alternatives.

    `fixed` takes them as plain text, `words` wants whole words, `whole_lines` whole lines; with `ignore_case` letters
    match in both cases, with `smart_case` where no alternative has a capital letter.
    """

    source: tuple[str, ...]
    fixed: bool = False
    ignore_case: bool = False
    smart_case: bool = False
    words: bool = False
    whole_lines: bool = False

    def compile(self) -> LinePattern:
        """The pattern for RE2. Raises `UsageError` for one that it does not take."""
        for each in self.source:
            if len(each) > LONGEST_PATTERN:
                raise UsageError(f"the pattern has {len(each)} characters and may have {LONGEST_PATTERN}")
            sought = each if self.fixed else _NOT_SOUGHT.sub("", each)
            if "\n" in sought or (not self.fixed and "\\n" in sought):
                raise UsageError("the pattern holds a line end, and lines are looked at one by one; leave it out")
        if not self.source:
            raise UsageError("there is no pattern; say what to look for")
        ignore_case = self.ignore_case or (self.smart_case and not any(map(self._has_capital, self.source)))
        return LinePattern(self, ignore_case)

    def _has_capital(self, source: str) -> bool:
        plain = source if self.fixed else re.sub(r"\\(?:[pP](?:\{[^}]*\}|.)|x\{[^}]*\}|.)", "", source)
        return plain != plain.lower()


class LinePattern:
    """A pattern that RE2 takes. `terms` are hashes of terms that each matching line holds, where some are known."""

    def __init__(self, pattern: Pattern, ignore_case: bool) -> None:
        narrow, wide = (
            [_quoted(each) if pattern.fixed else _translated(each, classes) for each in pattern.source]
            for classes in (_ASCII, _UNICODE)
        )
        for regex, source in zip(wide, pattern.source, strict=True):  # one by one: the message names its own
            _check(regex, source)
        self._narrow = _Forms(pattern, narrow, ignore_case, "0-9A-Za-z_")
        self._wide = _Forms(pattern, wide, ignore_case, _WORD)
        _check(self._wide.line, " | ".join(pattern.source))
        self.terms = () if ignore_case or len(wide) != 1 else _certain_terms(pattern)

    def in_texts(self, texts: Any, is_ascii: bool = False) -> NDArray[np.bool_] | None:
        """Which texts (an Arrow array of strings) may have such a line, None where looking at lines is as good."""
        regex = (self._narrow if is_ascii else self._wide).text
        return _matches(texts, regex) if regex else None

    def in_lines(self, lines: Any, is_ascii: bool = False) -> NDArray[np.bool_]:
        """Which lines (an Arrow array of strings without their ends) match, bool [n]."""
        return _matches(lines, (self._narrow if is_ascii else self._wide).line)

    def in_lines_of(self, texts: Any) -> NDArray[np.bool_]:
        """Which texts (an Arrow array of strings) have such a line, bool [n]."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        may = self.in_texts(texts)
        rows = np.arange(len(texts)) if may is None else np.flatnonzero(may)
        lines = pc.split_pattern(pc.replace_substring_regex(texts.take(pa.array(rows)), r"\n\z", ""), "\n")
        found = self.in_lines(lines.flatten())
        holds = np.zeros(len(texts), np.bool_)
        holds[rows[pc.list_parent_indices(lines).to_numpy()[found]]] = True
        return holds

    def spans(self, lines: Sequence[str], most: int | None = None) -> list[tuple[tuple[int, int], ...]]:
        """Where each of the matching lines holds the pattern, the first `most` times: [begin, end) in characters,
        without empty ones."""
        import pyarrow as pa
        import pyarrow.compute as pc

        forms = self._narrow if all(map(str.isascii, lines)) else self._wide
        # No byte of UTF-8 is 0xff or 0xfe.
        encoded = pa.array([line.encode("utf-8", "replace") for line in lines], pa.large_binary())
        marked = pc.replace_substring_regex(
            encoded.view(pa.large_string()), forms.marked, b"\xff\\1\xfe", max_replacements=most
        )
        return [_spans(line) for line in marked.view(pa.large_binary()).to_pylist()]


class _Forms:
    """One pattern for a whole text, for a line of it, and with a group around what it matches in a line."""

    def __init__(self, pattern: Pattern, translated: Sequence[str], ignore_case: bool, word: str) -> None:
        either = "|".join(f"(?:{each})" for each in translated)
        flag = "(?i)" if ignore_case else ""
        core = f"(?:{either})"
        self.marked = f"{flag}({core})"
        if not pattern.fixed and not pattern.whole_lines and not pattern.words:
            core = f"(?:{'|'.join(f'(?:{_bounded(each, word)})' for each in translated)})"
        if pattern.whole_lines:
            core = f"^{core}$"
            self.marked = f"{flag}({core})"
        elif pattern.words:
            core = f"(?:^|[^{word}]){core}(?:[^{word}]|$)"
            self.marked = rf"{flag}(\b(?:{either})\b)"
        self.line = flag + core
        # In a text the ends of lines are ends, too, so that one look tells whether there is a line to look for.
        self.text = "" if _WHOLE_TEXT.search(either) else f"(?m){flag}{core}"


def _edges(source: str) -> tuple[str, bool, bool]:
    """A pattern without `\\b` before its first and behind its last character, where these are of a word; and which
    there were."""
    if "|" in source:
        return source, False, False
    before = re.match(r"\\b(?=\w)", source) is not None
    source = source[2:] if before else source
    behind = re.search(r"(?:^|[^\\])\w\\b$", source) is not None
    return (source[:-2] if behind else source), before, behind


def _bounded(source: str, word: str) -> str:
    """The pattern with the boundaries of a Unicode word in place of ASCII's at its edges. What lies beyond them is
    matched, too, which does not matter where whole lines are told."""
    inner, before, behind = _edges(source)
    return f"{f'(?:^|[^{word}])' if before else ''}{inner}{f'(?:[^{word}]|$)' if behind else ''}"


def _matches(texts: Any, regex: str) -> NDArray[np.bool_]:
    import pyarrow.compute as pc

    found: NDArray[np.bool_] = pc.match_substring_regex(texts, pattern=regex).to_numpy(zero_copy_only=False)
    return found


def _spans(marked: bytes) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    place = 0
    for before_end, part in enumerate(marked.split(b"\xff")):
        inside, closed, after = part.partition(b"\xfe") if before_end else (b"", b"", part)
        if closed and inside:
            found.append((place, place + len(inside.decode("utf-8", "replace"))))
            place = found[-1][1]
        place += len(after.decode("utf-8", "replace"))
    return tuple(found)


def _check(regex: str, source: str) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.match_substring_regex(pa.array(["", "a"]), pattern=regex)
    except pa.ArrowInvalid as error:
        why = str(error).removeprefix("Invalid regular expression: ")
        more = ""
        if "perl operator" in why or re.search(r"escape sequence: \\[1-9]", why):
            more = "; look-around and references to groups need an engine that goes back, and this one never does"
        raise UsageError(
            f"the pattern {source!r} is no regular expression here ({why}){more}. -F takes it as plain text"
        ) from None


def _quoted(text: str) -> str:
    return re.sub(r"([^\w\s])", r"\\\1", text, flags=re.ASCII) if text.isascii() else "".join(map(_quoted_char, text))


def _quoted_char(char: str) -> str:
    return f"\\{char}" if char.isascii() and not (char.isalnum() or char in "_ \t") else char


def _translated(source: str, classes: tuple[Mapping[str, str], Mapping[str, str]]) -> str:
    """The pattern with other classes in place of RE2's, and ripgrep's `\\u{..}` as RE2 writes it."""
    out: list[str] = []
    at, inside = 0, False
    while at < len(source):
        char = source[at]
        if char == "\\" and at + 1 < len(source):
            following = source[at + 1]
            if following == "Q":  # up to \E all is plain
                end = source.find("\\E", at + 2)
                end = len(source) if end < 0 else end
                out.append(_quoted(source[at + 2 : end]))
                at = end + 2
                continue
            if following == "C":  # one byte, which may be a part of a character
                raise UsageError("the pattern has \\C, a byte of a character; lines are looked at by characters")
            if following in "<>" and not inside:  # the ends of a word elsewhere, and plain signs for RE2
                raise UsageError(
                    f"the pattern has \\{following}, which is no boundary here; write \\b for those of words"
                )
            if following in "uU" and source[at + 2 : at + 3] == "{":
                out.append("\\x")
            else:
                out.append(classes[inside].get(following, f"\\{following}"))
            at += 2
            continue
        if inside and char == "]":
            inside = False
        elif not inside and char == "[":
            inside = True
            out.append(char)
            at += 1
            if source[at : at + 1] == "^":
                out.append("^")
                at += 1
            if source[at : at + 1] == "]":
                out.append("\\]")
                at += 1
            continue
        elif not inside and source.startswith("{,", at) and (most := _AT_MOST.match(source, at)):
            out.append(f"{{0,{most[1]}}}")  # plain text for RE2
            at = most.end()
            continue
        elif inside and source.startswith("[:", at) and (end := source.find(":]", at)) > 0:
            out.append(source[at : end + 2])
            at = end + 2
            continue
        out.append(char)
        at += 1
    return "".join(out)


_AT_MOST = re.compile(r"\{,(\d+)\}")
_BY_NUMBER = re.compile(r"\\[pPxXuUQE0-9]")
_UNCERTAIN = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\.|\{[^}]*\}|.", re.DOTALL)
_LITERAL = re.compile(r"\\(?P<escaped>[^\w\s])|(?P<plain>[^\\.^$|?*+()\[\]{}])")


def _certain_terms(pattern: Pattern) -> tuple[int, ...]:
    """Hashes of terms that every matching line holds, from words that the pattern has whole: `\\bfoo_bar\\(` has
    foo and bar. The parts of a word are what the index has of it, wherever the word ends in the text."""
    source, before, behind = pattern.source[0], False, False
    if not pattern.fixed:
        source, before, behind = _edges(source)
    text = source if pattern.fixed else _plain_run(source)
    if text is None:
        return ()
    bounded = pattern.words or pattern.whole_lines
    # Beside a letter that is not ASCII's, as in `für`, `r` is no word.
    text = re.sub(r"[^\x00-\x7f]", "\1", text)
    text = "\0" * (before or bounded) + text + "\0" * (behind or bounded)
    terms = []
    for word in re.finditer(r"(?<=[^\w$\x01])[A-Za-z]\w*(?=[^\w$\x01])", text, re.ASCII):
        if len(word[0]) <= MAX_WORD:
            terms += [term_hash(stem(part)) for part in split_identifier(word[0])]
    return tuple(dict.fromkeys(terms))


def _plain_run(source: str) -> str | None:
    """The pattern as the text that it stands for: \\1 where anything may stand, \\0 at a boundary of words; None
    where it has alternatives, groups or flags."""
    if "|" in source or "(" in source.replace("\\(", "") or _BY_NUMBER.search(source):
        return None
    out: list[str] = []
    at = 0
    while at < len(source):
        found = _LITERAL.match(source, at)
        if found is None:
            skipped = _UNCERTAIN.match(source, at)
            if skipped is None:
                return None
            if skipped[0][0] in "?*{" and out:
                out[-1] = "\1"  # the one before may be missing
            out.append("\0" if skipped[0] in ("^", "$", "\\s", "\\W") else "\1")
            at = skipped.end()
            continue
        out.append(found["escaped"] or found["plain"])
        at = found.end()
    return "".join(out)
