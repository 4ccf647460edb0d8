from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.code.terms import counted_terms, defined_names, split_identifier, stem, term_hash, terms, words


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("getUserName", ["get", "user", "name"]),
        ("HTTPServer_v2", ["http", "server", "v", "2"]),
        ("snake_case__x", ["snake", "case", "x"]),
        ("XMLHttpRequest", ["xml", "http", "request"]),
        ("sha256sum", ["sha", "256", "sum"]),
        ("größeÄndern", ["grösse", "ändern"]),
        ("__init__", ["init"]),
        ("42", ["42"]),
    ],
)
def test_identifiers_in_parts(word: str, parts: list[str]) -> None:
    assert split_identifier(word) == parts


def test_a_whole_identifier_is_a_term_beside_its_stemmed_parts() -> None:
    assert terms("parseRequests") == ("=parserequests", "pars", "request")
    assert terms("parser") == (stem("parser"),)
    assert terms("_private") == ("privat",)


def test_scripts_without_blanks_are_looked_up_by_pairs() -> None:
    assert terms("設定読込") == ("設定", "定読", "読込")
    assert terms("設定") == ("設定",)


def test_long_runs_are_data() -> None:
    assert counted_terms("a" * 101) == {}


def test_the_words_of_a_sentence_and_of_code_meet() -> None:
    query = set(counted_terms("parsing the user's requests"))
    assert {term_hash(term) for term in ("pars", "user", "request")} <= query
    assert query & set(counted_terms("def parse_user_request(x):"))


def test_names_that_a_chunk_defines() -> None:
    assert defined_names("Pool.acquire, Pool.release, size") == ["acquire", "release", "size"]
    assert defined_names("") == []


@given(st.text(max_size=300))
def test_any_text_has_terms_of_32_bits(text: str) -> None:
    found = counted_terms(text)
    assert all(0 <= term < 1 << 32 for term in found)
    assert sum(found.values()) >= sum(1 for word in words(text) if len(word) <= 100 and split_identifier(word))


@given(st.text(max_size=60), st.text(max_size=60))
def test_terms_of_two_texts_are_those_of_each(first: str, second: str) -> None:
    both = Counter(counted_terms(first)) + Counter(counted_terms(second))
    assert counted_terms(f"{first} {second}") == both
