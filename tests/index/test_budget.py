"""What indexing may take of memory, and what is said where that is too little."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import turboprop
from turboprop.code.walk import SourceFile, walk
from turboprop.errors import MemoryBudgetError
from turboprop.index.budget import LEAST_RESERVE, RESERVE, TOKENS_LEAST, TOKENS_MOST, MemoryBudget, memory_budget
from turboprop.index.build import update
from turboprop.index.read import IndexReader
from turboprop.index.schema import lexicon_file
from turboprop.index.write import BUFFER_BYTES
from turboprop.machine import resident_bytes

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc")


def limit_with_room(room: int) -> int:
    """A limit that leaves so many bytes beside what this process has and the reserve."""
    taken = (resident_bytes() or 0) + room
    return max(int(taken / (1 - RESERVE)) + 1, taken + LEAST_RESERVE)


def test_no_limit_bounds_nothing() -> None:
    assert memory_budget(None, "m", 384) == MemoryBudget()
    MemoryBudget().check()


def test_less_memory_means_smaller_batches() -> None:
    taken = resident_bytes()
    assert taken is not None
    roomy = memory_budget(taken * 2 + 8_000_000_000, "m", 384)
    assert (roomy.tokens, roomy.buffer_bytes) == (TOKENS_MOST, BUFFER_BYTES)
    tight = memory_budget(limit_with_room(80_000_000), "m", 1024)
    assert TOKENS_LEAST <= tight.tokens < TOKENS_MOST
    assert tight.buffer_bytes < BUFFER_BYTES
    assert tight.group_chars < roomy.group_chars


def test_too_little_says_how_much_is_needed() -> None:
    with pytest.raises(MemoryBudgetError, match=r"--memory 50 MB is too little: some-model takes .* Give [\d,]+ MB"):
        memory_budget(50_000_000, "some-model", 384)


def test_many_files_and_many_rows_count_before_anything_is_done() -> None:
    def files(count: int, size: int) -> list[SourceFile]:
        return [SourceFile("a.py", "/a.py", size, 1, 1, "python")] * count

    limit = limit_with_room(100_000_000)
    memory_budget(limit, "m", 384, files(1_000, 100))
    for many in (files(200_000, 0), files(1_000, 100_000)):
        with pytest.raises(MemoryBudgetError, match=rf"loaded, and {len(many):,} files [\d,]+ MB more") as caught:
            memory_budget(limit, "m", 384, many)
        asked = re.search(r"Give ([\d,]+) MB", str(caught.value))
        assert asked is not None
        memory_budget(int(asked[1].replace(",", "")) * 1_000_000 + 10_000_000, "m", 384, many)


def test_a_run_over_its_budget_keeps_what_was_done(tmp_path: Path, repository: Path, embedder) -> None:
    directory = tmp_path / "index"
    with pytest.raises(MemoryBudgetError, match="what was done is kept"):
        update(directory, walk(repository).files, embedder, budget=MemoryBudget(limit=1_000_000))
    with IndexReader.open(directory) as reader:
        done = reader.header
    assert done.rows > 0
    assert not done.complete
    summary = update(directory, walk(repository).files, embedder)
    with IndexReader.open(directory) as reader:
        assert reader.header.complete
    assert summary.files == 6


def test_the_lexicon_of_many_rows_counts_before_it_is_made() -> None:
    budget = MemoryBudget(limit=limit_with_room(90_000_000))
    budget.check(1_000)
    with pytest.raises(MemoryBudgetError, match=r"1,000,000 chunks need \d,\d\d\d MB"):
        budget.check(1_000_000)


def test_a_run_whose_lexicon_is_too_large_keeps_its_rows(
    tmp_path: Path, repository: Path, embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turboprop.index.budget.LEXICON_ROW", 10_000_000_000)
    budget = MemoryBudget(limit=(resident_bytes() or 0) + 1_000_000_000)
    with pytest.raises(MemoryBudgetError, match="what was done is kept"):
        update(tmp_path / "index", walk(repository).files, embedder, budget=budget)
    with IndexReader.open(tmp_path / "index") as reader:
        assert reader.header.complete
        header = reader.header
    assert not lexicon_file(tmp_path / "index", header.table, header.version).exists()


def test_a_whole_run_stays_within_the_least_that_is_asked_for(tmp_path: Path) -> None:
    """A process of its own that embeds everything, over a hundred chunks of this project."""
    root = tmp_path / "repository"
    shutil.copytree(Path(turboprop.__file__).parent / "index", root)
    run_tp("embed", "the model is converted now, which needs more")
    index = ["index", "--repo", str(root), "--memory"]
    refused, _ = run_tp(*index, "60mb")
    asked = re.search(r"Give ([\d,]+) MB", refused)
    assert asked, refused
    limit = int(asked[1].replace(",", "")) + 10  # a process takes a few more or fewer pages each time
    error, peak = run_tp(*index, f"{limit}mb")
    assert not error
    assert peak <= limit * 1_000_000


_MEASURED = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "turboprop", *sys.argv[1:]], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def run_tp(*arguments: str) -> tuple[str, int]:
    """The error of a command that failed, and its peak of resident memory.

    A process between the two: what the tests have taken counts for what they start, as Linux tells it.
    """
    run = subprocess.run([sys.executable, "-c", _MEASURED, *arguments], capture_output=True, text=True, check=False)
    return (run.stderr if run.returncode else ""), int(run.stdout) * 1024
