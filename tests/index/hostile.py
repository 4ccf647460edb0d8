"""Indexes that came with a repository, as an attacker makes them: by this very program, under another user's key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")


def tp(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does; what it says of itself as a defect fails at once."""
    done = subprocess.run(
        [sys.executable, "-m", "turboprop", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "defect" not in done.stderr, done.stderr
    return done


def git(folder: Path, *arguments: str) -> None:
    subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True)


def published(source: Path) -> None:
    """Commit everything of a folder, its index included, as who wants it to be cloned does."""
    git(source, "init", "-q", ".")
    git(source, "add", "-fA", ".")
    git(source, "commit", "-qm", "x")


def cloned(source: Path, target: Path) -> Path:
    git(source.parent, "clone", "-q", str(source), str(target))
    return target
