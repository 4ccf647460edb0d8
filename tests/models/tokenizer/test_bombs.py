"""A tokenizer.json that would take all memory or time ends in a sentence, and sound ones still work."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from models.bounded import run_bounded
from turboprop.errors import InputTooLongError, ModelError, ModelFormatError, ModelUnsupportedError, UsageError
from turboprop.models.tokenizer.load import decode_ids, encode_texts, longest_text, tokenizer_from_path

limits_memory = pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")

LOAD_AND_ENCODE = """
from pathlib import Path
from turboprop.models.tokenizer.load import decode_ids, encode_texts, tokenizer_from_path
tokenizer = tokenizer_from_path(Path(sys.argv[1]))
for text in sys.argv[2:]:
    text = eval(text)
    ids = encode_texts(tokenizer, [text])[0]
    decode_ids(tokenizer, ids)
    print("encoded", len(text), len(ids))
"""


def replace(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def split(pattern: str, kind: str = "Regex", behavior: str = "Isolated") -> dict[str, Any]:
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": False}


def sequence(kind: str, rules: list[Any]) -> dict[str, Any]:
    return {"type": "Sequence", kind: rules}


def template(single: list[Any], special: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": special or {}}


TEXT_A = {"Sequence": {"id": "A", "type_id": 0}}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
PREFIXED = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}


def added(number: int, content: str, **more: Any) -> dict[str, Any]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": number, "content": content, **plain, **more}


def write(path: Path, **parts: Any) -> Path:
    model = {"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1}, "unk_token": "[UNK]"}
    file = path / "tokenizer.json"
    file.write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model, **parts}))
    return file


BOMBS: dict[str, tuple[dict[str, Any], str]] = {
    "a to a hundred, four times": ({"normalizer": sequence("normalizers", [replace("a", "a" * 100)] * 4)}, "Replace"),
    "through other letters": (
        {"normalizer": sequence("normalizers", [replace(a, b * 200) for a, b in ("ab", "bc", "cd")])},
        "Replace",
    ),
    "within each other": (
        {"normalizer": sequence("normalizers", [sequence("normalizers", [replace("a", "aa")] * 20)] * 2)},
        "Replace",
    ),
    "of a class": ({"normalizer": sequence("normalizers", [replace("[a-z]", "a" * 900, "Regex")] * 2)}, "Replace"),
    "between any two characters": ({"normalizer": sequence("normalizers", [replace("", "a" * 80)] * 2)}, "Replace"),
    "of nothing": ({"normalizer": sequence("normalizers", [replace("x*", "a" * 80, "Regex")] * 2)}, "Replace"),
    "many small ones": ({"normalizer": sequence("normalizers", [replace("a", "aa")] * 200)}, "Replace"),
    "millions of rules": ({"normalizer": sequence("normalizers", [{"type": "NFC"}] * 100_000)}, "256 rules"),
    "long prefixes": (
        {
            "normalizer": sequence(
                "normalizers", [replace("▁", "▁" * 90), {"type": "Prepend", "prepend": "▁" * 900}][::-1]
            )
        },
        "Prepend",
    ),
    "bytes of bytes": ({"normalizer": sequence("normalizers", [{"type": "ByteLevel"}] * 40)}, "ByteLevel"),
    "bytes of bytes in pieces": ({"pre_tokenizer": sequence("pretokenizers", [PREFIXED] * 30)}, "ByteLevel"),
    "a sign before each piece": (
        {"pre_tokenizer": sequence("pretokenizers", [split("."), METASPACE] * 30)},
        "Metaspace",
    ),
    "cases": ({"normalizer": sequence("normalizers", [replace("i", "İ" * 50), {"type": "Lowercase"}] * 3)}, "Replace"),
    "specials around a text": (
        {"post_processor": template([TEXT_A] + [{"SpecialToken": {"id": "a", "type_id": 0}}] * 100_000)},
        "100000 tokens",
    ),
    "ids of a special": (
        {
            "post_processor": template(
                [TEXT_A, {"SpecialToken": {"id": "a", "type_id": 0}}],
                {"a": {"id": "a", "ids": [1] * 100_000, "tokens": ["a"] * 100_000}},
            )
        },
        "100000 tokens",
    ),
    "a text twice": ({"post_processor": template([TEXT_A] * 2)}, "more than once"),
    "an id beyond any": (
        {
            "post_processor": template(
                [TEXT_A, {"SpecialToken": {"id": "a", "type_id": 0}}],
                {"a": {"id": "a", "ids": [2**32 - 1], "tokens": ["a"]}},
            )
        },
        "4294967295",
    ),
    "decoders": ({"decoder": sequence("decoders", [replace("a", "aa")] * 40)}, "decoders"),
    "decoders of everything": ({"decoder": sequence("decoders", [replace(".", "a" * 90, "Regex")])}, "decoders"),
    "spaces between": ({"decoder": sequence("decoders", [{"type": "BPEDecoder", "suffix": ""}] * 40)}, "decoders"),
    "a long word": (
        {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "end_of_word_suffix": "a" * 7000}},
        "end_of_word_suffix",
    ),
    "added tokens that grow": (
        {
            "normalizer": replace("a", "a" * 900),
            "added_tokens": [added(n + 2, f"{n}" + "a" * 1000, normalized=True) for n in range(100)],
        },
        "100 tokens",
    ),
    "added tokens by the million": (
        {"added_tokens": [added(n + 2, f"<{n}>") for n in range(200_000)]},
        "131072 tokens",
    ),
    "long added tokens": ({"added_tokens": [added(n + 2, f"{n}" + "x" * 5000) for n in range(1000)]}, "1000 tokens"),
    "a token of a hundred megabytes": (
        {"model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "a" * (40 << 20): 1}, "unk_token": "[UNK]"}},
        "string of",
    ),
    "a vocabulary of trees": (
        {"model": {"type": "Unigram", "unk_id": 0, "vocab": [[f"{n}" + "x" * 2000, -1.0] for n in range(2000)]}},
        "different beginnings",
    ),
    "pieces of no length": ({"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "cannot be built"),
    "rules within rules": ({"normalizer": json.loads('{"type":"Sequence","normalizers":[' * 90 + "]}" * 90)}, ""),
    "a rule that nobody knows": ({"normalizer": {"type": "Run", "command": "sh"}}, "'Run'"),
}


@limits_memory
@pytest.mark.parametrize("name", list(BOMBS))
def test_a_bomb_is_refused(tmp_path: Path, name: str) -> None:
    parts, words = BOMBS[name]
    printed = run_bounded(LOAD_AND_ENCODE, str(write(tmp_path, **parts)), "'aaaa'", "'a' * 200_000")
    if words:
        assert printed.startswith(("ModelFormatError", "ModelUnsupportedError")), printed
        assert words in printed
        assert "tokenizer.json" in printed
    else:
        assert "encoded 4" in printed or printed.startswith("Model"), printed


PATTERNS = [
    r"(a+)+$",
    r"(a|a)*b",
    r"(a|aa)+$",
    r"(x|x)*y",
    r"(.*)*c",
    r"a*a*b",
    r"(?:a?){30}a{30}",
    r"([a-zA-Z]+)*\d",
    r"(\w+\s?)+$",
    r"(?:a{1,3})+b",
    r"(a)\1",
    r"(?:.*?,){11}P",
    r"(?>(a+)+b)",
    r"(?=(a+)+b)a",
    r"(?<=a)(b|b)*c",
    r"a{1000}{1000}{1000}",
    "(" * 40 + "a" + ")" * 40,
]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("place", ["normalizer", "pre_tokenizer", "decoder"])
def test_a_pattern_that_tries_ever_more_ways_is_never_run(tmp_path: Path, pattern: str, place: str) -> None:
    rule = split(pattern) if place == "pre_tokenizer" else replace(pattern, "b", "Regex")
    with pytest.raises(ModelUnsupportedError, match=place):
        tokenizer_from_path(write(tmp_path, **{place: rule}))


def test_time_that_grows_with_the_square_comes_with_a_limit(tmp_path: Path) -> None:
    tokenizer = tokenizer_from_path(write(tmp_path, pre_tokenizer=split(r"(?=(\d{3})+(?!\d))")))
    assert longest_text(tokenizer) == 16_384
    assert len(encode_texts(tokenizer, ["1" * 16_384])[0]) == 5462
    with pytest.raises(InputTooLongError, match="at most 16384"):
        encode_texts(tokenizer, ["1" * 16_385])


def test_long_words_come_with_a_limit(tmp_path: Path) -> None:
    model = {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1, "##a": 2}, "unk_token": "[UNK]"}
    more = {"continuing_subword_prefix": "##"}
    path = write(tmp_path, model={**model, **more, "max_input_chars_per_word": 10**9})
    tokenizer = tokenizer_from_path(path)
    assert encode_texts(tokenizer, ["a" * 2000]) == [[1] + [2] * 1999]
    with pytest.raises(InputTooLongError):
        encode_texts(tokenizer, ["a" * 2001])
    assert (
        longest_text(tokenizer_from_path(write(tmp_path, model={**model, **more, "max_input_chars_per_word": 100})))
        > 10**6
    )


@limits_memory
def test_rules_that_grow_within_bounds_take_short_texts(tmp_path: Path) -> None:
    path = write(tmp_path, normalizer=sequence("normalizers", [replace("a", "a" * 50)] * 2))
    printed = run_bounded(LOAD_AND_ENCODE, str(path), "'a' * 400", "'b' * 400_000", "'a' * 100_000")
    lines = printed.splitlines()
    assert lines[0] == "encoded 400 1"
    assert lines[1] == "encoded 400000 1"
    assert lines[2].startswith("InputTooLongError")


@limits_memory
def test_many_texts_at_once_take_no_more_than_one(tmp_path: Path) -> None:
    path = write(tmp_path, normalizer=sequence("normalizers", [replace("a", "a" * 50)] * 2))
    code = LOAD_AND_ENCODE.split("for text", maxsplit=1)[0] + "print(len(encode_texts(tokenizer, ['a' * 1000] * 60)))"
    assert run_bounded(code, str(path)).strip() == "60"


def test_a_decoder_that_gives_up(tmp_path: Path) -> None:
    decoder = {"type": "Strip", "content": "a", "start": 1, "stop": 1}
    tokenizer = tokenizer_from_path(write(tmp_path, decoder=decoder))
    with pytest.raises(UsageError, match="gave up on 1 ids"):
        decode_ids(tokenizer, [1])


def test_the_text_of_many_long_tokens_is_bounded(tmp_path: Path) -> None:
    model = {"type": "WordLevel", "vocab": {"[UNK]": 0, "a" * 7000: 1}, "unk_token": "[UNK]"}
    tokenizer = tokenizer_from_path(write(tmp_path, model=model))
    assert len(decode_ids(tokenizer, [1] * 1000)) == 7_000_999
    with pytest.raises(UsageError, match="decode fewer"):
        decode_ids(tokenizer, [1] * 10_000)


def test_padding_and_truncation_of_the_file_are_not_used(tmp_path: Path) -> None:
    padding = {"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_to_multiple_of": None}
    padding |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]"}
    truncation = {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0}
    tokenizer = tokenizer_from_path(write(tmp_path, padding=padding, truncation=truncation))
    assert encode_texts(tokenizer, ["a"]) == [[1]]


def test_a_part_that_comes_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    bomb = json.dumps(sequence("normalizers", [replace("a", "a" * 100)] * 4))
    text = path.read_text().rstrip("}")
    for key in ('"normalizer"', '"norm\\u0061lizer"'):
        path.write_text(text + '}, "normalizer": null, ' + key + ": " + bomb + "}")
        with pytest.raises(ModelError, match="twice"):
            tokenizer_from_path(path)
        path.write_text("{" + key + ": " + bomb + "," + text[1:] + "}}")
        with pytest.raises(ModelFormatError, match="Replace"):
            tokenizer_from_path(path)


SOUND: dict[str, dict[str, Any]] = {
    "BERT": {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template([TEXT_A]),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    },
    "RoBERTa": {
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["</s>", 2],
            "cls": ["<s>", 0],
            "trim_offsets": True,
            "add_prefix_space": False,
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    },
    "Llama 2": {
        "normalizer": sequence("normalizers", [{"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")]),
        "decoder": sequence(
            "decoders",
            [
                replace("▁", " "),
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        ),
    },
    "Gemma 3": {
        "normalizer": replace(" ", "▁"),
        "pre_tokenizer": split(" ", "String", "MergedWithPrevious"),
        "added_tokens": [added(n + 2, f"<unused{n}>") for n in range(6242)],
    },
    "ALBERT": {
        "normalizer": sequence(
            "normalizers",
            [
                replace("``", '"'),
                replace("''", '"'),
                {"type": "NFKD"},
                {"type": "StripAccents"},
                {"type": "Lowercase"},
                replace(" {2,}", " ", "Regex"),
            ],
        ),
        "pre_tokenizer": sequence("pretokenizers", [{"type": "WhitespaceSplit"}, METASPACE]),
    },
    "model2vec, with a space around each sign": {
        "normalizer": sequence(
            "normalizers",
            [
                {"type": "NFKC"},
                *(replace(sign, f" {sign} ") for sign in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
                replace(r"\s+", " ", "Regex"),
                {"type": "Strip", "strip_left": True, "strip_right": True},
            ],
        ),
        "pre_tokenizer": METASPACE,
    },
    "cl100k": {
        "pre_tokenizer": sequence(
            "pretokenizers",
            [
                split(
                    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
                    r"|\s*[\r\n]|\s+(?!\S)|\s+"
                ),
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        )
    },
    "speech tokens": {"added_tokens": [added(n + 2, f"<|s_{n}|>") for n in range(65_536)]},
}


@pytest.mark.parametrize("name", list(SOUND))
def test_the_rules_of_published_tokenizers_pass(tmp_path: Path, name: str) -> None:
    tokenizer = tokenizer_from_path(write(tmp_path, **SOUND[name]))
    assert longest_text(tokenizer) == 1 << 20
    for text in ("hello  world!", "x" * 300_000, "漢字" * 100_000, "a.b,c " * 50_000):
        (ids,) = encode_texts(tokenizer, [text])
        assert decode_ids(tokenizer, ids[:2000])
