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

# The letters that DeepSeek's first tokenizer calls letters: those with a case, as Unicode had them.
_CASED = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    "\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-"
    "\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-"
    "\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d"
    "\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-"
    "\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-"
    "\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-"
    "\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-"
    "\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-"
    "\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
_DEEPSEEK_LLM = (
    "[\r\n]",
    rf"\s?[{_CASED}]+",
    "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
    r"\s+$",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
    r"\p{N}+",
)
_SPARK = (
    *_DEEPSEEK_V3[:2],
    _DEEPSEEK_V3[2].replace(r"[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+", r"[\p{P}\p{S}]+|[\r\n]"),
    _DIGIT,
)
_YOUTU = (
    (
        "[\uac00-\ud7a3\u3131-\u318e]+"
        "|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
        "|[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
    ),
    _GPT4O.replace(r"\p{N}{1,3}", r"\p{N}"),
)
_JAIS2 = _LLAMA3.removesuffix(r"\s+(?!\S)|\s+") + "|".join(
    [*(rf"\s{{{2**power}}}(?!\S)" for power in range(9, 1, -1)), r"\s{1,2}(?!\S)", r"\s{1}"]
)
_BAILING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
_SEED_CODER = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_EXAONE_MOE = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
)
_CHAMELEON = (
    "<sentinel:[0-9]+>",
    "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
    r"([\t\n]|    |  )",
    _DIGIT,
    r"[\p{P}!-/:-@\[-`{-~]",
    _GPT2,
)

_PLAIN = PreTokenizerRule((_GPT2,))
_PLAIN_NFC = PreTokenizerRule((_GPT2,), nfc=True)
_SINGLE_DIGITS = PreTokenizerRule((_DIGIT, _GPT2))
_LLAMA = PreTokenizerRule((_LLAMA3,), ignore_merges=True, add_bos=True)
_THREE_DIGITS = PreTokenizerRule((_LLAMA3,))
_QWEN = PreTokenizerRule((_QWEN2,), nfc=True)
_WORDS = PreTokenizerRule((_BLOOM,))
_GPT_4O = PreTokenizerRule((_GPT4O,))
_QWEN_AS_IT_IS = PreTokenizerRule((_QWEN2,))
_DEEPSEEK = PreTokenizerRule(_DEEPSEEK_V3)
_BAILING_MOE = PreTokenizerRule((_BAILING,))
_GLM4 = PreTokenizerRule((_LLAMA3,), ignore_merges=True)
_AYA = PreTokenizerRule((r"\d{1,3}(?=(?:\d{3})*\b)", _GPT4O))

PRE_TOKENIZERS = {
    "default": PreTokenizerRule((rf"[{_PUNCTUATION}]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
    "a.x-4.0": _PLAIN,
    "bailingmoe": _BAILING_MOE,
    "bailingmoe2": _BAILING_MOE,
    "bloom": _WORDS,
    "chameleon": PreTokenizerRule(_CHAMELEON, add_bos=True),
    "chatglm-bpe": _THREE_DIGITS,
    "codeshell": _SINGLE_DIGITS,
    "cohere2moe": _AYA,
    "command-r": PreTokenizerRule((_DIGIT, _GPT2), nfc=True),
    "dbrx": _THREE_DIGITS,
    "deepseek-coder": PreTokenizerRule(_DEEPSEEK_CODER),
    "deepseek-llm": PreTokenizerRule(_DEEPSEEK_LLM),
    "deepseek-r1-qwen": _QWEN,
    "deepseek-v3": _DEEPSEEK,
    "exaone": _SINGLE_DIGITS,
    "exaone-moe": PreTokenizerRule((_EXAONE_MOE,)),
    "exaone4": _PLAIN,
    "f2llmv2": _QWEN,
    "falcon": PreTokenizerRule((rf"[{_PUNCTUATION}`]+", _GPT2, "[0-9][0-9][0-9]")),
    "falcon-h1": _LLAMA,
    "falcon3": _LLAMA,
    "gigachat": _PLAIN,
    "glm4": _GLM4,
    "glm5": _GLM4,
    "gpt-2": _PLAIN,
    "gpt-4o": _GPT_4O,
    "gpt3-finnish": _WORDS,
    "granite-docling": _PLAIN,
    "granite-embed-multi-97m": PreTokenizerRule((_GPT4O,), ignore_merges=True),
    "grok-2": _QWEN_AS_IT_IS,
    "hunyuan": _QWEN_AS_IT_IS,
    "hunyuan-dense": _DEEPSEEK,
    "hy_v4": _DEEPSEEK,
    "jais": _PLAIN,
    "jais-2": PreTokenizerRule((_JAIS2,)),
    "jina-de": _PLAIN,
    "jina-es": _PLAIN,
    "jina-v1-en": _PLAIN,
    "jina-v2-code": _PLAIN,
    "jina-v2-de": _PLAIN,
    "jina-v2-es": _PLAIN,
    "jina-v5-nano": _LLAMA,
    "joyai-llm": _DEEPSEEK,
    "kanana2": _GPT_4O,
    "kormo": _QWEN_AS_IT_IS,
    "laguna": PreTokenizerRule((r"[^\n]+|[\n]+", _QWEN2)),
    "lfm2": _LLAMA,
    "llada-moe": _BAILING_MOE,
    "llama-bpe": _LLAMA,
    "llama-v3": _LLAMA,
    "llama3": _LLAMA,
    "llama4": _GPT_4O,
    "megrez": _QWEN_AS_IT_IS,
    "mellum": _PLAIN,
    "mellum2": _SINGLE_DIGITS,
    "midm-2.0": _LLAMA,
    "minerva-7b": _SINGLE_DIGITS,
    "minicpm5": PreTokenizerRule((r"\p{N}{1,3}", _LLAMA3.replace("{1,3}", "+")), ignore_merges=True),
    "minimax-m2": _GPT_4O,
    "modern-bert": _PLAIN_NFC,
    "mpt": _PLAIN_NFC,
    "olmo": _PLAIN_NFC,
    "phi-2": _PLAIN,
    "pixtral": _LLAMA,
    "poro-chat": _WORDS,
    "qwen2": _QWEN,
    "qwen35": PreTokenizerRule((_QWEN35,), nfc=True),
    "refact": _SINGLE_DIGITS,
    "roberta-bpe": _PLAIN,
    "seed-coder": PreTokenizerRule((_SEED_CODER,)),
    "smaug-bpe": _THREE_DIGITS,
    "smollm": _SINGLE_DIGITS,
    "solar-open": _QWEN_AS_IT_IS,
    "spark2_5": PreTokenizerRule(_SPARK),
    "stablelm2": _QWEN_AS_IT_IS,
    "starcoder": _SINGLE_DIGITS,
    "talkie": _GPT_4O,
    "tekken": PreTokenizerRule((_TEKKEN,), ignore_merges=True, add_bos=True),
    "tiny_aya": _AYA,
    "trillion": _PLAIN,
    "ufakzeka": PreTokenizerRule((_QWEN2.removeprefix(_CONTRACTIONS + "|"),)),
    "viking": PreTokenizerRule((_BLOOM, _DIGIT)),
    "youtu": PreTokenizerRule(_YOUTU, ignore_merges=True),
}
