"""Each rule by itself, on a lexicon made by hand through a real table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from turboprop.code.terms import counted_terms
from turboprop.index.history import History, PastCommit
from turboprop.index.lexicon import Lexicon
from turboprop.index.read import IndexReader
from turboprop.index.schema import IndexSpec, text_digest
from turboprop.index.write import TableWriter
from turboprop.search.analysis import LONG_WORDS, analyse
from turboprop.search.ranking import DEFAULT, Candidates, Weights, diversity, rank, without
from turboprop.types import Chunk, IndexedFile, Prompts

FILES = {
    "src/router.py": ["Router", "Router.match", ""],
    "src/net/pool.py": ["Pool"],
    "tests/test_router.py": ["test_match"],
    "docs/router.md": [""],
    "examples/router_demo.py": ["main"],
}
_ADDED = ("file words", "file name", "folder", "definition", "path", "coherence")
NOTHING = Weights(0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, DEFAULT.definition, 0)
REPORT = " ".join(f"word{number}" for number in range(LONG_WORDS + 1))


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lexicon]:
    with written(tmp_path_factory.mktemp("ranking"), FILES) as reader:
        yield reader.lexicon


def written(directory: Path, files: dict[str, list[str]]) -> IndexReader:
    """An index of files with one chunk for each symbol."""
    with TableWriter.open(directory, IndexSpec("by hand", "by-hand", 8, Prompts(), "by hand")) as writer:
        for path, symbols in files.items():
            language = {".md": "markdown", ".json": "json"}.get(Path(path).suffix, "python")
            kind = "key" if language == "json" else ""
            chunks = [
                Chunk(path, language, kind, symbol, row + 1, row + 1, f"text {row}\n")
                for row, symbol in enumerate(symbols)
            ]
            writer.begin_file(path)
            writer.add(
                chunks, [text_digest(path + chunk.text) for chunk in chunks], np.ones((len(chunks), 8), np.float32)
            )
            writer.end_file(IndexedFile(path, 1, 1, 1, "0" * 32, len(chunks), language))
        writer.publish()
    return IndexReader.open(directory)


def ranked(lexicon: Lexicon, query: str, weights: Weights, lexical: list[float] | None = None, **more: list[float]):
    count = lexicon.rows
    found = Candidates(
        np.arange(count),
        np.array(lexical or [1.0] * count),
        np.zeros(count),
        np.array(more.get("deviations", [0.0] * count)),
    )
    phrases = np.array(more["phrases"]) if "phrases" in more else None
    return {
        (lexicon.files[int(lexicon.file_of[one.row])][0], one.row): one
        for one in rank(analyse(query), lexicon, found, phrases, weights)
    }


def first(lexicon: Lexicon, query: str, weights: Weights, **more: list[float]) -> str:
    return next(iter(ranked(lexicon, query, weights, **more)))[0]


def test_without_any_rule_the_words_decide(lexicon: Lexicon) -> None:
    order = ranked(lexicon, "anything", NOTHING, lexical=[0.1, 0.2, 0.3, 0.9, 0.4, 0.5, 0.6])
    assert [round(one.score, 6) for one in order.values()] == [0.9, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def test_vectors_count_by_how_far_they_stand_out(lexicon: Lexicon) -> None:
    weights = replace(NOTHING, dense=1.0)
    far = [0.0, 0, 0, 6.0, 0, 0, -3.0]
    words = [0.5] + [0.0] * 6
    assert first(lexicon, "some words", weights, lexical=words, deviations=far) == "src/net/pool.py"
    assert first(lexicon, "symbol", weights, lexical=words, deviations=far) == "src/net/pool.py"
    less = replace(weights, dense_symbol=0.3)
    assert first(lexicon, "symbol", less, lexical=words, deviations=far) == "src/router.py"
    nearer = [0.0, 0, 0, 2.0, 0, 0, -3.0]
    assert first(lexicon, "some words", weights, lexical=words, deviations=nearer) == "src/router.py"


@pytest.mark.parametrize(
    ("rule", "query", "path"),
    [
        ("file_name", "the pool", "src/net/pool.py"),
        ("folder", "net", "src/net/pool.py"),
        ("definition", "Pool", "src/net/pool.py"),
        ("path", "net/pool.py", "src/net/pool.py"),
    ],
)
def test_what_a_rule_puts_first(lexicon: Lexicon, rule: str, query: str, path: str) -> None:
    assert first(lexicon, query, replace(NOTHING, **{rule: 1.0})) == path


def test_names_count_more_in_a_report(lexicon: Lexicon) -> None:
    named = replace(NOTHING, definition=0.0, definition_report=1.2)
    query = f"{REPORT} test_match()"
    assert first(lexicon, query, named, lexical=[1.0] + [0.8] * 6) == "tests/test_router.py"
    assert first(lexicon, "and test_match()", named, lexical=[1.0] + [0.8] * 6) == "src/router.py"


def test_commits_with_alike_messages_speak_for_their_files_in_a_report(lexicon: Lexicon) -> None:
    alike = PastCommit("a", 0, tuple(counted_terms("word3 and word4 were wrong")), ("src/net/pool.py", "gone.py"))
    other = PastCommit("b", 0, tuple(counted_terms("something else")), ("src/router.py",))
    history = History([other, alike], [path for path, _ in lexicon.files])
    rows = np.arange(lexicon.rows)
    found = Candidates(rows, np.ones(len(rows)), np.zeros(len(rows)), np.zeros(len(rows)))
    weights = replace(NOTHING, said_before=0.5)
    with_it = rank(analyse(REPORT), lexicon, found, None, weights, history=history)
    assert lexicon.files[int(lexicon.file_of[with_it[0].row])][0] == "src/net/pool.py"
    assert (with_it[0].parts["said before"], with_it[-1].parts["said before"]) == (0.5, 0.0)


def test_capitals_of_a_query_tell_one_definition_from_another(tmp_path: Path) -> None:
    names = ["session", "Session", "SESSION"]
    with written(tmp_path, {"sessions.py": [*names, "HTTPServer"], "state.json": ["session"]}) as reader:

        def worth(query: str) -> list[float]:
            found = ranked(reader.lexicon, query, replace(NOTHING, definition=1.0))
            return [found[key].parts["definition"] for key in sorted(found, key=lambda key: key[1])]

        assert worth("Session") == [0.5, 1.0, 0.5, 0.0, 0.0], "a key of a data file defines nothing"
        assert worth("SESSION") == [0.5, 0.5, 1.0, 0.0, 0.0]
        assert worth("session") == [1.0, 1.0, 1.0, 0.0, 0.0], "without capitals any is meant"
        assert worth("sEssion") == [1.0, 1.0, 1.0, 0.0, 0.0], "none is spelled so"
        assert worth("httpserver") == worth("HTTPServer") == [0.0, 0.0, 0.0, 1.0, 0.0]


def test_phrases_are_put_first(lexicon: Lexicon) -> None:
    phrases = [0.0] * 6 + [1.0]
    assert first(lexicon, 'a "b c d"', replace(NOTHING, phrase=1.0), phrases=phrases) == "examples/router_demo.py"


def test_words_in_different_chunks_speak_for_their_file_together(lexicon: Lexicon) -> None:
    weights = replace(NOTHING, file_words=1.0)
    of_files = {path: one.parts["file words"] for (path, _), one in ranked(lexicon, "router match", weights).items()}
    assert of_files.pop("src/router.py") == 1.0
    assert set(of_files.values()) == {0.0}, "a file of one chunk adds nothing to it"


def test_a_file_with_several_good_chunks_is_preferred(lexicon: Lexicon) -> None:
    words = [0.9, 0.9, 0.9, 1.0, 0.1, 0.1, 0.1]
    assert first(lexicon, "x y", NOTHING, lexical=words) == "src/net/pool.py"
    assert first(lexicon, "x y", replace(NOTHING, coherence=0.5), lexical=words) == "src/router.py"


@pytest.mark.parametrize(
    ("rule", "query", "asking", "path"),
    [
        ("tests", "match", "match test", "tests/test_router.py"),
        ("prose", "match", "match documentation", "docs/router.md"),
    ],
)
def test_what_is_held_back_unless_asked_for(lexicon: Lexicon, rule: str, query: str, asking: str, path: str) -> None:
    weights = replace(NOTHING, **{rule: 0.25})
    factor = {name: one.parts["kind of file"] for (name, _), one in ranked(lexicon, query, weights).items()}
    assert factor.pop(path) == 0.25
    assert set(factor.values()) == {1.0}
    assert {one.parts["kind of file"] for one in ranked(lexicon, asking, weights).values()} == {1.0}


def test_further_chunks_of_a_file_step_back(lexicon: Lexicon) -> None:
    order, factor = diversity(np.array([5.0, 4.0, 3.0, 1.0]), np.array([0, 0, 0, 1]), replace(NOTHING, diversity=0.5))
    assert order.tolist() == [0, 1, 3, 2]
    assert factor.tolist() == [1.0, 0.5, 1.0, 0.25]


def test_parts_and_score_agree(lexicon: Lexicon) -> None:
    for one in ranked(lexicon, "Router match", DEFAULT, lexical=[0.5, 0.4, 0.3, 0.2, 0.6, 0.1, 0.2]).values():
        added = sum(one.parts[name] for name in _ADDED)
        wanted = (one.parts["words"] + added) * one.parts["kind of file"] * one.parts["same file"]
        assert one.score == pytest.approx(wanted)


def test_nothing_found() -> None:
    empty = Candidates(np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0))
    assert rank(analyse("x"), None, empty) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", [field.name for field in fields(Weights)])
def test_every_rule_can_be_switched_off(rule: str) -> None:
    assert getattr(without(rule), rule) == getattr(NOTHING, rule)
    assert without(rule) != DEFAULT
