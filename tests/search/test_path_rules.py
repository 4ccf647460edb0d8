from __future__ import annotations

import pytest

from turboprop.search.path_rules import place_of


@pytest.mark.parametrize(
    ("path", "language", "kinds"),
    [
        ("src/app.py", "python", ""),
        ("tests/test_app.py", "python", "test"),
        ("src/app_test.go", "go", "test"),
        ("web/app.spec.ts", "typescript", "test"),
        ("src/test_bench.c", "c", ""),
        ("src/latest/app.py", "python", ""),
        ("src/main/java/AppTest.java", "java", "test"),
        ("test/core.bats", "bash", "test"),
        ("examples/hello.py", "python", ""),
        ("benchmarks/run.py", "python", ""),
        ("README.md", "markdown", "prose"),
        ("docs/guide.rst", "", "prose"),
        ("doc/man.go", "go", ""),
        ("LICENSE", "", "prose"),
        ("src/history.py", "python", ""),
        ("package.json", "json", ""),
        ("examples/README.md", "markdown", "prose"),
    ],
)
def test_places(path: str, language: str, kinds: str) -> None:
    place = place_of(path, language)
    found = ["test"] * place.is_test + ["prose"] * place.is_prose
    assert " ".join(found) == kinds
