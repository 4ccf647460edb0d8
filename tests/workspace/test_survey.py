from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from turboprop import Index
from turboprop.errors import IndexDamagedError
from turboprop.index.lease import version_file
from turboprop.index.schema import lexicon_file, table_folder
from turboprop.types import IndexScope, IndexSummary
from turboprop.workspace.location import Location
from turboprop.workspace.survey import survey

Write = Callable[[dict[str, str]], Path]
FILES = {"src/queue.py": "def enqueue(job):\n    jobs.append(job)\n", "README.md": "# A queue of jobs\n"}


@pytest.fixture
def root(write_files: Write) -> Path:
    root = write_files(FILES)
    Index.create(root).close()
    return root


def unchanged(root: Path, **scope: int) -> IndexSummary | None:
    seen = survey(Location.at(root), IndexScope(**scope))
    return seen.summary() if seen.is_current else None


def test_an_index_that_is_up_to_date(root: Path) -> None:
    found = unchanged(root)
    assert found is not None
    with Index.create(root) as index:
        wanted = index.summary
    assert wanted is not None
    assert (found.files, found.chunks, found.unchanged_files) == (2, 2, 2)
    assert (wanted.files, wanted.chunks, wanted.model) == (2, 2, found.model)
    assert found.bytes_on_disk == wanted.bytes_on_disk


def test_neither_table_nor_model_is_loaded_to_find_that_out(root: Path) -> None:
    code = (
        "import sys; from turboprop.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print({'lance', 'pyarrow', 'numpy', 'tokenizers', 'turboprop.runtime.manager'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, "index", "--repo", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("up to date: 2 files, 2 chunks, with ")
    assert done.stdout.endswith("set()\n")


@pytest.mark.parametrize("change", ["edit", "new", "gone", "scope", "no lexicon"])
def test_whatever_there_is_to_do_is_found(root: Path, change: str) -> None:
    if change == "edit":
        (root / "src/queue.py").write_text("def dequeue():\n    return jobs.pop()\n")
    elif change == "new":
        (root / "new.py").write_text("NEW = 1\n")
    elif change == "gone":
        (root / "README.md").unlink()
    elif change == "no lexicon":
        with Index.open(root) as index:
            header = index.reader.header
        lexicon_file(root / ".turboprop", header.table, header.version).unlink()
    assert unchanged(root, **({"limit": 1} if change == "scope" else {})) is None


@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_version_that_is_not_whole_is_no_reason_to_do_nothing(root: Path, how: str) -> None:
    with Index.open(root) as index:
        header = index.reader.header
    version = version_file(table_folder(root / ".turboprop", header.table), header.version)
    if how == "cut":
        version.write_bytes(version.read_bytes()[:-20])
    else:
        version.unlink()
    assert unchanged(root) is None
    with pytest.raises(IndexDamagedError):
        Index.create(root)


def test_where_there_is_no_index(write_files: Write) -> None:
    assert unchanged(write_files(FILES)) is None
