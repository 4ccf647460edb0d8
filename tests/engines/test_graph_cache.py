"""Converted weights are used again only when every byte of them is right."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from turboprop.engines.graph_cache import cached_files, clear_converted, converted_stats, examine_converted
from turboprop.files import remove_any

FILES = ("index.txt", "values.bin")


def cached(cache_home: Path, parts: Mapping[str, object], write: Callable[[Path], None]) -> Path:
    return cached_files(cache_home, parts, FILES, lambda folder: write(folder / FILES[0])) / FILES[0]


class Writer:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, path: Path) -> None:
        self.calls += 1
        path.write_text(f"index {self.calls}")
        path.with_name(FILES[1]).write_bytes(bytes(1000))


def test_made_once_for_equal_parts(tmp_path: Path) -> None:
    write = Writer()
    first = cached(tmp_path, {"weights": "a"}, write)
    assert cached(tmp_path, {"weights": "a"}, write) == first
    assert cached(tmp_path, {"weights": "b"}, write) != first
    assert write.calls == 2


@pytest.mark.parametrize("name", ["index.txt", "values.bin", "graph.json"])
@pytest.mark.parametrize("damage", [b"", b"other bytes", None])
def test_a_damaged_file_is_made_again(tmp_path: Path, name: str, damage: bytes | None) -> None:
    write = Writer()
    graph = cached(tmp_path, {"weights": "a"}, write)
    file = graph.with_name(name)
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    assert cached(tmp_path, {"weights": "a"}, write).read_text() == "index 2"
    assert write.calls == 2


def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        cached(tmp_path, {}, fail)
    assert list((tmp_path / "graphs").iterdir()) == []


def names(cache: Path) -> set[str]:
    return {folder.name for folder in (cache / "graphs").iterdir()}


def test_those_of_an_older_version_go(tmp_path: Path) -> None:
    write, common = Writer(), {"weights": "a", "format": "int8", "config": (1, 2)}
    kept = {
        cached(tmp_path, parts, write).parent.name
        for parts in (
            {**common, "layout": 8, "format": "int4"},
            {**common, "layout": 8, "weights": "b"},
            {**common, "layout": 10},
            {"weights": "of no version"},
        )
    }
    for version in (7, 8):
        cached(tmp_path, {**common, "layout": version}, write)
    assert len(names(tmp_path)) == len(kept) + 1  # 8 came later than 7, and 10 before both
    kept.add(cached(tmp_path, {**common, "layout": 9}, write).parent.name)
    assert names(tmp_path) == kept


def test_those_of_an_engine_that_is_no_more_go(tmp_path: Path) -> None:
    cached(tmp_path, {"weights": "a", "graph": 3, "openvino": "2026.4"}, Writer())
    kept = cached(tmp_path, {"weights": "b", "layout": 1}, Writer())
    assert names(tmp_path) == {kept.parent.name}


def test_what_a_killed_process_left_goes_after_a_day(tmp_path: Path) -> None:
    old, new = tmp_path / "graphs" / ".new-old", tmp_path / "graphs" / ".new-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "values.bin").write_bytes(bytes(5))
    os.utime(old, (1e9, 1e9))
    kept = cached(tmp_path, {"weights": "a"}, Writer())
    assert names(tmp_path) == {".new-new", kept.parent.name}


def test_a_folder_that_nothing_can_be_read_of_stays(tmp_path: Path) -> None:
    strange = [tmp_path / "graphs" / name for name in ("none", "text", "list", "number")]
    for folder, text in zip(strange, (None, "{", "[]", '{"made_from": 3}'), strict=True):
        folder.mkdir(parents=True)
        if text is not None:
            (folder / "graph.json").write_text(text, "ascii")
    (tmp_path / "graphs" / "file").write_text("no folder", "ascii")
    cached(tmp_path, {"layout": 2}, Writer())
    assert all(folder.is_dir() for folder in strange)


def test_what_is_kept_and_how_it_is_cleared(tmp_path: Path) -> None:
    assert converted_stats(tmp_path).models == converted_stats(tmp_path).bytes == clear_converted(tmp_path) == 0
    for weights in "ab":
        cached(tmp_path, {"weights": weights}, Writer())
    (tmp_path / "graphs" / ".new-one").mkdir()
    (tmp_path / "graphs" / ".new-one" / "values.bin").write_bytes(bytes(50))
    found = converted_stats(tmp_path)
    size = sum(file.stat().st_size for file in (tmp_path / "graphs").rglob("*") if file.is_file())
    assert (found.path, found.models, found.bytes) == (tmp_path / "graphs", 2, size)
    assert size > 2050
    assert clear_converted(tmp_path) == size
    assert names(tmp_path) == set()


def test_what_is_not_ours_is_not_cleared(tmp_path: Path) -> None:
    strangers = [tmp_path / "graphs" / "holiday", tmp_path / "graphs" / ("0" * 32)]
    for folder in strangers:
        folder.mkdir(parents=True)
        (folder / "photo.jpg").write_bytes(bytes(70))
    (strangers[0] / "graph.json").write_text("{}", "ascii")
    cached(tmp_path, {"weights": "a"}, Writer())
    assert converted_stats(tmp_path).models == 1
    assert clear_converted(tmp_path) > 1000
    assert names(tmp_path) == {folder.name for folder in strangers}
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "graphs").rename(other / "graphs")
    kept = cached(other, {"weights": "a"}, Writer())
    (tmp_path / "graphs").symlink_to(other / "graphs", target_is_directory=True)
    assert converted_stats(tmp_path).bytes == clear_converted(tmp_path) == 0
    assert kept.exists()


# What is found and mended


def problems(cache: Path) -> list[str]:
    return [fault.problem for fault in examine_converted(cache)]


def mend(cache: Path) -> None:
    for fault in examine_converted(cache):
        remove_any(fault.path)
    assert problems(cache) == []


def test_two_that_were_swapped_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """Each has the checksums that it says, and is the other one's."""
    places = [cached(tmp_path, {"weights": weights}, Writer()).parent for weights in "ab"]
    assert problems(tmp_path) == []
    places[0].rename(tmp_path / "away")
    places[1].rename(places[0])
    (tmp_path / "away").rename(places[1])
    assert len(problems(tmp_path)) == 2
    write = Writer()
    write.calls = 6
    assert cached(tmp_path, {"weights": "a"}, write).read_text() == "index 7"
    mend(tmp_path)
    assert names(tmp_path) == {places[0].name}


def test_values_that_json_does_not_have_are_compared_as_they_are_read(tmp_path: Path) -> None:
    parts = {
        "config": {"path": tmp_path, "pair": (1, 2.5), "none": None, "by number": {3: "three", 12: "twelve"}},
        "layout": 1,
    }
    write = Writer()
    assert cached(tmp_path, parts, write) == cached(tmp_path, parts, write)
    assert write.calls == 1
    assert problems(tmp_path) == []


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder", "file"])
@pytest.mark.parametrize("name", ["", "values.bin", "graph.json"])
def test_what_is_something_else_is_found_and_made_again(tmp_path: Path, kind: str, name: str) -> None:
    cache, victim = tmp_path / "cache", tmp_path / "victim"
    write = Writer()
    place = cached(cache, {"weights": "a"}, write).parent
    shutil.copytree(place, victim)
    path = place / name
    remove_any(path)
    match kind:
        case "link":
            path.symlink_to(victim / name)
        case "dangling link":
            path.symlink_to(tmp_path / "not there")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "file":
            path.write_bytes(b"")
    assert len(problems(cache)) == 1
    assert cached(cache, {"weights": "a"}, write).read_text() == "index 2"
    assert problems(cache) == []
    assert (victim / "index.txt").read_text() == "index 1"
    assert (victim / "values.bin").read_bytes() == bytes(1000)


@pytest.mark.parametrize("kind", ["dangling link", "pipe", "file"])
def test_a_cache_that_is_no_folder_is_found_and_costs_the_conversion(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "graphs"
    match kind:
        case "dangling link":
            path.symlink_to(tmp_path / "not there")
        case "pipe":
            os.mkfifo(path)
        case "file":
            path.write_bytes(b"")
    with pytest.raises(OSError, match=r"exists|directory"):
        cached(tmp_path, {"weights": "a"}, Writer())
    assert len(problems(tmp_path)) == 1
    mend(tmp_path)
    assert cached(tmp_path, {"weights": "a"}, Writer()).exists()


def test_a_folder_on_another_disk_is_the_users_choice(tmp_path: Path) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "graphs").symlink_to(tmp_path / "large disk")
    write = Writer()
    for _ in range(2):
        cached(tmp_path, {"weights": "a"}, write)
    assert write.calls == 1
    assert problems(tmp_path) == []


def test_what_does_not_belong_there_is_found(tmp_path: Path) -> None:
    place = cached(tmp_path, {"weights": "a"}, Writer()).parent
    (place / "more").write_text("x")
    (place / "compiled-0").mkdir()
    assert sorted(fault.path.name for fault in examine_converted(tmp_path)) == ["compiled-0", "more"]
    mend(tmp_path)
    assert sorted(entry.name for entry in place.iterdir()) == ["graph.json", "index.txt", "values.bin"]
