"""The doctor and `why`, on real repositories with the real small model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from best_engine import BEST
from turboprop import Index
from turboprop.errors import SettingsError, UsageError
from turboprop.index.lance_table import open_version
from turboprop.index.manifest import read_manifest, write_manifest
from turboprop.settings import user_data_home
from turboprop.settings.trust import key_file
from turboprop.workspace.diagnosis import diagnose, repair
from turboprop.workspace.location import Location
from turboprop.workspace.why import explain_file

FILES = {"app.py": "def main():\n    return 1\n", "docs/guide.md": "# Guide\n\nText.\n"}


@pytest.fixture
def repo(write_files) -> Path:
    root = write_files(FILES)
    Index.create(root).close()
    return root


def test_all_is_well(repo: Path) -> None:
    found = diagnose(Location.at(repo))
    assert found.findings == []
    assert found.model["engine"] == BEST
    assert found.tables[0].rows == 2
    assert found.engines["native"] == ["cpu"] or found.engines["native"][0].startswith("not here: ")
    assert found.disk_free > 0


def test_what_is_found_is_mended(repo: Path) -> None:
    (repo / "new.py").write_text("x = 1\n")
    (lexicon,) = (repo / ".turboprop").glob("*.lexicon")
    lexicon.write_bytes(b"rubbish")
    found = diagnose(Location.at(repo))
    assert {one.subject for one in found.findings} == {"files", "words"}
    repair(Location.at(repo), found)
    assert diagnose(Location.at(repo)).findings == []


def test_a_damaged_index_is_made_anew(repo: Path) -> None:
    (manifest,) = (repo / ".turboprop").glob("*.manifest.json")
    manifest.write_bytes(b"rubbish")
    found = diagnose(Location.at(repo))
    assert {one.repair for one in found.findings} == {"rebuild"}
    repair(Location.at(repo), found)
    assert diagnose(Location.at(repo)).findings == []


def test_another_model_under_the_same_name(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = (repo / ".turboprop").glob("*.manifest.json")
    manifest = read_manifest(path)
    spec = replace(manifest.header.spec, model="sentence-transformers/all-MiniLM-L6-v9")
    write_manifest(path, replace(manifest.header, spec=spec), manifest.files, manifest.left_out, manifest.stored)
    assert [one.subject for one in diagnose(Location.at(repo)).findings] == ["model"]


def test_why(repo: Path) -> None:
    told = explain_file(Location.at(repo), "app.py")
    assert (told.indexed, told.state, told.chunks[0].symbol) == (True, "indexed", "main")
    (repo / "app.py").write_text("def other(): ...\n")
    assert explain_file(Location.at(repo), "app.py").state == "stale"
    (repo / "new.py").write_text("x = 1\n")
    assert explain_file(Location.at(repo), str(repo / "new.py")).state == "not indexed yet"
    (repo / "yarn.lock").write_text("x\n")
    assert "lock file" in explain_file(Location.at(repo), "yarn.lock").reason
    (repo / "app.py").unlink()
    assert "forgets it" in explain_file(Location.at(repo), "app.py").reason
    assert explain_file(Location.at(repo), "never.py").reason == "no such file"
    with pytest.raises(UsageError, match="outside"):
        explain_file(Location.at(repo), "/etc/passwd")
    with pytest.raises(UsageError, match="is a folder"):
        explain_file(Location.at(repo), "docs")


def test_why_of_a_name_that_is_not_utf8(repo: Path) -> None:
    name = b"caf\xe9.py".decode("utf-8", "surrogateescape")
    (repo / name).write_text("x = 1\n")
    Index.create(repo).close()
    for given in (name, "caf\\xe9.py"):  # as the shell completes it, and as a search prints it
        told = explain_file(Location.at(repo), given)
        assert (told.path, told.state, len(told.chunks)) == ("caf\\xe9.py", "indexed", 1)


def test_why_names_the_line_that_ignores(write_files) -> None:
    root = write_files(
        {"app.py": "x = 1\n", ".gitignore": "*.log\nbuild/\n", "out.log": "x", "build/gen.py": "y = 1\n"}
    )
    subprocess.run(["git", "init", "-q", root], check=True)
    assert explain_file(Location.at(root), "out.log").reason == "ignored by '*.log' (.gitignore:1)"
    assert explain_file(Location.at(root), "build/gen.py").reason == "ignored by 'build/' (.gitignore:2)"
    assert explain_file(Location.at(root), "app.py").state == "not indexed yet"


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def unnamed_version(folder: Path) -> None:
    """A writer that died after Lance's commit and before the manifest."""
    (table,) = folder.glob("*.lance")
    open_version(table).restore()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "manifest flipped": lambda folder: flipped(*folder.glob("*.manifest.json")),
    "manifest gone": lambda folder: next(folder.glob("*.manifest.json")).unlink(),
    "manifest of an older version": lambda folder: next(folder.glob("*.manifest.json")).write_text(
        '{"format": "turboprop-index", "schema": 2}\n{}\n'
    ),
    "data flipped": lambda folder: flipped(max(folder.glob("*.lance/data/*"))),
    "data gone": lambda folder: max(folder.glob("*.lance/data/*")).unlink(),
    "version gone": lambda folder: max(folder.glob("*.lance/_versions/*.manifest")).unlink(),
    "table gone": lambda folder: shutil.rmtree(*folder.glob("*.lance")),
    "words flipped": lambda folder: flipped(*folder.glob("*.lexicon")),
    "words gone": lambda folder: next(folder.glob("*.lexicon")).unlink(),
    "ignore file": lambda folder: (folder / ".gitignore").write_text("nothing\n"),
    "lock file": lambda folder: (folder / "writer.lock").write_text("x"),
    "note of the newest version": lambda folder: next(folder.glob("*.lance/_versions/*.json")).write_text("x"),
    "a version that nobody named": unnamed_version,
    "leftovers": lambda folder: (folder / ".new-0123456789abcdef").write_text("x"),
    "a damaged record": lambda folder: (folder / "check.json").write_text("x"),
    "an edit": lambda folder: (folder.parent / "new.py").write_text("x = 1\n"),
    "a link": lambda folder: (folder / "x").symlink_to("/etc/passwd"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_its_advice_is_what_helps(repo: Path, damage: str) -> None:
    """Do what each finding says, as a reader would type it, and look again."""
    DAMAGES[damage](repo / ".turboprop")
    findings = diagnose(Location.at(repo)).findings
    assert findings
    assert diagnose(Location.at(repo)).findings == findings  # looking changes nothing
    for finding in findings:
        assert "tp " in finding.advice, finding
        if "remove it" in finding.advice and "tp doctor" not in finding.advice:
            (repo / ".turboprop" / "x").unlink()
        command = finding.advice[finding.advice.index("tp ") :].split(",")[0].split()
        done = subprocess.run(
            [sys.executable, "-m", "turboprop", *command[1:]], cwd=repo, capture_output=True, text=True
        )
        assert done.returncode == 0, (finding, done.stderr)
    assert diagnose(Location.at(repo)).findings == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_repair_mends_it_and_a_model_is_not_forgotten(write_files, minilm_copy: Path, damage: str) -> None:
    root = write_files(FILES)
    Index.create(root, str(minilm_copy)).close()  # not the model of the settings
    DAMAGES[damage](root / ".turboprop")
    repair(Location.at(root), diagnose(Location.at(root)))
    if damage == "a link":  # whether it goes is for its owner to say
        (root / ".turboprop" / "x").unlink()
    assert diagnose(Location.at(root)).findings == []
    with Index.open(root) as index:
        assert index.model_name == str(minilm_copy)
        assert index.search("main")[0].path == "app.py"


def test_damage_at_random_is_found_and_mended(write_files) -> None:
    script = Path(__file__).parent.parent / "index" / "stress_faults.py"
    command = [sys.executable, script, "--repo", write_files(FILES), "--faults", "25"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_kept_beside_indexes_is_looked_at_and_mended(write_files, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TP_EMBEDDING_CACHE", "1gb")
    monkeypatch.setenv("TP_CACHE", str(tmp_path / "cache"))
    root = write_files(FILES)
    Index.create(root).close()
    assert diagnose(Location.at(root)).findings == []
    flipped(tmp_path / "cache" / "embeddings.sqlite")
    flipped(max((tmp_path / "cache").rglob("*"), key=lambda file: file.stat().st_size * file.is_file()))
    found = diagnose(Location.at(root))
    assert {one.repair for one in found.findings} == {"caches"}
    assert len(found.findings) >= 2
    repair(Location.at(root), found)
    assert diagnose(Location.at(root)).findings == []


def test_nothing_is_removed_where_the_new_index_could_not_be_signed(repo: Path) -> None:
    (manifest,) = (repo / ".turboprop").glob("*.manifest.json")
    before = manifest.read_bytes()
    key = key_file(user_data_home())
    content = key.read_bytes()
    key.write_bytes(b"rubbish")
    with pytest.raises(SettingsError, match="Remove it"):
        Index.create(repo, rebuild=True)
    assert manifest.read_bytes() == before
    key.write_bytes(content)
    assert diagnose(Location.at(repo)).findings == []
