"""`tp clean` removes what is of TurboProp, and nothing that lies beside it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from one_process import tp_each
from turboprop import Index
from turboprop.index.lock import WriterLock

FILES = {"app/server.py": "def start_server(port):\n    return bind(port)\n"}


def test_what_lies_beside_an_index_stays(write_files: Callable[[dict[str, str]], Path]) -> None:
    root = write_files(FILES)
    index = root / ".turboprop"
    Index.create(root).close()
    (index / "mynotes.md").write_text("mine")
    (index / "work").mkdir()
    (index / "work" / "thesis").write_text("mine, too")
    with WriterLock(index):
        (busy,) = tp_each("clean index --yes", cwd=root)
    assert (busy.returncode, busy.stdout) == (2, "")
    assert "is being written by process" in busy.stderr
    assert list(index.glob("*.manifest.json"))
    (done,) = tp_each("clean index --yes", cwd=root)
    assert done.stdout.startswith("freed ")
    assert done.stderr.endswith("stays, for it holds what is not the index's: mynotes.md, work\n")
    assert sorted(path.name for path in index.iterdir()) == ["mynotes.md", "work"]
    assert (index / "work" / "thesis").read_text() == "mine, too"


def test_a_gitignore_of_the_user_is_not_the_index_s(write_files: Callable[[dict[str, str]], Path]) -> None:
    root = write_files(FILES)
    Index.create(root).close()
    (root / ".turboprop" / ".gitignore").write_text("*.o\n")
    (done,) = tp_each("clean index --yes", cwd=root)
    assert done.returncode == 0
    assert [path.name for path in (root / ".turboprop").iterdir()] == [".gitignore"]


def test_parts_of_downloads(own_places: Path, tmp_path: Path) -> None:
    blobs = Path(os.environ["HF_HOME"]) / "hub" / "models--o--m" / "blobs"
    blobs.mkdir(parents=True)
    part, theirs = blobs / ("a" * 64 + ".incomplete"), blobs / "abc.1234abcd.incomplete"
    for path in (part, theirs):
        path.write_bytes(bytes(500))
    (young,) = tp_each("clean downloads --yes", cwd=tmp_path)
    assert (young.returncode, young.stdout) == (0, "")
    assert young.stderr == "tp: 1 part of downloads may be in use: written to in the last ten minutes\n"
    hour_ago = time.time() - 3600
    for path in (part, theirs):
        os.utime(path, (hour_ago, hour_ago))
    (old,) = tp_each("clean downloads --yes --json", cwd=tmp_path)
    assert json.loads(old.stdout) == {"freed": {"downloads": 500}}
    assert [path.name for path in blobs.iterdir()] == [theirs.name]
