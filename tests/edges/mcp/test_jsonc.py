"""Members put into JSON that people keep."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.edges.mcp.jsonc import parse, with_member

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=20
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=5)


@given(VALUES, st.sampled_from([None, 2, "\t"]))
def test_reads_what_json_reads(value: Any, indent: Any) -> None:
    assert parse(json.dumps(value, indent=indent)).value == value


@given(OBJECTS, OBJECTS, st.text(), VALUES, st.sampled_from([None, 2, 4, "\t"]))
def test_everything_else_stays(whole: Any, servers: Any, name: str, value: Any, indent: Any) -> None:
    for before in ({**whole, "servers": servers}, {key: whole[key] for key in whole if key != "servers"}):
        changed = with_member(json.dumps(before, indent=indent), ("servers", name), value)
        assert json.loads(changed) == {**before, "servers": {**before.get("servers", {}), name: value}}


@given(st.text(alphabet='{}[]",:/*\\ \n\r\t0aeu-.', max_size=60))
def test_no_text_is_more_than_a_value_error(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:  # it may be JSON with comments all the same
        with contextlib.suppress(ValueError):
            parse(text)
    else:
        assert parse(text).value == expected


def test_comments_and_layout_stay() -> None:
    before = """{
\t// servers of ours
\t"inputs": [],
\t"servers": {
\t\t"a": { "command": "a" }, // first
\t\t/* last */ "b": { "command": "{" } // no comma: "}"
\t},
}
"""
    after = with_member(before, ("servers", "c"), {"command": "c", "args": ["1"]})
    assert after == before.replace(
        '"{" } // no comma: "}"\n',
        '"{" }, // no comma: "}"\n\t\t"c": {\n\t\t\t"command": "c",\n\t\t\t"args": [\n\t\t\t\t"1"\n\t\t\t]\n\t\t}\n',
    )
    assert with_member(after, ("servers", "c"), 1) == before.replace(
        '"{" } // no comma: "}"\n', '"{" }, // no comma: "}"\n\t\t"c": 1\n'
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "k": {\n    "n": 1\n  }\n}\n'),
        ("// mine\n", '// mine\n{\n  "k": {\n    "n": 1\n  }\n}\n'),
        ("{}", '{\n  "k": {\n    "n": 1\n  }\n}'),
        ('{"k":{}}', '{"k":{\n    "n": 1\n  }}'),
        ('{"k":{"m":2}}', '{"k":{"m":2,\n    "n": 1\n  }}'),
        ('{\r\n    "k": {}\r\n}\r\n', '{\r\n    "k": {\r\n        "n": 1\r\n    }\r\n}\r\n'),
        ('{\n  "k": {\n    "n": 5, // was five\n  }\n}\n', '{\n  "k": {\n    "n": 1, // was five\n  }\n}\n'),
    ],
)
def test_layouts(before: str, after: str) -> None:
    assert with_member(before, ("k", "n"), 1) == after


@pytest.mark.parametrize(
    "text", ["{", "[1", '{"a" 1}', "{a: 1}", '{"a": }', '{"a": 1} x', "/* open", '{"a": 1 "b": 2}', "[" * 5000]
)
def test_damaged_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        with_member(text, ("k", "n"), 1)
