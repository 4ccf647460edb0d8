"""Every kind of damage is found, named and mended."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from turboprop.index import lance_table
from turboprop.index.health import examine, remove_leftover
from turboprop.index.integrity import BLOCK_BYTES
from turboprop.index.lance_table import damaged_versions, open_version
from turboprop.index.lease import version_file
from turboprop.index.lock import WriterLock
from turboprop.index.manifest import read_manifest, write_manifest
from turboprop.index.read import IndexReader
from turboprop.index.recover import made_with
from turboprop.index.schema import IndexSpec, text_digest
from turboprop.index.write import TableWriter
from turboprop.types import IndexedFile


@pytest.fixture
def directory(tmp_path: Path, spec: IndexSpec, put: Callable[..., None]) -> Path:
    folder = tmp_path / "index"
    with TableWriter.open(folder, spec) as writer:
        put(writer, "a.py", "def one(): ...\n", "def two(): ...\n")
        put(writer, "b.py", "def three(): ...\n")
        writer.publish()
        writer.maintain()
    return folder


def found(directory: Path) -> dict[str, str]:
    return {finding.subject: finding.repair for finding in examine(directory)[1]}


def test_a_sound_index(directory: Path) -> None:
    facts, findings = examine(directory)
    assert findings == []
    assert (facts[0].rows, facts[0].files, facts[0].model) == (3, 2, "hashing")
    assert facts[0].bytes > 1_000
    assert facts[0].versions >= 1


def test_no_index(tmp_path: Path) -> None:
    assert found(tmp_path) == {"index": "index"}


@pytest.mark.parametrize("damage", ["header", "body", "gone table"])
def test_a_damaged_manifest_or_table_is_named_and_nothing_is_raised(directory: Path, damage: str) -> None:
    (manifest,) = directory.glob("*.manifest.json")
    if damage == "gone table":
        for file in (directory / manifest.name.replace(".manifest.json", ".lance") / "_versions").iterdir():
            file.unlink()
    else:
        first, _, second = manifest.read_bytes().partition(b"\n")
        manifest.write_bytes(b"{rubbish\n" + second if damage == "header" else first + b"\n" + second[:-9])
    ((subject, repair, problem),) = [(one.subject, one.repair, one.problem) for one in examine(directory)[1]]
    assert repair == "rebuild"
    if damage == "gone table":
        assert subject == "stored file"
        assert "_versions/" in problem
    else:
        assert subject == "index"
        assert manifest.name in problem


@pytest.mark.parametrize("kind", ["data", "_versions", "_transactions"])
def test_a_flipped_bit_in_a_stored_file(directory: Path, kind: str) -> None:
    file = next(one for one in sorted(directory.glob(f"*.lance/{kind}/*")) if one.suffix != ".json")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    ((subject, repair, problem, model),) = [
        (one.subject, one.repair, one.problem, one.model) for one in examine(directory)[1]
    ]
    assert (subject, repair, model) == ("stored file", "rebuild", "hashing")
    assert file.name in problem


def test_a_flipped_bit_beyond_the_sample_is_found_by_reading_all(directory: Path, spec: IndexSpec, put) -> None:
    text = "".join(f"x{number} = {number}\n" for number in range(60_000))
    with TableWriter.open(directory, spec) as writer:
        put(writer, "large.py", text)
        writer.publish()
        writer.maintain()
    large = max(directory.glob("*.lance/data/*"), key=lambda file: file.stat().st_size)
    assert large.stat().st_size > 2 * BLOCK_BYTES
    content = bytearray(large.read_bytes())
    content[1000] ^= 16
    large.write_bytes(content)
    assert found(directory) == {"stored file": "rebuild"}


@pytest.mark.parametrize("name", [".gitignore", "writer.lock"])
@pytest.mark.parametrize("content", [None, b"rubbish"])
def test_the_small_files_beside_a_table(directory: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (directory / name).unlink()
    else:
        (directory / name).write_bytes(content)
    assert found(directory) == {"folder": "maintain"}


@pytest.mark.parametrize("content", [None, b"", b"rubbish", b'{"version":1}', b"[" * 100_000])
def test_the_note_of_the_newest_version(directory: Path, content: bytes | None) -> None:
    (note,) = directory.glob("*.lance/_versions/latest_version_hint.json")
    if content is None:
        note.unlink()
    else:
        note.write_bytes(content)
    assert found(directory) == {"versions": "maintain"}


@pytest.mark.parametrize("content", [b"", b"rubbish" * 50, None])  # None: its first half
def test_what_describes_an_old_version_is_damaged(
    directory: Path, spec: IndexSpec, put: Callable[..., None], content: bytes | None
) -> None:
    """Lance reads all of them before it deletes any: one that is damaged kept every old version, for ever."""
    (table,) = directory.glob("*.lance")
    with IndexReader.open(directory) as reader:  # who holds a version keeps it
        held = version_file(table, reader.header.version)
        with TableWriter.open(directory, spec) as writer:
            put(writer, "c.py", "def four(): ...\n")
            writer.publish()
            writer.maintain()
    held.write_bytes(held.read_bytes()[: held.stat().st_size // 2] if content is None else content)
    assert damaged_versions(open_version(table), table)
    assert found(directory) == {"versions": "maintain"}
    for rebuild in (False, True):
        with TableWriter.open(directory, spec, rebuild=rebuild) as writer:
            for path in ("a.py", "b.py", "c.py"):
                put(writer, path, f"def of_{path[0]}(): ...\n")
            writer.publish()
            writer.maintain()
        assert len(open_version(table).version_refs()) == 1
        assert found(directory) == {}


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
def test_no_version_is_blamed_for_a_machine_that_fails(
    directory: Path, spec: IndexSpec, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (table,) = directory.glob("*.lance")
    with IndexReader.open(directory), TableWriter.open(directory, spec, rebuild=True) as writer:
        writer.publish()
    dataset = open_version(table)
    assert len(dataset.version_refs()) > 1

    def fails(*_: object) -> None:
        raise OSError(f"LanceError(IO): {os.strerror(number)} (os error {number})")

    monkeypatch.setattr(lance_table, "open_version", fails)
    assert damaged_versions(dataset, table) == []


def test_a_version_that_nobody_named(directory: Path) -> None:
    (table,) = directory.glob("*.lance")
    open_version(table).restore()  # a writer that died before it wrote the manifest
    assert found(directory) == {"versions": "maintain"}
    with WriterLock(directory):  # while a run is at work that is how it looks
        assert found(directory) == {}


def test_a_table_says_again_what_it_was_made_with(directory: Path, tmp_path: Path, monkeypatch) -> None:
    (table,) = directory.glob("*.lance")
    assert made_with(table) == "hashing"
    (manifest,) = directory.glob("*.manifest.json")
    manifest.unlink()
    findings = examine(directory)[1]
    assert [(one.subject, one.repair, one.model) for one in findings if one.repair == "index"] == [
        ("index", "index", "hashing")
    ]
    monkeypatch.setenv("TP_HOME", str(tmp_path / "another user"))
    assert made_with(table) == ""  # what a stranger wrote there is not believed


@pytest.mark.parametrize("kind", ["link", "pipe", "socket", "folder link", "inside"])
def test_what_no_index_holds_is_named_and_never_opened(directory: Path, tmp_path: Path, kind: str) -> None:
    place = directory / "x.lexicon"
    if kind == "link":
        place.symlink_to("/etc/passwd")
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(place))
    elif kind == "folder link":
        place.symlink_to(tmp_path)
    else:
        (table,) = directory.glob("*.lance")
        place = table / "data" / "x.lance"
        os.mkfifo(place)
    facts, findings = examine(directory)
    assert facts == []
    assert [one.repair for one in findings] == [""]
    assert place.name in findings[0].problem


def test_rows_that_the_manifest_does_not_know(directory: Path) -> None:
    (path,) = directory.glob("*.manifest.json")
    manifest = read_manifest(path)
    files = {"c.py" if name == "a.py" else name: file for name, file in manifest.files.items()}
    files["c.py"] = replace(files["c.py"], path="c.py")
    write_manifest(path, manifest.header, files, manifest.left_out, manifest.stored)
    findings = examine(directory)[1]
    assert [one.subject for one in findings] == ["rows", "rows"]
    assert "a.py" in findings[0].problem
    assert "c.py" in findings[1].problem


def test_vectors_of_zeros(tmp_path: Path, spec: IndexSpec, make_chunk) -> None:
    chunk = make_chunk("a.py", "x = 1\n")
    with TableWriter.open(tmp_path / "index", spec) as writer:
        writer.begin_file("a.py")
        writer.add([chunk], [text_digest("x")], np.zeros((1, 32), np.float32))
        writer.end_file(IndexedFile("a.py", 1, 1, 1, "0" * 32, 1, "python"))
        writer.publish()
        writer.maintain()
    assert found(tmp_path / "index") == {"vectors": "rebuild"}


def test_an_unfinished_run(tmp_path: Path, spec: IndexSpec, put: Callable[..., None]) -> None:
    with TableWriter.open(tmp_path / "index", spec) as writer:
        put(writer, "a.py", "x = 1\n")
        writer.publish(complete=False)
        writer.maintain()
    assert found(tmp_path / "index") == {"index": "index"}


def test_postings_that_are_missing_or_damaged(directory: Path) -> None:
    (path,) = directory.glob("*.lexicon")
    path.write_bytes(path.read_bytes()[:-5])
    assert found(directory) == {"words": "maintain"}
    path.unlink()
    assert found(directory) == {"words": "maintain"}


def test_leftovers_are_removed_and_nothing_else(directory: Path, tmp_path: Path) -> None:
    (directory / "chunks_0123456789abcdef.lance").mkdir()
    (directory / "chunks_0123456789abcdef.lance" / "x").write_text("x")
    (directory / ".lexicon-abc").write_text("x")
    (directory / "notes.txt").write_text("the user's own")
    outside = tmp_path / "outside.lance"
    outside.mkdir()
    findings = examine(directory)[1]
    assert {one.path for one in findings} == {"chunks_0123456789abcdef.lance", ".lexicon-abc"}
    for one in findings:
        remove_leftover(directory, one)
    assert examine(directory)[1] == []
    assert (directory / "notes.txt").exists()
    from dataclasses import replace

    remove_leftover(directory, replace(findings[0], path="../outside.lance"))
    assert outside.exists()
