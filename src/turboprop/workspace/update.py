"""Bringing the index of a repository up to what a look at its files saw."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from turboprop.embed.documents import IndexingEmbedder
from turboprop.engines.resident import keep_heap_small
from turboprop.errors import IndexBusyError
from turboprop.index.budget import memory_budget
from turboprop.index.build import Progress, update
from turboprop.index.lock import SHORT_WAIT_SECONDS, wait_until_free
from turboprop.index.manifest import index_tables, read_manifest
from turboprop.index.schema import manifest_file
from turboprop.types import IndexSummary
from turboprop.workspace.survey import Survey, left_out_of

if TYPE_CHECKING:
    from turboprop.embed.model import EmbeddingModel


def bring_up_to_date(
    seen: Survey,
    model: EmbeddingModel,
    *,
    rebuild: bool = False,
    progress: Callable[[Progress], None] | None = None,
    memory: int | None = None,
    patience: float | None = None,
) -> IndexSummary:
    """Bring an index up to the files that were seen, within `memory` bytes.

    Another writer is waited for `patience` seconds (None: `SHORT_WAIT_SECONDS`), and where it has published something
    the files are looked at again: what it brought in may be newer than the look. Raises `IndexBusyError` where that
    takes longer, and `MemoryBudgetError` where the memory is too little.
    """
    directory, scope = seen.location.directory, seen.scope
    if memory is not None:
        keep_heap_small()
        model.embed_documents(["def warm_up(): pass"])  # the first call makes the kernels' own copy of the weights
    budget = memory_budget(memory, model.name, model.dimensions, seen.walk.files[: scope.limit])
    until = time.monotonic() + (SHORT_WAIT_SECONDS if patience is None else patience)
    while True:
        if patience != 0:
            wait_until_free(directory, max(0.0, until - time.monotonic()))
        seen = seen.again()
        try:
            summary = update(
                directory,
                seen.walk.files,
                IndexingEmbedder(model, batch_tokens=budget.tokens),
                budget=budget,
                rebuild=rebuild,
                scope=scope,
                skipped=seen.skipped,
                sources=seen.sources,
                progress=progress,
            )
        except IndexBusyError:  # whoever came between the wait and the lock: a search that brings in an edit
            if time.monotonic() >= until:
                raise
            continue
        known = read_manifest(manifest_file(directory, index_tables(directory)[0].table))
        return replace(summary, notes=tuple(seen.walk.notes), left_out=left_out_of(seen.walk, known))
