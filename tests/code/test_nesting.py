"""No text ends the process: hostile nesting goes by lines, in a process of its own here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from turboprop.code.nesting import too_deep

HOSTILE = {
    "yaml": ('"- " * 5_000', '"".join(" " * i + "a:\\n" for i in range(1200))', '"- &a " * 3_000', '"? " * 3_000'),
    "kotlin": ("'\"${' * 3_000",),
    "perl": ("'\"${' * 3_000", '"q(" * 3_000'),
    "python": ('"".join(" " * i + "if a:\\n" for i in range(1200))', '"[" * 20_000'),
    "ruby": ("'\"#{' * 3_000",),
}


@pytest.mark.parametrize("language", HOSTILE)
def test_hostile_nesting_does_not_end_the_process(language: str) -> None:
    code = "from turboprop.code.chunk import chunk_text\nfrom turboprop.code.longlines import cut_long_lines as cut\n"
    code += "".join(
        f"text = {text}; assert ''.join(c.text for c in chunk_text('x', text, {language!r})) == cut(text)\n"
        for text in HOSTILE[language]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-400:]


def test_depth_is_what_counts_not_the_number() -> None:
    assert not too_deep(b"f(a[0]);\n" * 10_000, "c")
    assert too_deep(b"(" * 300 + b")" * 300, "c")
    assert not too_deep(b")" * 300 + b"(" * 200, "c")
    assert too_deep(b"- " * 200, "yaml")
    assert not too_deep(b"- a: b\n" * 10_000, "yaml")
