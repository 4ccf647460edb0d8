"""Indexes and models that stay open between calls: what a server has over a command.

Everything that opening an index checks is checked again at each use, and whatever changed on disk (the index, the
model's files, the settings) is opened anew; only what is the same is used again.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any

from turboprop.errors import RepositoryIndexError
from turboprop.index.manifest import index_tables
from turboprop.settings import Settings
from turboprop.workspace.index import Index
from turboprop.workspace.location import Location

if TYPE_CHECKING:
    from collections.abc import Callable

    from turboprop.embed.model import EmbeddingModel
    from turboprop.engines.contract import WeightFormat
    from turboprop.index.build import Progress
    from turboprop.loading import ModelSource
    from turboprop.models.checkpoint import Checkpoint
    from turboprop.models.hub_progress import DownloadProgress
    from turboprop.types import IndexSummary

MOST = 8
"""Indexes that are kept open; of 2,000 chunks each takes 10 MB. The one that was used longest ago goes first."""

_Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(slots=True)
class _Model:
    """A loaded model, and its files as they were then."""

    model: EmbeddingModel
    files: tuple[Path, ...]
    stamp: _Stamp
    users: int = 0
    """Indexes that hold it."""


@dataclass(slots=True)
class _Kept:
    """An open index. It is closed when it was retired and its last user has left."""

    index: Index
    source: _Source
    users: int = 0
    retired: bool = False


class _Source:
    """Lends one index its model: that of whoever lends them to the pool, or one that the pool holds until
    `release`."""

    def __init__(self, pool: IndexPool) -> None:
        self._pool = pool
        self._lock = Lock()
        self.held: _Model | None = None

    @contextmanager
    def lend(
        self, name: str | None, engine: str | None, weights: WeightFormat | None, settings: Settings
    ) -> Iterator[EmbeddingModel]:
        if self._pool.lender is not None:
            with self._pool.lender.lend(name, engine, weights, settings) as model:
                yield model
            return
        with self._lock:
            if self.held is None:
                self.held = self._pool._take_model(name, engine, weights, settings)
        yield self.held.model

    def release(self) -> None:
        if self.held is not None:
            self._pool._leave_model(self.held)
        self.held = None


class IndexPool:
    """Opens indexes and keeps them and their models. Any number of threads may use it at once.

    With `offline` models are never downloaded, whatever the settings say. `models` lends them where somebody else
    holds them, for each use; otherwise the pool loads its own, which stay as long as the indexes that they are for.
    """

    def __init__(self, *, offline: bool = False, most: int = MOST, models: ModelSource | None = None) -> None:
        self.lender = models
        self._offline = offline
        self._most = most
        self._lock = RLock()
        self._loading = Lock()
        self._kept: OrderedDict[tuple[Any, ...], _Kept] = OrderedDict()
        self._models: dict[tuple[Any, ...], _Model] = {}
        self._outdated: list[_Model] = []

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
        location = self._as_allowed(location)
        root, directory, settings = location.root, location.directory, location.settings
        key = (root, directory, model, engine, weights, repr(settings), _stamp((settings.config_file,)))
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and not _still_holds(kept, model, directory):
                self._retire(key)
                kept = None
            if kept is None:
                kept = self._kept[key] = self._opened(location, model, engine, weights)
            self._kept.move_to_end(key)
            kept.users += 1
        try:
            yield kept.index
        finally:
            with self._lock:
                kept.users -= 1
                if kept.retired and not kept.users:
                    _close(kept)
                while len(self._kept) > self._most:
                    self._retire(next(iter(self._kept)))

    def update(
        self,
        location: Location,
        model: str | None = None,
        *,
        progress: Callable[[Progress], None] | None = None,
    ) -> IndexSummary:
        """As `Index.create`: make the index or bring it up to date, while others search in what was published."""
        source = _Source(self)
        try:
            with Index.create(self._as_allowed(location), model, progress=progress, models=source) as index:
                return index.summary or index.update()
        finally:
            source.release()

    def describe(self) -> list[dict[str, Any]]:
        """What is open: repository, model and chunks of each index."""
        with self._lock:
            return [
                {
                    "repo": str(kept.index.repo),
                    "model": kept.index.model_name,
                    "chunks": kept.index.reader.rows,
                    "model_loaded": kept.source.held is not None,
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
        with self._loading:
            self._close_unused_models()

    def _as_allowed(self, location: Location) -> Location:
        return replace(location, settings=replace(location.settings, offline=True)) if self._offline else location

    def _opened(
        self,
        location: Location,
        model: str | None,
        engine: str | None,
        weights: WeightFormat | None,
    ) -> _Kept:
        source = _Source(self)
        try:
            index = Index.open(location, model, engine=engine, weights=weights, models=source)
        except BaseException:
            source.release()
            raise
        return _Kept(index, source)

    def _retire(self, key: tuple[Any, ...]) -> None:
        kept = self._kept.pop(key)
        kept.retired = True
        if not kept.users:
            _close(kept)

    def _take_model(
        self, name: str | None, engine: str | None, weights: WeightFormat | None, settings: Settings
    ) -> _Model:
        from turboprop.embed.model import EmbeddingModel

        key = (name, engine, weights, repr(settings))
        with self._loading:
            known = self._models.get(key)
            if known is None or _stamp(known.files) != known.stamp:
                self._close_unused_models()  # before the next one is loaded: two may be more than the memory holds
                loaded = EmbeddingModel.load(name, engine=engine, weights=weights, settings=settings)
                files = _model_files(loaded.checkpoint)
                if known is not None:
                    self._outdated.append(known)
                known = self._models[key] = _Model(loaded, files, _stamp(files))
            known.users += 1
            return known

    def _leave_model(self, model: _Model) -> None:
        with self._loading:
            model.users -= 1

    def _close_unused_models(self) -> None:
        for key, known in list(self._models.items()):
            if not known.users:
                known.model.close()
                del self._models[key]
        for known in [known for known in self._outdated if not known.users]:
            known.model.close()
            self._outdated.remove(known)


def _model_files(checkpoint: Checkpoint) -> tuple[Path, ...]:
    """Everything that a model is read from: a GGUF file says all by itself, a folder has modules in folders."""
    folders = {file.parent for file in checkpoint.weight_files if file.suffix != ".gguf"}
    patterns = ("*.json", "*/*.json", "*/*.safetensors")
    beside = {file for folder in folders for pattern in patterns for file in folder.glob(pattern)}
    return tuple(sorted({*checkpoint.weight_files, checkpoint.tokenizer_path, *beside}))


def _close(kept: _Kept) -> None:
    kept.index.close()
    kept.source.release()


def _still_holds(kept: _Kept, model: str | None, directory: Path) -> bool:
    """Whether opening the index now would give the same."""
    held = kept.source.held
    if held is not None and _stamp(held.files) != held.stamp:
        return False
    published = index_tables(directory)
    own = kept.index.reader.header
    if model is None:
        return bool(published) and (published[0].table, published[0].version) == (own.table, own.version)
    return any((header.table, header.version) == (own.table, own.version) for header in published)


def _stamp(files: tuple[Path | None, ...]) -> _Stamp:
    found = []
    for file in files:
        if file is not None:
            with contextlib.suppress(OSError):
                status = os.stat(file)  # noqa: PTH116  Path.stat takes twice as long, and this runs at each search
                found.append((str(file), status.st_size, status.st_mtime_ns, status.st_ino))
    return tuple(found)
