from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from turboprop import Hit, Index
from turboprop.types import SearchFilter
from turboprop.workspace.merged import RepoHit, repository_names
from turboprop.workspace.together import search_together

Write = Callable[[dict[str, str]], Path]
KETTLES = {
    "boil.py": "def boil_water(kettle):\n    kettle.heat(until=100)\n    return kettle.pour()\n",
    "kettle.py": "class Kettle:\n    def heat(self, until):\n        while self.water.temperature < until:\n"
    "            self.element.on()\n",
    "pour.py": "def pour_boiling_water(kettle, cup):\n    cup.fill(kettle.water)\n",
}
LEDGERS = {
    "ledger.py": "def book(entry, account):\n    account.entries.append(entry)\n",
    "invoice.py": "def total(lines):\n    return sum(line.price * line.count for line in lines)\n",
    "water.py": "def bill_for_water(meter):\n    return meter.cubic_metres * PRICE\n",
}


def apart(write_files: Write, first: dict[str, str], second: dict[str, str]) -> tuple[Path, Path]:
    root = write_files({f"{n}/{path}": text for n, files in enumerate((first, second)) for path, text in files.items()})
    return root / "0", root / "1"


def test_names() -> None:
    assert repository_names([Path("/a/app"), Path("/b/app"), Path("/c/lib")]) == ["/a/app", "/b/app", "lib"]


def test_places() -> None:
    hit = Hit("src/a.py", 1, 2, 0.5, "python", "", "")
    assert (RepoHit("", hit).place, RepoHit("lib", hit).place) == ("src/a.py", "lib/src/a.py")


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "lexical"])
def test_one_order_holds_over_all_repositories(write_files: Write, mode: str) -> None:
    """A weak hit stands behind every better one of another repository; in turns it would be second."""
    strong, weak = apart(write_files, KETTLES, LEDGERS)
    for root in (strong, weak):
        Index.create(root).close()
    with Index.open(strong) as kettles, Index.open(weak) as ledgers:
        found = search_together([ledgers, kettles], "boil water in a kettle", 6, mode)  # type: ignore[arg-type]
        scores = [hit.score for _, hit in found]
        assert scores == sorted(scores, reverse=True)
        assert [index is kettles for index, _ in found[:3]] == [True] * 3
        assert {hit.path for index, hit in found if index is kettles} == set(KETTLES)
        narrowed = SearchFilter.of((), (), ("py",))
        assert len(search_together([ledgers, kettles], "water", 2, mode, wanted=narrowed, by="file")) == 2  # type: ignore[arg-type]


def test_a_repository_without_chunks_and_one_alone(write_files: Write) -> None:
    root, emptied = apart(write_files, KETTLES, {"gone.py": "x = 1\n"})
    for each in (root, emptied):
        Index.create(each).close()
    (emptied / "gone.py").unlink()
    with Index.open(root) as index, Index.open(emptied) as empty:
        found = search_together([empty, index], "boil water", 3)
        assert [index is each for each, _ in found] == [True] * 3
        assert search_together([empty], "boil water", 3) == []
