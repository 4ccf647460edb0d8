"""Text as it is written: nothing lost, nothing shown too early, wherever it was cut."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from reference import reference
from turboprop.generate.stream import Detokenizer, Part, ReasoningSplitter, StopFilter
from turboprop.models.tokenizer.load import tokenizer_from_path

ALPHABET = st.text(alphabet="ab<>/thinkn \n", max_size=60)


def pieces(text: str, cuts: list[int]) -> Iterator[str]:
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    return (text[a:b] for a, b in pairwise(places))


@settings(deadline=None, max_examples=300)
@given(
    ALPHABET,
    st.lists(st.text(alphabet="abn ", min_size=1, max_size=4), max_size=4),
    st.lists(st.integers(0, 60), max_size=20),
)
def test_stops_cut_where_the_first_is_complete(text: str, stops: list[str], cuts: list[int]) -> None:
    stop_filter = StopFilter(stops)
    shown = ""
    for piece in pieces(text, cuts):
        shown += stop_filter.push(piece)
        assert not any(stop in shown for stop in stops)
    shown += stop_filter.finish()
    ends = [(text.find(stop) + len(stop), text.find(stop), stop) for stop in stops if stop in text]
    assert shown == (text[: min(ends)[1]] if ends else text)
    assert stop_filter.stopped == (min(ends)[2] if ends else None)


def test_what_cannot_become_a_stop_is_shown_at_once() -> None:
    stop_filter = StopFilter(["</end>"])
    assert stop_filter.push("a <") == "a "
    assert stop_filter.push("/e") == ""
    assert stop_filter.push("xit> b") == "</exit> b"


def joined(parts: list[Part], kind: str) -> str:
    return "".join(text for each, text in parts if each == kind)


@given(ALPHABET, ALPHABET, st.lists(st.integers(0, 140), max_size=30), st.booleans())
def test_reasoning_is_told_apart(thought: str, answer: str, cuts: list[int], opened: bool) -> None:
    thought = thought.replace("</think>", "")
    if "</think>" in thought:
        return
    splitter = ReasoningSplitter(thinking=opened)
    parts: list[Part] = []
    for piece in pieces(("" if opened else "<think>") + thought + "</think>\n\n" + answer, cuts):
        parts += splitter.push(piece)
    parts += splitter.finish()
    assert joined(parts, "reasoning") == thought
    assert joined(parts, "text") == answer.lstrip()


@given(ALPHABET, st.lists(st.integers(0, 60), max_size=20))
def test_without_reasoning_nothing_changes(text: str, cuts: list[int]) -> None:
    if text.lstrip().startswith("<think>"):
        return
    splitter = ReasoningSplitter()
    parts: list[Part] = []
    for piece in pieces(text, cuts):
        parts += splitter.push(piece)
    assert joined(parts + splitter.finish(), "text") == text


@pytest.fixture(scope="module", params=["gguf/stories260K.gguf", "tokenizers/ggml-vocab-qwen2.gguf"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return tokenizer_from_path(reference(request.param))


@settings(deadline=None, max_examples=200)
@given(text=st.text(max_size=40), data=st.data())
def test_the_pieces_make_the_text(tokenizer: Tokenizer, text: str, data: st.DataObject) -> None:
    text = "a" + text
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    begin = data.draw(st.integers(0, min(1, len(ids))))
    detokenizer = Detokenizer(tokenizer, ids[:begin])
    shown = [detokenizer.push(number) for number in ids[begin:]]
    shown.append(detokenizer.finish())
    whole, before = tokenizer.decode(ids), tokenizer.decode(ids[:begin])
    assert before + "".join(shown) == whole


@pytest.mark.parametrize("text", ["👩‍👩‍👧 is a family", "naïve Straße 東京 🇯🇵", "q\u0301\u0301"])
def test_characters_are_never_shown_in_parts(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(f"say {text}", add_special_tokens=False).ids
    detokenizer = Detokenizer(tokenizer)
    shown = [detokenizer.push(number) for number in ids]
    assert "\ufffd" not in "".join(shown)
    assert "".join(shown) + detokenizer.finish() == f"say {text}"


def test_bytes_that_are_no_character_are_shown_in_the_end(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("a𓀀", add_special_tokens=False).ids
    detokenizer = Detokenizer(tokenizer)
    shown = "".join(detokenizer.push(number) for number in ids[:-1])
    assert shown == "a"
    assert "\ufffd" in detokenizer.finish()
