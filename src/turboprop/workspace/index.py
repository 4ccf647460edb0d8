"""`Index`: one repository, indexed with one model, ready to be searched."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from turboprop import limits
from turboprop.closing import Closing
from turboprop.errors import (
    DownloadError,
    IndexBusyError,
    IndexMismatchError,
    ModelNotFoundError,
    TurboPropError,
    UsageError,
)
from turboprop.index.schema import WORDS
from turboprop.limits import Mode, Unit
from turboprop.runtime.leases import Lease, LoadOptions
from turboprop.settings import DEFAULT_MODEL, Settings
from turboprop.types import (
    NO_MODEL,
    Hit,
    IndexScope,
    IndexStatus,
    IndexSummary,
    Refresh,
    SearchFilter,
    WeightFormat,
    vectors_note,
)
from turboprop.workspace.location import Location
from turboprop.workspace.survey import Survey, quick_survey, status_of, survey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turboprop.embed.model import EmbeddingModel
    from turboprop.index.build import Progress
    from turboprop.index.manifest import Manifest
    from turboprop.index.read import IndexReader
    from turboprop.progress import DownloadProgress
    from turboprop.rerank.model import Reranker
    from turboprop.runtime.leases import EmbeddingLease
    from turboprop.runtime.manager import ModelManager
    from turboprop.search.analysis import Query
    from turboprop.search.grep import FileMatches, GrepOptions, KeptTexts
    from turboprop.search.patterns import Pattern
    from turboprop.search.symbols import Asked, Place
    from turboprop.workspace.tune import Tuning

Freshness = Literal["quick", "all", "none"]


class Index(Closing):
    """An index of one repository. Use it as a context manager, or call `close()`. Threads may search at once.

    The model is loaded by the first search that needs it, and stays until `close`; indexes that are open at once
    share it. A search sees the files as they are now, where looking for changes is quick; `freshness` says otherwise.
    It can be pickled: by its place and options, so a process that unpickles it opens the index for itself.
    """

    def __init__(
        self,
        location: Location,
        model: str | None,
        options: LoadOptions,
        models: ModelManager | None,
        reader: IndexReader | None = None,
    ) -> None:
        self.location = location
        self._asked_for = model
        self._options = options
        self._models = models
        self._kept: list[Lease[Any]] = []
        self._opened = reader
        self._checked: weakref.ref[EmbeddingModel] | None = None
        self._looking = threading.Lock()
        self._looked_from = float("-inf")
        self.last_refresh = Refresh()
        self._manifest: Manifest | None = None
        self._texts: KeptTexts | None = None

    @classmethod
    def create(
        cls,
        repo: str | Path | Location,
        model: str | None = None,
        *,
        index_dir: str | Path | None = None,
        limit: int | None = None,
        max_filesize: int | None = None,
        include: Sequence[str] = (),
        rebuild: bool = False,
        upkeep: bool = False,
        fill: bool = True,
        engine: str | None = None,
        weights: WeightFormat | None = None,
        memory: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        model_progress: DownloadProgress | None = None,
        models: ModelManager | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Index a repository, or bring its index up to date, and open it. `repo` is its root.

        `limit` indexes the first files only, `max_filesize` is in bytes, `include` (gitignore syntax) brings in what
        would be left out, `rebuild` starts anew, `upkeep` looks
        after the table even where no file changed. Without `fill` rows whose words were published first wait for their
        vectors until the next run. `memory` in bytes bounds the conversion of a model; what is
        None comes from the settings, which are those of the user and of the repository; `model_progress` is told
        of its download and conversion. The model "none" makes an index of words alone, and so does the default where
        it is neither here nor can be fetched. `models` lends models for each use, and may unload them in between.
        `index.summary` says what was done. Raises `UsageError`, `ModelError`, `RepositoryIndexError`.
        """
        location = repo if isinstance(repo, Location) else Location.at(repo, index_dir, settings)
        seen = survey(location, location.scope(limit=limit, max_filesize=max_filesize, include=include))
        options = LoadOptions(engine, weights, location.settings, memory, model_progress)
        if model is None and not rebuild:
            model = location.recorded_model()
            if model is not None and not upkeep and seen.is_current:
                index = cls(location, None, options, models)
                index.summary = seen.summary()
                if seen.history_is_behind:
                    from turboprop.workspace.update import keep_history_of

                    index.summary = replace(index.summary, notes=(*index.summary.notes, *keep_history_of(seen)))
                    index._renew()
                return index
        seen.check_not_empty()  # before a model is fetched for it
        if not rebuild and seen.known is not None and (why := location.why_not_of(seen.known.header.scope)):
            raise UsageError(f"{why}: give another folder with --index DIR, or replace it with --rebuild")
        index = cls(location, model, options, models)
        why = ""
        if (model or location.settings.model) != NO_MODEL:
            try:
                lease = _manager(models).embedding(model, options)
            except (ModelNotFoundError, DownloadError) as error:
                if model is not None or location.settings.model != DEFAULT_MODEL or seen.known is not None:
                    raise
                why = str(error)
            else:
                with lease:
                    index._bring_up_to(seen, lease.model, rebuild=rebuild, progress=progress, memory=memory, fill=fill)
                    index._keep(lease)
                    index._renew()
                return index
        summary = index._bring_up_to(seen, None, rebuild=rebuild, progress=progress, memory=memory)
        if why:
            add = f"by words alone now; once a model is here, `tp index --model {DEFAULT_MODEL}` adds search by meaning"
            index.summary = replace(summary, notes=(*summary.notes, why, add))
        return index

    @classmethod
    def open(
        cls,
        repo: str | Path | Location,
        model: str | None = None,
        *,
        index_dir: str | Path | None = None,
        engine: str | None = None,
        weights: WeightFormat | None = None,
        model_progress: DownloadProgress | None = None,
        models: ModelManager | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Open an index that exists; without `model`, the one written last. `models` as for `create`.

        `repo` is the repository's folder, or any folder inside of it. Raises `IndexNotFoundError` where there is no
        index and `IndexMismatchError`, naming both, where it was made with another model.
        """
        from turboprop.index.read import IndexReader

        location = repo if isinstance(repo, Location) else Location.around(repo, index_dir, settings)
        options = LoadOptions(engine, weights, location.settings, None, model_progress)
        if model is None:
            return cls(location, None, options, models, IndexReader.open(location.directory))
        if model == NO_MODEL:
            return cls(location, model, options, models, IndexReader.open(location.directory, WORDS, NO_MODEL))
        with _manager(models).embedding(model, options) as lease:
            reader = IndexReader.open(location.directory, lease.model.fingerprint, lease.model.name)
            index = cls(location, model, options, models, reader)
            index._keep(lease)
        return index

    summary: IndexSummary | None = None
    """What the run of `create` or the last `update` did."""

    def __reduce__(self) -> tuple[Callable[..., Index], tuple[Any, ...]]:
        options = self._options
        model = self._asked_for and self.model_name  # in full: a process that unpickles it may run in another folder
        return _opened_again, (type(self), self.location, model, options.engine, options.weights)

    def __repr__(self) -> str:
        try:
            header = self.reader.header
        except TurboPropError as error:
            return f"<Index of {self.repo}: {error}>"
        return f"<Index of {self.repo}: {header.rows:,} chunks of {header.file_count:,} files, {header.spec.model}>"

    @property
    def repo(self) -> Path:
        """The repository's root."""
        return self.location.root

    @property
    def settings(self) -> Settings:
        """The settings that it was opened with: the user's and the repository's."""
        return self.location.settings

    @property
    def reader(self) -> IndexReader:
        """The version that a search would see which looks for no changes."""
        opened = self._opened
        if opened is None:
            from turboprop.index.read import IndexReader

            opened = self._opened = IndexReader.open(self.location.directory)
        return opened

    def manifest(self) -> Manifest:
        """What the table records of each file now, which may be newer than `reader`. It is kept while it is the same:
        of 5,000 files it takes some 20 ms to read, its first line 0.2."""
        from turboprop.index.manifest import read_header
        from turboprop.index.schema import manifest_file

        known, reader = self._manifest, self.reader
        if known is None or known.header != read_header(manifest_file(self.location.directory, reader.header.table)):
            known = self._manifest = reader.manifest()
        return known

    def embedding(self) -> EmbeddingLease:
        """The index's own model, loaded now where it has not been yet, until the lease is closed.

        Raises `UsageError` for an index of words alone, and `IndexMismatchError` where the model of that name is not
        the one that the index was made with.
        """
        header = self.reader.header
        spec, recorded = header.spec, header.spec.model if header.made_here else None
        if not self.has_model:
            raise UsageError(f"the index in {self.location.directory} is of words alone and has no model")
        lease = _manager(self._models).embedding(self._asked_for or recorded, self._options)
        self._keep(lease)
        model = lease.model
        known = self._checked is not None and self._checked() is model
        if not known and model.fingerprint != spec.fingerprint:
            lease.close()
            if model.dimensions != spec.dimensions:
                raise IndexMismatchError(
                    f"the index in {self.location.directory} has vectors of {spec.dimensions} dimensions, made with "
                    f"{spec.model}, and {model.name} gives {model.dimensions} now. Bring the same model and name it "
                    "with --model, or index again with `tp index --rebuild`"
                )
            raise IndexMismatchError(
                f"the index in {self.location.directory} was made with {spec.model} ({spec.fingerprint[:16]}), and "
                f"{model.name} here is another ({model.fingerprint[:16]}): its weights, pooling or prompts "
                f"differ. Bring the same model and name it with --model, or index again with `tp index --rebuild`"
            )
        self._checked = weakref.ref(model)
        return lease

    @property
    def vectors_note(self) -> str:
        """How far the vectors of what a search sees are, '' where all are there or no model was asked for."""
        header = self.reader.header
        return vectors_note(header.vectors, header.rows) if self.has_model else ""

    @property
    def has_model(self) -> bool:
        """Whether it was made with a model, or else of words alone."""
        return self.reader.header.spec.dimensions > 0

    @contextmanager
    def _own_model(self) -> Iterator[EmbeddingModel | None]:
        """What a run needs: its model, None for an index of words alone."""
        if not self.has_model:
            yield None
            return
        with self.embedding() as lease:
            yield lease.model

    def reranker(self, name: str) -> Lease[Reranker]:
        """The reranker of that name, loaded now where it has not been yet, until the lease is closed."""
        lease = _manager(self._models).reranker(name, self._options)
        self._keep(lease)
        return lease

    @property
    def model_name(self) -> str:
        """The model that the index was made with."""
        return self.reader.header.spec.model

    def search(
        self,
        query: str,
        limit: int = 10,
        mode: Mode = "hybrid",
        *,
        filters: Sequence[str] = (),
        languages: Sequence[str] = (),
        extensions: Sequence[str] = (),
        regex: str = "",
        threshold: float | None = None,
        by: Unit = "chunk",
        context: int = 0,
        full: bool = False,
        vector: NDArray[np.float32] | None = None,
        rerank: str | Reranker | None = None,
        rerank_top: int | None = None,
        freshness: Freshness = "quick",
        below: str = "",
    ) -> list[Hit]:
        """The best chunks for a query, best first; with `by="file"` the best chunk of each file.

        `freshness` says what of changed files is brought in before: what takes about a second ("quick"), however
        long it takes ("all"), nothing ("none"); `last_refresh` tells what was done, or why not.

        `filters` are path globs (`src/**`, `!tests/**`), `languages` and `extensions` (`.py`) narrow
        further, and so do `regex`, which a line of the chunk has to match, and the folder `below`; all hold before the
        top `limit` is taken. Hits under `threshold` are left out; without one there are none where nothing carries the
        query (each hit's `sure` would say "nothing"). Scores grow with relevance and compare between queries of one
        index. `full` widens a hit to its whole
        definition, `context` adds lines around it. `vector` is the query's, float32 [dimensions], from the
        index's own model, where the caller has it.

        `rerank` names a reranker (or is one): the first `rerank_top` hits (30, or 100) are read again by it and blended
        with their places; scores are then 0 to 1, and `threshold` still means those of the first ranking. A
        reranker that is named is loaded once and closed with the index. Raises `UsageError` for what
        `limits.check_search` refuses.
        """
        from turboprop.workspace.together import search_together

        found = search_together(
            [self],
            query,
            limit,
            mode,
            wanted=SearchFilter.of(filters, languages, extensions, regex),
            threshold=threshold,
            by=by,
            context=context,
            full=full,
            vector=vector,
            rerank=rerank,
            rerank_top=rerank_top,
            freshness=freshness,
            below=[below],
        )
        return [hit for _, hit in found]

    def grep(
        self,
        pattern: str | Pattern,
        *,
        filters: Sequence[str] = (),
        languages: Sequence[str] = (),
        extensions: Sequence[str] = (),
        within: Sequence[str] = (),
        options: GrepOptions | None = None,
        freshness: Freshness = "quick",
    ) -> list[FileMatches]:
        """The lines of the indexed files that match a regular expression, as the files are now, by file: those that
        define what was found first, then other code, prose and tests.

        `within` names files and folders, relative to the repository. Time grows with the text alone, whatever the
        pattern (`turboprop.search.patterns`); `freshness` is as for `search`, and without it new files are missing.
        Raises `UsageError` for a pattern that is none.
        """
        from concurrent.futures import ThreadPoolExecutor

        from turboprop.search.grep import DEFAULT, KeptTexts, grep
        from turboprop.search.patterns import Pattern

        wanted = SearchFilter.of(filters, languages, extensions)
        if self._texts is None:
            self._texts = KeptTexts()
        searched = partial(
            grep,
            self.repo,
            pattern=Pattern((pattern,)) if isinstance(pattern, str) else pattern,
            wanted=wanted if wanted != SearchFilter() else None,
            within=within,
            options=options or DEFAULT,
            kept=self._texts,
        )
        if freshness != "quick":
            self.bring_in(freshness)
            return searched(self.reader, current=freshness == "all")
        # Looking for changes takes as long as looking through 30 MB, and mostly there is none: both at once, then.
        with ThreadPoolExecutor(1) as beside:
            # However long looking takes: without it every file would have to be read, which takes longer.
            looking = beside.submit(self.bring_in, freshness, budget=math.inf)
            reader = self.reader
            found = searched(reader, current=True)
            left = looking.result().left
        if self.reader is not reader or left:
            found = searched(self.reader, current=not left)
        return found

    async def asearch(self, query: str, limit: int = 10, mode: Mode = "hybrid", **wishes: Any) -> list[Hit]:
        """`search` in a thread, with the same arguments: the event loop goes on meanwhile."""
        import asyncio  # 40 ms that nobody else needs

        return await asyncio.to_thread(partial(self.search, query, limit, mode, **wishes))

    def symbols(
        self,
        name: str,
        limit: int = 20,
        asked: Asked | str = "definitions",
        *,
        filters: Sequence[str] = (),
        languages: Sequence[str] = (),
        extensions: Sequence[str] = (),
        freshness: Freshness = "quick",
    ) -> list[Place]:
        """Where a name is defined ("definitions": the names that hold all words of it, the likest first), called
        ("calls"), or extended and implemented ("implementations"), as the syntax trees told.

        By name, and not by type. The other arguments are as for `search`. Raises `UsageError`.
        """
        from turboprop.search.symbols import Asked, find_definitions, find_references

        limits.HITS.check(limit)
        if asked not in tuple(Asked):
            raise UsageError(f"{asked!r} cannot be asked of a name; there are: {', '.join(Asked)}")
        self.bring_in(freshness)
        wanted = SearchFilter.of(filters, languages, extensions)
        if asked == Asked.DEFINITIONS:
            return find_definitions(self.reader, name, limit, wanted=wanted)
        return find_references(self.reader, name, limit, asked=Asked(asked), wanted=wanted)

    def similar(
        self,
        path: str,
        line: int,
        limit: int = 10,
        *,
        filters: Sequence[str] = (),
        languages: Sequence[str] = (),
        extensions: Sequence[str] = (),
        context: int = 0,
        full: bool = False,
        freshness: Freshness = "quick",
    ) -> list[Hit]:
        """The chunks most like the one at a line of an indexed file, by cosine similarity; itself left out.

        Needs no model where no file changed: the stored vectors are compared. `path` is relative to the repository,
        `freshness` as for `search`. Raises `UsageError` where nothing is indexed at that place.
        """
        from turboprop.search.search import similar_to

        limits.HITS.check(limit)
        self.bring_in(freshness)
        seen = self.reader
        wanted = SearchFilter.of(filters, languages, extensions)
        return self._shown(seen, similar_to(seen, path, line, limit=limit, filters=wanted), context, full)

    def _shown(
        self, reader: IndexReader, hits: list[Hit], context: int, full: bool, query: Query | None = None
    ) -> list[Hit]:
        from turboprop.search.excerpt import whole_definitions, with_context, with_matches

        if full:
            hits = whole_definitions(reader, hits)
        if context > 0:
            hits = [with_context(self.repo, hit, context) for hit in hits]
        return with_matches(reader, query, hits) if query is not None else hits

    def update(
        self,
        *,
        limit: int | None = None,
        max_filesize: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> IndexSummary:
        """Index what changed since; nothing is embedded where nothing did.

        `limit` and `max_filesize` None mean what was asked for when the index was made.
        """
        scope = self.scope if limit is None else replace(self.scope, limit=limit)
        if max_filesize is not None:
            scope = replace(scope, max_filesize=max_filesize)
        with self._own_model() as model:
            return self._bring_up_to(survey(self.location, scope), model, progress=progress)

    def bring_in(
        self,
        freshness: Freshness = "quick",
        progress: Callable[[Progress], None] | None = None,
        *,
        budget: float | None = None,
    ) -> Refresh:
        """Bring in what changed, as a search with that `freshness` does before it looks; the result is kept as
        `last_refresh`. "quick" does not look where that would take more than `budget` seconds
        (None: `refresh.BUDGET_SECONDS`).

        Where looking or bringing in would take long, where the index may not be written or is being written, and
        where bringing in fails, what is indexed stays, and `left` of the result says so. With "all" errors are raised.
        """
        if freshness == "all":
            self.last_refresh = Refresh(summary=self.update(progress=progress))
        elif freshness == "quick":
            asked = time.monotonic()
            with self._looking:
                if self._looked_from < asked:  # else another thread began to look after this one came
                    self._looked_from = time.monotonic()
                    self.last_refresh = self._quickly(budget)
        elif freshness != "none":
            raise UsageError(f"there is no freshness {freshness!r}; there are: quick, all, none")
        return self.last_refresh

    def _quickly(self, budget: float | None) -> Refresh:
        try:
            header = self.reader.header
            if why := self.location.why_not_of(header.scope):
                return Refresh(why)
            seen = quick_survey(self.location, self.scope, self.manifest, header.file_count, budget)
            if isinstance(seen, Refresh):
                return seen
            if seen.known is not None and seen.known.header.version != header.version:  # another process wrote
                self._move_on(header.spec.fingerprint, header.spec.model)
            changed = len(seen.differing or ()) + len(seen.changes.removed)
            if not changed and not seen.has_touched:
                return Refresh()
            from turboprop.index.lock import short_wait

            # Another search that brings in the same edit is done in a moment; without it this one would miss the edit.
            patience = short_wait(self.location.directory)
            try:
                with self._own_model() as model:
                    summary = self._bring_up_to(seen, model, patience=patience, words_first=False, fill=False)
                return Refresh(changed=changed, summary=summary)
            except IndexBusyError:
                return Refresh("the index is being written", changed)
        except TurboPropError as error:  # what is indexed can still be searched
            return Refresh(str(error), failed=True)

    def status(self, *, look: bool = True) -> IndexStatus:
        """What is indexed and what changed since; reads only files whose size or time changed, and without `look`
        tells of the index alone."""
        if not look:
            return status_of(self.location, self.reader.header)
        return survey(self.location, self.scope, self.manifest()).status()

    @property
    def scope(self) -> IndexScope:
        """Which files belong in it: as when it was made, but for what the settings exclude and include now."""
        made, now = self.reader.header.scope, self.location.scope()
        included = tuple(dict.fromkeys((*now.include, *made.include)))
        return replace(made, exclude=now.exclude, include=included, root=now.root)

    def _bring_up_to(
        self,
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
        from turboprop.workspace.update import bring_up_to_date

        memory = memory or self.settings.memory
        self.summary = bring_up_to_date(
            seen,
            model,
            rebuild=rebuild,
            progress=progress,
            memory=memory,
            patience=patience,
            words_first=words_first,
            fill=fill,
        )
        if model is None:
            self._move_on(WORDS, NO_MODEL)
        else:
            self._move_on(model.fingerprint, model.name)
        return self.summary

    def tune(self, *, progress: Callable[[str], None] | None = None) -> Tuning:
        """Learn from the repository's commits how queries of this index are meant, and search with it where it finds
        more; what was learnt before goes. `progress` is told what is done, in a few words.

        Raises `UsageError` for an index without vectors, or with some missing, and `TurboPropError` where Git does not
        tell the commits. `turboprop.workspace.tune` says what has to be beaten.
        """
        from turboprop.workspace.tune import tune

        return tune(self, tell=progress)

    def _renew(self) -> None:
        if self.settings.tune and self.summary is not None:
            from turboprop.workspace.tune import renew

            self.summary = replace(self.summary, notes=(*self.summary.notes, *renew(self)))

    def _move_on(self, fingerprint: str, model: str) -> None:
        """Search in what is published now. The reader of before is not closed here: another thread may search in it,
        and the last one to let go of it closes it."""
        from turboprop.index.read import IndexReader

        self._opened = IndexReader.open(self.location.directory, fingerprint, model)

    def close(self) -> None:
        """Let go of the model and the table; a second call does nothing."""
        if self._opened is not None:
            self._opened.close()
        while self._kept:
            self._kept.pop().close()

    def _keep(self, lease: Lease[Any]) -> None:
        """Without a manager that somebody else keeps, what is loaded once stays until `close`."""
        if self._models is None and not any(kept.model is lease.model for kept in self._kept):
            self._kept.append(lease.again())


def _manager(models: ModelManager | None) -> ModelManager:
    if models is None:
        from turboprop.runtime.manager import DEFAULT_MANAGER

        return DEFAULT_MANAGER
    return models


def _opened_again(
    kind: type[Index], location: Location, model: str | None, engine: str | None, weights: WeightFormat | None
) -> Index:
    return kind.open(location, model, engine=engine, weights=weights)
