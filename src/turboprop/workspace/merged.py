"""Several repositories side by side: what they are called, and whose a hit is."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turboprop.types import Hit


@dataclass(frozen=True, slots=True)
class RepoHit:
    """A hit, and the name of the repository that it is in; '' where one alone was searched. `seen_from` is the folder
    of that repository from which its path is told, `root` the repository's."""

    repo: str
    hit: Hit
    seen_from: str = ""
    root: Path | None = None

    @property
    def place(self) -> str:
        """`repo/path`, or the path alone as the folder `seen_from` leads to it."""
        if self.repo:
            return f"{self.repo}/{self.hit.path}"
        return posixpath.relpath(self.hit.path, self.seen_from) if self.seen_from else self.hit.path


def repository_names(roots: Sequence[Path]) -> list[str]:
    """A name for each: the folder's, and the whole path where two folders are called the same."""
    count = Counter(root.name for root in roots)
    return [root.name if count[root.name] == 1 else str(root) for root in roots]
