from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lance
import numpy as np
import pytest

from index.words import text_search
from turboprop.errors import (
    EngineError,
    IndexBusyError,
    IndexDamagedError,
    IndexNotFoundError,
    StorageError,
)
from turboprop.index.manifest import LeftOutFile, read_manifest
from turboprop.index.read import IndexReader
from turboprop.index.schema import IndexSpec, manifest_file, table_folder, table_name, text_digest
from turboprop.index.write import TableWriter
from turboprop.types import Chunk, IndexedFile

Put = Callable[..., None]


def texts_of(directory: Path) -> dict[str, list[str]]:
    """Every text of the published index by path, in line order."""
    with IndexReader.open(directory) as reader:
        table = reader._dataset.scanner(columns=["path", "text", "start_line"]).to_table().to_pylist()
    found: dict[str, list[str]] = {}
    for row in sorted(table, key=lambda row: (row["path"], row["start_line"])):
        found.setdefault(row["path"], []).append(row["text"])
    return found


def folder_of(directory: Path, spec: IndexSpec) -> Path:
    return table_folder(directory, table_name(spec.fingerprint))


def test_what_is_published_is_read(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "one\n", "two\n")
        put(writer, "b.py", "three\n")
        assert writer.publish()
        assert not writer.publish(), "nothing is new"
    assert texts_of(tmp_path) == {"a.py": ["one\n", "two\n"], "b.py": ["three\n"]}
    assert (tmp_path / ".gitignore").read_text() == "*\n"


def test_nothing_is_seen_before_publish_and_nothing_without_it(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "old\n")
        with pytest.raises(IndexNotFoundError):
            IndexReader.open(tmp_path)
        writer.publish()
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "new\n")
        put(writer, "b.py", "more\n")
    assert texts_of(tmp_path) == {"a.py": ["old\n"]}


def test_an_edit_is_one_step_for_readers(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "old one\n", "old two\n")
        writer.publish()
        before = IndexReader.open(tmp_path)
        put(writer, "a.py", "new\n")
        writer._flush()  # rows are in the table now, in a version that no manifest names
        newest = lance.dataset(str(folder_of(tmp_path, spec)))
        assert newest.version > before.header.version
        assert texts_of(tmp_path) == {"a.py": ["old one\n", "old two\n"]}
        writer.publish()
        assert texts_of(tmp_path) == {"a.py": ["new\n"]}
        rows = text_search(before, "old", 10)
        assert sorted(row["text"] for row in before.fetch([row.row_id for row in rows])) == [
            "old one\n",
            "old two\n",
        ]
        before.close()


def test_removed_and_left_out_files_vanish(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        for name in ("a.py", "b.py", "it's.py"):
            put(writer, name, f"{name}\n")
        writer.publish()
        writer.remove_file("it's.py")
        writer.leave_out(LeftOutFile("b.py", 1, 2, 3, "generated"))
        writer.publish()
    assert texts_of(tmp_path) == {"a.py": ["a.py\n"]}
    manifest = read_manifest(manifest_file(tmp_path, table_name(spec.fingerprint)))
    assert set(manifest.files) == {"a.py"}
    assert manifest.left_out == {"b.py": LeftOutFile("b.py", 1, 2, 3, "generated")}
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "b.py", "source again\n")
        writer.publish()
        assert not writer.left_out


def test_files_without_chunks_are_recorded(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "empty.py")
        writer.publish()
        assert writer.files["empty.py"].chunks == 0
    with IndexReader.open(tmp_path) as reader:
        assert reader.rows == 0
        assert text_search(reader, "x", 3) == []
        assert reader.vector_search(np.ones(spec.dimensions, np.float32), 3) == []


def test_one_writer_at_a_time_and_readers_never_wait(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "text\n")
        writer.publish()
        with pytest.raises(IndexBusyError, match="process"):
            TableWriter.open(tmp_path, spec)
        assert texts_of(tmp_path) == {"a.py": ["text\n"]}
    TableWriter.open(tmp_path, spec).close()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 70_000.0])
def test_a_vector_that_is_not_finite_is_never_stored(
    tmp_path: Path, spec: IndexSpec, make_chunk: Callable[..., Chunk], value: float
) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        vectors = np.ones((2, spec.dimensions), np.float32)
        vectors[1, 3] = value
        writer.begin_file("a.py")
        with pytest.raises(EngineError, match=r"a\.py:7-7"):
            writer.add([make_chunk(), make_chunk(line=7)], [b"0" * 16, b"1" * 16], vectors)
    with pytest.raises(IndexNotFoundError):
        IndexReader.open(tmp_path)


@pytest.mark.parametrize("shape", [(1, 31), (1, 33), (2, 32), (32,)])
def test_a_vector_of_another_width_is_refused(
    tmp_path: Path, spec: IndexSpec, make_chunk: Callable[..., Chunk], shape: tuple[int, ...]
) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        writer.begin_file("a.py")
        with pytest.raises(EngineError, match="32 dimensions"):
            writer.add([make_chunk()], [b"0" * 16], np.ones(shape, np.float32))


def test_a_count_that_does_not_add_up_is_not_published(
    tmp_path: Path, spec: IndexSpec, put: Put, make_chunk: Callable[..., Chunk]
) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "text\n")
        writer.publish()
        writer.begin_file("b.py")
        writer.add([make_chunk("b.py")], [b"0" * 16], np.ones((1, spec.dimensions), np.float32))
        writer.end_file(IndexedFile("b.py", 1, 1, 1, "0" * 32, 5))
        with pytest.raises(IndexDamagedError, match="nothing was published"):
            writer.publish()
    assert texts_of(tmp_path) == {"a.py": ["text\n"]}


def test_publish_inside_of_a_file_is_a_bug(tmp_path: Path, spec: IndexSpec) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        writer.begin_file("a.py")
        assert not writer.settled
        with pytest.raises(RuntimeError, match="half written"):
            writer.publish()


@pytest.mark.parametrize(
    ("buffer", "batch"),
    [(64_000_000, 512), (64_000_000, 3), (64_000_000, 1), (1, 512)],
    ids=["waiting", "in a batch with what is whole", "in a batch", "in the table already"],
)
def test_an_unfinished_file_is_dropped_and_the_rest_published(
    tmp_path: Path,
    spec: IndexSpec,
    put: Put,
    make_chunk: Callable[..., Chunk],
    monkeypatch: pytest.MonkeyPatch,
    buffer: int,
    batch: int,
) -> None:
    monkeypatch.setattr("turboprop.index.buffer.BATCH_ROWS", batch)
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "b.py", "old\n")
        writer.publish()
    with TableWriter.open(tmp_path, spec) as writer:
        writer.buffer_bytes = buffer
        put(writer, "a.py", "whole\n")
        writer.begin_file("b.py")
        for _ in range(2):
            writer.add([make_chunk("b.py")], [b"0" * 16], np.ones((1, spec.dimensions), np.float32))
        writer.drop_unfinished()
        assert writer.settled
        writer.publish(complete=False)
        writer.drop_unfinished()  # nothing is
        assert not writer.publish(complete=False)
    assert texts_of(tmp_path) == {"a.py": ["whole\n"]}


@pytest.mark.parametrize("rebuild", [False, True])
def test_another_chunker_begins_anew_and_keeps_readers(
    tmp_path: Path, spec: IndexSpec, put: Put, rebuild: bool
) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "old\n")
        writer.publish()
    other = replace(spec, chunker="another") if not rebuild else spec
    with TableWriter.open(tmp_path, other, rebuild=rebuild) as writer:
        assert not writer.files
        put(writer, "b.py", "new\n")
        assert texts_of(tmp_path) == {"a.py": ["old\n"]}
    assert texts_of(tmp_path) == {"a.py": ["old\n"]}, "a run that does not end changes nothing"
    with TableWriter.open(tmp_path, other, rebuild=rebuild) as writer:
        put(writer, "b.py", "new\n")
        writer.publish()
        writer.maintain()
    assert texts_of(tmp_path) == {"b.py": ["new\n"]}
    with IndexReader.open(tmp_path) as reader:
        assert reader.header.spec == other


def test_two_models_live_side_by_side(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    other = replace(spec, model="other", fingerprint="other-1")
    for each, name in ((spec, "a.py"), (other, "b.py")):
        with TableWriter.open(tmp_path, each) as writer:
            put(writer, name, "text\n")
            writer.publish()
    with IndexReader.open(tmp_path, spec.fingerprint) as reader:
        assert set(reader.manifest().files) == {"a.py"}
    with IndexReader.open(tmp_path) as reader:
        assert reader.header.spec.model == "other", "without a model, the one written last"


def test_unpublished_versions_of_a_dead_writer_are_discarded(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "kept\n")
        writer.publish()
    folder = folder_of(tmp_path, spec)
    dataset = lance.dataset(str(folder))
    dataset.delete("path = 'a.py'")  # what a killed writer leaves: a version that no manifest names
    assert texts_of(tmp_path) == {"a.py": ["kept\n"]}
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "b.py", "next\n")
        writer.publish()
    assert texts_of(tmp_path) == {"a.py": ["kept\n"], "b.py": ["next\n"]}


def test_a_table_without_a_manifest_is_begun_anew(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    folder = folder_of(tmp_path, spec)
    (folder / "_versions").mkdir(parents=True)
    (folder / "_versions" / "1.manifest").write_bytes(b"cut")
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "text\n")
        writer.publish()
    assert texts_of(tmp_path) == {"a.py": ["text\n"]}


@pytest.mark.parametrize("harm", ["manifest", "table", "version", "rows"])
def test_a_damaged_index_is_refused_and_rebuilt(tmp_path: Path, spec: IndexSpec, put: Put, harm: str) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "text\n")
        writer.publish()
    manifest = manifest_file(tmp_path, table_name(spec.fingerprint))
    folder = folder_of(tmp_path, spec)
    if harm == "manifest":
        manifest.write_bytes(manifest.read_bytes()[:-30])
    elif harm == "table":
        shutil.rmtree(folder)
    elif harm == "version":
        for file in (folder / "_versions").iterdir():
            file.unlink()
    else:
        manifest.write_bytes(manifest.read_bytes().replace(b'"rows": 1', b'"rows": 9'))
    with pytest.raises(IndexDamagedError, match="--rebuild"):
        TableWriter.open(tmp_path, spec)
    if harm != "manifest":  # a reader looks at the first line alone
        with pytest.raises(IndexDamagedError, match="--rebuild"):
            IndexReader.open(tmp_path)
    with TableWriter.open(tmp_path, spec, rebuild=True) as writer:
        put(writer, "b.py", "anew\n")
        writer.publish()
    assert texts_of(tmp_path) == {"b.py": ["anew\n"]}


def test_lone_surrogates_do_not_stop_a_run(tmp_path: Path, spec: IndexSpec, make_chunk: Callable[..., Chunk]) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        writer.begin_file("a.py")
        chunk = make_chunk("a.py", "bad \ud800 text\n", symbol="\udfff")
        writer.add([chunk], [text_digest(chunk.text)], np.ones((1, spec.dimensions), np.float32))
        writer.end_file(IndexedFile("a.py", 1, 1, 1, "0" * 32, 1))
        writer.publish()
    assert texts_of(tmp_path) == {"a.py": ["bad ? text\n"]}


def test_known_vectors_survive_edits_of_their_file(tmp_path: Path, spec: IndexSpec, put: Put, embedder: object) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "first\n", "second\n")
        assert writer.known_vectors([text_digest("first\n")]) == {}
        writer.publish()
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "third\n")
        writer._flush()
        known = writer.known_vectors([text_digest(text) for text in ("first\n", "second\n", "nowhere\n")])
        assert set(known) == {text_digest("first\n"), text_digest("second\n")}
        wanted = embedder.embed_documents(["first\n"])[0]  # type: ignore[attr-defined]
        np.testing.assert_allclose(known[text_digest("first\n")], wanted, atol=1e-3)


def test_rows_beyond_the_buffer_wait_for_publish_too(
    tmp_path: Path, spec: IndexSpec, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turboprop.index.write.BUFFER_ROWS", 3)
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "1\n")
        writer.publish()
        put(writer, "a.py", *(f"{number}\n" for number in range(10)))
        put(writer, "b.py", *(f"{number}\n" for number in range(5)))
        assert texts_of(tmp_path) == {"a.py": ["1\n"]}
        writer.publish()
    assert {path: len(texts) for path, texts in texts_of(tmp_path).items()} == {"a.py": 10, "b.py": 5}


def test_old_versions_stay_for_readers_and_then_go(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "old\n")
        writer.publish()
        held = IndexReader.open(tmp_path)
        for number in range(4):
            put(writer, "a.py", f"new {number}\n")
            writer.publish()
            writer.maintain()
    assert held.fetch([row.row_id for row in text_search(held, "old", 1)])[0]["text"] == "old\n"
    held.close()
    with TableWriter.open(tmp_path, spec, retention_seconds=0.0) as writer:
        put(writer, "a.py", "last\n")
        writer.publish()
        writer.maintain()
        kept = lance.dataset(str(folder_of(tmp_path, spec))).version_refs()
        assert [reference["version"] for reference in kept] == [writer.header.version]
    assert texts_of(tmp_path) == {"a.py": ["last\n"]}


def test_an_unwritable_place_is_a_storage_error(tmp_path: Path, spec: IndexSpec) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises((StorageError, IndexDamagedError)):
        TableWriter.open(tmp_path / "file" / "index", spec)
