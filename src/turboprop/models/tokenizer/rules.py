"""The rules of a tokenizer.json, looked at before the library `tokenizers` gets them.

A tokenizer.json is a stranger's, and the library, written in Rust, ends the process where it finds no memory and cannot
be stopped. So what the file's rules may make of a text, and how long that may take, is told from the rules. Published
tokenizers pass; a file that does not is refused in a sentence that names the rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turboprop.errors import ModelFormatError, ModelUnsupportedError
from turboprop.models.tokenizer.growth import Growth, Rule, named_characters, pattern_text

if TYPE_CHECKING:
    from turboprop.models.tokenizer.pattern_cost import PatternCost

MAX_TEXT_CHARACTERS = 1 << 20
"""Ten million characters of one line took up to 60 s and 5 GB, and made the regular expressions of Qwen and Llama 3
give up; a million take a tenth of that. No model reads as much."""
_SQUARE_TEXT = 1 << 14
"""Characters of a text where time grows with the square of its length: 1.1 s."""
_MOST_RULES = 256
"""Published tokenizers have up to 40: one for each sign of ASCII's punctuation."""
_MOST_WAYS = 1000
"""Of all regular expressions together, tried from each character of a text: 5 s a million characters."""
_MOST_GROWTH = 4096.0
"""Bytes of one byte. ALBERT's rules come to 740 in the worst case, those of other published models to 100."""
_LONGEST_TEXT = 1000
"""Characters of a text to look for or to write: looking for it takes as many steps a character."""
_MOST_DECODED = 64.0
_MOST_ADDED = 256
"""Tokens that are put around a text; published models put up to 4."""
_HIGHEST_ID = (1 << 31) - 1
_CHILDREN = ("normalizers", "pretokenizers", "processors", "decoders")
_WORD = 100
"""Characters of the longest word of BERT's models."""
_SHORT_TEXT = 2000
_LONGEST_AFFIX = 64

_NORMALIZERS = {
    *("BertNormalizer", "Strip", "StripAccents", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Nmt", "Precompiled"),
    *("Replace", "Prepend", "ByteLevel"),
}
_PRE_TOKENIZERS = {
    *("BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Metaspace", "Whitespace", "Split", "Punctuation"),
    *("WhitespaceSplit", "Digits", "UnicodeScripts", "FixedLength"),
}
_PROCESSORS = {"RobertaProcessing", "BertProcessing", "ByteLevel", "TemplateProcessing"}
_DECODERS = {
    *("BPEDecoder", "ByteLevel", "WordPiece", "Metaspace", "CTC", "Replace", "Fuse", "Strip", "ByteFallback"),
}


@dataclass(frozen=True, slots=True)
class TokenizerLimits:
    """What a text may be: `characters` at most; a byte becomes up to `growth` bytes before it is cut into tokens."""

    characters: int = MAX_TEXT_CHARACTERS
    growth: float = 1.0


def check_rules(parts: Mapping[str, Any], model: Mapping[str, Any]) -> TokenizerLimits:
    """Look at `normalizer`, `pre_tokenizer`, `post_processor` and `decoder` of a tokenizer.json, and at the settings
    of its model.

    Raises `ModelFormatError` for rules that no text is safe with, `ModelUnsupportedError` for those that are not
    understood; both name the rule.
    """
    normalizers = _listed(parts, "normalizer", _NORMALIZERS)
    pre_tokenizers = _listed(parts, "pre_tokenizer", _PRE_TOKENIZERS)
    patterns = {place: _pattern(place, rule) for place, rule in [*normalizers, *pre_tokenizers]}
    ways = sum(pattern.ways for pattern in patterns.values() if pattern is not None)
    if ways > _MOST_WAYS:
        raise ModelUnsupportedError(f"its regular expressions have {ways} ways to match, at most {_MOST_WAYS} are run")
    for place, rule in normalizers:
        pattern = patterns[place]
        if rule["type"] == "Replace" and pattern is not None and pattern.looks_far:
            raise ModelUnsupportedError(f"{place} replaces what depends on characters any number of places away")
    for place, rule in pre_tokenizers:
        if rule["type"] == "FixedLength" and not rule.get("length", 1):
            raise ModelFormatError(f"{place} cuts a text into pieces of no length")
    growth = _growth([*normalizers, *pre_tokenizers], patterns)
    _check_processors(_listed(parts, "post_processor", _PROCESSORS))
    _check_decoders(_listed(parts, "decoder", _DECODERS))
    characters = _model_characters(model)
    if any(pattern is not None and pattern.power > 1 for pattern in patterns.values()):
        characters = min(characters, _SQUARE_TEXT)
    return TokenizerLimits(characters, growth)


def _listed(parts: Mapping[str, Any], key: str, known: set[str]) -> list[tuple[str, Rule]]:
    """The rules under `key` in their order, those within sequences too, each with its place."""
    found: list[tuple[str, Rule]] = []
    for place, rule in _leaves(key, parts.get(key)):
        kind = rule.get("type")
        if not isinstance(kind, str) or kind not in known:
            raise ModelUnsupportedError(f"{place} is of the type {str(kind)[:80]!r}, which is not known here")
        found.append((f"{place} ({kind})", rule))
        if len(found) > _MOST_RULES:
            raise ModelFormatError(f"{key} has more than {_MOST_RULES} rules")
    return found


def _leaves(key: str, part: Any) -> Iterator[tuple[str, Rule]]:
    waiting = [(key, part)]
    while waiting:
        place, rule = waiting.pop()
        if rule is None:
            continue
        if not isinstance(rule, dict):
            raise ModelFormatError(f"{place} is no object")
        if rule.get("type") != "Sequence":
            yield place, rule
            continue
        inner: Any = next((rule[name] for name in _CHILDREN if name in rule), [])
        if not isinstance(inner, list) or sum(name in rule for name in _CHILDREN) > 1:
            raise ModelFormatError(f"{place} is no sequence of rules")
        if len(waiting) + len(inner) > _MOST_RULES:
            raise ModelFormatError(f"{key} has more than {_MOST_RULES} rules")
        waiting += [(f"{place}[{number}]", each) for number, each in enumerate(inner)][::-1]


def _pattern(place: str, rule: Rule) -> PatternCost | None:
    """The cost of a rule's regular expression, None where it has none."""
    pattern = rule.get("pattern")
    if pattern is None:
        return None
    for name in ("content", "prepend"):
        if len(str(rule.get(name, ""))) > _LONGEST_TEXT:
            raise ModelFormatError(f"{place} writes {len(str(rule[name]))} characters, which no tokenizer does")
    if not isinstance(pattern, dict) or len(pattern) != 1:
        raise ModelFormatError(f"{place} has no pattern")
    ((kind, text),) = pattern.items()
    if kind not in ("String", "Regex") or not isinstance(text, str):
        raise ModelFormatError(f"{place} has a pattern that is no text")
    if kind == "String":
        if len(text) > _LONGEST_TEXT:
            raise ModelFormatError(f"{place} looks for {len(text)} characters, which no tokenizer does")
        return None
    from turboprop.models.tokenizer.pattern_cost import pattern_cost  # 4 ms; BERT's models have no expressions

    try:
        return pattern_cost(text)
    except ModelUnsupportedError as error:
        raise ModelUnsupportedError(f"{place}: {error}") from None


def _growth(rules: list[tuple[str, Rule]], patterns: Mapping[str, PatternCost | None]) -> float:
    growth = Growth.of_nothing(named_characters(rule for _, rule in rules))
    steps = []
    for place, rule in reversed(rules):
        try:
            before = growth.before(rule, patterns[place])
        except ModelFormatError as error:
            raise ModelFormatError(f"{place}: {error}") from None
        steps.append((before.most / growth.most, place))
        growth = before
    if growth.most > _MOST_GROWTH:
        _, place = max(steps)
        raise ModelFormatError(
            f"its rules may make {growth.most:,.0f} bytes of one, at most {_MOST_GROWTH:,.0f} are allowed; most of it "
            f"comes from {place}"
        )
    return growth.most


def _check_processors(rules: list[tuple[str, Rule]]) -> None:
    added = 0
    for place, rule in rules:
        if rule["type"] in ("RobertaProcessing", "BertProcessing"):
            added += 2
            for side in ("sep", "cls"):
                pair = rule.get(side)
                _check_ids(place, pair[1:] if isinstance(pair, list) else [None])
        elif rule["type"] == "TemplateProcessing":
            added += _template(place, rule)
    if added > _MOST_ADDED:
        raise ModelFormatError(f"post_processor puts {added} tokens around a text, at most {_MOST_ADDED} are allowed")


def _template(place: str, rule: Rule) -> int:
    """The tokens that a template puts around a text, or around two."""
    named = rule.get("special_tokens")
    tokens = named if isinstance(named, dict) else {}
    lengths: dict[str, int] = {}
    for name, token in tokens.items():
        ids = token.get("ids") if isinstance(token, dict) else None
        if not isinstance(ids, list):
            raise ModelFormatError(f"{place} has a special token without ids")
        _check_ids(place, ids)
        lengths[name] = len(ids)
    most = 0
    for side, texts in (("single", "A"), ("pair", "AB")):
        pieces = rule.get(side)
        pieces = pieces if isinstance(pieces, list) else []
        if not all(isinstance(piece, dict) for piece in pieces):
            raise ModelUnsupportedError(f"{place} is written in a way that is not known here")
        wheres = [piece["Sequence"] for piece in pieces if "Sequence" in piece]
        ids = [where.get("id") if isinstance(where, dict) else None for where in wheres]
        if any(ids.count(text) > 1 for text in ids) or any(text not in texts for text in map(str, ids)):
            raise ModelFormatError(f"{place} writes a text more than once")
        specials = [piece["SpecialToken"] for piece in pieces if "SpecialToken" in piece]
        names = [special.get("id") if isinstance(special, dict) else None for special in specials]
        most = max(most, sum(max(1, lengths.get(str(name), 1)) for name in names))
    return most


def _check_ids(place: str, ids: list[Any]) -> None:
    for number in ids:
        if not isinstance(number, int) or not 0 <= number <= _HIGHEST_ID:
            raise ModelFormatError(f"{place} names the token id {str(number)[:40]}, which no vocabulary has")


def _check_decoders(rules: list[tuple[str, Rule]]) -> None:
    growth = 1.0
    for place, rule in rules:
        pattern = _pattern(place, rule)
        if pattern is not None and pattern.power > 1:
            raise ModelUnsupportedError(f"{place} takes a time that grows with the square of a text's length")
        before = growth
        if rule["type"] == "Replace":
            written, sought = len(str(rule.get("content", "")).encode("utf-8", "replace")), len(pattern_text(rule))
            least = sought if pattern is None else pattern.least
            growth *= max(1.0, written / least) if least else 1 + 2 * written
        elif rule["type"] == "ByteLevel" or "" in (rule.get("suffix"), rule.get("word_delimiter_token")):
            growth *= 2  # a damaged byte becomes U+FFFD; a space between any two characters
        if growth > _MOST_DECODED:
            raise ModelFormatError(
                f"its decoders may make {growth:,.0f} bytes of one, at most {_MOST_DECODED:,.0f} are allowed; the last "
                f"{growth / before:,.0f} times come from {place}"
            )


def _model_characters(model: Mapping[str, Any]) -> int:
    """Characters of a text that the model's own search takes at most."""
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        affix = model.get(key)
        if isinstance(affix, str) and len(affix) > _LONGEST_AFFIX:
            raise ModelFormatError(f"its {key} has {len(affix)} characters, which no tokenizer has")
    longest = model.get("max_input_chars_per_word")
    if model.get("type") not in (None, "WordPiece") or not isinstance(longest, int) or longest <= _WORD:
        return MAX_TEXT_CHARACTERS
    # Each word is searched from all of it down: 3.4 s for a million characters in words of 100, 109 s in words of 1000.
    return max(_SHORT_TEXT, int(MAX_TEXT_CHARACTERS * (_WORD / longest) ** 2))
