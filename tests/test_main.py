"""The way from the program's start to its command line."""

from __future__ import annotations

import subprocess
import sys

import pytest

INTERRUPTED = """
import sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == {module!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
sys.argv = ["tp", "search", "words"]
from turboprop.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["turboprop.edges.warm.client", "turboprop.edges.cli.entry"])
def test_an_interrupt_before_the_command_line_is_there_prints_no_traceback(module: str) -> None:
    program = [sys.executable, "-c", INTERRUPTED.format(module=module)]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "tp: interrupted\n")
