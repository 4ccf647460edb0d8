"""What is told of a regular expression's time, held against the library that runs it."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex

from turboprop.errors import ModelUnsupportedError
from turboprop.models.tokenizer.pattern_cost import pattern_cost
from turboprop.models.tokenizer.pretokenizers import PRE_TOKENIZERS

# Of tokenizers that the GGUF reader has no name for, as their tokenizer.json has them.
PUBLISHED = {
    "cl100k": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]"
    r"|\s+(?!\S)|\s+",
    "GPT-2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "CLIP": r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    "letters of Latin": "\\s?[A-Za-z\\x{b5}\u00c0-\u00d6]+",
    "spaces": r" {2,}",
    "T5": r"\s+",
    "lines": r"(?:\r?\n)",
    "sentences": r"[.!?]",
    "words": r"\w+|[^\w\s]+",
}


QUADRATIC = {
    pattern
    for name in ("chameleon", "cohere2moe", "deepseek-llm", "exaone-moe", "jais-2")
    for pattern in PRE_TOKENIZERS[name].patterns
}
"""Those of llama.cpp's names some of which read a long run of spaces or digits in vain."""


@pytest.mark.parametrize(
    "pattern", [*PUBLISHED.values(), *dict.fromkeys(p for rule in PRE_TOKENIZERS.values() for p in rule.patterns)]
)
def test_published_patterns_take_linear_time(pattern: str) -> None:
    assert pattern_cost(pattern).power == 1 or (pattern in QUADRATIC and pattern_cost(pattern).power == 2)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?=(\d{3})+(?!\d))",
        r"\d{1,3}(?=(?:\d{3})*\b)",
        r"\s*[\r\n]+",
        r"\s*[\r\n]+|\s\s|\s+",
        r"a*b|a",
        r"(?:ab)*c",
        r"\p{Lu}*\p{Ll}+",
        r"a+$",
        r"x(?=.*y)",
    ],
)
def test_patterns_that_read_in_vain(pattern: str) -> None:
    assert pattern_cost(pattern).power == 2


@pytest.mark.parametrize(
    ("pattern", "least", "takes"),
    [
        ("abc", 3, "abc"),
        ("a|bcd", 1, "abcd"),
        ("a{2,5}b?", 2, "ab"),
        ("[a-c]+", 1, "abc"),
        ("x*", 0, "x"),
        ("(?i:a)", 1, None),
        (r"\x41\x{42}C", 3, "ABC"),
        ("[a-c&&[^b]]", 1, "ac"),
        (r"[\]\-]", 1, "-]"),
        ("(?=a)b", 1, "b"),
        (r"\d", 1, None),
        ("{,}", 3, ",{}"),
    ],
)
def test_what_a_match_holds(pattern: str, least: int, takes: str | None) -> None:
    cost = pattern_cost(pattern)
    assert cost.least == least
    assert (None if cost.takes is None else "".join(cost.takes)) == takes


@pytest.mark.parametrize(
    "pattern",
    [
        *("[", "(", ")", "(?", "(?x)a", "(?#c)", r"\1", r"\k<a>", r"\K", r"\X", r"\R", "(?~a)", "(?(1)a)", "\\"),
        *("a{5,2}", "[z-a]", "*", "(?=a)*", r"\p{L", "a{1001}", "x" * 4001, "(a{100}){100}", "a|" * 1000 + "(b|b)*"),
    ],
)
def test_what_is_not_understood_is_not_run(pattern: str) -> None:
    with pytest.raises(ModelUnsupportedError):
        pattern_cost(pattern)


_ATOM = st.sampled_from(
    ["a", "b", "[ab]", "[^a]", ".", r"\s", r"\w", "(?:a|b)", "(?:ab|a)", "(?:a?b)", "(?=a)", "(?!b)"]
)
_COUNT = st.sampled_from(["", "", "*", "+", "?", "{1,3}", "{2}", "*?", "++"])
_PIECE = st.builds(lambda atom, count: atom if atom.startswith(("(?=", "(?!")) else atom + count, _ATOM, _COUNT)
_BRANCH = st.lists(_PIECE, min_size=1, max_size=3).map("".join)
_GROUP = st.builds(lambda inner, count: f"(?:{inner}){count}", _BRANCH, _COUNT)
_PATTERN = st.lists(st.lists(st.one_of(_PIECE, _GROUP), min_size=1, max_size=3).map("".join), min_size=1, max_size=3)


@settings(max_examples=400, deadline=None)
@given(_PATTERN.map("|".join))
def test_every_pattern_gets_an_answer(pattern: str) -> None:
    """Accepted ones compile."""
    try:
        pattern_cost(pattern)
    except ModelUnsupportedError:
        return
    Regex(pattern)


MEASURED = """
import sys, time
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from turboprop.errors import ModelUnsupportedError
from turboprop.models.tokenizer.pattern_cost import pattern_cost

texts = [
    lambda n: "a" * n,
    lambda n: "ab" * (n // 2),
    lambda n: " " * n,
    lambda n: "b" * n + "c",
    lambda n: ("a" * 30 + "c") * (n // 31),
]
accepted = [0, 0, 0]
for pattern in sys.stdin.read().splitlines():
    try:
        power = pattern_cost(pattern).power
    except ModelUnsupportedError:
        continue
    accepted[power] += 1
    tokenizer = Tokenizer(models.WordLevel({"x": 0}, unk_token="x"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    for number, text in enumerate(texts):
        size = 60_000 if power == 1 else 2_000
        begin = time.process_time()
        tokenizer.encode(text(size), add_special_tokens=False)
        spent = time.process_time() - begin
        if spent > 4:
            print(repr(pattern), power, number, spent)
assert min(accepted[1:]) > 8, accepted
"""


def test_accepted_patterns_end() -> None:
    """200 random patterns on long texts: what is called linear or square takes no more than that.

    4 s of computing for what takes some 0.1 s: one more power of the length would take hours. A panic of the library,
    which gives up after ten million steps from one place, ends the process and fails the test.
    """
    chance = random.Random(101)
    atoms = [
        "a",
        "b",
        "[ab]",
        "[^a]",
        ".",
        r"\s",
        r"\w",
        "(?:a|b)",
        "(?:ab|a)",
        "(?:a?b)",
        "(?:a+b)",
        "(?=a)",
        "(?!b)",
        "c",
    ]
    atoms += [" ", r"[\r\n]", r"\S", "(?>a+)", "(?<=a)", "(?:a|c)"]
    counts = ["", "", "", "*", "+", "?", "{1,3}", "*?", "++"]

    def piece() -> str:
        atom = chance.choice(atoms)
        return atom if atom.startswith(("(?=", "(?!", "(?<")) else atom + chance.choice(counts)

    def branch() -> str:
        inner = "".join(piece() for _ in range(chance.randint(1, 2)))
        return f"(?:{inner}){chance.choice(counts)}" if chance.random() < 0.25 else inner

    def parts() -> str:
        return branch() + (branch() if chance.random() < 0.4 else "")

    # With `.*?` and the like as a last branch, which takes nothing of what another one read.
    patterns = ["|".join(parts() for _ in range(chance.randint(1, 4))) for _ in range(160)]
    patterns += [f"{parts()}|{last}" for last in (".*?", "a?", r"\S*?[ab]?") for _ in range(12)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED],
        input="\n".join(patterns),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "RAYON_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-1500:]
    assert done.stdout == ""
