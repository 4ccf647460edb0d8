"""Every command works where no optional package is installed: what needs one says how it is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reference import reference
from turboprop.engines.registry import ENGINES

OPTIONAL = {engine.package for engine in ENGINES if engine.package} | {"fastembed", "torch"}
PROGRAM = f"""
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def found(name, path=None, target=None):
    return None if name.partition(".")[0] in {OPTIONAL!r} else find(name, path, target)
PathFinder.find_spec = found
from turboprop.edges.cli.entry import main
main(sys.argv[1:])
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "parse.py").write_text(
        "def parse(text: str) -> list[str]:\n    return text.split()\n", "utf-8"
    )
    return tmp_path / "repo"


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *command],
        cwd=folder,
        env={**os.environ, "TP_SERVER": "0"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_index_search_and_doctor(repo: Path) -> None:
    for command, shown in (
        (("index",), ""),
        (("search", "split a text"), "parse.py"),
        (("doctor",), "all is well"),
        (("model", "list"), "minilm"),
        (("model", "inspect", str(reference("gguf/stories260K.gguf"))), "engine"),
    ):
        done = run(*command, folder=repo)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        assert shown in done.stdout
    doctor = run("doctor", folder=repo)
    for engine in ENGINES:
        assert (f"pip install 'turboprop-local[{engine.extra}]'" in doctor.stdout) == (engine.package is not None)


def test_an_export_is_one_sentence_with_the_command(repo: Path) -> None:
    pytest.importorskip("onnx")
    from engines.onnx_bert import export_bert

    export = export_bert(reference("golden/synthetic-arch/tiny-bert-mean"), repo.parent / "export")
    done = run("embed", "--model", str(export), "a text", folder=repo)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.strip().endswith("pip install 'turboprop-local[onnx]'")
