from __future__ import annotations

from pathlib import Path

from turboprop.types import Hit
from turboprop.workspace.merged import interleaved, repository_names


def hit(path: str, score: float) -> Hit:
    return Hit(path=path, start_line=1, end_line=1, score=score, language="python", symbol="", text="", kind="code")


def test_folders_of_one_name_are_told_apart_by_their_paths() -> None:
    roots = [Path("/a/app"), Path("/b/app"), Path("/b/tools")]
    assert repository_names(roots) == ["/a/app", "/b/app", "tools"]


def test_no_repository_drowns_another() -> None:
    loud = [hit("loud1.py", 0.9), hit("loud2.py", 0.8), hit("loud3.py", 0.7)]
    quiet = [hit("quiet1.py", 0.2), hit("quiet2.py", 0.1)]
    found = interleaved({"loud": loud, "quiet": quiet, "empty": []}, 10)
    assert [one.place for one in found] == [
        "loud/loud1.py",
        "quiet/quiet1.py",
        "loud/loud2.py",
        "quiet/quiet2.py",
        "loud/loud3.py",
    ]
    assert interleaved({"quiet": quiet, "loud": loud}, 3) == found[:3]


def test_one_repository_needs_no_name() -> None:
    assert [one.place for one in interleaved({"": [hit("src/a.py", 0.5)]}, 1)] == ["src/a.py"]
