from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.code.terms import stem, term_hash
from turboprop.search.analysis import (
    LONG_WORDS,
    MAX_WORDS,
    STOP_WEIGHT,
    TITLE_WEIGHT,
    QueryKind,
    analyse,
    by_worth,
    title_of,
)


@pytest.mark.parametrize(
    ("text", "kind", "names"),
    [
        ("parse_config", QueryKind.SYMBOL, {"parse_config": 1.0}),
        ("Server::start", QueryKind.SYMBOL, {"start": 1.0}),
        ("pkg.func()", QueryKind.SYMBOL, {"func": 1.0}),
        ("src/app/server.py", QueryKind.PATH, None),
        ("net/pool.py:12", QueryKind.PATH, None),
        ("how is the config parsed", QueryKind.WORDS, {}),
        ("where does parse_config read it", QueryKind.MIXED, {"parse_config": 0.5}),
        ("what calls getUserName", QueryKind.MIXED, {"getUserName": 0.5}),
        ("how does Router match", QueryKind.WORDS, {"Router": 0.3}),
        ("TypeError: unsupported operand", QueryKind.ERROR, None),
        ("retry backoff", QueryKind.WORDS, {}),
    ],
)
def test_kinds_and_names(text: str, kind: QueryKind, names: dict[str, float] | None) -> None:
    query = analyse(text)
    assert query.kind is kind
    if names is not None:
        assert query.names == names


def test_stop_words_count_little_in_sentences_and_whole_alone() -> None:
    query = analyse("how to parse the config")
    assert query.terms[term_hash("the")] == STOP_WEIGHT
    assert query.terms[term_hash("config")] == 1.0
    assert query.stems == {"pars", "config"}
    assert analyse("this").terms[term_hash("thi")] == 1.0
    assert analyse("is_in").terms[term_hash("is")] == 1.0


def test_the_verb_of_a_question_names_no_file() -> None:
    query = analyse("where is the retry timeout configured?")
    assert query.stems == {"retri", "timeout"}
    assert term_hash("configur") in query.terms
    assert analyse("how is configuration loaded").stems == {"configur", "load"}
    assert analyse("where is it used").stems == {"us"}


def test_a_sentence_without_blanks_is_no_symbol() -> None:
    query = analyse("尝试获取锁失败返回")
    assert query.kind is QueryKind.WORDS
    assert query.names == {"尝试获取锁失败返回": 1.0}
    assert analyse("获取锁").names == {"获取锁": 1.0}
    assert analyse("文档/说明.md").kind is QueryKind.PATH
    assert analyse("operator->").names == {"operator->": 1.0}


def test_a_sentence_of_stop_words_still_has_stems() -> None:
    assert analyse("what is this").stems


def test_phrases_paths_and_wishes() -> None:
    query = analyse('tests for "raise ValueError" in the docs examples')
    assert query.phrases == ("raise ValueError",)
    assert (query.asks_tests, query.asks_prose) == (True, True)
    assert analyse("src/App/Server.py:3").path == "src/app/server.py"
    plain = analyse("the contest of latest documents")
    assert (plain.asks_tests, plain.asks_prose) == (False, False)


def test_of_a_long_query_the_words_count_that_say_most() -> None:
    words = [f"{one}{two}w{three}o" for one in "abcdefgh" for two in "abcde" for three in "abcdefghij"]
    query = analyse(" ".join(words))
    assert (query.is_long, len(query.terms)) == (True, 400)
    rare = set(list(query.terms)[100:110])
    fewer = by_worth(query, lambda term: 5.0 if term in rare else 0.0)
    assert rare < set(fewer.terms)
    assert len(fewer.terms) == len(fewer.stems) == 2 * MAX_WORDS
    short = analyse(" ".join(words[:MAX_WORDS]))
    assert by_worth(short, lambda _: 0.0) is short


def test_a_traceback_is_read_by_its_message_and_its_last_frames() -> None:
    frames = "".join(f'  File "/x/m{n}.py", line {n}, in f{n}\n    deep{n}()\n' for n in range(1, 900))
    query = analyse(f"Traceback (most recent call last):\n{frames}MyError: cookie conflict")
    assert {term_hash(word) for word in ("cooki", "conflict", "deep", "=deep899", "=deep890")} <= set(query.terms)
    assert term_hash("=deep10") not in query.terms
    assert query.phrases == ()


def test_the_title_of_a_report_counts_more() -> None:
    body = " ".join(f"word{number}" for number in range(LONG_WORDS))
    query = analyse(f"Sockets time out\n\n{body} and the sockets")
    assert query.is_report
    assert query.terms[term_hash("socket")] == TITLE_WEIGHT
    assert query.terms[term_hash("word")] == 1.0
    assert query.terms[term_hash("the")] == STOP_WEIGHT
    short = analyse("Sockets time out\n\nafter a minute")
    assert not short.is_report
    assert set(short.terms.values()) == {1.0, STOP_WEIGHT}


PASTED = (
    "def read_settings(path):\n" + "".join(f"    value_{n} = parse(path, {n})\n" for n in range(30)),
    "import os\nfrom pathlib import Path\n\nclass Reader:\n" + "".join(f"    field{n}: int = {n}\n" for n in range(30)),
    "".join(f"2024-05-01 12:00:{n} INFO worker{n} took job{n}\n" for n in range(10, 40)),
)


@pytest.mark.parametrize("text", PASTED)
def test_pasted_code_and_logs_are_no_reports(text: str) -> None:
    query = analyse(text)
    assert not query.is_report
    assert TITLE_WEIGHT not in query.terms.values()
    report = analyse(f"Settings are read twice\n\nAfter a restart the file is read again, as this shows:\n\n{text}")
    assert report.is_report
    assert report.terms[term_hash(stem("settings"))] == TITLE_WEIGHT


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Sockets time out\r\n\r\nAfter a minute", "Sockets time out"),
        ("\n\n  # Sockets time out \nAfter a minute", "# Sockets time out"),
        ("Sockets time out after a minute", ""),
        ("Traceback (most recent call last):\n  more", ""),
        ("thread 'main' panicked at 'no':\n  more", ""),
        ('File "a.py", line 3, in f\n  more', ""),
        ("Sockets\nAfter a minute", ""),
        ("word " * 100 + "\nAfter a minute", ""),
        ("", ""),
    ],
)
def test_what_a_title_is(text: str, title: str) -> None:
    assert title_of(text) == title


@given(st.text(max_size=400))
def test_any_text_is_a_query(text: str) -> None:
    query = analyse(text)
    assert all(0 < weight <= TITLE_WEIGHT for weight in query.terms.values())
    assert all(0 < weight <= 1 for weight in query.names.values())
