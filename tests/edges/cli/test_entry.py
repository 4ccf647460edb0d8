"""How errors leave the program, for those who asked for JSON."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RAISING = """
import sys
import click
from turboprop.edges.cli import entry

@click.command()
@click.option("--json", is_flag=True)
def status(json):
    raise {error}

entry.tp.add_command(status)
entry._Commands.get_command = click.Group.get_command
entry.main(["status", *sys.argv[1:]])
"""


def raising(error: str, *options: str) -> subprocess.CompletedProcess[str]:
    code = RAISING.format(error=error)
    return subprocess.run([sys.executable, "-c", code, *options], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("error", "code", "kind", "message"),
    [
        ("PermissionError(13, 'Permission denied', 'a.txt')", 2, "PermissionError", "a.txt cannot be used"),
        ("FileNotFoundError(2, 'gone')", 2, "FileNotFoundError", "the current folder is gone"),
        ("ZeroDivisionError('by zero')", 2, "ZeroDivisionError", "a defect of TurboProp"),
        ("OSError('odd')", 2, "OSError", "a defect of TurboProp"),
        ("KeyboardInterrupt", 130, "Interrupted", "interrupted"),
    ],
)
def test_every_error_is_json_where_that_was_asked_for(error: str, code: int, kind: str, message: str) -> None:
    told = raising(error, "--json")
    assert (told.returncode, told.stderr.strip()) == (code, "")  # click ends the line of a Ctrl-C
    said = json.loads(told.stdout)["error"]
    assert said["type"] == kind
    assert message in said["message"]
    plain = raising(error)
    assert (plain.returncode, plain.stdout) == (code, "")
    assert message in plain.stderr


def test_a_broken_output_is_told_on_stderr() -> None:
    told = raising(f"OSError({errno.ENOSPC}, 'No space left on device')", "--json")
    assert (told.returncode, told.stdout) == (2, "")
    assert "the output cannot be written" in told.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_an_error_whose_output_breaks_is_told_on_stderr(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "turboprop", "search", "x", "--repo", "/no/such/folder", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            check=False,
        )
    assert done.returncode == 2
    assert "/no/such/folder" in done.stderr
    assert "Traceback" not in done.stderr
