"""A converted graph is used again only when every byte of it is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from turboprop.engines.graph_cache import cached_graph


class Writer:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, path: Path) -> None:
        self.calls += 1
        path.write_text(f"graph {self.calls}")
        path.with_suffix(".bin").write_bytes(bytes(1000))


def test_made_once_for_equal_parts(tmp_path: Path) -> None:
    write = Writer()
    first = cached_graph(tmp_path, {"weights": "a"}, write)
    assert cached_graph(tmp_path, {"weights": "a"}, write) == first
    assert cached_graph(tmp_path, {"weights": "b"}, write) != first
    assert write.calls == 2


@pytest.mark.parametrize("name", ["graph.xml", "graph.bin", "graph.json"])
@pytest.mark.parametrize("damage", [b"", b"other bytes", None])
def test_a_damaged_file_is_made_again(tmp_path: Path, name: str, damage: bytes | None) -> None:
    write = Writer()
    graph = cached_graph(tmp_path, {"weights": "a"}, write)
    file = graph.with_name(name)
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    assert cached_graph(tmp_path, {"weights": "a"}, write).read_text() == "graph 2"
    assert write.calls == 2


def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        cached_graph(tmp_path, {}, fail)
    assert list((tmp_path / "graphs").iterdir()) == []
