"""Tables put into TOML that people keep."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.edges.mcp.toml_text import with_table

KEYS = ("mcp_servers", "turboprop")
VALUES = {"command": "/usr/bin/python", "args": ["-m", "turboprop"]}
WRITTEN = '[mcp_servers.turboprop]\ncommand = "/usr/bin/python"\nargs = ["-m", "turboprop"]\n'

KEPT = """# my settings
model = "big"

[mcp_servers.other]
command = "other"  # stays
args = [
  "[mcp_servers.turboprop]",
]
"""


def test_a_new_table_is_appended() -> None:
    assert with_table("", KEYS, VALUES) == WRITTEN
    assert with_table(KEPT, KEYS, VALUES) == f"{KEPT}\n{WRITTEN}"


def test_an_old_table_is_changed_in_its_place() -> None:
    old = '[mcp_servers."turboprop"]  # ours\nargs = [\n  "[x]",\n  "y",\n]\nenv = { A = "1" }\ncommand = "old"\n\n'
    tail = '[other]\ncommand = "kept"\n'
    new = '[mcp_servers."turboprop"]  # ours\nargs = ["-m", "turboprop"]\nenv = { A = "1" }\n'
    assert with_table(KEPT + old + tail, KEYS, VALUES) == f'{KEPT}{new}command = "/usr/bin/python"\n\n{tail}'


def test_line_ends_stay() -> None:
    assert with_table("a = 1\r\n", KEYS, VALUES) == "a = 1\r\n\r\n" + WRITTEN.replace("\n", "\r\n")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_text_is_written_as_it_is(command: str, arguments: list[str]) -> None:
    made = with_table(KEPT, KEYS, {"command": command, "args": arguments})
    assert tomllib.loads(made)["mcp_servers"]["turboprop"] == {"command": command, "args": arguments}


@pytest.mark.parametrize(
    "text",
    ["mcp_servers = { other = { command = 'x' } }\n", "[mcp_servers\n", "[[mcp_servers]]\n", "mcp_servers = 1\n"],
)
def test_what_cannot_be_changed_safely_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        with_table(text, KEYS, VALUES)
