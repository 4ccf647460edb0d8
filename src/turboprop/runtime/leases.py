"""A model of the manager, the leases that keep it loaded, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from turboprop.models.kind import Kind
from turboprop.models.resolve import LocalModel
from turboprop.runtime.batcher import EmbeddingBatcher

if TYPE_CHECKING:
    from turboprop.embed.model import EmbeddingModel
    from turboprop.generate.model import LanguageModel
    from turboprop.rerank.model import Reranker


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What the manager tells of one model. `reserved` are the bytes that the budget counts for it; `keep_alive`
    None means that it stays until it is unloaded."""

    name: str
    kind: Kind
    state: Literal["loading", "loaded"]
    reserved: int
    in_use: int
    idle_seconds: float
    keep_alive: float | None
    engine: str = ""
    device: str = ""
    weights: str = ""
    reason: str = ""
    dimensions: int | None = None
    context: int | None = None


@dataclass(eq=False, slots=True)
class Entry:
    """A model of the manager from the moment that its loading begins. The manager's lock guards it."""

    local: LocalModel
    kind: Kind
    reserved: int
    keep_alive: float | None
    state: Literal["loading", "loaded", "closing"] = "loading"
    leases: int = 0
    used: float = field(default_factory=time.monotonic)
    embedding: EmbeddingModel | None = None
    batcher: EmbeddingBatcher | None = None
    language: LanguageModel | None = None
    reranker: Reranker | None = None
    error: Exception | None = None

    def close(self) -> None:
        """Give the memory back."""
        if self.batcher is not None:
            self.batcher.close()
        for model in (self.embedding, self.language, self.reranker):
            if model is not None:
                model.close()


class Lease:
    """The right to use a model: while one is held the model stays.

    Use it as a context manager, or `release()`; letting go of it gives it back too.
    """

    def __init__(self, entry: Entry, release: Callable[[Entry], None]) -> None:
        self._entry = entry
        self._release: Callable[[Entry], None] | None = release

    def release(self) -> None:
        """Give it back; a second call does nothing."""
        release, self._release = self._release, None
        if release is not None:
            release(self._entry)

    def __del__(self) -> None:
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class EmbeddingLease(Lease):
    """An embedding model, and the batcher that its users share."""

    @property
    def model(self) -> EmbeddingModel:
        """The loaded model."""
        assert self._entry.embedding is not None
        return self._entry.embedding

    @property
    def batcher(self) -> EmbeddingBatcher:
        """Runs what concurrent callers prepared."""
        assert self._entry.batcher is not None
        return self._entry.batcher


class LanguageLease(Lease):
    """A language model."""

    @property
    def model(self) -> LanguageModel:
        """The loaded model."""
        assert self._entry.language is not None
        return self._entry.language


class RerankLease(Lease):
    """A reranker."""

    @property
    def model(self) -> Reranker:
        """The loaded model."""
        assert self._entry.reranker is not None
        return self._entry.reranker


def told(entry: Entry) -> LoadedModel:
    """What is told of an entry; call it with the manager's lock held."""
    model = entry.embedding or entry.language or entry.reranker
    return LoadedModel(
        name=entry.local.name,
        kind=entry.kind,
        state="loading" if entry.state == "loading" and model is None else "loaded",
        reserved=entry.reserved,
        in_use=entry.leases,
        idle_seconds=0.0 if entry.leases else time.monotonic() - entry.used,
        keep_alive=entry.keep_alive,
        engine=model.engine if model else "",
        device=str(getattr(model, "device", "cpu")) if model else "",
        weights=model.weights if model else "",
        reason=entry.embedding.engine_reason if entry.embedding else "",
        dimensions=entry.embedding.dimensions if entry.embedding else None,
        context=entry.language.context if entry.language else None,
    )
