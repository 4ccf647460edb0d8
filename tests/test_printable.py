from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from turboprop.edges.cli.printable import printable, printable_name


def test_escape_sequences_lose_their_power() -> None:
    assert printable("a\x1b]52;c;x\x07\tb\n") == "a\\x1b]52;c;x\\x07\tb\n"
    assert printable("\x9b31m\r") == "\\x9b31m\\x0d"
    assert printable_name("new\nline\x1b[2J.py") == "new\\x0aline\\x1b[2J.py"
    assert printable_name("größe/目录.py") == "größe/目录.py"


@given(st.text())
def test_nothing_else_changes(text: str) -> None:
    assert printable_name(text) == "".join(
        f"\\x{ord(each):02x}" if unicodedata.category(each) == "Cc" else each for each in text
    )
