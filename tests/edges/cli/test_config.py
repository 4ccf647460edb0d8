"""`tp config` and `tp trust` as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def tp(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "turboprop", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a.py").write_text("def hello():\n    return 1\n")
    (tmp_path / "b.sql").write_text("select 1;\n")
    (tmp_path / ".turboprop.toml").write_text('exclude = ["*.sql"]\nmodel = "nobody/knows-this"\n')
    return tmp_path


def test_config_show_says_where_values_come_from(root: Path) -> None:
    done = tp("config", "show", "--json", cwd=root, TP_LIMIT="5")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["settings"]["limit"] == {"value": 5, "from": "environment", "variable": "TP_LIMIT"}
    assert answer["settings"]["exclude"] == {"value": ["*.sql"], "from": "project file", "variable": "TP_EXCLUDE"}
    assert answer["settings"]["model"]["from"] == "default"
    assert answer["untrusted"] == ["model"]
    assert "`tp trust --repo" in done.stderr
    text = tp("config", "show", cwd=root).stdout
    assert "*.sql" in text
    assert "not trusted" in " ".join(text.split())


def test_trust_is_given_shown_and_taken_back(root: Path) -> None:
    indexed = tp("index", cwd=root)
    assert indexed.returncode == 0, indexed.stderr
    assert "1 excluded by settings" in indexed.stdout
    assert indexed.stderr.count("until you trust it") == 1

    assert "model = nobody/knows-this" in tp("trust", cwd=root).stdout
    assert "already trusted" in tp("trust", cwd=root).stdout
    assert str(root / ".turboprop.toml") in tp("trust", "--list", cwd=root).stdout
    refused = tp("index", "--rebuild", cwd=root)
    assert refused.returncode == 2
    assert "nobody/knows-this" in refused.stderr
    assert "no longer trusted" in tp("trust", "--revoke", cwd=root).stdout
    assert tp("index", "--rebuild", cwd=root).returncode == 0


def test_trust_without_a_file(tmp_path: Path) -> None:
    done = tp("trust", cwd=tmp_path)
    assert done.returncode == 2
    assert "nothing to trust" in done.stderr


def test_a_wrong_file_is_named(root: Path) -> None:
    (root / ".turboprop.toml").write_text("exclud = []")
    for command in (["index"], ["search", "hello"], ["config", "show"], ["trust"]):
        done = tp(*command, cwd=root)
        assert done.returncode == 2
        assert "did you mean 'exclude'?" in done.stderr


def test_a_mistyped_variable_is_said_and_listed(root: Path) -> None:
    said = "tp: nothing reads the variable TP_MODLE; did you mean TP_MODEL?\n"
    shown = tp("config", "show", "--json", cwd=root, TP_MODLE="x", TP_LINK_IP="10.0.0.1")
    assert json.loads(shown.stdout)["mistyped"] == {"TP_MODLE": "TP_MODEL"}
    assert shown.stderr.count(said) == 1
    assert "mistyped    TP_MODLE" in tp("config", "show", cwd=root, TP_MODLE="x").stdout
    examined = tp("doctor", "--json", cwd=root, TP_MODLE="x")
    assert examined.returncode == 1
    assert any("TP_MODLE" in finding["problem"] for finding in json.loads(examined.stdout)["findings"])
    assert tp("model", "list", cwd=root, TP_MODLE="x").stderr.count(said) == 1
    for quiet in ("--help", "--version"):
        assert tp(quiet, cwd=root, TP_MODLE="x").stderr == ""
