"""Several commands of `tp` in one process, one after the other: to start one takes as long as its work.

For tests in which the commands need nothing of each other but the disk. What a command leaves in its process (a module
that is loaded, a setting) then meets the next one, which is an attack more and not one less.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

RUN_ALL = """
import json, sys
from turboprop.edges.cli.entry import main
commands, end = json.loads(sys.argv[1]), sys.argv[2]
for command in commands:
    code = 0
    try:
        main(command)
    except SystemExit as ended:
        code = ended.code or 0
    for stream in (sys.stdout, sys.stderr):
        print(f"{end}{code};", end="", file=stream, flush=True)
"""
END = "== that was one command and it ended with "
_END = re.compile(re.escape(END) + r"(\d+);")


def command_line(commands: Sequence[Sequence[str]]) -> list[str]:
    """What runs them; after each, `END`, its exit code and a semicolon stand in its output and in its error."""
    return [sys.executable, "-c", RUN_ALL, json.dumps([list(command) for command in commands]), END]


def pieces(written: str) -> list[tuple[str, int]]:
    """What each command wrote to a stream, and its exit code."""
    parts = _END.split(written)
    assert parts[-1] == "", written
    return [(text, int(code)) for text, code in zip(parts[:-1:2], parts[1::2], strict=True)]


def tp_each(*commands: str, cwd: Path, **environment: str) -> list[subprocess.CompletedProcess[str]]:
    """Each command (words between blanks) as `subprocess.run` would give it; a defect fails at once."""
    given = [command.split() for command in commands]
    done = subprocess.run(
        command_line(given), capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "defect" not in done.stderr, done.stderr
    both = zip(given, pieces(done.stdout), pieces(done.stderr), strict=True)
    return [subprocess.CompletedProcess(command, code, out, err) for command, (out, code), (err, _) in both]
