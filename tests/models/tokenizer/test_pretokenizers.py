"""Each named rule cuts as its model's tokenizer does, and loses nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

from turboprop.models.tokenizer.pretokenizers import PRE_TOKENIZERS

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=80) | st.text(
    "aB1 \t\n\r'sS.,!é漢字²½_<>", max_size=80
)
RULES = list({id(rule): rule for rule in PRE_TOKENIZERS.values()}.values())


def pieces(name: str, text: str) -> list[str]:
    cut = PRE_TOKENIZERS[name].build().pre_tokenize_str(text)
    return [text[begin:end] for _, (begin, end) in cut]


@settings(deadline=None)
@given(text=TEXTS)
def test_nothing_is_lost(text: str) -> None:
    for rule in RULES:
        cut = rule.build().pre_tokenize_str(text)
        assert decoders.ByteLevel().decode([piece for piece, _ in cut]) == text


@settings(deadline=None)
@given(text=TEXTS)
def test_the_plain_rule_is_that_of_gpt_2(text: str) -> None:
    expected = ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str(text)
    assert PRE_TOKENIZERS["gpt-2"].build().pre_tokenize_str(text) == expected


@settings(deadline=None)
@given(text=TEXTS)
def test_single_digits_are_those_of_the_library(text: str) -> None:
    expected = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    assert PRE_TOKENIZERS["starcoder"].build().pre_tokenize_str(text) == expected.pre_tokenize_str(text)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("gpt-2", "I'll pay 1234!!  ok", ["I", "'ll", " pay", " 1234", "!!", " ", " ok"]),
        ("gpt-2", "I'LL\n\n x", ["I", "'", "LL", "\n\n", " x"]),
        ("phi-2", "x = [1]", ["x", " =", " [", "1", "]"]),
        ("starcoder", " 123a", [" ", "1", "2", "3", "a"]),
        ("smollm", "a 12", ["a", " ", "1", "2"]),
        ("qwen2", "I'LL 123\n\n  x", ["I", "'LL", " ", "1", "2", "3", "\n\n", " ", " x"]),
        ("qwen2", "(a)->b;\n", ["(a", ")->", "b", ";\n"]),
        ("qwen35", "e\u0301x", ["e\u0301x"]),
        ("llama-bpe", "12345 I'm\r\n", ["123", "45", " I", "'m", "\r\n"]),
        ("dbrx", "12345", ["123", "45"]),
        ("glm4", "a\n b", ["a", "\n", " b"]),
        ("tekken", "HelloWorld 12/\n", ["Hello", "World", " ", "1", "2", "/\n"]),
        ("gpt-4o", "HelloWorld's 1234", ["Hello", "World's", " ", "123", "4"]),
        ("deepseek-coder", "a+b 12\n漢字", ["a", "+", "b", " ", "1", "2", "\n", "漢字"]),
        ("deepseek-v3", "a.b 1234漢字", ["a", ".b", " ", "123", "4", "漢字"]),
        ("falcon", "a=1234`b", ["a", "=", "123", "4", "`", "b"]),
        ("default", "a=1234`b", ["a", "=", "123", "4", "`", "b"]),
        ("default", "a$= b", ["a", "$=", " b"]),
        ("bloom", "a,b (c)", ["a", ",", "b", " (", "c", ")"]),
        ("viking", "ab12", ["ab", "1", "2"]),
        ("command-r", "r2d2", ["r", "2", "d", "2"]),
    ],
)
def test_known_cuts(name: str, text: str, expected: list[str]) -> None:
    assert pieces(name, text) == expected


def test_normalisation_and_defaults() -> None:
    assert {name for name, rule in PRE_TOKENIZERS.items() if rule.nfc} == {
        "command-r",
        "deepseek-r1-qwen",
        "f2llmv2",
        "modern-bert",
        "mpt",
        "olmo",
        "qwen2",
        "qwen35",
    }
    begin = {name for name, rule in PRE_TOKENIZERS.items() if rule.add_bos}
    llama = {"falcon-h1", "falcon3", "jina-v5-nano", "lfm2", "llama-bpe", "llama-v3", "llama3", "midm-2.0", "pixtral"}
    assert begin == {*llama, "tekken", "chameleon"}
    whole = {name for name, rule in PRE_TOKENIZERS.items() if rule.ignore_merges}
    assert whole == {*llama, "tekken", "glm4", "glm5", "granite-embed-multi-97m", "minicpm5", "youtu"}
