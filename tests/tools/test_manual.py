"""The manual page and the completions: made from the commands as they are, and read by the programs they are for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent.parent
SHARE = PROJECT / "share"


def test_they_are_as_the_commands_are_now() -> None:
    done = subprocess.run(
        [sys.executable, PROJECT / "tools/manual.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_groff_reads_the_page_without_a_warning() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    page = SHARE / "man/man1/tp.1"
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", page], capture_output=True, text=True, check=True)
    # A line of many choices cannot be filled evenly, which is no defect.
    assert [line for line in done.stderr.splitlines() if not line.endswith("cannot adjust line")] == []
    assert "tp mcp install" in re.sub(".\x08", "", done.stdout)


@pytest.mark.parametrize(("words", "wanted"), [(["sea"], "search"), (["search", "--expl"], "--explain")])
def test_bash_completes(words: list[str], wanted: str) -> None:
    """By the file that a wheel installs, in a bash that finds this `tp`."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    script = (
        f"source {SHARE / 'bash-completion/completions/tp'}\n"
        f"COMP_WORDS=(tp {' '.join(words)}); COMP_CWORD={len(words)}\n"
        '_tp_completion tp; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, env={**os.environ, "PATH": path}, check=True
    )
    assert wanted in done.stdout.split()
