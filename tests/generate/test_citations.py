"""Citations: real ones stay, invented ones go and are reported, and nothing else is touched."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turboprop.generate.citations import Citation, CitationFilter, agreed

SHOWN = {"src/a.py": range(10, 21), "b.md": (1, 2, 3, 7), "Makefile": range(1, 5), "app/[id]/a,b.ts": range(1, 9)}


def checked(*pieces: str) -> tuple[str, CitationFilter]:
    found = CitationFilter(SHOWN, is_file={"LICENSE", "passwd"}.__contains__)
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
        ("[src/a.py:999999999-9999999999999]", "", ("src/a.py:999999999-9999999999999",)),
        ("open [src/a.py:12", "open [src/a.py:12", ()),
        ("[src/a.py:10-\n12]", "[src/a.py:10-12]", ()),
        # forms that models write instead
        ("\u3010src/a.py:12\u3011 \u3010src/z.py\u2020L1-L2\u3011", "[src/a.py:12]", ("src/z.py\u2020L1-L2",)),
        ("[src/a.py#L12-L13] [src/z.py#L1]", "[src/a.py:12-13]", ("src/z.py#L1",)),
        ("[src/a.py, lines 12-13] [z.py, line 1]", "[src/a.py:12-13]", ("z.py, line 1",)),
        ("[src/a.py:12 to 13] [src/a.py:12 to 99]", "[src/a.py:12-13]", ("src/a.py:12 to 99",)),
        ("[**src/a.py**:12\u201413]", "[src/a.py:12-13]", ()),
        ("[app/[id]/a,b.ts:1-2] [app/[id]/c.ts:1-2]", "[app/[id]/a,b.ts:1-2]", ("app/[id]/c.ts:1-2",)),
        # files that nobody showed, without a dot or a slash
        ("[LICENSE:1-3] [passwd:1] [note:3]", " [note:3]", ("LICENSE:1-3", "passwd:1")),
        ("[src/\u0430.py:12] [src/a.py\u200b:12]", "", ("src/\u0430.py:12", "src/a.py\u200b:12")),
        ("[see src/z.py:1-2, and more] [[z.py:1] [x]]", "[and more] [ [x]]", ("see src/z.py:1-2", "z.py:1")),
        ("[src/a.py:12, as [z.py:1]]", "[src/a.py:12, as]", ("z.py:1",)),
        ("[z.py[z.py:1]:2]", "", ("z.py[z.py:1]:2",)),
        # a citation is no label of a link
        ("[src/a.py:12](http://evil.example)", "[src/a.py:12] (http://evil.example)", ()),
        ("[src/z.py:12](http://evil.example)", "(http://evil.example)", ("src/z.py:12",)),
        ("[a](http://evil.example:80) [owner/name#3]", "[a](http://evil.example:80) [owner/name#3]", ()),
    ],
)
def test_examples(text: str, shown: str, removed: tuple[str, ...]) -> None:
    found, book = checked(text)
    assert (found, book.removed) == (shown, removed)
    assert checked(*text)[0] == shown


PARTS = st.one_of(
    st.text(alphabet="ab [],;:-\n`L.x12#()\u3010\u3011", max_size=8),
    st.builds(
        lambda path, a, b: f" [{path}:{a}-{b}]",
        st.sampled_from([*SHOWN, "src/z.py", "i"]),
        st.integers(0, 25),
        st.integers(0, 25),
    ),
)
CITED = re.compile(r"\[(src/a\.py|b\.md|Makefile|src/z\.py):(\d+)(?:-(\d+))?\](?!\()")


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
    assert not re.search(r"\[[^\[\]]*:\d+\]\(", found) or not book.citations
    if not {"[", "\u3010"} & set(text):
        assert found == text


def test_answers_agree_on_the_lines_that_all_cite() -> None:
    one = [Citation("a.py", 1, 6), Citation("b.py", 2, 2)]
    other = [Citation("a.py", 5, 9), Citation("a.py", 1, 2), Citation("c.py", 2, 2)]
    assert agreed([one, other]) == (Citation("a.py", 1, 2), Citation("a.py", 5, 6))
    assert agreed([one, other, []]) == ()
    assert agreed([one]) == ()
