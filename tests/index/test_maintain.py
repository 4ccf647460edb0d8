from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lance
import numpy as np
import pytest

from index.words import text_search
from turboprop.index import maintain
from turboprop.index.maintain import Coverage, _parts_to_merge, coverage
from turboprop.index.read import IndexReader
from turboprop.index.schema import VECTOR, IndexSpec, lexicon_file, table_folder, text_digest
from turboprop.index.write import TableWriter
from turboprop.types import Chunk, IndexedFile


def word(seed: int, row: int) -> str:
    """A word that no part of another equals."""
    return "".join("abcdefghij"[int(digit)] for digit in f"{seed:04}{row:04}")


def fill(writer: TableWriter, path: str, rows: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((rows, writer.dimensions)).astype(np.float32)
    chunks = [
        Chunk(path, "python", "function", f"name_{seed}_{row}", row + 1, row + 1, f"{word(seed, row)} common\n")
        for row in range(rows)
    ]
    writer.begin_file(path)
    writer.add(chunks, [text_digest(chunk.text) for chunk in chunks], vectors)
    writer.end_file(IndexedFile(path, 1, 1, 1, "0" * 32, rows))
    return vectors


def dataset_of(directory: Path, writer: TableWriter):
    return lance.dataset(str(table_folder(directory, writer.header.table)), version=writer.header.version)


def test_rows_before_and_after_maintenance_are_found_alike(tmp_path: Path, spec: IndexSpec) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        fill(writer, "a.py", 120, 1)
        writer.publish()
        for maintained in (False, True):
            if maintained:
                writer.maintain()
            kept = lexicon_file(tmp_path, writer.header.table, writer.header.version)
            assert kept.exists() is maintained
            with IndexReader.open(tmp_path) as reader:
                found = text_search(reader, word(1, 77), 5)
                assert [row["symbol"] for row in reader.fetch([row.row_id for row in found])] == ["name_1_77"]
                found = text_search(reader, "name_1_3", 1)
                assert [row["symbol"] for row in reader.fetch([row.row_id for row in found])] == ["name_1_3"]


def test_a_vector_index_comes_with_the_rows_and_finds_later_ones(
    tmp_path: Path, spec: IndexSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 5_000
    monkeypatch.setattr(maintain, "VECTOR_INDEX_NUMBERS", rows * spec.dimensions)
    with TableWriter.open(tmp_path, spec) as writer:
        old = fill(writer, "a.py", rows, 1)
        writer.publish()
        writer.maintain()
        assert coverage(dataset_of(tmp_path, writer))[VECTOR].parts == (rows,)
        new = fill(writer, "b.py", 30, 2)
        writer.publish()
        writer.maintain()
        assert coverage(dataset_of(tmp_path, writer))[VECTOR].unindexed_rows == 30, "too few to index"
    vectors = np.concatenate([old, new])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with IndexReader.open(tmp_path) as reader:
        for query in vectors[[0, 1_000, rows, rows + 29]]:
            exact = set(np.argsort(-(vectors @ query))[:10].tolist())
            hits = reader.vector_search(query, 10)
            table = reader.fetch([hit.row_id for hit in hits], ["path", "start_line"])
            found = {row["start_line"] - 1 + (rows if row["path"] == "b.py" else 0) for row in table}
            assert len(found & exact) >= 9
            assert hits[0].score == pytest.approx(1.0, abs=2e-3)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_a_width_that_is_no_multiple_of_8_is_scanned(
    tmp_path: Path, spec: IndexSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintain, "VECTOR_INDEX_NUMBERS", 300 * 12)
    with TableWriter.open(tmp_path, replace(spec, dimensions=12)) as writer:
        vectors = fill(writer, "a.py", 400, 1)
        writer.publish()
        writer.maintain()
        assert VECTOR not in coverage(dataset_of(tmp_path, writer))
    with IndexReader.open(tmp_path) as reader:
        found = reader.vector_search(vectors[123], 1)
        assert [row["symbol"] for row in reader.fetch([row.row_id for row in found])] == ["name_1_123"]


def test_an_index_trained_on_few_rows_is_trained_again(
    tmp_path: Path, spec: IndexSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintain, "VECTOR_INDEX_NUMBERS", 300 * spec.dimensions)
    monkeypatch.setattr(maintain, "_ROWS_PER_PARTITION", 100)
    with TableWriter.open(tmp_path, spec) as writer:
        for number in range(2):
            fill(writer, f"{number}.py", 350, number)
            writer.publish()
            writer.maintain()
        assert coverage(dataset_of(tmp_path, writer))[VECTOR].parts == (700,)


def test_the_size_of_all_vectors_decides_on_a_vector_index(tmp_path: Path, spec: IndexSpec) -> None:
    """5,000 rows of 384 dimensions are scanned faster than searched through an index."""
    for dimensions, rows, indexed in ((384, 5_000, False), (2_048, 4_000, True)):
        directory = tmp_path / str(dimensions)
        with TableWriter.open(directory, replace(spec, dimensions=dimensions)) as writer:
            fill(writer, "a.py", rows, 1)
            writer.publish()
            writer.maintain()
            assert (VECTOR in coverage(dataset_of(directory, writer))) is indexed


def test_a_vector_index_goes_when_a_scan_is_twice_as_fast(
    tmp_path: Path, spec: IndexSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintain, "VECTOR_INDEX_NUMBERS", 600 * spec.dimensions)
    with TableWriter.open(tmp_path, spec) as writer:
        for number in range(3):
            vectors = fill(writer, f"{number}.py", 250, number)
        for removed, indexed in (((), True), (("0.py",), True), (("1.py",), False)):
            for path in removed:
                writer.remove_file(path)
            writer.publish()
            writer.maintain()
            assert (VECTOR in coverage(dataset_of(tmp_path, writer))) is indexed
        assert writer.header.version == dataset_of(tmp_path, writer).version
    with IndexReader.open(tmp_path) as reader:
        found = reader.vector_search(vectors[123], 1)
        assert [row["symbol"] for row in reader.fetch([row.row_id for row in found])] == ["name_2_123"]


@pytest.mark.parametrize(
    ("name", "parts", "unindexed", "merged"),
    [
        ("text", (), 0, None),
        ("text", (), 1, 0),
        ("text", (100,), 0, None),
        ("text", (900,), 100, 0),
        ("text", (800,), 100, 1),
        ("text", (9_000, 900, 60), 40, 1),
        ("text", (9_000, 700, 60), 40, 2),
        ("text", (0,), 60, 1),
        ("vector", (9_000,), maintain.UNINDEXED_VECTORS, None),
        ("vector", (9_000,), maintain.UNINDEXED_VECTORS + 1, 0),
    ],
)
def test_parts_merge_by_size(name: str, parts: tuple[int, ...], unindexed: int, merged: int | None) -> None:
    assert _parts_to_merge(Coverage(name, parts, unindexed)) == merged


@pytest.mark.parametrize("indexed", [False, True])
def test_single_updates_leave_few_fragments_and_most_rows_where_they_are(
    tmp_path: Path, spec: IndexSpec, monkeypatch: pytest.MonkeyPatch, indexed: bool
) -> None:
    """Every fragment costs a query time; rewriting the whole table costs each update."""
    if indexed:
        monkeypatch.setattr(maintain, "VECTOR_INDEX_NUMBERS", 1_000 * spec.dimensions)
    rewritten = most = 0
    with TableWriter.open(tmp_path, spec, retention_seconds=0.0) as writer:
        for number in range(20):
            fill(writer, f"base{number}.py", 100, number)
        writer.publish()
        writer.maintain()
        base: set[str] = set()
        for turn in range(1, 81):
            fill(writer, f"{turn}.py", 1, 100 + turn)
            writer.publish()
            writer.maintain()
            fragments = dataset_of(tmp_path, writer).get_fragments()
            most = max(most, len(fragments))
            large = {file.path for one in fragments if one.physical_rows >= 1_000 for file in one.data_files()}
            rewritten += large != base
            base = large
        assert (VECTOR in coverage(dataset_of(tmp_path, writer))) is indexed
    assert most <= 4
    assert rewritten <= 6


def test_a_table_of_which_much_is_deleted_is_rewritten(tmp_path: Path, spec: IndexSpec) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        for number in range(20):
            fill(writer, f"{number}.py", 100, number)
        writer.publish()
        writer.maintain()
        for removed, left in ((2, 200), (1, 0)):
            for _ in range(removed):
                writer.remove_file(next(iter(writer.files)))
            fill(writer, f"new{removed}.py", 1, 100 + removed)
            writer.publish()
            writer.maintain()
            assert sum(one.num_deletions for one in dataset_of(tmp_path, writer).get_fragments()) == left


def test_fragments_in_different_parts_of_an_index_are_no_reason_to_compact(tmp_path: Path, spec: IndexSpec) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        for number in range(4):
            fill(writer, f"{number}.py", 300 if number < 2 else 2, number)
            writer.publish()
            dataset = dataset_of(tmp_path, writer)
            if number == 0:
                dataset.create_index(VECTOR, maintain.VECTOR_INDEX_TYPE, name=VECTOR, metric="cosine")
            elif number == 1:
                dataset.optimize.optimize_indices(index_names=[VECTOR], num_indices_to_merge=0)
            writer._dataset = lance.dataset(dataset.uri)
        assert coverage(writer._dataset)[VECTOR] == Coverage(VECTOR, (300, 300), 4)
        assert not maintain.compact(writer._dataset), "only two of the four could become one"


def test_many_small_updates_stay_few_parts_and_little_disk(tmp_path: Path, spec: IndexSpec) -> None:
    def size(directory: Path) -> int:
        return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())

    directory = tmp_path / "updated"
    with TableWriter.open(directory, spec, retention_seconds=0.0) as writer:
        fill(writer, "base.py", 1_000, 0)
        writer.publish()
        writer.maintain()
        for turn in range(1, 91):
            fill(writer, f"{turn % 6}.py", 20, turn)
            writer.publish()
            writer.maintain()
        dataset = dataset_of(directory, writer)
        assert len(dataset.get_fragments()) <= 4
        assert len(list(directory.glob("*.lexicon"))) == 1
        assert writer.header.rows == 1_000 + 6 * 20
    with TableWriter.open(tmp_path / "fresh", spec, retention_seconds=0.0) as writer:
        fill(writer, "base.py", 1_000, 0)
        for turn in range(85, 91):
            fill(writer, f"{turn % 6}.py", 20, turn)
        writer.publish()
        writer.maintain()
    assert size(directory) <= 2 * size(tmp_path / "fresh")
    with IndexReader.open(directory) as reader:
        assert len(text_search(reader, word(90, 7), 5)) == 1
        assert text_search(reader, word(70, 7), 5) == [], "replaced since"


def test_maintenance_before_publish_is_a_bug(tmp_path: Path, spec: IndexSpec, put: Callable[..., None]) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "text\n")
        with pytest.raises(RuntimeError, match="before publish"):
            writer.maintain()
