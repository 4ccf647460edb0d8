"""The table of an index in other programs, as docs/python.md shows it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from turboprop import Index

duckdb = pytest.importorskip("duckdb")


def test_duckdb_reads_what_the_manual_shows(index: Index) -> None:
    import lance

    (folder,) = (index.repo / ".turboprop").glob("*.lance")
    dataset = lance.dataset(str(folder))
    chunks = dataset.to_table(columns=["path", "start_line", "text"])  # noqa: F841  DuckDB finds it by its name
    assert duckdb.sql("SELECT path FROM chunks ORDER BY path").fetchall() == [("cart.py",), ("session.py",)]
    vectors = dataset.to_table(columns=["path", "vector"])
    # The day DuckDB reads 16-bit floats the manual has a sentence too many.
    with pytest.raises(duckdb.NotImplementedException):
        duckdb.sql("SELECT path FROM vectors").fetchall()
    width = vectors.schema.field("vector").type.list_size
    wide = vectors["vector"].cast(pa.list_(pa.float32(), width))
    vectors = vectors.set_column(vectors.schema.get_field_index("vector"), "vector", wide)
    query = "SELECT min(array_cosine_similarity(vector, vector)) FROM vectors"
    assert duckdb.sql(query).fetchall()[0][0] == pytest.approx(1)
