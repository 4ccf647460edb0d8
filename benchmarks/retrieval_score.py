"""NDCG@k of rankings against labels with paths and line spans, as the semble benchmark's harness counts in chunk mode.

Relevant are primary and secondary labels alike; the first k hits count as they are, further chunks of a file take up
ranks. A label with a span is met by a hit in its file that overlaps it, one without by any hit in the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any, NamedTuple


class Label(NamedTuple):
    path: str
    first: int | None
    last: int | None


class Found(NamedTuple):
    path: str
    first: int
    last: int


def labels(item: dict[str, Any]) -> list[Label]:
    """The targets of one annotated query."""
    found = []
    for target in [*item.get("relevant", ()), *item.get("secondary", ())]:
        if isinstance(target, str):
            found.append(Label(target.replace("\\", "/"), None, None))
        else:
            found.append(Label(target["path"].replace("\\", "/"), target.get("start_line"), target.get("end_line")))
    return found


def category(item: dict[str, Any]) -> str:
    """architecture, semantic or symbol, by the label or by the query's form."""
    if isinstance(item.get("category"), str):
        return item["category"]
    query = item["query"]
    if " " not in query.strip():
        return "symbol"
    return "architecture" if query.lower().startswith("how ") else "semantic"


def meets(hit: Found, label: Label) -> bool:
    """Whether a hit meets a label; paths match when one is a suffix of the other."""
    one, other = hit.path, label.path
    if one != other and not one.endswith(f"/{other}") and not other.endswith(f"/{one}"):
        return False
    if label.first is None or label.last is None:
        return True
    return hit.last >= label.first and hit.first <= label.last


def ndcg(hits: Sequence[Found], wanted: Sequence[Label], k: int = 10) -> float:
    """Binary gains; two labels met at one rank count once, and twice in the ideal."""
    if not wanted:
        return 0.0
    ranks = {next((rank for rank, hit in enumerate(hits[:k]) if meets(hit, label)), None) for label in wanted}
    gained = sum(1 / math.log2(rank + 2) for rank in ranks if rank is not None)
    return gained / sum(1 / math.log2(rank + 2) for rank in range(min(k, len(wanted))))


def macro(rows: Iterable[tuple[str, float]]) -> float:
    """Mean over groups (repositories) of the means of their rows."""
    groups: dict[str, list[float]] = {}
    for group, value in rows:
        groups.setdefault(group, []).append(value)
    return fmean(fmean(values) for values in groups.values()) if groups else 0.0
