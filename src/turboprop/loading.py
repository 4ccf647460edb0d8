"""Where an index gets its models: it has its own, or borrows what several of them share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from turboprop.settings import Settings

if TYPE_CHECKING:
    from turboprop.embed.model import EmbeddingModel
    from turboprop.engines.contract import WeightFormat
    from turboprop.models.hub_progress import DownloadProgress
    from turboprop.rerank.model import Reranker


class ModelSource(Protocol):
    """Where indexes borrow a model that several of them share. They give it back after each use and never close it."""

    def lend(
        self, name: str | None, engine: str | None, weights: WeightFormat | None, settings: Settings
    ) -> AbstractContextManager[EmbeddingModel]: ...


@dataclass(frozen=True, slots=True)
class ModelLoading:
    """How a model is loaded once its name is known."""

    engine: str | None
    weights: WeightFormat | None
    settings: Settings
    memory: int | None
    progress: DownloadProgress | None

    def load(self, name: str | None) -> EmbeddingModel:
        """The model of that name, None for the one of the settings."""
        from turboprop.embed.model import EmbeddingModel

        return EmbeddingModel.load(
            name,
            engine=self.engine,
            weights=self.weights,
            memory=self.memory or self.settings.memory,
            progress=self.progress,
            settings=self.settings,
        )

    def load_reranker(self, name: str) -> Reranker:
        """The engine is the one for the reranker's files, whatever the embedding model's is."""
        from turboprop.rerank.model import Reranker

        return Reranker.load(
            name,
            weights=self.weights or self.settings.weights,
            memory=self.memory or self.settings.memory,
            progress=self.progress,
            settings=self.settings,
        )


class IndexModels:
    """The models of one index: its own, which stay from their first use until `close`, or a `source`'s."""

    def __init__(self, loading: ModelLoading, source: ModelSource | None) -> None:
        self._loading = loading
        self._source = source
        self._lock = Lock()
        self._own: EmbeddingModel | None = None
        self._rerankers: dict[str, Reranker] = {}

    @contextmanager
    def embedding(self, name: str | None) -> Iterator[EmbeddingModel]:
        """The embedding model for one use, None for the one of the settings; an index has one alone."""
        if self._source is not None:
            how = self._loading
            with self._source.lend(name, how.engine, how.weights or how.settings.weights, how.settings) as model:
                yield model
            return
        with self._lock:
            if self._own is None:
                self._own = self._loading.load(name)
        yield self._own

    def reranker(self, name: str) -> Reranker:
        """The reranker of that name, loaded where it has not been yet."""
        with self._lock:
            if name not in self._rerankers:
                self._rerankers[name] = self._loading.load_reranker(name)
            return self._rerankers[name]

    def close(self) -> None:
        """Let go of what is its own; a second call does nothing."""
        if self._own is not None:
            self._own.close()
        for reranker in self._rerankers.values():
            reranker.close()
        self._rerankers.clear()
