"""The doctor and `why`, on real repositories with the real small model."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from best_engine import BEST
from turboprop import Index
from turboprop.errors import UsageError
from turboprop.health import diagnose, repair
from turboprop.index.manifest import read_manifest, write_manifest
from turboprop.why import explain_file

FILES = {"app.py": "def main():\n    return 1\n", "docs/guide.md": "# Guide\n\nText.\n"}


@pytest.fixture
def repo(write_files) -> Path:
    root = write_files(FILES)
    Index.create(root).close()
    return root


def test_all_is_well(repo: Path) -> None:
    found = diagnose(repo)
    assert found.findings == []
    assert found.model["engine"] == BEST
    assert found.tables[0].rows == 2
    assert found.engines["openvino"][0] == "CPU"
    assert found.disk_free > 0


def test_what_is_found_is_mended(repo: Path) -> None:
    (repo / "new.py").write_text("x = 1\n")
    (lexicon,) = (repo / ".turboprop").glob("*.lexicon")
    lexicon.write_bytes(b"rubbish")
    found = diagnose(repo)
    assert {one.subject for one in found.findings} == {"files", "words"}
    repair(repo, found)
    assert diagnose(repo).findings == []


def test_a_damaged_index_is_made_anew(repo: Path) -> None:
    (manifest,) = (repo / ".turboprop").glob("*.manifest.json")
    manifest.write_bytes(b"rubbish")
    found = diagnose(repo)
    assert {one.repair for one in found.findings} == {"rebuild"}
    repair(repo, found)
    assert diagnose(repo).findings == []


def test_another_model_under_the_same_name(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = (repo / ".turboprop").glob("*.manifest.json")
    manifest = read_manifest(path)
    spec = replace(manifest.header.spec, model="sentence-transformers/all-MiniLM-L6-v9")
    write_manifest(path, replace(manifest.header, spec=spec), manifest.files, manifest.left_out, manifest.stored)
    assert [one.subject for one in diagnose(repo).findings] == ["model"]


def test_why(repo: Path) -> None:
    told = explain_file(repo, "app.py")
    assert (told.indexed, told.state, told.chunks[0].symbol) == (True, "indexed", "main")
    (repo / "app.py").write_text("def other(): ...\n")
    assert explain_file(repo, "app.py").state == "stale"
    (repo / "new.py").write_text("x = 1\n")
    assert explain_file(repo, str(repo / "new.py")).state == "not indexed yet"
    (repo / "yarn.lock").write_text("x\n")
    assert "lock file" in explain_file(repo, "yarn.lock").reason
    (repo / "app.py").unlink()
    assert "forgets it" in explain_file(repo, "app.py").reason
    assert explain_file(repo, "never.py").reason == "no such file"
    with pytest.raises(UsageError, match="outside"):
        explain_file(repo, "/etc/passwd")
    with pytest.raises(UsageError, match="is a folder"):
        explain_file(repo, "docs")


def test_why_of_a_name_that_is_not_utf8(repo: Path) -> None:
    name = b"caf\xe9.py".decode("utf-8", "surrogateescape")
    (repo / name).write_text("x = 1\n")
    Index.create(repo).close()
    for given in (name, "caf\\xe9.py"):  # as the shell completes it, and as a search prints it
        told = explain_file(repo, given)
        assert (told.path, told.state, len(told.chunks)) == ("caf\\xe9.py", "indexed", 1)


def test_why_names_the_line_that_ignores(write_files) -> None:
    root = write_files(
        {"app.py": "x = 1\n", ".gitignore": "*.log\nbuild/\n", "out.log": "x", "build/gen.py": "y = 1\n"}
    )
    subprocess.run(["git", "init", "-q", root], check=True)
    assert explain_file(root, "out.log").reason == "ignored by '*.log' (.gitignore:1)"
    assert explain_file(root, "build/gen.py").reason == "ignored by 'build/' (.gitignore:2)"
    assert explain_file(root, "app.py").state == "not indexed yet"
