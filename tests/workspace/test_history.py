"""A long report is searched with what the commits say: real Git, real weights, the whole way."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from turboprop import Index
from turboprop.index.schema import HISTORY
from turboprop.workspace.together import search_together

Write = Callable[[dict[str, str]], Path]

REPORT = (
    "The lamp in the hall flickers\n\nWhenever somebody enters through the front door in the evening, it goes on and "
    "off several times before it stays as it should, which nobody likes at all. Seen with version 2.\n"
)
CODE = {"red.py": "def first():\n    return 1\n", "blue.py": "def second():\n    return 2\n"}


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", *identity, "-C", root, *arguments], check=True, capture_output=True)


@pytest.fixture
def root(write_files: Write) -> Path:
    """A repository in which nothing but a message says what a lamp has to do with blue.py."""
    root = write_files(CODE)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "Begin")
    (root / "blue.py").write_text("def second():\n    return 3\n")
    git(root, "commit", "-qam", "The lamp in the hall must not flicker")
    return root


@pytest.mark.parametrize("model", ["none", None])
def test_a_commit_of_alike_message_finds_its_file(root: Path, model: str | None) -> None:
    with Index.create(root, model) as index:
        hits = {hit.path: hit for hit in index.search(REPORT + "first second", threshold=0.0)}
        assert list(hits) == ["blue.py", "red.py"]
        assert hits["blue.py"].parts["said before"] > 0 == hits["red.py"].parts["said before"]
        assert "said before" not in index.search("first second", threshold=0.0)[0].parts, "a question is none"


def test_the_next_run_reads_what_was_committed_since(root: Path) -> None:
    with Index.create(root, "none") as index:
        assert index.reader.history().commits == 1
    git(root, "commit", "-q", "--allow-empty", "-m", "Nothing")
    (root / "red.py").write_text("def first():\n    return 4\n")
    git(root, "commit", "-qam", "Doors are heard")
    with Index.create(root, "none", upkeep=True) as index:
        assert index.reader.history().commits == 2


def test_a_commit_of_what_is_indexed_already_is_read(root: Path) -> None:
    (root / "red.py").write_text("def first():\n    return 4\n")
    with Index.create(root, "none") as index:
        assert index.reader.history().commits == 1
    git(root, "commit", "-qam", "Doors are heard")
    with Index.create(root) as index:
        assert index.summary is not None
        assert index.summary.unchanged_files == 2
        assert index.reader.history().commits == 2


def test_without_a_history_there_is_no_evidence(write_files: Write) -> None:
    root = write_files(CODE)
    with Index.create(root, "none") as index:
        assert not (index.location.directory / HISTORY).exists()
        assert index.reader.history() is None
        assert "said before" not in index.search(REPORT + "first", threshold=0.0)[0].parts


def test_histories_of_several_repositories_are_not_compared(root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/green.py").write_text("def second():\n    return 9\n")
    with Index.create(root, "none") as one, Index.create(tmp_path / "other", "none") as other:
        found = search_together([one, other], REPORT + "second", threshold=0.0)
        assert {hit.path for _, hit in found} == {"blue.py", "green.py"}
        assert not any("said before" in hit.parts for _, hit in found)


def test_an_issue_of_a_million_characters_is_searched(root: Path) -> None:
    issue = (REPORT + "first second " + "x1 " * 400_000)[:1_000_000]
    with Index.create(root, "none") as index:
        hits = {hit.path: hit.parts["said before"] for hit in index.search(issue, threshold=0.0)}
        assert hits["blue.py"] > 0 == hits["red.py"]
