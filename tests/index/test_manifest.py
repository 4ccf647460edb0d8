from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from turboprop.errors import (
    IndexDamagedError,
    IndexMismatchError,
    IndexNotFoundError,
    IndexUntrustedError,
    StorageError,
)
from turboprop.index.integrity import BLOCK_BYTES, StoredFile
from turboprop.index.manifest import (
    Header,
    LeftOutFile,
    check_spec,
    foreign_header,
    read_header,
    read_manifest,
    read_stored,
    write_manifest,
)
from turboprop.index.schema import SCHEMA_VERSION, IndexSpec, manifest_file, table_name
from turboprop.settings import user_data_home
from turboprop.settings.trust import grant, sign
from turboprop.types import IndexedFile, Prompts

SPEC = IndexSpec("some/model", "f" * 64, 384, Prompts("query: ", ""), "syntax-1/1500")
TABLE = table_name(SPEC.fingerprint)
HEADER = Header(SPEC, TABLE, 7, 12, 1.5, 2.5, ((3, 1.0), (5, 2.0)), complete=False)

PATHS = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)
    .map(lambda name: name.lstrip("/") or "x")
    .filter(lambda name: ".." not in name.split("/"))
)
COUNTS = st.integers(0, 2**63)
STORED = st.dictionaries(
    st.from_regex(r"[a-z_]{1,9}(/[0-9a-f.]{3,9}x){0,2}", fullmatch=True),
    st.lists(st.from_regex(r"[0-9a-f]{16}", fullmatch=True), max_size=4).map(
        lambda blocks: StoredFile(max(0, len(blocks) * BLOCK_BYTES - 7 * bool(blocks)), tuple(blocks))
    ),
)


@given(st.dictionaries(PATHS, st.tuples(COUNTS, COUNTS, COUNTS, PATHS, COUNTS)), st.sets(PATHS), STORED)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    values: dict[str, tuple[int, int, int, str, int]],
    left: set[str],
    stored: dict[str, StoredFile],
) -> None:
    path = manifest_file(tmp_path_factory.getbasetemp(), TABLE)
    files = {name: IndexedFile(name, *rest) for name, rest in values.items()}
    left_out = {name: LeftOutFile(name, 1, 2, 3, "binary") for name in left}
    written = write_manifest(path, HEADER, files, left_out, stored)
    manifest = read_manifest(path)
    assert manifest.stored == stored
    assert read_stored(path) == (written, stored)
    assert manifest.files == files
    assert manifest.left_out == left_out
    assert manifest.header == written == read_header(path)
    assert written == replace(
        HEADER,
        file_count=len(files),
        body_digest=written.body_digest,
        stored_digest=written.stored_digest,
        place=str(path.parent),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = manifest_file(tmp_path, TABLE)
    stored = {"data/1.lance": StoredFile(3, ("0" * 16,))}
    write_manifest(path, HEADER, {"a.py": IndexedFile("a.py", 1, 2, 3, "00", 4, "python")}, {}, stored)
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


def resigned(path: Path, change: dict[str, object], body: bytes | None = None, stored: bytes | None = None) -> None:
    """Change a manifest and make everything that protects it right again, as only this user's programs can."""
    first, old_body, old_stored = path.read_bytes().split(b"\n")[:3]
    body, stored = body or old_body + b"\n", stored or old_stored + b"\n"
    values = {**json.loads(first), "body": digest(body), "stored": digest(stored), **change}
    values = {name: value for name, value in values.items() if name not in ("signature", "sum")}
    values["signature"] = sign(user_data_home(), canonical(values))
    values["sum"] = xxhash.xxh3_64_hexdigest(canonical(values))
    path.write_bytes(json.dumps(values).encode() + b"\n" + body + stored)


def canonical(values: dict[str, object]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def digest(line: bytes) -> str:
    return hashlib.blake2b(line, digest_size=16).hexdigest()


def test_what_is_signed_again_is_read(path: Path) -> None:
    resigned(path, {"rows": 5})
    assert read_header(path).rows == 5


@pytest.mark.parametrize(
    "change",
    [
        {"version": "7"},
        {"version": -1},
        {"version": 0},
        {"version": 2**70},
        {"rows": None},
        {"rows": True},
        {"rows": 2**62},
        {"dimensions": 0},
        {"dimensions": 2**40},
        {"prompts": ["one"]},
        {"prompts": 3},
        {"prompts": ["x" * 200_000, ""]},
        {"model": 5},
        {"model": ""},
        {"model": "x\0y"},
        {"fingerprint": "../../x"},
        {"table": "../../elsewhere/x"},
        {"table": "/elsewhere/x"},
        {"table": "x\0y"},
        {"table": "*"},
        {"table": "s3://bucket/x"},
        {"table": "chunks_0000000000000000"},
        {"superseded": [[1]]},
        {"superseded": [[2**70, 1.0]]},
        {"superseded": [[1, 1e308]]},
        {"superseded": [[1, 1.0]] * 200_000},
        {"updated": "yesterday"},
        {"updated": float("nan")},
        {"created": float("inf")},
        {"created": -1},
        {"complete": 0},
        {"scope": None},
        {"scope": [2**60, None, []]},
        {"scope": [1, None, [7]]},
        {"files": 2**60},
        {"body": 7},
        {"stored": None},
        {"place": 7},
        {"format": "something else"},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_header_with_a_wrong_value_is_damaged(path: Path, change: dict[str, object]) -> None:
    resigned(path, change)
    with pytest.raises(IndexDamagedError):
        read_header(path)


@pytest.mark.parametrize("name", ["../secret.txt", "/etc/passwd", "a/../../b", "x\0y"])
def test_a_file_outside_of_the_repository_is_damage(path: Path, name: str) -> None:
    body = path.read_bytes().split(b"\n")[1].replace(b'"a.py"', json.dumps(name).encode())
    resigned(path, {}, body=body + b"\n")
    with pytest.raises(IndexDamagedError):
        read_manifest(path)


@pytest.mark.parametrize(
    "values", [b'["7"]', b"[true]", b"[1.5]", b"[null]", b"[18446744073709551616]", b"7", b"[1,2]"]
)
def test_a_file_of_other_values_is_damage(path: Path, values: bytes) -> None:
    body = path.read_bytes().split(b"\n")[1].replace(b'"size":[1]', b'"size":' + values)
    resigned(path, {}, body=body + b"\n")
    with pytest.raises(IndexDamagedError):
        read_manifest(path)


@pytest.mark.parametrize(
    "stored",
    [
        b"[]",
        b"{",
        b'{"../x":[3,"0000000000000000"]}',
        b'{"/x":[3,"0000000000000000"]}',
        b'{"data//x":[3,"0000000000000000"]}',
        b'{"x":[3,"00"]}',
        b'{"x":[-3,""]}',
        b'{"x":[99999999999999999999999,""]}',
        b'{"x":[3,7]}',
        b'{"x":7}',
        b"[" * 100_000,
    ],
    ids=lambda stored: str(stored)[:40],
)
def test_a_list_of_stored_files_that_cannot_be_is_damage(path: Path, stored: bytes) -> None:
    resigned(path, {}, stored=stored + b"\n")
    with pytest.raises(IndexDamagedError):
        read_stored(path)


@given(at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unseen(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    path = manifest_file(tmp_path_factory.mktemp("flipped"), TABLE)
    write_manifest(path, HEADER, {"a.py": IndexedFile("a.py", 1, 2, 3, "00", 4, "python")}, {}, {})
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises((IndexDamagedError, IndexMismatchError)):
        read_manifest(path)


def test_one_key_does_not_make_it_ours(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TP_HOME", str(tmp_path / "another user"))
    with pytest.raises(IndexUntrustedError, match=r"tp trust.*tp index --rebuild"):
        read_header(path)
    sign(user_data_home(), b"")  # this user has a key, too
    with pytest.raises(IndexUntrustedError):
        read_header(path)
    header, sha256, _ = foreign_header(path) or pytest.fail("it is foreign")
    grant(user_data_home(), path, sha256)
    assert read_header(path) == replace(header, made_here=False)
    resigned(path, {"rows": 5})  # now it is this user's
    assert read_header(path).made_here


def test_trust_holds_for_an_index_as_it_was(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = user_data_home()
    monkeypatch.setenv("TP_HOME", str(tmp_path / "another user"))
    grant(user_data_home(), path, (foreign_header(path) or pytest.fail("it is foreign"))[1])
    monkeypatch.setenv("TP_HOME", str(there))
    resigned(path, {"rows": 5})
    monkeypatch.setenv("TP_HOME", str(tmp_path / "another user"))
    with pytest.raises(IndexUntrustedError):
        read_header(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"[]\n", b"null\n{}", b"\xff\xfe\n", b"{" * 5000 + b"\n"])
def test_any_other_file_is_damaged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(IndexDamagedError):
        read_manifest(path)


def test_another_schema_version_is_named(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"schema": %d' % SCHEMA_VERSION, b'"schema": 99'))
    with pytest.raises(IndexMismatchError, match=rf"schema version 99.* reads {SCHEMA_VERSION}"):
        read_header(path)


@pytest.mark.parametrize(
    ("other", "both"),
    [
        (replace(SPEC, model="other/model", fingerprint="e" * 64), ("some/model", "other/model")),
        (replace(SPEC, dimensions=256), ("384", "256")),
        (replace(SPEC, prompts=Prompts("q: ")), ("query: ", "q: ")),
    ],
    ids=["model", "dimensions", "prompts"],
)
def test_a_mismatch_names_both(tmp_path: Path, other: IndexSpec, both: tuple[str, str]) -> None:
    with pytest.raises(IndexMismatchError) as caught:
        check_spec(SPEC, other, tmp_path)
    assert all(name in str(caught.value) for name in both)


def test_one_model_by_two_names_is_no_mismatch(tmp_path: Path) -> None:
    check_spec(SPEC, replace(SPEC, model="/somewhere/model"), tmp_path)


def test_a_failed_write_leaves_the_old_manifest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("turboprop.files.os.fsync", full)
    with pytest.raises(StorageError):
        write_manifest(path, replace(HEADER, rows=99), {}, {}, {})
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
