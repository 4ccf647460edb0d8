"""Bringing the index of a repository up to what a look at its files saw."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from turboprop.code.git import GitError
from turboprop.embed.documents import IndexingEmbedder
from turboprop.engines.resident import keep_heap_small
from turboprop.errors import IndexBusyError, SettingsError
from turboprop.index.budget import memory_budget
from turboprop.index.build import WORDS_FIRST_SECONDS, Progress, WordsOnly, update
from turboprop.index.history import keep_history
from turboprop.index.lock import SHORT_WAIT_SECONDS, wait_until_free
from turboprop.index.manifest import read_manifest
from turboprop.index.schema import WORDS, manifest_file, table_name
from turboprop.search.path_rules import place_of
from turboprop.types import IndexSummary
from turboprop.workspace.survey import Survey, is_cut_as_now, left_out_of

if TYPE_CHECKING:
    from turboprop.embed.model import EmbeddingModel

_LARGE = 8_000_000
"""Bytes to read from which the heap is kept small: of 28 MB of Python 80 MB less are taken (448 and 367 beside the
model), for a thirtieth more processor time apart from embedding."""
DATA_LANGUAGES = frozenset({"json", "csv", "xml", "yaml", "html", ""})
"""What is data more often than not; '' is plain text of no known kind."""


def bring_up_to_date(
    seen: Survey,
    model: EmbeddingModel | None,
    *,
    rebuild: bool = False,
    progress: Callable[[Progress], None] | None = None,
    memory: int | None = None,
    patience: float | None = None,
    words_first: bool = True,
    fill: bool = True,
) -> IndexSummary:
    """Bring an index up to the files that were seen, within `memory` bytes; without `model` one of words alone.

    `words_first` lets rows wait for their vectors where embedding takes long; with `fill` those that wait get them.

    Another writer is waited for `patience` seconds (None: `SHORT_WAIT_SECONDS`), and where it has published something
    the files are looked at again: what it brought in may be newer than the look. Raises `IndexBusyError` where that
    takes longer, and `MemoryBudgetError` where the memory is too little.
    """
    directory, scope = seen.location.directory, seen.scope
    if memory is not None or sum(file.size for file in seen.changes.to_read) > _LARGE:
        keep_heap_small()
    if memory is not None and model is not None:
        model.embed_documents(["def warm_up(): pass"])  # the first call makes the kernels' own copy of the weights
    name, width = (model.name, model.dimensions) if model is not None else ("Python", 0)
    budget = memory_budget(memory, name, width, seen.walk.files[: scope.limit])
    until = time.monotonic() + (SHORT_WAIT_SECONDS if patience is None else patience)
    while True:
        if patience != 0:
            wait_until_free(directory, max(0.0, until - time.monotonic()))
        seen = seen.again()
        try:
            summary = update(
                directory,
                seen.walk.files,
                IndexingEmbedder(model, batch_tokens=budget.tokens) if model is not None else WordsOnly(),
                budget=budget,
                rebuild=rebuild,
                scope=scope,
                skipped=seen.skipped,
                sources=seen.sources,
                progress=progress,
                words_first_seconds=WORDS_FIRST_SECONDS if words_first else math.inf,
                first=_turn,
                fill=fill,
            )
        except IndexBusyError:  # whoever came between the wait and the lock: a search that brings in an edit
            if time.monotonic() >= until:
                raise
            continue
        history = keep_history_of(seen) if fill else []
        known = read_manifest(manifest_file(directory, table_name(model.fingerprint if model is not None else WORDS)))
        notes = (*seen.walk.notes, *_forgotten(seen), *_cut_anew(seen, model), *history)
        return replace(summary, notes=notes, left_out=left_out_of(seen.walk, known))


def keep_history_of(seen: Survey) -> list[str]:
    """Read the commits that came since; a sentence where that is not possible. A search that brings in an edit does
    not ask: what is not committed yet is in no history."""
    try:
        keep_history(seen.location.directory, seen.location.root)
    except (GitError, OSError, SettingsError) as error:
        return [f"The history was not read: {error}"]
    return []


def _forgotten(seen: Survey) -> list[str]:
    """That a run without the last one's `--include` takes out what that brought in."""
    before = seen.known.header.scope.include if seen.known is not None else ()
    gone = [pattern for pattern in before if pattern not in seen.scope.include]
    return [f"no longer included: {', '.join(gone)}; the setting include keeps it in"] if gone else []


def _cut_anew(seen: Survey, model: EmbeddingModel | None) -> list[str]:
    """That a run read every file, since the last one cut them otherwise."""
    fingerprint = model.fingerprint if model is not None else WORDS
    header = seen.known.header if seen.known is not None else None
    if header is None or header.spec.fingerprint != fingerprint or is_cut_as_now(header):
        return []
    return ["made anew: files are cut by newer rules than in the last run"]


def _turn(path: str, language: str) -> int:
    """Code is embedded before tests, these before prose, and data last."""
    place = place_of(path, language)
    if place.is_prose:
        return 2
    if language in DATA_LANGUAGES:
        return 3
    return 1 if place.is_test else 0
