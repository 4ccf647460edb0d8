"""Kept vectors: right or not there, whatever happened to the file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turboprop.embed.cache import EmbeddingCache, cache_key
from turboprop.embed.cache_file import export_cache, import_cache
from turboprop.errors import StorageError, UsageError

LIMIT = 100_000_000


def vectors(count: int, width: int = 8, seed: int = 0) -> dict[bytes, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        cache_key("model", "document", f"text {seed} {n}"): random.standard_normal(width).astype(np.float16)
        for n in range(count)
    }


@pytest.fixture
def cache(tmp_path: Path):
    made = EmbeddingCache(tmp_path / "cache" / "embeddings.sqlite", LIMIT)
    yield made
    made.close()


def same(found: dict[bytes, np.ndarray], wanted: dict[bytes, np.ndarray]) -> bool:
    return found.keys() == wanted.keys() and all((found[key] == wanted[key]).all() for key in wanted)


def test_what_was_put_is_got_in_this_process_and_the_next(cache: EmbeddingCache, tmp_path: Path) -> None:
    some = vectors(1_200)
    assert cache.get(list(some), 8) == {}
    cache.put(some)
    assert same(cache.get(list(some), 8), some)
    other = EmbeddingCache(tmp_path / "cache" / "embeddings.sqlite", LIMIT)
    assert same(other.get(list(some), 8), some)
    assert other.get(list(some), 16) == {}, "a vector of another width is none"
    other.close()


@given(st.text(), st.text(), st.sampled_from(["query", "document"]), st.sampled_from(["query", "document"]))
def test_keys_differ_where_anything_does(one: str, other: str, side: str, other_side: str) -> None:
    equal = (one, side) == (other, other_side)
    assert (cache_key("m", side, one) == cache_key("m", other_side, other)) is equal
    assert cache_key("m", side, one) != cache_key("n", side, one)


def test_a_damaged_value_is_dropped(cache: EmbeddingCache, tmp_path: Path) -> None:
    some = vectors(3)
    cache.put(some)
    first = next(iter(some))
    with sqlite3.connect(tmp_path / "cache" / "embeddings.sqlite") as raw:
        raw.execute("UPDATE vectors SET vector = ? WHERE key = ?", (bytes(16), first))
    raw.close()
    assert first not in cache.get(list(some), 8)
    assert cache.stats().vectors == 2


@pytest.mark.parametrize("content", [b"", b"rubbish" * 400, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "embeddings.sqlite"
    path.write_bytes(content)
    some = vectors(5)
    for _ in range(3):  # found out, set aside, begun anew
        cache = EmbeddingCache(path, LIMIT)
        cache.get(list(some), 8)
        cache.put(some)
        cache.close()
    assert same(EmbeddingCache(path, LIMIT).get(list(some), 8), some)


def test_a_folder_that_cannot_be_made_costs_the_cache_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = EmbeddingCache(tmp_path / "file" / "cache" / "embeddings.sqlite", LIMIT)
    cache.put(vectors(2))
    assert cache.get(list(vectors(2)), 8) == {}
    assert cache.stats().vectors == 0


def test_a_limit_of_zero_keeps_nothing(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "embeddings.sqlite", 0)
    cache.put(vectors(2))
    assert cache.get(list(vectors(2)), 8) == {}
    assert list(tmp_path.iterdir()) == []


def test_the_least_recently_used_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = EmbeddingCache(tmp_path / "embeddings.sqlite", 400_000)
    old, kept, new = (vectors(400, 128, seed) for seed in (1, 2, 3))
    day = [100]
    monkeypatch.setattr("turboprop.embed.cache._now", lambda: day[0] * 86_400)
    cache.put(old)
    cache.put(kept)
    day[0] = 101
    cache.get(list(kept), 128)
    cache.put(new)
    day[0] = 102
    cache.put(vectors(400, 128, 4))
    assert cache.stats().bytes < 600_000
    assert not cache.get(list(old), 128)
    assert len(cache.get(list(vectors(400, 128, 4)), 128)) > 300
    cache.close()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from turboprop.embed.cache import EmbeddingCache, cache_key
cache = EmbeddingCache(Path(sys.argv[1]), 10**9)
for n in range(10**6):
    keys = [cache_key("m", "document", f"{sys.argv[2]} {n} {k}") for k in range(20)]
    cache.put({key: np.full(8, n % 1000, np.float16) for key in keys})
    if n == 3:
        print("writing", flush=True)
"""


def test_writers_that_are_killed_leave_whole_vectors(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.sqlite"
    for turn in range(4):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(path), f"{turn}{n}"], stdout=subprocess.PIPE)
            for n in range(2)
        ]
        for writer in writers:
            assert writer.stdout
            assert writer.stdout.readline()
        for writer in writers:
            os.kill(writer.pid, signal.SIGKILL)
            writer.wait()
            writer.stdout.close()  # type: ignore[union-attr]
    cache = EmbeddingCache(path, LIMIT)
    entries = list(cache.entries())
    assert len(entries) >= 4 * 2 * 4 * 20
    assert all(len(set(np.frombuffer(vector, np.float16).tolist())) == 1 for _, vector in entries)
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    raw.close()
    cache.close()


def test_export_and_import(cache: EmbeddingCache, tmp_path: Path) -> None:
    some = vectors(300) | vectors(5, 384, 1)
    cache.put(some)
    assert export_cache(cache, tmp_path / "out.tpemb") == 305
    other = EmbeddingCache(tmp_path / "other.sqlite", LIMIT)
    assert import_cache(other, tmp_path / "out.tpemb") == 305
    assert same(other.get(list(vectors(300)), 8), vectors(300))
    other.close()
    with pytest.raises(StorageError):
        export_cache(cache, tmp_path / "none" / "out.tpemb")
    for wrong in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            import_cache(cache, wrong)
    with pytest.raises(StorageError, match="only 0 vectors"):
        import_cache(EmbeddingCache(tmp_path / "off.sqlite", 0), tmp_path / "out.tpemb")


def test_a_damaged_cache_is_not_exported_as_if_it_were_whole(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.sqlite"
    cache = EmbeddingCache(path, LIMIT)
    cache.put(vectors(2_000, 384))
    cache.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 200_000)
    with pytest.raises(StorageError, match="cannot be read to its end"):
        export_cache(cache, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    cache.close()


def test_what_is_removed_is_given_back_to_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.sqlite"
    large = EmbeddingCache(path, LIMIT)
    large.put(vectors(4_000, 384))
    large.close()
    before = path.stat().st_size
    small = EmbeddingCache(path, 1_000_000)
    small.put(vectors(10, 384, 1))
    assert before > 3_000_000
    assert small.stats().bytes < 1_000_000
    assert len(small.get(list(vectors(10, 384, 1)), 384)) == 10, "the newest stay"
    for seed in range(2, 30):
        small.put(vectors(100, 384, seed))
        assert small.stats().vectors > 500, "it is not emptied again and again"
    small.close()


def test_a_reader_goes_on_while_another_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "embeddings.sqlite"
    cache = EmbeddingCache(path, LIMIT)
    cache.put(vectors(3))
    monkeypatch.setattr("turboprop.embed.cache._now", lambda: 4_000_000_000)  # each vector is due to be touched
    cache._connection.execute("PRAGMA busy_timeout = 10")  # type: ignore[union-attr]
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert len(cache.get(list(vectors(3)), 8)) == 3
    other.execute("ROLLBACK")
    other.close()
    assert cache.put(vectors(1, 8, 9)), "it is still in use"
    cache.close()


def test_a_table_of_another_shape_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.sqlite"
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE vectors (name TEXT)")
    raw.close()
    cache = EmbeddingCache(path, LIMIT)
    cache.put(vectors(3))
    cache.put(vectors(3))
    assert same(cache.get(list(vectors(3)), 8), vectors(3))
    cache.close()


@given(data=st.data())
@settings(deadline=None, max_examples=80)
def test_a_hostile_file_is_refused_whole(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    import xxhash

    folder = tmp_path_factory.mktemp("import")
    source = EmbeddingCache(folder / "in.sqlite", LIMIT)
    source.put(vectors(3))
    export_cache(source, folder / "file")
    source.close()
    content = bytearray((folder / "file").read_bytes())
    at = data.draw(st.integers(8, len(content) - 17))
    content[at] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        content[-16:] = xxhash.xxh3_128_digest(bytes(content[:-16]))
    (folder / "file").write_bytes(content)
    target = EmbeddingCache(folder / "out.sqlite", LIMIT)
    try:
        assert import_cache(target, folder / "file") == 3  # another key or another finite value is sound
    except UsageError:
        assert target.stats().vectors == 0
    target.close()
