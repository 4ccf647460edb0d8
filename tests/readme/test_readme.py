"""What the README promises to do in a minute is done, word for word, by the package that is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.usefixtures("smollm2")
def test_the_three_things() -> None:
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("walk.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    index, rest = done.stdout.split("tp mcp install claude\n")
    agent, answer = rest.split('tp ask "')
    assert "indexed with sentence-transformers/all-MiniLM-L6-v2" in index
    assert "settings/" in index
    assert ".mcp.json" in agent
    assert "settings/" in answer
