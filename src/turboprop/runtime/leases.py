"""Leases of loaded models: how everybody uses one who does not load it for himself alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from turboprop.closing import Closing

if TYPE_CHECKING:
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray

    from turboprop.embed.model import EmbeddingModel  # noqa: F401  names what EmbeddingLease is of
    from turboprop.embed.prepared import PreparedInputs
    from turboprop.progress import DownloadProgress
    from turboprop.runtime.manager import Entry
    from turboprop.settings import Settings
    from turboprop.types import WeightFormat

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model is to run; what is None comes from the settings, and they from the manager.

    `memory` in bytes bounds a conversion; `progress` is told of it and of a download.
    """

    engine: str | None = None
    weights: WeightFormat | None = None
    settings: Settings | None = None
    memory: int | None = None
    progress: DownloadProgress | None = None


class Lease(Closing, Generic[M]):
    """The right to use a model: it stays loaded until every lease of it is closed.

    Use it as a context manager, or call `close()`; letting go of it closes it, too.
    """

    def __init__(self, entry: Entry, count: Callable[[Entry, int], None]) -> None:
        """The entry counts this lease already; `count` adds to its leases."""
        self._entry = entry
        self._count: Callable[[Entry, int], None] | None = count

    @property
    def model(self) -> M:
        """The loaded model."""
        loaded: Any = self._entry.model
        return loaded  # type: ignore[no-any-return]

    def again(self) -> Self:
        """Another lease of the same model. Call it before this one is closed."""
        assert self._count is not None
        self._count(self._entry, 1)
        return type(self)(self._entry, self._count)

    def close(self) -> None:
        """Give it back; a second call does nothing."""
        count, self._count = self._count, None
        if count is not None:
            count(self._entry, -1)

    def __del__(self, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_ending():  # the interpreter, which has no threads left to end
            self.close()


class EmbeddingLease(Lease["EmbeddingModel"]):
    """An embedding model that runs what all its users ask in common batches."""

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """As `EmbeddingModel.embed_query`. Raises `BusyError` where too much waits."""
        return self.model.embed_query(text, compute=lambda prepared: self.submit(prepared).result())

    def submit(self, prepared: PreparedInputs) -> Future[NDArray[np.float32]]:
        """As `EmbeddingBatcher.submit`, of what the model prepared."""
        assert self._entry.batcher is not None
        return self._entry.batcher.submit(prepared)
