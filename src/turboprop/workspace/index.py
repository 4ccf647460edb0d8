"""`Index`: one repository, indexed with one model, ready to be searched."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from turboprop.closing import Closing
from turboprop.errors import IndexBusyError, IndexMismatchError, UsageError
from turboprop.index.build import Progress
from turboprop.index.read import IndexReader
from turboprop.loading import IndexModels, ModelLoading, ModelSource
from turboprop.settings import Settings, load_settings
from turboprop.types import Hit, IndexScope, IndexStatus, IndexSummary, Refresh, SearchFilter
from turboprop.workspace.location import (
    bring_up_to_date,
    check_not_empty,
    checked_repo,
    index_directory,
    index_scope,
    recorded_model,
)
from turboprop.workspace.survey import index_status, open_unchanged, quick_changes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turboprop.embed.model import EmbeddingModel
    from turboprop.engines.contract import WeightFormat
    from turboprop.models.hub_progress import DownloadProgress
    from turboprop.rerank.model import Reranker

Mode = Literal["hybrid", "semantic", "lexical"]
Unit = Literal["chunk", "file"]
MODES: tuple[Mode, ...] = ("hybrid", "semantic", "lexical")


class Index(Closing):
    """An index of one repository. Use it as a context manager, or call `close()`.

    The model is loaded by the first search that needs it. Searches see the version that was current
    when the index was opened; `update` moves to the new one.
    """

    def __init__(
        self,
        repo: Path,
        directory: Path,
        reader: IndexReader,
        settings: Settings,
        models: IndexModels,
        model: str | None,
    ) -> None:
        self._repo = repo
        self._directory = directory
        self._reader = reader
        self._settings = settings
        self._models = models
        self._asked_for = model
        self._checked: weakref.ref[EmbeddingModel] | None = None

    @classmethod
    def create(
        cls,
        repo: str | Path,
        model: str | None = None,
        *,
        index_dir: str | Path | None = None,
        limit: int | None = None,
        max_filesize: int | None = None,
        rebuild: bool = False,
        engine: str | None = None,
        weights: WeightFormat | None = None,
        memory: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        model_progress: DownloadProgress | None = None,
        models: ModelSource | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Index a repository, or bring its index up to date, and open it.

        `limit` indexes the first files only, `max_filesize` is in bytes, `rebuild` starts anew. `memory` in
        bytes bounds the conversion of a model; what is None comes from the settings, which are those of the
        user and of the repository; `model_progress` is told of its download and conversion.
        `index.summary` says what was done. Raises `UsageError`, `ModelError`, `RepositoryIndexError`.
        """
        root = checked_repo(repo)
        settings = settings or load_settings(root)
        directory = index_directory(root, index_dir, settings)
        scope = index_scope(settings, limit=limit, max_filesize=max_filesize)
        loaded = IndexModels(ModelLoading(engine, weights, settings, memory, model_progress), models)
        if model is None and not rebuild:
            model = recorded_model(directory)
            unchanged = open_unchanged(root, directory, scope) if model else None
            if unchanged is not None:
                index = cls(root, directory, unchanged[0], settings, loaded, None)
                index.summary = unchanged[1]
                return index
        check_not_empty(root, directory, scope)  # before a model is fetched for it
        try:
            allowed = memory or settings.memory
            with loaded.embedding(model) as embedding:
                summary = bring_up_to_date(root, directory, embedding, scope, rebuild, progress, allowed)
                reader = IndexReader.open(directory, embedding.fingerprint, embedding.name)
        except BaseException:
            loaded.close()
            raise
        index = cls(root, directory, reader, settings, loaded, model)
        index.summary = summary
        return index

    @classmethod
    def open(
        cls,
        repo: str | Path,
        model: str | None = None,
        *,
        index_dir: str | Path | None = None,
        engine: str | None = None,
        weights: WeightFormat | None = None,
        model_progress: DownloadProgress | None = None,
        models: ModelSource | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Open an index that exists; without `model`, the one written last. `models` shares its models with others.

        Raises `IndexNotFoundError` where there is none and `IndexMismatchError`, naming both, where it
        was made with another model.
        """
        root = checked_repo(repo)
        settings = settings or load_settings(root)
        directory = index_directory(root, index_dir, settings)
        loaded = IndexModels(ModelLoading(engine, weights, settings, None, model_progress), models)
        if model is None:
            return cls(root, directory, IndexReader.open(directory), settings, loaded, None)
        try:
            with loaded.embedding(model) as embedding:
                reader = IndexReader.open(directory, embedding.fingerprint, embedding.name)
        except BaseException:
            loaded.close()
            raise
        return cls(root, directory, reader, settings, loaded, model)

    summary: IndexSummary | None = None
    """What the run of `create` or the last `update` did."""

    @property
    def repo(self) -> Path:
        """The repository's root."""
        return self._repo

    @property
    def settings(self) -> Settings:
        """The settings that it was opened with: the user's and the repository's."""
        return self._settings

    @property
    def reader(self) -> IndexReader:
        """The version that searches see."""
        return self._reader

    @property
    def embedding_model(self) -> EmbeddingModel:
        """The model, loaded now where it has not been yet. A borrowed one stays as long as its owner keeps it."""
        with self._embedding_model() as model:
            return model

    def reranker(self, name: str) -> Reranker:
        """The reranker of that name, loaded where it has not been yet; it is closed with the index."""
        return self._models.reranker(name)

    @property
    def model_name(self) -> str:
        """The model that the index was made with."""
        return self._reader.header.spec.model

    def search(
        self,
        query: str,
        limit: int = 10,
        mode: Mode = "hybrid",
        *,
        filters: Sequence[str] = (),
        languages: Sequence[str] = (),
        extensions: Sequence[str] = (),
        threshold: float | None = None,
        by: Unit = "chunk",
        context: int = 0,
        full: bool = False,
        vector: NDArray[np.float32] | None = None,
        rerank: str | Reranker | None = None,
        rerank_top: int | None = None,
    ) -> list[Hit]:
        """The best chunks for a query, best first; with `by="file"` the best chunk of each file.

        `filters` are path globs (`src/**`, `!tests/**`), `languages` and `extensions` (`.py`) narrow
        further; all hold before the top `limit` is taken. Hits under `threshold` are left out; scores
        grow with relevance and compare between queries of one index. `full` widens a hit to its whole
        definition, `context` adds lines around it. `vector` is the query's, float32 [dimensions], from the
        index's own model, where the caller has it.

        `rerank` names a reranker (or is one): the first `rerank_top` hits (30) are read again by it and blended
        with their places; scores are then 0 to 1, and `threshold` still means those of the first ranking. A
        reranker that is named is loaded once and closed with the index.
        """
        from turboprop.search.search import search

        if mode not in MODES:
            raise UsageError(f"there is no search mode {mode!r}; there are: {', '.join(MODES)}")
        if limit < 1:
            raise UsageError(f"limit must be at least 1, not {limit}")
        if not query.strip():
            raise UsageError("the query is empty; say what to look for")
        if mode == "lexical":
            vector = None
        elif vector is None:
            with self._embedding_model() as model:
                vector = model.embed_query(query)
        wanted = _filter(filters, languages, extensions)
        most = limit
        if rerank is not None:
            from turboprop.search.rerank import RERANKED
            from turboprop.search.rerank import rerank as read_again

            most = max(limit, rerank_top or RERANKED)
        hits = search(self._reader, query, vector, limit=most, mode=mode, filters=wanted, threshold=threshold, by=by)
        if rerank is not None and hits:
            reader = self.reranker(rerank) if isinstance(rerank, str) else rerank
            hits = read_again(query, hits, reader, rerank_top or RERANKED)[:limit]
        return self._shown(hits, context, full)

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
    ) -> list[Hit]:
        """The chunks most like the one at a line of an indexed file, by cosine similarity; itself left out.

        Needs no model: the stored vectors are compared. `path` is relative to the repository. Raises
        `UsageError` where nothing is indexed at that place.
        """
        from turboprop.search.search import similar_to

        wanted = _filter(filters, languages, extensions)
        return self._shown(similar_to(self._reader, path, line, limit=limit, filters=wanted), context, full)

    def _shown(self, hits: list[Hit], context: int, full: bool) -> list[Hit]:
        from turboprop.search.excerpt import whole_definition, with_context

        if full:
            hits = [whole_definition(self._reader, hit) for hit in hits]
        return [with_context(self._repo, hit, context) for hit in hits] if context > 0 else hits

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
        return self._bring_up_to(scope, progress)

    def refresh(self) -> Refresh:
        """Bring in what changed, where that is quick; what a search does before it looks.

        Nothing is done where looking for changes would take more than `refresh.BUDGET_SECONDS`, where the index
        may not be written or is being written, or where more changed than a second's work; the result says so.
        """
        found = quick_changes(self._repo, self._directory, self._reader, self.scope)
        if found.left or not found.changed:
            return found
        try:
            return replace(found, summary=self._bring_up_to(self.scope, None, wait=False))
        except IndexBusyError:
            return replace(found, left="the index is being written")

    def status(self) -> IndexStatus:
        """What is indexed and what changed since; reads only files whose size or time changed."""
        return index_status(self._repo, self._directory, self._reader, self.scope)

    @property
    def scope(self) -> IndexScope:
        """Which files belong in it: as when it was made, but for what the settings exclude now."""
        return replace(self._reader.header.scope, exclude=self._settings.exclude)

    def _bring_up_to(
        self, scope: IndexScope, progress: Callable[[Progress], None] | None, *, wait: bool = True
    ) -> IndexSummary:
        with self._embedding_model() as model:
            self.summary = bring_up_to_date(
                self._repo, self._directory, model, scope, False, progress, self._settings.memory, wait=wait
            )
            reader = IndexReader.open(self._directory, model.fingerprint, model.name)
        self._reader.close()
        self._reader = reader
        return self.summary

    def close(self) -> None:
        """Let go of the model and the table; a second call does nothing."""
        self._reader.close()
        self._models.close()

    @contextmanager
    def _embedding_model(self) -> Iterator[EmbeddingModel]:
        spec = self._reader.header.spec
        recorded = spec.model if self._reader.header.made_here else None
        with self._models.embedding(self._asked_for or recorded) as model:
            known = self._checked is not None and self._checked() is model
            if not known and model.fingerprint != spec.fingerprint:
                raise IndexMismatchError(
                    f"the index in {self._directory} was made with {spec.model} ({spec.fingerprint[:16]}), and "
                    f"{model.name} here is another ({model.fingerprint[:16]}): its weights, pooling or prompts "
                    f"differ. Bring the same model and name it with --model, or index again with `tp index --rebuild`"
                )
            self._checked = weakref.ref(model)
            yield model


def _filter(filters: Sequence[str], languages: Sequence[str], extensions: Sequence[str]) -> SearchFilter:
    return SearchFilter(
        tuple(language.lower() for language in languages),
        tuple(_extension(extension) for extension in extensions),
        tuple(filters),
    )


def _extension(extension: str) -> str:
    extension = extension.lower()
    return extension if extension.startswith(".") else f".{extension}"
