"""What indexing may take of memory, and what is said where that is too little."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from turboprop.code.walk import walk
from turboprop.engines.resident import resident_bytes
from turboprop.errors import MemoryBudgetError
from turboprop.index.budget import TOKENS_LEAST, TOKENS_MOST, MemoryBudget, memory_budget
from turboprop.index.build import update
from turboprop.index.read import IndexReader
from turboprop.index.write import BUFFER_BYTES

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc")


def test_no_limit_bounds_nothing() -> None:
    assert memory_budget(None, "m", 384) == MemoryBudget()
    MemoryBudget().check()


def test_less_memory_means_smaller_batches() -> None:
    taken = resident_bytes()
    assert taken is not None
    roomy = memory_budget(taken * 2 + 8_000_000_000, "m", 384)
    assert (roomy.tokens, roomy.buffer_bytes) == (TOKENS_MOST, BUFFER_BYTES)
    tight = memory_budget(int((resident_bytes() or 0) / 0.85) + 100_000_000, "m", 1024)
    assert TOKENS_LEAST <= tight.tokens < TOKENS_MOST
    assert tight.buffer_bytes < BUFFER_BYTES
    assert tight.group_chars < roomy.group_chars


def test_too_little_says_how_much_is_needed() -> None:
    with pytest.raises(MemoryBudgetError, match=r"--memory 50 MB is too little: some-model takes .* Give [\d,]+ MB"):
        memory_budget(50_000_000, "some-model", 384)


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
