from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.errors import IndexDamagedError, IndexMismatchError, IndexNotFoundError, StorageError
from turboprop.index.manifest import (
    Header,
    LeftOutFile,
    check_spec,
    read_header,
    read_manifest,
    write_manifest,
)
from turboprop.index.schema import IndexSpec
from turboprop.types import IndexedFile, Prompts

SPEC = IndexSpec("some/model", "f" * 64, 384, Prompts("query: ", ""), "syntax-1/1500")
HEADER = Header(SPEC, "chunks_1", 7, 12, 1.5, 2.5, ((3, 1.0), (5, 2.0)), complete=False)

PATHS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
COUNTS = st.integers(0, 2**63)


@given(st.dictionaries(PATHS, st.tuples(COUNTS, COUNTS, COUNTS, PATHS, COUNTS)), st.sets(PATHS))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    values: dict[str, tuple[int, int, int, str, int]],
    left: set[str],
) -> None:
    path = tmp_path_factory.getbasetemp() / "m.manifest.json"
    files = {name: IndexedFile(name, *rest) for name, rest in values.items()}
    left_out = {name: LeftOutFile(name, 1, 2, 3, "binary") for name in left}
    written = write_manifest(path, HEADER, files, left_out)
    manifest = read_manifest(path)
    assert manifest.files == files
    assert manifest.left_out == left_out
    assert manifest.header == written == read_header(path)
    assert written == replace(HEADER, file_count=len(files), body_digest=written.body_digest)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "chunks_1.manifest.json"
    write_manifest(path, HEADER, {"a.py": IndexedFile("a.py", 1, 2, 3, "00", 4, "python")}, {})
    return path


def test_no_manifest_says_how_to_make_an_index(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError, match="tp index"):
        read_header(tmp_path / "none.manifest.json")


@pytest.mark.parametrize("keep", [0, 1, 20, 200, -1, -40])
def test_a_cut_file_is_damaged(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IndexDamagedError, match="--rebuild"):
        read_manifest(path)


def test_a_changed_list_of_files_is_damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"a.py", b"b.py"))
    with pytest.raises(IndexDamagedError, match="cut or changed"):
        read_manifest(path)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "7"},
        {"version": -1},
        {"rows": None},
        {"rows": True},
        {"prompts": ["one"]},
        {"prompts": 3},
        {"model": 5},
        {"superseded": [[1]]},
        {"updated": "yesterday"},
        {"format": "something else"},
    ],
    ids=str,
)
def test_a_header_with_a_wrong_value_is_damaged(path: Path, change: dict[str, object]) -> None:
    first, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(json.dumps({**json.loads(first), **change}).encode() + b"\n" + rest)
    with pytest.raises(IndexDamagedError):
        read_header(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"[]\n", b"null\n{}", b"\xff\xfe\n", b"{" * 5000 + b"\n"])
def test_any_other_file_is_damaged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(IndexDamagedError):
        read_manifest(path)


def test_another_schema_version_is_named(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"schema": 2', b'"schema": 99'))
    with pytest.raises(IndexMismatchError, match=r"schema version 99.* reads 2"):
        read_header(path)


@pytest.mark.parametrize(
    ("other", "both"),
    [
        (replace(SPEC, model="other/model", fingerprint="e" * 64), ("some/model", "other/model")),
        (replace(SPEC, dimensions=256), ("384", "256")),
        (replace(SPEC, prompts=Prompts("q: ")), ("query: ", "q: ")),
        (replace(SPEC, chunker="syntax-2/800"), ("syntax-1/1500", "syntax-2/800")),
    ],
    ids=["model", "dimensions", "prompts", "chunker"],
)
def test_a_mismatch_names_both(tmp_path: Path, other: IndexSpec, both: tuple[str, str]) -> None:
    with pytest.raises(IndexMismatchError) as caught:
        check_spec(SPEC, other, tmp_path)
    assert all(name in str(caught.value) for name in both)


def test_one_model_by_two_names_is_no_mismatch(tmp_path: Path) -> None:
    check_spec(SPEC, replace(SPEC, model="/somewhere/model"), tmp_path)


def test_a_failed_write_leaves_the_old_manifest(path: Path) -> None:
    before = path.read_bytes()
    os.mkdir(f"{path}.new")  # the temporary name is taken by a folder
    with pytest.raises((StorageError, IndexDamagedError)):
        write_manifest(path, replace(HEADER, rows=99), {}, {})
    assert path.read_bytes() == before
