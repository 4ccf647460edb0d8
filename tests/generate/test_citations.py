"""Citations: real ones stay, invented ones go and are reported, and nothing else is touched."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turboprop.generate.citations import Citation, CitationFilter

SHOWN = {"src/a.py": range(10, 21), "b.md": (1, 2, 3, 7), "Makefile": range(1, 5)}


def checked(*pieces: str) -> tuple[str, CitationFilter]:
    found = CitationFilter(SHOWN)
    text = "".join(found.push(piece) for piece in pieces)
    return text + found.finish(), found


@pytest.mark.parametrize(
    ("text", "shown", "removed"),
    [
        ("It binds [src/a.py:10-20].", "It binds [src/a.py:10-20].", ()),
        ("It binds [src/a.py:10-21].", "It binds.", ("src/a.py:10-21",)),
        ("See [b.md:3-7] here", "See here", ("b.md:3-7",)),
        ("See [Makefile:2].", "See [Makefile:2].", ()),
        ("See [src/b.py:1]!", "See!", ("src/b.py:1",)),
        ("[src/a.py:12, src/a.py:99; b.md:1-2]", "[src/a.py:12, b.md:1-2]", ("src/a.py:99",)),
        ("[src/a.py:L12-L13] [`b.md`:1\u20132]", "[src/a.py:12-13] [b.md:1-2]", ()),
        ("[src/a.py:20-10]", "", ("src/a.py:20-10",)),
        ("[src/a.py:0]", "", ("src/a.py:0",)),
        ("x = items[i:10] + items[1:2]  # [note: 3]", "x = items[i:10] + items[1:2]  # [note: 3]", ()),
        ("[a link](b.md) and [x] [ ] [] [b.md]", "[a link](b.md) and [x] [ ] [] [b.md]", ()),
        ("[src/a.py:999999999-9999999999999]", "[src/a.py:999999999-9999999999999]", ()),
        ("open [src/a.py:12", "open [src/a.py:12", ()),
        ("[src/a.py:10-\n12]", "[src/a.py:10-\n12]", ()),
    ],
)
def test_examples(text: str, shown: str, removed: tuple[str, ...]) -> None:
    found, book = checked(text)
    assert (found, book.removed) == (shown, removed)
    assert checked(*text)[0] == shown


PARTS = st.one_of(
    st.text(alphabet="ab [],;:-\n`L.x12", max_size=8),
    st.builds(
        lambda path, a, b: f" [{path}:{a}-{b}]",
        st.sampled_from([*SHOWN, "src/z.py", "i"]),
        st.integers(0, 25),
        st.integers(0, 25),
    ),
)
CITED = re.compile(r"\[(src/a\.py|b\.md|Makefile|src/z\.py):(\d+)(?:-(\d+))?\]")


@settings(max_examples=500, deadline=None)
@given(st.lists(PARTS, max_size=12))
def test_what_is_left_is_real_however_it_was_cut(parts: list[str]) -> None:
    text = "".join(parts)
    found, book = checked(*parts)
    assert (found, book.citations, book.removed) == (lambda f, b: (f, b.citations, b.removed))(*checked(text))
    assert checked(*text)[0] == found
    for path, start, end in CITED.findall(found):
        lines = range(int(start), int(end or start) + 1)
        assert len(lines) > 0
        assert set(lines) <= set(SHOWN.get(path, ()))
        assert Citation(path, int(start), int(end or start)) in book.citations
    if "[" not in text:
        assert found == text
