"""What `tp index --dry-run` tells before anything is done."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from turboprop import Index
from turboprop.index import refresh
from turboprop.types import DEFAULT_SCOPE, IndexScope
from turboprop.workspace.location import Location
from turboprop.workspace.preflight import preflight

Write = Callable[[dict[str, str]], Path]
FUNCTION = 'def number_{0}(value):\n    """Add {0} to a value."""\n    return value + {0}\n\n\n'


def test_the_estimate_is_near_what_a_run_does(write_files: Write) -> None:
    root = write_files({f"src/m{k}.py": "".join(FUNCTION.format(100 * k + j) for j in range(80)) for k in range(12)})
    told = preflight(Location.at(root), scope=DEFAULT_SCOPE).estimate
    assert not (root / ".turboprop").exists()
    with Index.create(root) as index:
        done = index.summary
    assert done is not None
    assert told.tokens is not None
    assert told.seconds is not None
    assert abs(told.chunks - done.chunks) <= 0.1 * done.chunks
    assert abs(told.tokens - done.tokens) <= 0.1 * done.tokens
    assert told.seconds > 0
    assert told.memory is None or told.memory > 50_000_000
    assert told.disk > 0

    again = preflight(Location.at(root), scope=DEFAULT_SCOPE).estimate
    assert (again.files, again.tokens, again.disk) == (0, 0, 0)
    (root / "src/m3.py").write_text("VALUE = 1\n")
    assert preflight(Location.at(root), scope=DEFAULT_SCOPE).estimate.files == 1


@pytest.mark.parametrize("most", [0, 1_000])
def test_what_was_only_touched_is_not_changed(write_files: Write, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    root = write_files({f"m{k}.py": FUNCTION.format(k) for k in range(4)})
    Index.create(root).close()
    monkeypatch.setattr(refresh, "MOST_FILES", most)  # more than a search would read to see whether they changed
    for file in root.glob("*.py"):
        os.utime(file, (1, 1))
    assert preflight(Location.at(root), scope=DEFAULT_SCOPE).estimate.files == 0
    (root / "m3.py").write_text("VALUE = 1\n")
    assert preflight(Location.at(root), scope=DEFAULT_SCOPE).estimate.files == 1


def test_a_model_that_is_not_here_is_not_fetched(write_files: Write) -> None:
    told = preflight(
        Location.at(write_files({"a.py": "x = 1\n"})), "nomic-embed-text-v1.5", scope=DEFAULT_SCOPE
    ).estimate
    assert (told.tokens, told.seconds, told.memory) == (None, None, None)
    assert told.chunks == 1


def test_build_output_and_data_are_pointed_at(write_files: Write) -> None:
    root = write_files(
        {
            "src/a.py": "def one():\n    return 1\n",
            "vendor/lib/b.c": "int two(void) { return 2; }\n" * 50_000,
            "data/table.csv": "1,2,3\n" * 400_000,
        }
    )
    found = preflight(Location.at(root), scope=IndexScope(max_filesize=10_000_000, limit=None))
    assert any("vendor/ looks like other people's code" in warning for warning in found.warnings)
    assert any("data/ looks like data" in warning for warning in found.warnings)
    assert found.largest_files[0][0] == "data/table.csv"
    assert found.largest_folders[0] == ("data/", 2_400_000)
    assert preflight(Location.at(root), scope=IndexScope(exclude=("/vendor/", "/data/"))).warnings == ()
