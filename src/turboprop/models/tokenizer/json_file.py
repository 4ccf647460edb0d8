"""A tokenizer.json, looked at from outside before the library `tokenizers` reads it.

The parts that hold rules are small and are parsed; vocabulary and merges, which can have tens of megabytes, are
measured where they lie. A vocabulary of Gemma (33 MB) is looked through in 0.2 s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turboprop.errors import ModelError, ModelFormatError
from turboprop.models.tokenizer.parts import (
    MAX_ADDED,
    MAX_ADDED_BYTES,
    MAX_TOKENS,
    MAX_UNIGRAM_NODES,
    unigram_nodes,
)
from turboprop.models.tokenizer.rules import TokenizerLimits, check_rules

MAX_FILE_BYTES = 1 << 26
"""The largest in use, Gemma's and Llama 4's, have 35 MB."""
_MAX_STRING_BYTES = 8000
"""The library frees a unigram vocabulary by recursion, one level a byte: a token of 16,000 bytes overflowed a stack of
512 KiB, one of 8,000 did not. Tokens have up to 512 characters, regular expressions 2,000."""
_CHARSMAP = re.compile(rb'"precompiled_charsmap"\s*:\s*\Z')  # the one long string of a sound file
_MAX_BRACKETS = 1 << 22
"""Pairs of merges have two; Gemma 3 has 1,029,000."""
_MAX_PART_BYTES = 1 << 23
_MAX_SKELETON = 1 << 18
Span = tuple[int, int]


def check_tokenizer_json(path: Path, data: bytes) -> TokenizerLimits:
    """What texts the file's tokenizer may be given. Raises `ModelFormatError` or `ModelUnsupportedError`."""
    try:
        return _Outline(data).check()
    except ModelError as error:
        raise type(error)(
            f"{path}: its tokenizer cannot be built: {error}; get the tokenizer.json of the model's own repository"
        ) from None


class _Outline:
    """Where the strings and brackets of a JSON text are."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        view = np.frombuffer(data, np.uint8)
        if data.count(b"[") + data.count(b"{") > _MAX_BRACKETS:
            raise ModelFormatError(f"it has more than {_MAX_BRACKETS} lists and objects")
        self._strings = _strings(view)
        self._refuse_long_strings()
        places = np.flatnonzero((view == ord("{")) | (view == ord("}")) | (view == ord("[")) | (view == ord("]")))
        before = np.searchsorted(self._strings[:, 0], places, "right") - 1
        inside = before >= 0
        if len(self._strings):
            inside &= places < self._strings[before, 1]
        self._places = places[~inside]
        opens = (view[self._places] == ord("{")) | (view[self._places] == ord("["))
        self._depth = np.cumsum(np.where(opens, 1, -1))  # after the bracket
        self._opens = opens

    def _refuse_long_strings(self) -> None:
        lengths = self._strings[:, 1] - self._strings[:, 0]
        for begin, end in self._strings[lengths > _MAX_STRING_BYTES].tolist():
            if not _CHARSMAP.search(self._data, max(0, begin - 100), begin):
                raise ModelFormatError(
                    f"it has a string of {end - begin} bytes (byte {begin}), which no tokenizer needs"
                )

    def _count(self, span: Span) -> int:
        """Strings that begin within a span."""
        first, end = np.searchsorted(self._strings[:, 0], span)
        return int(end - first)

    def _object(self, span: Span, depth: int) -> tuple[dict[str, Any], dict[str, Span]]:
        """The keys of the object that a span holds and that is `depth` deep; lists and objects by their spans."""
        first, end = np.searchsorted(self._places, span)
        depths, opens = self._depth[first:end], self._opens[first:end]
        begins = self._places[first:end][opens & (depths == depth + 1)].tolist()
        ends = self._places[first:end][~opens & (depths == depth)].tolist()
        if len(begins) != len(ends) or len(begins) > _MAX_PART_BYTES:
            raise ModelFormatError("it is not JSON: its brackets do not meet")
        pieces, at = [], span[0]
        for number, (begin, close) in enumerate(zip(begins, ends, strict=True)):
            pieces += [self._data[at:begin], b'["%d"]' % number]
            at = close + 1
            if len(pieces) > 200:
                raise ModelFormatError("it has more than 100 parts")
        pieces.append(self._data[at : span[1]])
        if sum(map(len, pieces)) > _MAX_SKELETON:
            raise ModelFormatError("it has keys that no tokenizer has")
        found = _parsed(b"".join(pieces))
        if not isinstance(found, dict):
            raise ModelFormatError("it holds no JSON object")
        spans = {}
        for key, value in list(found.items()):
            if isinstance(value, list):
                number = int(value[0])
                spans[key] = (begins[number], ends[number] + 1)
                del found[key]
        return found, spans

    def check(self) -> TokenizerLimits:
        plain, spans = self._object((0, len(self._data)), 1)
        model, model_spans = self._object(spans["model"], 2) if "model" in spans else (plain, {})
        parts = {key: self._part(key, spans) for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder")}
        for key, value in parts.items():
            if value is None and plain.get(key) is not None:
                raise ModelFormatError(f"{key} is no object")
        limits = check_rules(parts, model)
        if "model" in spans and self._count(spans["model"]) > MAX_TOKENS:
            raise ModelFormatError(
                f"its vocabulary and its merges have {self._count(spans['model'])} tokens, at most "
                f"{MAX_TOKENS} are read"
            )
        if "added_tokens" in spans:
            self._check_added(spans["added_tokens"], limits.growth)
        vocabulary = model_spans.get("vocab")
        if vocabulary is not None and self._data[vocabulary[0]] == ord("["):
            self._check_unigram(vocabulary)
        return limits

    def _part(self, key: str, spans: Mapping[str, Span]) -> Any:
        if key not in spans:
            return None
        begin, end = spans[key]
        if end - begin > _MAX_PART_BYTES:
            raise ModelFormatError(f"{key} has {end - begin} bytes, which no tokenizer needs")
        return _parsed(self._data[begin:end])

    def _check_added(self, span: Span, growth: float) -> None:
        if self._count(span) > 8 * MAX_ADDED:  # seven keys and the content
            raise ModelFormatError(f"it adds more than {MAX_ADDED} tokens to its vocabulary")
        added = _parsed(self._data[slice(*span)])
        if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
            raise ModelFormatError("added_tokens is no list of tokens")
        total = 0.0
        for token in added:
            size = len(str(token.get("content", "")).encode("utf-8", "replace"))
            total += size * (growth if token.get("normalized", True) else 1)
        if total > MAX_ADDED_BYTES:
            raise ModelFormatError(
                f"the {len(added)} tokens that it adds to its vocabulary may come to {total:,.0f} bytes, at most "
                f"{MAX_ADDED_BYTES:,} are read"
            )

    def _check_unigram(self, span: Span) -> None:
        first, end = np.searchsorted(self._strings[:, 0], span)
        strings = self._strings[first:end]
        nodes = unigram_nodes([self._data[begin + 1 : close] for begin, close in strings.tolist()])
        if nodes > MAX_UNIGRAM_NODES:
            raise ModelFormatError(
                f"the tokens of its vocabulary have {nodes:,} different beginnings, at most {MAX_UNIGRAM_NODES:,} are "
                "read"
            )


def _strings(view: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Begin and end of every string of a JSON text, its quotes: [strings, 2]."""
    quotes = np.flatnonzero(view == ord('"'))
    # A quote after an odd number of backslashes is part of its string; the others open and close in turn.
    slashes = np.flatnonzero(view == ord("\\"))
    if len(slashes):
        run_starts = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)
        place = np.searchsorted(slashes, quotes - 1)
        behind = slashes[np.minimum(place, len(slashes) - 1)] == quotes - 1
        run = run_starts[np.searchsorted(run_starts, place, "right") - 1]
        quotes = quotes[~behind | ((place - run + 1) % 2 == 0)]
    return quotes[: len(quotes) // 2 * 2].reshape(-1, 2)


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"it is not JSON that can be read ({error})") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a key that comes twice one reader may take the first value and another the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ModelFormatError("it has a key twice")
    return found
