from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lancedb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index.words import text_search
from turboprop.errors import IndexDamagedError, IndexMismatchError, IndexNotFoundError, UsageError
from turboprop.index.manifest import index_tables
from turboprop.index.read import IndexReader
from turboprop.index.schema import IndexSpec, table_folder
from turboprop.index.write import TableWriter

TEXTS = {
    "src/config.py": ["def parse_json_config(path):\n", "class HTTPServer:\n    pass\n"],
    "src/pool.py": ["def acquireConnection(pool):\n", "pool = 'the is for in'\n"],
}


@pytest.fixture
def directory(tmp_path: Path, spec: IndexSpec, put: Callable[..., None]) -> Path:
    with TableWriter.open(tmp_path, spec) as writer:
        for path, texts in TEXTS.items():
            put(writer, path, *texts)
        writer.publish()
        writer.maintain()
    return tmp_path


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("parse_json_config", "def parse_json_config(path):\n"),
        ("PARSE", "def parse_json_config(path):\n"),
        ("json", "def parse_json_config(path):\n"),
        ("server", "class HTTPServer:\n    pass\n"),
        ("HttpServer", "class HTTPServer:\n    pass\n"),
        ("connection", "def acquireConnection(pool):\n"),
        ("the", "pool = 'the is for in'\n"),
    ],
)
def test_identifiers_are_found_whole_and_in_parts(directory: Path, query: str, text: str) -> None:
    with IndexReader.open(directory) as reader:
        found = text_search(reader, query, 1)
        assert [row["text"] for row in reader.fetch([row.row_id for row in found])] == [text]


def test_words_of_the_path_count_as_words_of_the_text(directory: Path) -> None:
    with IndexReader.open(directory) as reader:
        found = text_search(reader, "config", 10)
        assert {row["path"] for row in reader.fetch([row.row_id for row in found])} == {"src/config.py"}


@given(st.text(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_query_breaks_the_search(directory: Path, query: str) -> None:
    with IndexReader.open(directory) as reader:
        for hit in text_search(reader, query, 3):
            assert np.isfinite(hit.score)


@pytest.mark.parametrize(
    "query", ["", " \n", '"', "a AND (b OR", "*:*", "NOT", "+x -y ~z^2", "\0", "\ud800", "x" * 100_000, "a " * 5_000]
)
def test_query_syntax_is_only_words(directory: Path, query: str) -> None:
    with IndexReader.open(directory) as reader:
        text_search(reader, query, 3)


def test_rows_come_in_the_order_asked_for(directory: Path, embedder) -> None:
    with IndexReader.open(directory) as reader:
        assert reader.rows == 4
        ids = [hit.row_id for hit in reader.vector_search(np.ones(32, np.float32), 4)]
        forward = reader.fetch(ids)
        assert reader.fetch(ids[::-1]) == forward[::-1]
        vectors = reader.vectors(ids)
        wanted = embedder.embed_documents([row["text"] for row in forward])
        np.testing.assert_allclose(vectors, wanted, atol=1e-3)
        assert reader.fetch([]) == []
        assert reader.vectors([]).shape == (0, 32)


def test_similarity_is_the_cosine(directory: Path, embedder) -> None:
    texts = [text for several in TEXTS.values() for text in several]
    query = embedder.embed_documents(["parse the json config of a pool"])[0]
    exact = sorted((embedder.embed_documents(texts) @ query).tolist(), reverse=True)
    with IndexReader.open(directory) as reader:
        scores = [hit.score for hit in reader.vector_search(query * 5, 10)]
    np.testing.assert_allclose(scores, exact, atol=2e-3)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_query_without_direction_finds_nothing(directory: Path, value: float) -> None:
    with IndexReader.open(directory) as reader:
        assert reader.vector_search(np.full(32, value, np.float32), 3) == []


def test_a_query_of_another_width_is_refused(directory: Path) -> None:
    with IndexReader.open(directory) as reader, pytest.raises(ValueError, match="32 dimensions"):
        reader.vector_search(np.ones(31, np.float32), 3)


def test_a_filter_holds_before_the_best_are_taken(directory: Path) -> None:
    where = "path = 'src/pool.py'"
    with IndexReader.open(directory) as reader:
        for hits in (
            reader.vector_search(np.ones(32, np.float32), 2, where),
            text_search(reader, "def pool", 2, where),
        ):
            rows = reader.fetch([hit.row_id for hit in hits])
            assert [row["path"] for row in rows] == ["src/pool.py"] * 2


def test_a_closed_reader_says_so(directory: Path) -> None:
    reader = IndexReader.open(directory)
    reader.close()
    reader.close()
    for ask in (
        lambda: text_search(reader, "pool", 1),
        lambda: reader.vector_search(np.ones(32, np.float32), 1),
        lambda: reader.fetch([1]),
    ):
        with pytest.raises(UsageError, match="closed"):
            ask()


def test_another_model_is_named_beside_the_right_one(directory: Path) -> None:
    with pytest.raises(IndexMismatchError, match="made with hashing, not with other/model"):
        IndexReader.open(directory, "other-fingerprint", "other/model")


def test_no_index_says_how_to_make_one(tmp_path: Path) -> None:
    for fingerprint in (None, "x"):
        with pytest.raises(IndexNotFoundError, match="tp index"):
            IndexReader.open(tmp_path / "none", fingerprint)
    assert index_tables(tmp_path) == []


def test_a_table_file_cut_short_is_damaged(directory: Path, spec: IndexSpec) -> None:
    header = index_tables(directory)[0]
    for file in (table_folder(directory, header.table) / "data").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(IndexDamagedError, match="--rebuild"):
        IndexReader.open(directory)


def test_a_version_file_of_rubbish_is_damaged(directory: Path) -> None:
    header = index_tables(directory)[0]
    for file in (table_folder(directory, header.table) / "_versions").iterdir():
        file.write_bytes(b"rubbish!" * 40)
    with pytest.raises(IndexDamagedError, match="--rebuild"):
        IndexReader.open(directory)


def test_lancedb_opens_the_table_and_reads_the_same_rows(directory: Path) -> None:
    header = index_tables(directory)[0]
    table = lancedb.connect(directory).open_table(header.table)
    assert table.count_rows() == header.rows
    with IndexReader.open(directory) as reader:
        ours = reader._dataset.to_table()
    theirs = table.to_arrow()
    assert theirs.to_pylist() == ours.to_pylist()
    nearest = table.search(np.ones(32, np.float32), vector_column_name="vector").metric("cosine").limit(2).to_list()
    with IndexReader.open(directory) as reader:
        hits = reader.vector_search(np.ones(32, np.float32), 2)
        assert [row["text"] for row in nearest] == [row["text"] for row in reader.fetch([hit.row_id for hit in hits])]
