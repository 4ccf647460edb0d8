"""Indexes that stay open between calls: what a server has over a command.

Everything that opening an index checks is checked again at each use, and whatever changed on disk (the index, the
model's files, the settings) is opened anew; only what is the same is used again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from turboprop.errors import RepositoryIndexError
from turboprop.index.manifest import index_tables
from turboprop.models.model_files import stamp_of
from turboprop.types import NO_MODEL
from turboprop.workspace.index import Index
from turboprop.workspace.location import Location

if TYPE_CHECKING:
    from collections.abc import Callable

    from turboprop.index.build import Progress
    from turboprop.progress import DownloadProgress
    from turboprop.runtime.manager import ModelManager
    from turboprop.types import IndexSummary, WeightFormat

MOST = 8
"""Indexes that are kept open; of 2,000 chunks each takes 10 MB. The one that was used longest ago goes first."""


@dataclass(slots=True)
class _Kept:
    """An open index. It is closed when it was retired and its last user has left."""

    index: Index
    users: int = 0
    retired: bool = False


class IndexPool:
    """Opens indexes and keeps them open; `models` lends them their models. Any number of threads may use it."""

    def __init__(self, models: ModelManager, *, most: int = MOST) -> None:
        self.models = models
        self._most = most
        self._lock = RLock()
        self._kept: OrderedDict[tuple[Any, ...], _Kept] = OrderedDict()

    @contextmanager
    def open(
        self,
        location: Location,
        model: str | None = None,
        *,
        engine: str | None = None,
        weights: WeightFormat | None = None,
        model_progress: DownloadProgress | None = None,  # noqa: ARG002  nothing is downloaded where it could be seen
    ) -> Iterator[Index]:
        """As `Index.open`, and with the same errors; the version that is published now."""
        root, directory, settings = location.root, location.directory, location.settings
        files = self.models.stamp(model, settings) if model and model != NO_MODEL else ()
        key = (root, directory, model, engine, weights, repr(settings), stamp_of((settings.config_file,)), files)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and not _still_holds(kept, model, directory):
                self._retire(key)
                kept = None
            if kept is None:
                index = Index.open(location, model, engine=engine, weights=weights, models=self.models)
                kept = self._kept[key] = _Kept(index)
            self._kept.move_to_end(key)
            kept.users += 1
        try:
            yield kept.index
        finally:
            with self._lock:
                kept.users -= 1
                if kept.retired and not kept.users:
                    kept.index.close()
                while len(self._kept) > self._most:
                    self._retire(next(iter(self._kept)))

    def update(
        self,
        location: Location,
        model: str | None = None,
        *,
        progress: Callable[[Progress], None] | None = None,
    ) -> IndexSummary:
        """As `Index.create`: make the index or bring it up to date, while others search in what was published. What
        `include` brought into it stays, as whoever asks here cannot say it again."""
        include: tuple[str, ...] = ()
        with suppress(RepositoryIndexError):  # `create` says what is wrong with it
            include = next((made.scope.include for made in index_tables(location.directory)), ())
        with Index.create(location, model, include=include, progress=progress, models=self.models) as index:
            return index.summary or index.update()

    def describe(self) -> list[dict[str, Any]]:
        """What is open: repository, model and chunks of each index."""
        loaded = {model.name for model in self.models.status()}
        with self._lock:
            return [
                {
                    "repo": str(kept.index.repo),
                    "model": kept.index.model_name,
                    "chunks": kept.index.reader.rows,
                    "model_loaded": kept.index.model_name in loaded,
                }
                for kept in self._kept.values()
            ]

    def let_go_of_outdated(self) -> None:
        """Close unused indexes of which a newer version was published: what is open keeps the old one on the disk."""
        with self._lock:
            for key, kept in list(self._kept.items()):
                try:
                    current = bool(kept.users) or _still_holds(kept, key[2], key[1])
                except (RepositoryIndexError, OSError):
                    current = False
                if not current:
                    self._retire(key)

    def clear(self) -> None:
        """Close everything that nobody uses, the rest when its user leaves."""
        with self._lock:
            for key in list(self._kept):
                self._retire(key)

    def _retire(self, key: tuple[Any, ...]) -> None:
        kept = self._kept.pop(key)
        kept.retired = True
        if not kept.users:
            kept.index.close()


def _still_holds(kept: _Kept, model: str | None, directory: Path) -> bool:
    """Whether opening the index now would give the same."""
    published = index_tables(directory)
    own = kept.index.reader.header
    if model is None:
        return bool(published) and (published[0].table, published[0].version) == (own.table, own.version)
    return any((header.table, header.version) == (own.table, own.version) for header in published)
