"""Search indexes, compaction and old versions of a table: what keeps it fast and small.

Nothing here changes what a search finds. Every function works on the newest version, under the
writer's lock, and leaves newer versions for the writer to publish.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turboprop.index import schema
from turboprop.index.lease import unheld

VECTOR_INDEX_ROWS = 5_000
"""Below this an exact scan is as fast as IVF_RQ (768 dimensions: 4-6 ms at 4,000 rows, 12 at 8,000)."""

VECTOR_INDEX_TYPE = "IVF_RQ"
_ROWS_PER_PARTITION = 4_096  # Lance's own target; 100,000 x 768 builds in 4-13 s, and in 96 s with 316 parts

UNINDEXED_VECTORS = 500
"""Vectors outside the index are compared one by one, a millisecond for these. Texts outside theirs are
split into words again by every query (26 ms per 1,000), so none are left outside."""

MERGE_RATIO = 8
"""A part of an index is merged with the newer ones once these are an eighth of it: every part costs a
query 1-2 ms, every merge rewrites the part (3 s at 100,000 rows)."""

SMALL_FRAGMENTS = 8
FRAGMENT_ROWS = 100_000
DELETED_SHARE = 0.1
"""After 400 single-file updates of 20,000 rows, 12 fragments with a fifth deleted doubled the time of a
vector search."""

_AT_ONCE = 200  # versions whose files are open at the same time


@dataclass(frozen=True, slots=True)
class Coverage:
    """One search index of a table: rows in each of its parts, oldest first, and rows in none."""

    name: str
    parts: tuple[int, ...]
    unindexed_rows: int


def coverage(dataset: Any) -> dict[str, Coverage]:
    """What each search index covers, by its name (that of its column)."""
    rows = {fragment.fragment_id: fragment.physical_rows for fragment in dataset.get_fragments()}
    found = {}
    for index in dataset.describe_indices():
        covered = [set(part.fragment_ids) & rows.keys() for part in index.segments]
        inside = set().union(*covered) if covered else set()
        found[index.name] = Coverage(
            index.name,
            tuple(sum(rows[fragment] for fragment in part) for part in covered),
            sum(count for fragment, count in rows.items() if fragment not in inside),
        )
    return found


def update_indexes(dataset: Any) -> bool:
    """Bring new rows into the search indexes; returns whether the table has a new version."""
    changed = False
    for index in coverage(dataset).values():
        merged = _parts_to_merge(index)
        if merged is not None:
            dataset.optimize.optimize_indices(index_names=[index.name], num_indices_to_merge=merged)
            changed = True
    if _needs_vector_index(dataset):
        dataset.create_index(schema.VECTOR, VECTOR_INDEX_TYPE, name=schema.VECTOR, metric="cosine", replace=True)
        changed = True
    return changed


def _parts_to_merge(index: Coverage) -> int | None:
    """How many of the newest parts to merge with the new rows (0: a part of their own), None for nothing.

    A table has few parts so, of sizes that fall by `MERGE_RATIO`.
    """
    spared = UNINDEXED_VECTORS if index.name == schema.VECTOR else 0
    if index.unindexed_rows <= spared:
        return None
    merged, rows = 0, index.unindexed_rows
    for part in reversed(index.parts):
        if part > MERGE_RATIO * rows:
            break
        merged += 1
        rows += part
    return merged


def _needs_vector_index(dataset: Any) -> bool:
    """Whether there is none where there should be, or it was trained on a fraction of today's rows."""
    rows = dataset.count_rows()
    # IVF_RQ takes one bit a dimension and wants whole bytes; so narrow a vector is scanned fast enough.
    if rows < VECTOR_INDEX_ROWS or dataset.schema.field(schema.VECTOR).type.list_size % 8:
        return False
    if schema.VECTOR not in coverage(dataset):
        return True
    partitions = len(dataset.centroids(index_name=schema.VECTOR))
    return bool(rows > 4 * _ROWS_PER_PARTITION * partitions)


def compact(dataset: Any) -> bool:
    """Rewrite small and half-deleted fragments where they have become many; returns whether it did."""
    fragments = dataset.get_fragments()
    deleted = sum(fragment.num_deletions for fragment in fragments)
    physical = sum(fragment.physical_rows for fragment in fragments)
    small = sum(1 for fragment in fragments if fragment.physical_rows < FRAGMENT_ROWS)
    if small <= SMALL_FRAGMENTS and deleted <= DELETED_SHARE * max(physical, 1):
        return False
    dataset.optimize.compact_files(
        target_rows_per_fragment=FRAGMENT_ROWS, materialize_deletions_threshold=DELETED_SHARE
    )
    return True


def remove_old_versions(dataset: Any, folder: Path, published: int, kept: Collection[int]) -> bool:
    """Delete the versions before `published` that no reader holds, and every file that only they or a killed
    writer needed; returns whether there were any.

    Those in `kept` stay where the system cannot tell whether a reader holds them.
    """
    old = [reference["version"] for reference in dataset.version_refs() if reference["version"] < published]
    removed = False
    for start in range(0, len(old), _AT_ONCE):
        with unheld(folder, old[start : start + _AT_ONCE]) as (free, unknown):
            gone = [*free, *(version for version in unknown if version not in kept)]
            if gone:
                # Under the writer's lock no one else has files in the making.
                dataset.cleanup_old_versions(versions=gone, delete_unverified=True, error_if_tagged_old_versions=False)
                removed = True
    return removed
