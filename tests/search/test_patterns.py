"""Patterns: what RE2 is asked, where a match stands, and which words a line must hold."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turboprop.code.terms import counted_terms
from turboprop.errors import UsageError
from turboprop.search.patterns import Pattern

LINES = [
    "def parse_config(path):",
    "    return parse_config_file(path)  # parse",
    "time.sleep(0.5)",
    "naïve Straße 42 ٣ x\u00a0y",
    "Class::method(a, b)",
    "",
    "\tx = [a, b]",
]


def found(pattern: Pattern, lines: list[str]) -> list[int]:
    import pyarrow as pa

    compiled = pattern.compile()
    wide = compiled.in_lines(pa.array(lines, pa.string())).nonzero()[0].tolist()
    plain = [number for number, line in enumerate(lines) if line.isascii()]
    narrow = compiled.in_lines(pa.array([lines[number] for number in plain], pa.string()), True).nonzero()[0].tolist()
    # On ASCII both forms say the same.
    assert [plain[number] for number in narrow] == [number for number in wide if number in plain]
    return wide


@pytest.mark.parametrize(
    "pattern",
    (
        *(
            r"parse_\w+",
            r"\bparse\b",
            r"^\s*return",
            r"\)$",
            r"[a-z]+\.[a-z]+\(",
            r"\d+",
            r"\w+ße",
            r"x\sy",
            r"\S{12,}",
        ),
        *(r"[^\n]x", "[^\n]x", r"[^]\n]\\.", r"\\n"),
        *(r"\S{12,}", r"(?i)CLASS", r"a|b", r"[^\W\d]+::", r"", r"$^", r"[\[\]]", r"[]b]", r"\.", r"(?P<name>time)"),
    ),
)
def test_finds_what_pythons_engine_finds(pattern: str) -> None:
    expected = [number for number, line in enumerate(LINES) if re.search(pattern, line)]
    assert found(Pattern((pattern,)), LINES) == expected
    spans = Pattern((pattern,)).compile().spans([LINES[number] for number in expected])
    for number, places in zip(expected, spans, strict=True):
        assert list(places) == [one.span() for one in re.finditer(pattern, LINES[number]) if one[0]]


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=1, max_size=8),
    st.lists(st.text("abAB .é_-"), max_size=4),
)
def test_plain_text_is_found_as_it_is(text: str, around: list[str]) -> None:
    lines = [f"{one}{text}{one}" for one in around] + around
    assert found(Pattern((text,), fixed=True), lines) == [at for at, line in enumerate(lines) if text in line]


def test_options() -> None:
    assert found(Pattern(("parse",), words=True), LINES) == [1]
    assert found(Pattern(("é",), words=True), ["é", "éa", "a é", "(é)"]) == [0, 2, 3]
    assert found(Pattern(("time.*", "x"), whole_lines=True), LINES) == [2]
    assert found(Pattern(("class::", "SLEEP"), ignore_case=True), LINES) == [2, 4]
    assert found(Pattern(("class",), smart_case=True), LINES) == [4]
    assert found(Pattern(("Sleep",), smart_case=True), LINES) == []
    assert found(Pattern((r"\S+LEEP",), smart_case=True), LINES) == []
    assert found(Pattern((r"\S+leep",), smart_case=True), LINES) == [2]
    assert found(Pattern((r"\u{df}e",)), LINES) == [3]
    assert found(Pattern((r"\Q.s\E",)), LINES) == [2]
    (spans,) = Pattern(("ß",)).compile().spans(["Straße ß"])
    assert spans == ((4, 5), (7, 8))


@pytest.mark.parametrize(
    "pattern", ["(", "a**", r"(a)\1", "a(?=b)", r"\C", "x{2000}", "a\nb", r"a\nb", r"[^\n]\n", r"\[^\n]", "a" * 10_001]
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        Pattern((pattern,)).compile()
    if "\n" not in pattern and len(pattern) < 100:
        assert found(Pattern((pattern,), fixed=True), [f"x{pattern}y", "z"]) == [0]


@pytest.mark.parametrize(
    "pattern", [r"(a+)+$", r"^(a|a)*$", r"(a|aa)+$", r"(.*a){20}$", r"(x+x+)+y", r"^(([a-z])+.)+[A-Z]([a-z])+$"]
)
def test_no_pattern_goes_back(pattern: str) -> None:
    # Python's engine needs more than the age of the universe for most of these.
    assert found(Pattern((pattern,)), ["a" * 50_000 + "!", "x" * 50_000]) == []


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"\bparse_config\(", "parse config"),
        (r"def parse_config\b", "parse config"),  # `def` may be the end of a longer word
        (r"^import os$", "import os"),
        (r"time\.sleep", ""),
        (r" (foo|bar) ", ""),
        (r" fo+ bar ", "bar"),
        (r" foo? bars ", "bars"),
        (r" getUserName\b", "get user name"),
        (r"\x41 b ", ""),
        (r" a[bc]d e ", "e"),
        ("für alle Fälle", "alle"),
        ("the naïve one with e\u0301", "one with"),
    ],
)
def test_words_that_a_line_must_hold(pattern: str, words: str) -> None:
    assert set(Pattern((pattern,)).compile().terms) == set(counted_terms(words))
    assert Pattern((pattern,), ignore_case=True).compile().terms == ()


@pytest.mark.parametrize(
    ("pattern", "lines"),
    [
        (r"\bfoo\b", {"foo", "(foo)", "é foo", "foo-bar", "foo é"}),
        (r"\bfoo", {"foo", "(foo)", "é foo", "foo-bar", "foo é", "foobar", "fooé"}),
        (r"foo\b", {"foo", "(foo)", "é foo", "foo-bar", "foo é", "éfoo", "xfoo"}),
        (r"\bfoo\b-bar", {"foo-bar"}),
    ],
)
def test_boundaries_of_words_are_those_of_all_alphabets(pattern: str, lines: set[str]) -> None:
    every = ["foo", "(foo)", "é foo", "foo-bar", "foo é", "éfoo", "xfoo", "fooé", "foobar", "éfooé", "fo o"]
    assert {every[at] for at in found(Pattern((pattern,)), every)} == lines
    assert {line for line in every if re.search(pattern, line)} == lines, "as Python's engine, which is Unicode's"


@given(
    st.from_regex("[a-z_A-Z0-9$. (éü\u0301]{1,12}", fullmatch=True),
    st.text("aB_1$ .é(", max_size=6),
    st.text("aB_1$ .é)", max_size=6),
)
def test_a_line_that_matches_holds_them(plain: str, before: str, after: str) -> None:
    for pattern in (
        Pattern((plain,), fixed=True, words=True),
        Pattern((re.escape(plain),)),
        Pattern((rf"\b{re.escape(plain)}\b",)),
    ):
        if found(pattern, [before + plain + after]):
            assert set(pattern.compile().terms) <= set(counted_terms(before + plain + after))


ATOMS = st.sampled_from(["a", "b", "_", "é", ".", r"\w", r"\d", r"\s", "[ab]", "[^a]", r"\.", "1", " "])
REPEATED = st.tuples(ATOMS, st.sampled_from(["", "*", "+", "?", "{2}", "{1,2}"])).map("".join)
PARTS = st.lists(REPEATED, min_size=1, max_size=4).map("".join)
PATTERNS = st.tuples(
    st.sampled_from(["", "^"]), st.lists(PARTS, min_size=1, max_size=2), st.sampled_from(["", "$"])
).map(lambda parts: f"{parts[0]}(?:{'|'.join(parts[1])}){parts[2]}")


@pytest.mark.skipif(shutil.which("rg") is None, reason="ripgrep is not installed")
@given(
    PATTERNS,
    st.lists(st.text("aAb_é1 .\t", max_size=8), min_size=1, max_size=6),
    st.sets(st.sampled_from(["-i", "-S", "-x", "-F", "-w"])),
)
@settings(max_examples=60, deadline=None)
def test_the_lines_that_ripgrep_finds(pattern: str, texts: list[str], flags: set[str]) -> None:
    text = "".join(f"{each}\n" for each in texts)
    # The last one of -i and -S holds.
    case = [flag for flag in ("-i", "-S") if flag in flags][-1:]
    arguments = [*case, *sorted(flags - {"-i", "-S"}), "-n", "-e", pattern, "-"]
    told = subprocess.run(["rg", *arguments], input=text.encode(), capture_output=True, check=False)
    assert told.returncode < 2, told.stderr
    wanted = [int(line.partition(":")[0]) - 1 for line in told.stdout.decode().splitlines()]
    own = Pattern(
        (pattern,),
        fixed="-F" in flags,
        ignore_case=case == ["-i"],
        smart_case=case == ["-S"],
        words="-w" in flags,
        whole_lines="-x" in flags,
    )
    assert found(own, texts) == wanted
