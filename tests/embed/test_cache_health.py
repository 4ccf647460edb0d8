"""Everything that can be wrong with kept vectors is found, and what is sound of them is saved."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from embed.test_cache import LIMIT, same, vectors
from turboprop.embed.cache import EmbeddingCache
from turboprop.embed.cache_health import examine_vectors, mend_vectors
from turboprop.embed.cache_log import lost_frames
from turboprop.embed.cache_place import alone
from turboprop.errors import StorageError

KEPT = vectors(2_000, 64)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed cache of 2,000 vectors."""
    path = tmp_path / "cache" / "embeddings.sqlite"
    with closing(EmbeddingCache(path, LIMIT)) as cache:
        cache.put(KEPT)
    return path


def problems(path: Path) -> str:
    return "; ".join(fault.problem for fault in examine_vectors(path))


def found(path: Path) -> dict[bytes, np.ndarray]:
    with closing(EmbeddingCache(path, LIMIT)) as cache:
        return cache.get(list(KEPT), 64)


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        for statement in statements:
            raw.execute(statement)


def test_a_sound_cache_is_left_as_it_is(path: Path) -> None:
    before = path.stat().st_ino
    assert problems(path) == ""
    mend_vectors(path)
    assert path.stat().st_ino == before
    assert len(found(path)) == 2_000


@pytest.mark.parametrize(
    ("statement", "problem", "left"),
    [
        ("UPDATE vectors SET vector = zeroblob(128) WHERE rowid = 7", "1 vectors are not what was written", 1_999),
        ("UPDATE vectors SET checksum = 5 WHERE rowid <= 3", "3 vectors are not what was written", 1_997),
        ("UPDATE vectors SET vector = 12 WHERE rowid = 7", "1 vectors are not what was written", 1_999),
        ("UPDATE vectors SET vector = 1.5, used = 'x' WHERE rowid = 7", "1 vectors are not what was written", 1_999),
        ("UPDATE vectors SET key = randomblob(16) WHERE rowid = 7", "1 vectors are not what was written", 1_999),
        ("UPDATE vectors SET used = 9e15 WHERE rowid = 7", "1 vectors were last used at a time that cannot be", 2_000),
        ("UPDATE vectors SET used = 'soon' WHERE rowid = 7", "1 vectors were last used at", 2_000),
        ("UPDATE vectors SET used = -1 WHERE rowid = 7", "1 vectors were last used at", 2_000),
        ("CREATE TABLE more (name TEXT)", "it holds other tables than were made", 2_000),
        ("CREATE TRIGGER more AFTER INSERT ON vectors BEGIN DELETE FROM vectors; END", "it holds other tables", 2_000),
        ("DROP TABLE vectors", "", 0),
    ],
)
def test_rows_and_tables(path: Path, statement: str, problem: str, left: int) -> None:
    change(path, statement)
    assert problem in problems(path)
    assert bool(problem) == bool(problems(path))
    with closing(EmbeddingCache(path, LIMIT)) as cache:  # with the damage in place
        seen = cache.get(list(KEPT), 64)
    assert all((seen[key] == KEPT[key]).all() for key in seen)
    mend_vectors(path)
    assert problems(path) == ""
    assert len(found(path)) == left
    assert all((vector == KEPT[key]).all() for key, vector in found(path).items())


def test_one_page_of_zeros_costs_the_vectors_on_it(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[6 * 16_384 : 7 * 16_384] = bytes(16_384)
    path.write_bytes(data)
    assert "damaged" in problems(path)
    mend_vectors(path)
    assert problems(path) == ""
    left = found(path)
    assert 1_500 < len(left) < 2_000
    assert same(left, {key: KEPT[key] for key in left})


def test_a_file_that_nothing_can_be_written_to(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(18)
        file.write(b"\x03")  # a later version's format: SQLite reads and does not write it
    assert "nothing can be written to it" in problems(path)
    mend_vectors(path)
    assert problems(path) == ""
    assert len(found(path)) == 2_000


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_what_is_no_file_is_found_and_never_followed(path: Path, tmp_path: Path, ending: str, kind: str) -> None:
    victim = tmp_path / "victim"
    shutil.copyfile(path, victim)
    before = victim.read_bytes()
    place = path.with_name(path.name + ending)
    place.unlink(missing_ok=True)
    match kind:
        case "link":
            place.symlink_to(victim)
        case "dangling link":
            place.symlink_to(tmp_path / "not there")
        case "pipe":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
            (place / "file").write_text("x")
    with closing(EmbeddingCache(path, LIMIT)) as cache:
        assert cache.get(list(vectors(3, 64)), 64) == {}
        assert not cache.put(vectors(3, 64))
        cache.stats()
    assert problems(path) == f"{place.name} is no file, so none are kept"
    mend_vectors(path)
    assert problems(path) == ""
    assert victim.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache", "victim"]
    assert len(found(path)) == (2_000 if ending else 0)


def test_a_process_that_has_it_open_goes_on_while_it_is_mended(path: Path) -> None:
    change(path, "UPDATE vectors SET vector = zeroblob(128) WHERE rowid = 7")
    with closing(EmbeddingCache(path, LIMIT)) as user:
        assert len(user.get(list(KEPT)[:5], 64)) == 5
        mend_vectors(path)
        assert len(user.get(list(KEPT)[:5], 64)) == 5, "it reads the old one"
        more = vectors(3, 64, 9)
        user.put(more)
        assert user.put(more), "and writes to the new one"
        with closing(EmbeddingCache(path, LIMIT)) as other:
            assert same(other.get(list(more), 64), more)
            assert other.stats().vectors == 2_002
    assert problems(path) == ""


def test_nothing_is_replaced_while_another_process_opens_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(path, "UPDATE vectors SET vector = zeroblob(128) WHERE rowid = 7")
    monkeypatch.setattr("turboprop.embed.cache_place._WAIT_SECONDS", 0.1)
    before = path.stat().st_ino
    with alone(path.parent), pytest.raises(StorageError, match="cannot be mended"):
        mend_vectors(path)
    assert path.stat().st_ino == before
    assert [entry.name for entry in path.parent.iterdir() if entry.name.startswith(".new-")] == []


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of a cache whose process was killed, beside its database."""
    live = tmp_path / "live" / "embeddings.sqlite"
    dead = tmp_path / "dead"
    dead.mkdir()
    with closing(EmbeddingCache(live, LIMIT)) as cache:
        for seed in range(4):
            cache.put(vectors(100, 64, seed))
        for file in live.parent.iterdir():
            shutil.copyfile(file, dead / file.name)
    return dead / "embeddings.sqlite-wal"


def test_any_bit_of_a_log_is_missed(log: Path) -> None:
    assert lost_frames(log) == 0
    sound = log.read_bytes()
    chance = random.Random(4)
    places = [*range(32), *range(32, 56), *(chance.randrange(len(sound)) for _ in range(150))]
    for place in places:
        data = bytearray(sound)
        data[place] ^= 1 << chance.randrange(8)
        log.write_bytes(data)
        assert lost_frames(log) > 0, place


def test_a_damaged_log_is_found_and_the_rest_is_saved(log: Path) -> None:
    database = log.with_name("embeddings.sqlite")
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    assert "the log is damaged" in problems(database)
    log.write_bytes(data)  # SQLite has tidied it away
    mend_vectors(database)
    assert problems(database) == ""


def test_a_log_that_ends_in_a_commit_that_was_never_finished(log: Path) -> None:
    """Frames behind the last commit count only if they end in one themselves."""
    size = 24 + 16_384
    sound = log.read_bytes()
    last = (len(sound) - 32) // size - 1
    frame = bytearray(sound[32 + last * size : 32 + (last + 1) * size])
    frame[4:8] = bytes(4)  # no commit
    frame[100] ^= 1  # and another content, as it followed other frames
    log.write_bytes(sound + frame)
    assert lost_frames(log) == 0
    log.write_bytes(sound + frame[:5_000])
    assert lost_frames(log) == 0
    log.write_bytes(sound[: 32 + 2 * size])
    assert lost_frames(log) == 0


def test_a_log_is_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.sqlite"
    with closing(EmbeddingCache(path, LIMIT)) as cache:
        for seed in range(30):
            cache.put(vectors(20, 64, seed))
            assert lost_frames(path.with_name(path.name + "-wal")) == 0
            assert problems(path) == ""
