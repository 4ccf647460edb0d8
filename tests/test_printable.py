"""Hidden characters are shown, and nothing else changes."""

from __future__ import annotations

import ast
import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import turboprop
from hostile_text import ATTACKS, LEGITIMATE, NAMES, acting
from turboprop.printable import human_size, named, printable, printable_message, printable_name, quoted_name

SOURCE = Path(turboprop.__file__).parent
ANY = st.one_of(
    st.text(),
    st.text(
        alphabet="a \u200c\u200d\ufe0e\ufe0f\ufe01\U000e0100\U000e0041\u06cc"
        "\u0915\u1820\u180b❤👩\u4e00\u202e\x1b1\u20e3"
    ),
)


def test_escape_sequences_lose_their_power() -> None:
    assert printable("a\x1b]52;c;x\x07\tb\n") == "a\\x1b]52;c;x\\x07\tb\n"
    assert printable("\x9b31m\r") == "\\x9b31m\\x0d"
    assert printable_name("new\nline\t\x1b[2J.py") == "new\\x0aline\\x09\\x1b[2J.py"
    assert printable_name("größe/目录.py") == "größe/目录.py"
    assert printable("\u202e\U000e0041\ud800") == "\\u202e\\U000e0041\\ud800"
    assert printable_message("cannot read a\ntp: all is well") == "cannot read a\n    tp: all is well"


@pytest.mark.parametrize("text", LEGITIMATE)
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ad\u200dmin\u200c", "ad\\u200dmin\\u200c"),
        ("می\u200c\u200cخ", "می\\u200c\\u200cخ"),
        ("👩\ufe0f\ufe0f\ufe0e", "👩\ufe0f\\ufe0f\\ufe0e"),
        ("葛\U000e0100\U000e0101", "葛\U000e0100\\U000e0101"),
        ("a\ufe0f\U000e0100", "a\\ufe0f\\U000e0100"),
    ],
)
def test_joiners_and_selectors_are_shown_where_they_do_nothing(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_all_attacks_are_shown() -> None:
    for text in [*ATTACKS, *NAMES]:
        assert acting(printable_name(text)) == []
        assert "\n" not in printable_name(text)


@given(ANY)
def test_nothing_else_changes(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert not any(
        unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in shown.replace("\n", "").replace("\t", "")
    )
    if all(unicodedata.category(each)[0] in "LMNPS" and ord(each) < 0x3000 for each in text if each != " ") and not any(
        unicodedata.category(each) in ("Mn", "Lo") for each in text
    ):
        assert shown == text


@given(st.one_of(ANY, st.sampled_from(NAMES), st.text(alphabet='ab /.:|"\\\n\t\u202e\U000e0041é')))
def test_a_quoted_name_is_read_back_and_ends_where_it_ends(name: str) -> None:
    quoted = quoted_name(name)
    assert quoted == printable_name(quoted)
    if any("\ud800" <= each <= "\udfff" for each in name):
        return
    if name.startswith('"'):
        assert quoted.startswith('"\\"')
    assert named(quoted) == name
    # Whatever follows, a reader finds the name again.
    end = json.JSONDecoder().raw_decode(f"{quoted}:1-2  x")[1] if quoted.startswith('"') else quoted.find(":")
    assert end in (-1, len(quoted))


def test_commands_print_through_one_function() -> None:
    """Every other call of click's or Python's own could print a name as it is; those here print what programs read."""
    allowed = {
        "cli/hits.py": 1,  # paths, for programs
        "cli/grep.py": 1,  # lines made printable one by one, with colours
        "cli/generate.py": 1,  # a model's text, into a pipe
        "cli/chat.py": 1,
        "cli/completion.py": 1,  # click's script
    }
    found: dict[str, int] = {}
    for path in [*(SOURCE / "edges").rglob("*.py"), *SOURCE.glob("*.py")]:
        name = path.relative_to(SOURCE / "edges").as_posix() if "edges" in path.parts else path.name
        if name == "printable.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("click.echo", "click.secho", "print"):
                found[name] = found.get(name, 0) + 1
    assert found == allowed


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (91_600_000, "91.6 MB"),
        (4_370_000_000, "4.4 GB"),
        (9e14, "900000.0 GB"),
    ],
)
def test_sizes(size: float, text: str) -> None:
    assert human_size(size) == text
