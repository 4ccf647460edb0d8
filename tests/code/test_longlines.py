"""Lines that nobody can read are cut where they stand, and only a file without any others is left out."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.code.chunk import chunk_text
from turboprop.code.longlines import LONGEST_LINE, cut_long_lines, is_minified

BASE64 = base64.b64encode(random.Random(0).randbytes(6_000)).decode()
NUMBERS = ", ".join(str(number * 7919 % 100_003) for number in range(900))
PATH = " ".join(f"{number}.{number * 7 % 10}" for number in range(1_200))
FORMULA = " + ".join(f"{number}*p**{number % 8}*q**{number % 5}" for number in range(400))
PACKED = '!function(e,t){"use strict";var n=e.x(t);return n?t(e,!0):function(e){if(!e)throw Error("x")}}(w);' * 60
PROSE = "The words of a paragraph that somebody wrote without breaking its lines anywhere. " * 80
CHINESE = "这是一个没有换行的很长的段落，里面有很多句子。" * 200  # noqa: RUF001

WRITTEN = {
    "logo.py": ("python", f'"""A logo."""\nLOGO = "{BASE64}"\n\n\ndef show_logo(page):\n    page.image(LOGO)\n'),
    "one-line.ts": ("typescript", f'export const logo = "data:image/png;base64,{BASE64}";'),
    "debugger.ex": ("elixir", f'defmodule Debugger do\n  @logo "{BASE64}"\n  def render(conn), do: conn\nend\n'),
    "table.c": (
        "c",
        f"/* Primes. */\nstatic const int primes[] = {{ {NUMBERS} }};\nint prime(int i) {{ return primes[i]; }}\n",
    ),
    "icon.tsx": ("tsx", f'export function Icon() {{\n  return <svg>\n    <path d="{PATH}"/>\n  </svg>\n}}\n'),
    "quintic.py": (
        "python",
        f"class Constants:\n    def o(self, p, q):\n        return ({FORMULA})\n\n    def b(self):\n        return 1\n",
    ),
    "email.swift": (
        "swift",
        f'let pattern = "{"(?:[a-z0-9!#$%&*+/=?^_{|}~-]+)" * 60}"\nfunc isEmail(_ s: String) -> Bool {{\n  f(s)\n}}\n',
    ),
    "token.go": ("go", f'package a\n\nconst token = "{BASE64}"\n\nfunc Token() string {{\n\treturn token\n}}\n'),
    "query.sql": ("sql", "SELECT " + ", ".join(f"column_{n} AS alias_of_it" for n in range(200)) + " FROM customers\n"),
    "page.html": ("html", f"<html>\n<body>\n<p>Order form</p>\n<script>{PACKED}</script>\n<p>end</p>\n</body>\n"),
    "seed.sql": (
        "sql",
        "BEGIN;\nINSERT INTO t VALUES " + ",".join(f"({n},'n{n}')" for n in range(400)) + ";\nCOMMIT;\n",
    ),
    "pairs.py": ("python", "PAIRS = [" + ", ".join(f"({n}, f({n}))" for n in range(400)) + "]\n"),
    "table.h": (
        "c",
        "#pragma once\nstatic const struct P p[] = {" + ",".join(f"{{{n},{n}}}" for n in range(400)) + "};\n",
    ),
    "points.js": ("javascript", "export const P = [" + ",".join(f"{{x:{n},y:{n}}}" for n in range(400)) + "];\n"),
    "font.css": ("css", f"@font-face {{ src: url(data:font/woff2;base64,{BASE64}) }}\nbody {{ margin: 0 }}\n"),
    "logo.svg": ("xml", f'<svg><path d="{PATH}"/></svg>'),
    "prose.md": ("markdown", PROSE),
    "notes.txt": ("text", CHINESE),
}
PACKED_FILES = {
    "jquery.min.js": ("javascript", f"/*! jQuery v3.7.1 | (c) OpenJS Foundation */\n{PACKED}"),
    "bundle.js": (
        "javascript",
        f'/**\n * @license MIT\n * Copyright\n */\n"use strict";\n{PACKED}\n//# sourceMappingURL=x\n',
    ),
    "wrapped.js": ("javascript", "\n".join(PACKED[at : at + 500] for at in range(0, len(PACKED), 500))),
    "site.min.css": ("css", "".join(f".a{n}{{color:red;margin:0 {n}px}}" for n in range(300))),
    "data.json": ("json", '[{"id":1,"name":"x"},' * 300),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_file_that_somebody_wrote_is_kept_with_its_lines(name: str) -> None:
    language, text = WRITTEN[name]
    assert not is_minified(text, language)
    cut = cut_long_lines(text)
    assert cut.count("\n") == text.count("\n")
    for before, after in zip(text.split("\n"), cut.split("\n"), strict=True):
        assert after == before or (len(before) > LONGEST_LINE and "characters cut ...]" in after)
        assert len(after) <= LONGEST_LINE or after == before


@pytest.mark.parametrize("name", PACKED_FILES)
def test_a_file_without_a_readable_line_is_minified(name: str) -> None:
    language, text = PACKED_FILES[name]
    assert is_minified(text, language)


def test_code_in_the_strings_of_a_document_is_no_prose() -> None:
    code = "def a_function(argument):\\n    return argument\\n" * 900
    line = '{"sourcesContent":["' + code + '"],"names":["a","b"]}'
    assert len(cut_long_lines(line)) < 1_000


def test_what_stands_around_an_image_is_kept() -> None:
    line = f'  <img alt="Deployment diagram" src="data:image/png;base64,{BASE64}" onclick="openDiagram()">'
    (cut,) = cut_long_lines(line).split("\n")
    assert cut.startswith('  <img alt="Deployment diagram" src="data:image/png;base64,')
    assert cut.endswith('[... 7,960 characters cut ...]" onclick="openDiagram()">')


def test_prose_is_not_cut_but_parted_between_its_words() -> None:
    for text in (PROSE, CHINESE):
        assert cut_long_lines(text) == text
        chunks = chunk_text("a.md", text, "markdown")
        assert "".join(chunk.text for chunk in chunks) == text
        assert all(len(chunk.text) <= 3_000 for chunk in chunks)
        assert {(chunk.start_line, chunk.end_line) for chunk in chunks} == {(1, 1)}


def test_definitions_after_a_cut_line_keep_their_names_and_lines() -> None:
    for name, (language, text) in WRITTEN.items():
        found = {part: chunk for chunk in chunk_text(name, text, language) for part in chunk.symbol.split(", ")}
        for wanted in ("show_logo", "prime", "Icon", "Constants", "isEmail", "Token"):
            line = next(
                (n for n, one in enumerate(text.split("\n"), 1) if f" {wanted}(" in one or f"class {wanted}" in one), 0
            )
            if line:
                assert found[wanted].start_line <= line <= found[wanted].end_line, (name, wanted)


@given(
    st.lists(
        st.one_of(
            st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n\r"), max_size=60),
            st.sampled_from(
                ["def f():", "    return 1", "", BASE64, NUMBERS, FORMULA, PACKED, PROSE, CHINESE, "x" * 1_001]
            ),
        ),
        max_size=12,
    ),
    st.sampled_from(["python", "javascript", "markdown", "json", ""]),
    st.integers(100, 2_000),
)
def test_no_line_of_a_chunk_is_lost_and_numbers_are_right(lines: list[str], language: str, max_chars: int) -> None:
    text = "\n".join(lines)
    chunks = chunk_text("x", text, language, max_chars=max_chars)
    # A file of white space alone has no chunks.
    assert "".join(chunk.text for chunk in chunks) == (cut_long_lines(text) if text.strip() else "")
    shown = cut_long_lines(text).split("\n")
    for chunk in chunks:
        own = chunk.text.removesuffix("\n").split("\n")
        there = shown[chunk.start_line - 1 : chunk.end_line]
        assert len(own) == len(there)
        assert all(mine in whole for mine, whole in zip(own, there, strict=True))


def test_a_line_of_ten_megabytes_takes_no_room() -> None:
    for line in ("QUJD" * 2_500_000, " " * 10_000_000, "1, 2, " * 1_700_000, "\0" * 10_000_000, "a(b){c};" * 1_250_000):
        text = f"def before():\n    pass\n\n\nX = '{line}'\n\n\ndef after():\n    pass\n"
        chunks = chunk_text("x.py", text, "python")
        assert sum(len(chunk.text) for chunk in chunks) < 2_000
        assert "after" in ", ".join(chunk.symbol for chunk in chunks)
