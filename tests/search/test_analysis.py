from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.code.terms import term_hash
from turboprop.search.analysis import MAX_WORDS, STOP_WEIGHT, QueryKind, analyse


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
        ("what calls getUserName", QueryKind.MIXED, {"getusername": 0.5}),
        ("how does Router match", QueryKind.WORDS, {"router": 0.3}),
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


def test_a_sentence_of_stop_words_still_has_stems() -> None:
    assert analyse("what is this").stems


def test_phrases_paths_and_wishes() -> None:
    query = analyse('tests for "raise ValueError" in the docs examples')
    assert query.phrases == ("raise ValueError",)
    assert (query.asks_tests, query.asks_prose) == (True, True)
    assert analyse("src/App/Server.py:3").path == "src/app/server.py"
    plain = analyse("the contest of latest documents")
    assert (plain.asks_tests, plain.asks_prose) == (False, False)


def test_only_the_first_words_count() -> None:
    query = analyse(" ".join("w" + "abcdefghij"[number // 10] + "abcdefghij"[number % 10] for number in range(90)))
    assert len(query.terms) == MAX_WORDS


@given(st.text(max_size=400))
def test_any_text_is_a_query(text: str) -> None:
    query = analyse(text)
    assert all(0 < weight <= 1 for weight in query.terms.values())
    assert all(0 < weight <= 1 for weight in query.names.values())
