"""What a file says about its definitions, apart from the code."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.code.documented import documented, without

PYTHON = '''
class Account:
    """Money of one customer."""

    def withdraw(self, amount):
        """Take money out.

        Refuse when the balance is too small.
        """
        self.balance -= amount

    def close(self):
        """End it."""
'''


def test_python_docstrings_by_qualified_name() -> None:
    found = documented(PYTHON, "python")
    assert [(one.symbol, one.text.split("\n")[0], one.first, one.last, one.alone) for one in found] == [
        ("Account", "Money of one customer.", 3, 3, False),
        ("Account.withdraw", "Take money out.", 6, 9, False),
        ("Account.close", "End it.", 13, 13, True),
    ]
    bare = without(PYTHON, found)
    assert "Money" not in bare
    assert "Refuse" not in bare
    assert "self.balance -= amount" in bare
    assert documented(bare, "python") == []
    assert "pass" in bare.split("close")[1]


@pytest.mark.parametrize(
    ("language", "text", "symbol", "said"),
    [
        (
            "go",
            "package a\n\n// Dial opens a connection.\n// It waits.\nfunc Dial(h string) error {\n\treturn nil\n}\n",
            "Dial",
            "Dial opens a connection.\nIt waits.",
        ),
        ("rust", "/// Adds one to a number.\nfn add(x: u32) -> u32 {\n    x + 1\n}\n", "add", "Adds one to a number."),
        (
            "javascript",
            "/**\n * Fetch the rain of a city.\n */\nfunction rain(city) {\n  return get(city);\n}\n",
            "rain",
            "Fetch the rain of a city.",
        ),
    ],
)
def test_comments_above_a_definition(language: str, text: str, symbol: str, said: str) -> None:
    (found,) = documented(text, language)
    assert (found.symbol, found.text) == (symbol, said)
    bare = without(text, [found])
    assert said.split("\n")[0] not in bare
    assert documented(bare, language) == []


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "def broken(:\n"),
        ("python", 'def one(): "A docstring on the line itself."\n'),
        ("rust", "#[derive(Debug)]\nstruct Plain {\n    x: u8,\n}\n"),
        ("text", "// nothing\n"),
        ("c", "#include <stdio.h>\nint main(void) {\n  return 0;\n}\n"),
    ],
)
def test_what_is_no_documentation(language: str, text: str) -> None:
    assert documented(text, language) == []


NAMES = st.sampled_from(["alpha", "beta", "gamma"])
BODIES = st.sampled_from(["", "    return 1\n", "    x = 2\n    return x\n"])


@given(st.lists(st.tuples(NAMES, st.text("abc \n\\'é", min_size=1, max_size=40), BODIES), max_size=6))
def test_python_without_its_docstrings_is_the_same_python(parts: list[tuple[str, str, str]]) -> None:
    text = "".join(f"def {name}():\n    {said!r}\n{body}\n" for name, said, body in parts)
    found = documented(text, "python")
    bare = ast.parse(without(text, found))
    assert [node.name for node in bare.body if isinstance(node, ast.FunctionDef)] == [name for name, _, _ in parts]
    assert not any(ast.get_docstring(node) for node in bare.body if isinstance(node, ast.FunctionDef))
