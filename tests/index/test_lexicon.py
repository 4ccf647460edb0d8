"""Postings: made from the table, kept in a file that is trusted only as far as it checks."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index.words import text_search
from turboprop.code.terms import counted_terms, definition_hash, term_hash
from turboprop.index.lexicon import K1, B, Lexicon, LexiconError
from turboprop.index.lexicon_build import made_from
from turboprop.index.manifest import index_tables
from turboprop.index.read import IndexReader
from turboprop.index.schema import IndexSpec, lexicon_file
from turboprop.index.terms_column import STEM_WEIGHT, SYMBOL_WEIGHT, row_terms
from turboprop.index.write import TableWriter
from turboprop.settings import user_data_home
from turboprop.settings.trust import sign
from turboprop.types import Chunk

TEXTS = {
    "src/pool.py": ["def acquire(pool):\n    return pool.free.pop()\n", "pool = 3\n"],
    "src/config.py": ["def parse(path):\n    return path\n"],
}


@pytest.fixture
def directory(tmp_path: Path, spec: IndexSpec, put: Callable[..., None]) -> Path:
    with TableWriter.open(tmp_path, spec) as writer:
        for path, texts in TEXTS.items():
            put(writer, path, *texts)
        writer.publish()
        writer.maintain()
    return tmp_path


def kept_file(directory: Path) -> Path:
    (path,) = directory.glob("*.lexicon")
    return path


def test_the_file_is_that_of_the_published_version(directory: Path) -> None:
    with IndexReader.open(directory) as reader:
        assert kept_file(directory) == lexicon_file(directory, reader.header.table, reader.header.version)
        assert reader.lexicon.rows == 3
        assert reader.lexicon.files == [("src/pool.py", "python"), ("src/config.py", "python")]
        assert reader.lexicon.sample.shape == (3, 32)


def test_scores_are_bm25f_by_hand(directory: Path) -> None:
    with IndexReader.open(directory) as reader:
        lexicon = reader.lexicon
        lengths = [sum(counted_terms(text).values()) for texts in TEXTS.values() for text in texts]
        average = sum(lengths) / 3
        counts = [2, 1, 0]  # `pool` in each text
        wanted = []
        idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
        missing = math.log(1 + (3 + 0.5) / 0.5)
        for row, count in enumerate(counts):
            x = count / (1 - B + B * lengths[row] / average) + (STEM_WEIGHT if row < 2 else 0)
            wanted.append(idf * x / (x + K1) / (idf + missing))
        scores = lexicon.scores({term_hash("pool"): 1.0, term_hash("nowhere"): 1.0})
        np.testing.assert_allclose(scores, wanted, rtol=1e-5)
        assert not lexicon.scores({}).any()


def test_definitions_are_listed(tmp_path: Path, spec: IndexSpec, make_chunk: Callable[..., Chunk], embedder) -> None:
    chunks = [make_chunk("a.py", "x = 1\n", 1, symbol="Pool.acquire, Pool.size"), make_chunk("a.py", "y\n", 2)]
    hashes, weights, lengths = row_terms(chunks)
    assert lengths == [2, 1]
    assert definition_hash("acquire") in hashes[0].tolist()
    packed = dict(zip(hashes[0].tolist(), weights[0].tolist(), strict=True))
    assert packed[term_hash("size")] == SYMBOL_WEIGHT << 8
    assert packed[definition_hash("size")] == 0


def test_an_update_makes_a_new_one_and_removes_the_old(
    directory: Path, spec: IndexSpec, put: Callable[..., None]
) -> None:
    before = kept_file(directory)
    with IndexReader.open(directory) as held:
        held.lexicon  # noqa: B018
        with TableWriter.open(directory, spec) as writer:
            put(writer, "src/pool.py", "def release(): ...\n")
            writer.publish()
            writer.maintain()
        assert kept_file(directory) != before
        assert text_search(held, "acquire", 1), "a reader keeps its version"
    with IndexReader.open(directory) as reader:
        assert not text_search(reader, "acquire", 1)
        assert text_search(reader, "release", 1)
        assert reader.lexicon.rows == 2


@pytest.mark.parametrize("damage", ["gone", "cut", "byte", "empty", "other", "rubbish"])
def test_a_file_that_cannot_be_trusted_is_made_anew(
    directory: Path, spec: IndexSpec, put: Callable[..., None], damage: str
) -> None:
    path = kept_file(directory)
    data = bytearray(path.read_bytes())
    match damage:
        case "gone":
            path.unlink()
        case "cut":
            path.write_bytes(data[:-100])
        case "byte":
            data[len(data) // 2] ^= 4
            path.write_bytes(data)
        case "empty":
            path.write_bytes(b"")
        case "other":
            path.write_bytes(data.replace(b'"table_version": ', b'"table_version":9'))
        case "rubbish":
            path.write_bytes(b"TPLEX001" + b"\xff" * 500)
    with IndexReader.open(directory) as reader:
        assert text_search(reader, "acquire", 1)
    with TableWriter.open(directory, spec) as writer:
        writer.maintain()
    with IndexReader.open(directory) as reader:
        head = reader.header
        Lexicon.open(kept_file(directory), head.version, made_from(directory, head.table, head.version))


def test_the_words_of_another_table_are_not_taken(directory: Path, tmp_path: Path, spec: IndexSpec, put) -> None:
    """A table that is begun anew has the same name and counts its versions from one again."""
    other = tmp_path / "other"
    with TableWriter.open(other, spec) as writer:
        put(writer, "z.py", "def penguin(): ...\n")
        writer.publish()
        writer.maintain()
    mine, theirs = kept_file(directory), kept_file(other)
    mine.write_bytes(theirs.read_bytes())
    version = int(theirs.name.split(".")[1])
    with pytest.raises(LexiconError, match="another table"):
        Lexicon.open(mine, version, made_from(directory, index_tables(directory)[0].table, version))
    with IndexReader.open(directory) as reader:
        assert text_search(reader, "acquire", 1)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_no_bytes_get_past_the_checks(directory: Path, tmp_path: Path, data: st.DataObject) -> None:
    """With a right checksum too: heads and arrays that do not fit are refused, never read out of bounds."""
    import json

    import xxhash

    whole = kept_file(directory).read_bytes()
    length = int.from_bytes(whole[8:16], "little")
    head = json.loads(whole[16 : 16 + length])
    name = data.draw(st.sampled_from(sorted(head["arrays"])))
    place = data.draw(st.integers(1, 2))
    head["arrays"][name][place] = data.draw(st.integers(-100, 10_000) | st.sampled_from([1 << 62, -(1 << 62), 64, 0]))
    body = whole[:16] + json.dumps(head).encode().ljust(length)[:length] + whole[16 + length : -32]
    bent = tmp_path / "bent"
    checksum = xxhash.xxh3_128_digest(body)
    bent.write_bytes(body + checksum + bytes.fromhex(sign(user_data_home(), checksum)))
    try:
        lexicon = Lexicon.open(bent, head["table_version"], head["made_from"])
    except LexiconError:
        return
    assert lexicon.rows == 3
    try:
        scores = lexicon.scores({term_hash("pool"): 1.0})
    except IndexError:
        pytest.fail("read out of bounds")
    assert scores.shape == (3,)


def test_row_ids_that_are_not_there(directory: Path) -> None:
    with IndexReader.open(directory) as reader:
        ids = reader.lexicon.row_ids.tolist()
        assert reader.lexicon.rows_of([ids[2], 999_999_999, ids[0]]).tolist() == [2, -1, 0]


def test_an_empty_table(tmp_path: Path, spec: IndexSpec) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        writer.publish()
        writer.maintain()
    with IndexReader.open(tmp_path) as reader:
        assert text_search(reader, "anything", 5) == []
        assert reader.lexicon.rows_of([1]).tolist() == [-1]
