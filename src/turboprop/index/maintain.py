"""Search indexes, compaction and old versions of a table: what keeps it fast and small.

Nothing here changes what a search finds. Every function works on the newest version, under the
writer's lock, and leaves newer versions for the writer to publish.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turboprop.index import schema
from turboprop.index.lance_table import delete_versions
from turboprop.index.lease import unheld

VECTOR_INDEX_NUMBERS = 8_000_000
"""Rows times dimensions from which there is a vector index. For 100 hits, refined, an exact scan then takes as long
as IVF_RQ: 8 ms for 20,000 rows of 384 dimensions, 12,000 of 768, 8,000 of 1,024. Below it is faster, and follows
edits without upkeep; with half as many an index that is there goes."""

VECTOR_INDEX_TYPE = "IVF_RQ"
_ROWS_PER_PARTITION = 4_096  # Lance's own target; 100,000 x 768 builds in 4-13 s, and in 96 s with 316 parts

UNINDEXED_VECTORS = 500
"""Vectors outside the index are compared one by one, a millisecond for these. Texts outside theirs are
split into words again by every query (26 ms per 1,000), so none are left outside."""

MERGE_RATIO = 8
"""A part of an index is merged with the newer ones once these are an eighth of it: every part costs a
query 1-2 ms, every merge rewrites the part (3 s at 100,000 rows)."""

SAVED_FRAGMENTS = 3
FRAGMENT_RATIO = 128
"""Fragments are merged where that leaves three fewer: every one costs a vector search 0.1 ms, a single-file update
makes one. One that is 128 times as large as the smaller ones together is left as it is, so that 5,000 rows are
rewritten (50 ms) after 40 updates and not after three; a table of up to 20,000 rows then has one to four."""

FRAGMENT_ROWS = 100_000
_COMPACTED_AT_ONCE = 256
"""Rows that are rewritten in one batch: of 36,000 in Lance's own ones the memory grows by 117 MB, in these by 78."""
DELETED_SHARE = 0.1
"""A table is rewritten where more of it is deleted; any deleted row at all costs a scan 12%, more of them little."""

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
    before = dataset.version
    numbers = dataset.count_rows() * dataset.schema.field(schema.VECTOR).type.list_size
    for index in coverage(dataset).values():
        merged = _parts_to_merge(index)
        if index.name == schema.VECTOR and numbers < VECTOR_INDEX_NUMBERS // 2:
            dataset.drop_index(index.name)
        elif merged is not None:
            dataset.optimize.optimize_indices(index_names=[index.name], num_indices_to_merge=merged)
    if _needs_vector_index(dataset):
        dataset.create_index(schema.VECTOR, VECTOR_INDEX_TYPE, name=schema.VECTOR, metric="cosine", replace=True)
    return bool(dataset.version != before)


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
    rows, dimensions = dataset.count_rows(), dataset.schema.field(schema.VECTOR).type.list_size
    # IVF_RQ takes one bit a dimension and wants whole bytes; so narrow a vector is scanned fast enough.
    if rows * dimensions < VECTOR_INDEX_NUMBERS or dimensions % 8:
        return False
    if schema.VECTOR not in coverage(dataset):
        return True
    partitions = len(dataset.centroids(index_name=schema.VECTOR))
    return bool(rows > 4 * _ROWS_PER_PARTITION * partitions)


def compact(dataset: Any) -> bool:
    """Merge small fragments where they have become many, rewrite half-deleted ones; returns whether it did."""
    fragments = {one.fragment_id: one for one in dataset.get_fragments()}
    worn = {name for name, one in fragments.items() if one.num_deletions > DELETED_SHARE * one.physical_rows}
    deleted = sum(one.num_deletions for one in fragments.values())
    physical = sum(one.physical_rows for one in fragments.values())
    small = _of_a_size({name: one.physical_rows for name, one in fragments.items()})
    if _saved(dataset, list(fragments), small) < SAVED_FRAGMENTS and deleted <= DELETED_SHARE * physical:
        return False
    before = dataset.version
    dataset.optimize.compact_files(
        target_rows_per_fragment=FRAGMENT_ROWS,
        materialize_deletions_threshold=DELETED_SHARE,
        batch_size=_COMPACTED_AT_ONCE,
        excluded_fragment_ids=[name for name in fragments if name not in small and name not in worn],
    )
    return bool(dataset.version != before)


def _of_a_size(rows: Mapping[int, int]) -> set[int]:
    """The smallest fragments (their rows by name), up to one that is `FRAGMENT_RATIO` times all of them together."""
    found: set[int] = set()
    together = 0
    for name in sorted(rows, key=lambda name: rows[name]):
        if rows[name] >= FRAGMENT_ROWS or (found and rows[name] > FRAGMENT_RATIO * together):
            break
        found.add(name)
        together += rows[name]
    return found


def _saved(dataset: Any, order: Sequence[int], merged: Collection[int]) -> int:
    """How many fragments fewer there are once `merged` are. Lance merges neighbours in the same parts of indexes."""
    parts = [set(part.fragment_ids) for index in dataset.describe_indices() for part in index.segments]

    def place(name: int) -> list[bool]:
        return [name in part for part in parts]

    return sum(
        one in merged and other in merged and place(one) == place(other) for one, other in itertools.pairwise(order)
    )


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
                delete_versions(dataset, folder, gone)
                removed = True
    return removed
