"""How a byte-level BPE tokenizer cuts text before it merges, by the name in `tokenizer.ggml.pre`.

A name stands for the regular expressions of the model's own tokenizer.json (where llama.cpp rewrites
one for its engine, the original is kept), for its Unicode normalisation and for what llama.cpp
(`src/llama-vocab.cpp`) takes as default where the metadata is silent. A name that is not here is an
error: a wrong cut gives other tokens, and vectors that are wrong but look sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer


@dataclass(frozen=True, slots=True)
class PreTokenizerRule:
    """`patterns` cut one after the other, matches and gaps both become pieces.

    `nfc`: the text is brought to Unicode NFC first. `ignore_merges`: a piece that is a token stays one.
    `add_bos`: the begin token is added where the metadata has no `add_bos_token`.
    """

    patterns: tuple[str, ...]
    nfc: bool = False
    ignore_merges: bool = False
    add_bos: bool = False

    def build(self) -> PreTokenizer:
        """The rule as a `tokenizers` pre-tokenizer, with the change to the byte alphabet at its end."""
        from tokenizers import Regex
        from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

        splits: list[PreTokenizer] = [Split(Regex(pattern), "isolated") for pattern in self.patterns]
        return Sequence([*splits, ByteLevel(add_prefix_space=False, use_regex=False)])


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_TAIL}"
_QWEN2 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_TAIL}"
_QWEN35 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Words of the GPT-4o family end where lower case turns to upper case.
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}|{_CASED_TAIL}"
_GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?|\p{{N}}{{1,3}}|{_CASED_TAIL}"
)
_DIGIT = r"\p{N}"
_PUNCTUATION = r"\p{P}\$\+<=>\^~\|"
_BLOOM = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
_DEEPSEEK_CODER = (
    "[\r\n]",
    r"\s?\p{L}+",
    r"\s?\p{P}+",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
    _DIGIT,
)
_DEEPSEEK_V3 = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    (
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
)

_PLAIN = PreTokenizerRule((_GPT2,))
_PLAIN_NFC = PreTokenizerRule((_GPT2,), nfc=True)
_SINGLE_DIGITS = PreTokenizerRule((_DIGIT, _GPT2))
_LLAMA = PreTokenizerRule((_LLAMA3,), ignore_merges=True, add_bos=True)
_THREE_DIGITS = PreTokenizerRule((_LLAMA3,))
_QWEN = PreTokenizerRule((_QWEN2,), nfc=True)
_WORDS = PreTokenizerRule((_BLOOM,))
_GPT_4O = PreTokenizerRule((_GPT4O,))

PRE_TOKENIZERS = {
    "default": PreTokenizerRule((rf"[{_PUNCTUATION}]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
    "bloom": _WORDS,
    "chatglm-bpe": _THREE_DIGITS,
    "codeshell": _SINGLE_DIGITS,
    "command-r": PreTokenizerRule((_DIGIT, _GPT2), nfc=True),
    "dbrx": _THREE_DIGITS,
    "deepseek-coder": PreTokenizerRule(_DEEPSEEK_CODER),
    "deepseek-r1-qwen": _QWEN,
    "deepseek-v3": PreTokenizerRule(_DEEPSEEK_V3),
    "f2llmv2": _QWEN,
    "falcon": PreTokenizerRule((rf"[{_PUNCTUATION}`]+", _GPT2, "[0-9][0-9][0-9]")),
    "falcon3": _LLAMA,
    "glm4": _THREE_DIGITS,
    "gpt-2": _PLAIN,
    "gpt-4o": _GPT_4O,
    "gpt3-finnish": _WORDS,
    "jina-v2-code": _PLAIN,
    "jina-v5-nano": _LLAMA,
    "lfm2": _LLAMA,
    "llama-bpe": _LLAMA,
    "llama-v3": _LLAMA,
    "llama3": _LLAMA,
    "llama4": _GPT_4O,
    "modern-bert": _PLAIN_NFC,
    "mpt": _PLAIN_NFC,
    "olmo": _PLAIN_NFC,
    "phi-2": _PLAIN,
    "poro-chat": _WORDS,
    "qwen2": _QWEN,
    "qwen35": PreTokenizerRule((_QWEN35,), nfc=True),
    "refact": _SINGLE_DIGITS,
    "roberta-bpe": _PLAIN,
    "smaug-bpe": _THREE_DIGITS,
    "smollm": _SINGLE_DIGITS,
    "starcoder": _SINGLE_DIGITS,
    "tekken": PreTokenizerRule((_TEKKEN,), ignore_merges=True, add_bos=True),
    "viking": PreTokenizerRule((_BLOOM, _DIGIT)),
}
