"""Several repositories searched together: what they are called, and one list of their hits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from turboprop.types import Hit


@dataclass(frozen=True, slots=True)
class RepoHit:
    """A hit, and the name of the repository that it is in; '' where one alone was searched."""

    repo: str
    hit: Hit

    @property
    def place(self) -> str:
        """`repo/path`, or the path alone."""
        return f"{self.repo}/{self.hit.path}" if self.repo else self.hit.path


def repository_names(roots: Sequence[Path]) -> list[str]:
    """A name for each: the folder's, and the whole path where two folders are called the same."""
    count = Counter(root.name for root in roots)
    return [root.name if count[root.name] == 1 else str(root) for root in roots]


def interleaved(found: Mapping[str, Sequence[Hit]], limit: int) -> list[RepoHit]:
    """The best of all, by repository best first: the first of each, the better score first, then the second of each.

    No repository drowns another that way, whatever scores its model gives.
    """
    ranks = zip_longest(*([RepoHit(repo, hit) for hit in hits] for repo, hits in found.items()))
    ordered = (sorted((one for one in rank if one is not None), key=lambda one: -one.hit.score) for rank in ranks)
    return [one for rank in ordered for one in rank][:limit]
