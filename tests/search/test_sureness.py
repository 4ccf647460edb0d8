"""How sure a hit is: by its parts, by the anchors of an index, and of whole answers."""

from __future__ import annotations

import numpy as np
import pytest

from turboprop.index.read import IndexReader
from turboprop.search.nearest import nearest_words
from turboprop.search.search import search
from turboprop.search.sureness import Anchors, anchors, of_answer, sureness
from turboprop.types import Hit, Sureness

USUAL = Anchors(0.2, 0.7)


@pytest.mark.parametrize(
    ("parts", "mark"),
    [
        ({"words": 0.9, "cosine": 0.6}, "strong"),
        ({"words": 0.4, "cosine": 0.5}, "strong"),
        ({"words": 0.15, "cosine": 0.35}, "weak"),
        ({"words": 0.0, "cosine": 0.55}, "weak"),
        ({"words": 0.02, "cosine": 0.25}, "nothing"),
        ({"words": 0.0, "cosine": 0.0}, "nothing"),
        ({"words": 0.3, "cosine": -0.1}, "weak"),
        ({"words": 0.0, "cosine": 0.0, "place": 1.0}, "strong"),
        ({"words": 0.0, "cosine": 0.0, "path": 0.4}, "strong"),
        ({"words": 0.0, "cosine": 0.0, "phrase": 0.4}, "strong"),
    ],
)
def test_marks_by_words_and_meaning(parts: dict[str, float], mark: Sureness) -> None:
    assert sureness(parts, USUAL, by_words=True) == mark


def test_where_nothing_holds_a_word_the_meaning_must_come_near() -> None:
    marks = [sureness({"words": 0.0, "cosine": cosine}, USUAL, by_words=True, held=0.0) for cosine in (0.3, 0.4, 0.5)]
    assert marks == ["nothing", "nothing", "weak"]
    assert sureness({"words": 0.0, "cosine": 0.35}, USUAL, by_words=True, held=0.0, rows=3) == "weak"


def test_of_few_chunks_a_word_that_all_hold_is_something() -> None:
    parts = {"words": 0.01, "cosine": 0.1}
    for known in (USUAL, None):
        assert sureness(parts, known, by_words=True, held=1.0, rows=20) == "weak"
        assert sureness(parts, known, by_words=True, held=0.3, rows=20) == "nothing"
        assert sureness(parts, known, by_words=True, held=1.0, rows=20_000) == "nothing"
        assert sureness({**parts, "words": 0.0}, known, by_words=True, held=1.0, rows=20) == "nothing"


def test_each_side_alone() -> None:
    words = [sureness({"words": share}, None, by_words=True) for share in (0.0, 0.05, 0.2, 0.4)]
    assert words == ["nothing", "nothing", "weak", "strong"]
    meaning = [
        sureness({"words": 0.0, "cosine": cosine}, USUAL, by_words=False, held=0.0) for cosine in (0.1, 0.35, 0.5)
    ]
    assert meaning == ["nothing", "weak", "strong"]


def test_anchors_lie_between_chunks_of_all_kinds_and_nearest_ones() -> None:
    generator = np.random.default_rng(1)
    topics = generator.normal(size=(8, 64))
    rows = np.repeat(topics, 64, axis=0) + 0.5 * generator.normal(size=(512, 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    far, near = anchors(rows.astype(np.float16))
    assert far < 0.1
    assert near > 0.75
    assert Anchors(far, near).nearness(near) == pytest.approx(1)
    assert Anchors(far, near).nearness(far) == pytest.approx(0)


@pytest.mark.parametrize("rows", [0, 1])
def test_anchors_of_next_to_nothing(rows: int) -> None:
    far, near = anchors(np.ones((rows, 4), np.float16))
    assert 0 < far < near < 1


def test_few_rows_move_the_anchors_little() -> None:
    copies = np.tile(np.array([1, 0, 0, 0], np.float16), (4, 1))
    assert anchors(copies).far < 0.4
    assert anchors(np.tile(copies, (100, 1))).far > 0.9


def test_an_answer_is_as_sure_as_its_surest_hit() -> None:
    def hit(sure: Sureness | None) -> Hit:
        return Hit("a.py", 1, 1, 1.0, "", "", "", sure=sure)

    assert of_answer([]) == "nothing"
    assert of_answer([hit("nothing"), hit("weak")]) == "weak"
    assert of_answer([hit("weak"), hit("strong"), hit("nothing")]) == "strong"
    assert of_answer([hit(None)]) == "nothing"


def test_hits_of_a_search_are_marked(reader: IndexReader) -> None:
    hits = search(reader, "parse_config", np.array([1, 0, 0, 0], np.float32))
    assert hits[0].sure == "strong"
    assert {hit.sure for hit in hits} <= {"strong", "weak", "nothing"}
    assert all(hit.score > 0 for hit in hits)
    assert [hit.sure for hit in search(reader, "acquire", None, mode="lexical")] == ["strong"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("parse_confg", ("parse_config",)),
        ("conection", ("connection",)),
        ("aquire the pool", ("acquire",)),
        ("xyzzyqwerty", ()),
        ("parse_config", ()),
        ("???", ()),
        ("the of", ()),
    ],
)
def test_words_that_may_have_been_meant(reader: IndexReader, query: str, words: tuple[str, ...]) -> None:
    assert nearest_words([reader], query)[: len(words) or 3] == words
