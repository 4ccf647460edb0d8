"""Every kind of damage is found, named and mended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xxhash

from turboprop.index.health import examine, remove_leftover
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
    findings = examine(directory)[1]
    assert [(one.subject, one.repair) for one in findings] == [("index", "rebuild")]
    assert manifest.name in findings[0].problem


def test_rows_that_the_manifest_does_not_know(directory: Path) -> None:
    (manifest,) = directory.glob("*.manifest.json")
    first, _, second = manifest.read_bytes().partition(b"\n")
    body = second.replace(b'"a.py"', b'"c.py"')
    header = json.loads(first)
    header["body"] = xxhash.xxh3_64_hexdigest(body)
    manifest.write_bytes(json.dumps(header).encode() + b"\n" + body)
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
    (directory / "chunks_0123.lance").mkdir()
    (directory / "chunks_0123.lance" / "x").write_text("x")
    (directory / ".lexicon-abc").write_text("x")
    (directory / "notes.txt").write_text("the user's own")
    outside = tmp_path / "outside.lance"
    outside.mkdir()
    findings = examine(directory)[1]
    assert {one.path for one in findings} == {"chunks_0123.lance", ".lexicon-abc"}
    for one in findings:
        remove_leftover(directory, one)
    assert examine(directory)[1] == []
    assert (directory / "notes.txt").exists()
    from dataclasses import replace

    remove_leftover(directory, replace(findings[0], path="../outside.lance"))
    assert outside.exists()
