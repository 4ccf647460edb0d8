"""What a repository suggests to ask of itself: real sentences and names of its code, which the search then finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from turboprop.search.examples import MOST, example_queries
from turboprop.workspace.index import Index

FILES = {
    "app/server.py": 'def listen_forever(port):\n    """Answer requests until somebody stops it."""\n    return port\n',
    "app/store.go": "package app\n\n// KeepEverything writes what it is given to the disk.\nfunc KeepEverything() {}\n",
    "tests/test_server.py": 'def test_nothing_here():\n    """A test says what it is that it tests."""\n',
    "README.md": "# Words that nobody should be shown\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_they_are_sentences_and_names_of_the_code(root: Path) -> None:
    with Index.create(root, "none") as index:
        told = list(example_queries(index.reader))
        assert told == list(example_queries(index.reader))
        assert 2 <= len(told) <= MOST
        assert "Answer requests until somebody stops it" in told
        assert not any("test" in one for one in told)
        for query in told:
            assert index.search(query, 1)[0].path.startswith("app/")


def test_prose_alone_suggests_nothing(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(FILES["README.md"])
    with Index.create(tmp_path, "none") as index:
        assert list(example_queries(index.reader)) == []
