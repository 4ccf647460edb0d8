"""`tp tune` from the command line, and what `tp status` and `tp doctor` say of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from one_process import tp_each
from turboprop import Index
from turboprop.index.adapter import Adapter, keep_adapter
from turboprop.index.schema import adapter_file

Write = Callable[[dict[str, str]], Path]


@pytest.fixture
def root(write_files: Write) -> Path:
    root = write_files({"lamp.py": "def lamp():\n    return 1\n", "door.py": "def door():\n    return 2\n"})
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "init", "-q", root], check=True)
    subprocess.run(["git", "-C", root, "add", "-A"], check=True)
    subprocess.run(["git", *identity, "-C", root, "commit", "-qm", "Begin"], check=True)
    (root / "lamp.py").write_text("def lamp():\n    return 3\n")
    subprocess.run(
        ["git", *identity, "-C", root, "commit", "-qam", "The hall must be bright in the evening"], check=True
    )
    return root


def test_what_is_not_learnt_is_said(root: Path) -> None:
    commands = ["index", "tune", "tune --json", "tune --remove", "tune --remove --export x"]
    commands += ["tune --export pairs.jsonl", "status --json", "tune --export no/pairs.jsonl"]
    _, plain, as_json, remove, both, export, status, nowhere = tp_each(*commands, cwd=root)
    assert plain.returncode == as_json.returncode == remove.returncode == 1
    assert plain.stdout.startswith("not kept: 1 commits say something of indexed code, and 120 are the least")
    assert json.loads(as_json.stdout)["accepted"] is False
    assert remove.stdout == "nothing was learnt, so nothing is removed\n"
    assert both.returncode == nowhere.returncode == 2
    assert (export.returncode, export.stdout) == (0, "1 pair written to pairs.jsonl\n")
    pair = json.loads((root / "pairs.jsonl").read_text())
    assert pair["anchor"] == "The hall must be bright in the evening"
    assert pair["positive"].startswith("lamp.py\n")
    assert pair["negative"].startswith("door.py\n")
    assert json.loads(status.stdout)["tuned"] is None


def test_status_and_doctor_know_it(root: Path) -> None:
    with Index.create(root) as index:
        header, directory = index.reader.header, index.location.directory
        zero = np.zeros((header.spec.dimensions, 1), np.float32)
        won = {"MRR": [0.5, 0.625], "R@3": [0.6, 0.7], "held_out": 40, "learnt_from": 120}
        keep_adapter(directory, header, Adapter(zero, zero.T, "", won))
    status, doctor, search = tp_each("status", "doctor", "search lamp", cwd=root)
    assert "tuned    MRR of 40 commits 0.500 -> 0.625, learnt from 120 others; 2 commits came since\n" in status.stdout
    assert (doctor.returncode, search.returncode) == (0, 0)
    path = adapter_file(directory, header.table)
    path.write_bytes(path.read_bytes()[:-1])
    status, doctor, fixed = tp_each("status", "doctor", "doctor --fix", cwd=root)
    assert "tuned" not in status.stdout
    assert doctor.returncode == 1
    assert (
        f"WRONG    adapter: {path.name} is damaged, or was not written here by this user; it is not used"
        in doctor.stdout
    )
    assert fixed.returncode == 0, fixed.stdout
    assert not path.exists()


def test_a_pair_has_a_chunk_of_another_file_or_is_left_out(root: Path) -> None:
    (root / "door.py").unlink()
    _, export = tp_each("index", "tune --export pairs.jsonl", cwd=root)
    assert (export.returncode, (root / "pairs.jsonl").read_text()) == (1, "")
