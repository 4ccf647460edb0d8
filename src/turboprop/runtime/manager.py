"""Several models loaded at once under one memory budget.

A model is loaded by the first who leases it, in a thread of its own, so that whoever waits may stop waiting. One that
nobody leases stays for its keep-alive; where another needs the room, the one unused longest goes first, and one that
is in use never. A model that does not fit is refused with what holds the room: nothing falls back to a smaller
format or another device unasked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from turboprop.closing import Closing
from turboprop.errors import BusyError, EngineError, ModelLoadingError, ModelUnsupportedError, UsageError
from turboprop.models.kind import Kind, kind_of
from turboprop.models.resolve import LocalModel, resolve
from turboprop.runtime.batcher import EmbeddingBatcher
from turboprop.runtime.leases import EmbeddingLease, Entry, LanguageLease, LoadedModel, RerankLease, told
from turboprop.runtime.memory import default_budget, estimated_bytes
from turboprop.settings import Settings, load_settings

if TYPE_CHECKING:
    from turboprop.embed.model import EmbeddingModel
    from turboprop.engines.contract import WeightFormat

KEEP_ALIVE = 600.0
"""Seconds that a model stays loaded after its last use."""
_KINDS = {"embedding": "an embedding model", "language": "a language model", "reranker": "a reranker"}
_log = logging.getLogger("turboprop.runtime")


class ModelManager(Closing):
    """Thread-safe. `memory` is the budget in bytes for all models, by default three quarters of what is free."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        memory: int | None = None,
        keep_alive: float | None = KEEP_ALIVE,
        download: bool = False,
    ) -> None:
        if memory is not None and memory < 1:
            raise UsageError(f"the memory budget must be at least 1 byte, not {memory}")
        self.settings = settings or load_settings()
        self.budget = default_budget() if memory is None else memory
        self._keep_alive = keep_alive
        self._download = download
        self._changed = threading.Condition()
        self._one_load = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._names: dict[str, str] = {}
        self._closed = False
        self._reaper = threading.Thread(target=self._reap, name="model keep-alive", daemon=True)
        self._reaper.start()

    @property
    def reserved(self) -> int:
        """Bytes that the budget counts for what is loaded or being loaded."""
        with self._changed:
            return sum(entry.reserved for entry in self._entries.values())

    def embedding(self, name: str | None = None, *, wait: float | None = None) -> EmbeddingLease:
        """Lease an embedding model (None: the one of the settings), loading it first where it is not.

        After `wait` seconds `ModelLoadingError`; the loading goes on. Raises what loading raises, `BusyError` where
        models in use leave no room and `EngineError` where the budget is too small for it.
        """
        return EmbeddingLease(self._lease(name or self.settings.model, "embedding", wait), self._release)

    @contextmanager
    def lend(
        self,
        name: str | None,
        engine: str | None,  # noqa: ARG002  the manager's settings say how its models run
        weights: WeightFormat | None,  # noqa: ARG002
        settings: Settings,
    ) -> Iterator[EmbeddingModel]:
        """An embedding model for one use by an index, None for the one of the index's settings."""
        with self.embedding(name or settings.model) as lease:
            yield lease.model

    def language(self, name: str, *, wait: float | None = None) -> LanguageLease:
        """Lease a language model, as `embedding` does."""
        return LanguageLease(self._lease(name, "language", wait), self._release)

    def reranker(self, name: str, *, wait: float | None = None) -> RerankLease:
        """Lease a reranker, as `embedding` does."""
        return RerankLease(self._lease(name, "reranker", wait), self._release)

    def load(self, name: str, *, keep: bool = False, wait: float | None = None) -> LoadedModel:
        """Load a model of either kind; `keep` holds it until `unload`, whatever its keep-alive. `wait` as above."""
        entry = self._lease(name, None, wait)
        if keep:
            entry.keep_alive = None
        self._release(entry)
        return told(entry)

    def unload(self, name: str) -> None:
        """Give a model's memory back. Raises `BusyError` while it is in use, `UsageError` where it is not loaded."""
        key = self._key(name)
        with self._changed:
            entry = self._entries.get(key)
            if entry is None or entry.state == "closing":
                raise UsageError(f"{name} is not loaded")
            if entry.state == "loading" or entry.leases:
                raise BusyError(f"{name} is in use; unload it when its requests are done")
            entry.state = "closing"
        self._close_entries([entry])

    def status(self) -> list[LoadedModel]:
        """What is loaded or being loaded, the one used last first."""
        with self._changed:
            entries = [entry for entry in self._entries.values() if entry.state != "closing"]
            return [told(entry) for entry in sorted(entries, key=lambda entry: -entry.used)]

    def waiting_tokens(self) -> int:
        """Tokens that wait in the batchers of all embedding models."""
        with self._changed:
            return sum(entry.batcher.waiting_tokens for entry in self._entries.values() if entry.batcher)

    def kind(self, name: str) -> Kind:
        """Whether a model that is here embeds or writes."""
        with self._changed:
            entry = self._entries.get(self._names.get(name, ""))
        return entry.kind if entry is not None else kind_of(self._resolve(name))

    def close(self) -> None:
        """Unload everything, in use or not; a second call does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while any(entry.state == "loading" for entry in self._entries.values()):
                self._changed.wait()
            entries = list(self._entries.values())
            for entry in entries:
                entry.state = "closing"
        self._close_entries(entries)
        self._reaper.join()

    def _resolve(self, name: str) -> LocalModel:
        return resolve(name, self.settings, download=self._download)

    def _key(self, name: str) -> str:
        with self._changed:
            known = self._names.get(name)
        return known if known is not None else self._resolve(name).name

    def _lease(self, name: str, kind: Kind | None, wait: float | None) -> Entry:
        deadline = None if wait is None else time.monotonic() + wait
        entry = self._known(name) or self._begin(name)
        if kind is not None and entry.kind != kind:
            raise ModelUnsupportedError(
                f"{name} is {_KINDS[entry.kind]}, and {_KINDS[kind]} is asked for; `tp model list` shows models of "
                "each kind"
            )
        with self._changed:
            while True:
                if entry.error is not None:
                    raise entry.error
                if entry.state == "loaded":
                    entry.leases += 1
                    entry.used = time.monotonic()
                    return entry
                if entry.state == "closing":
                    break
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise ModelLoadingError(f"{name} is being loaded; ask again in a few seconds")
                self._changed.wait(left)
        with self._changed:  # it was being unloaded: the next one is loaded anew
            while entry in self._entries.values():
                self._changed.wait()
        return self._lease(name, kind, None if deadline is None else max(0.0, deadline - time.monotonic()))

    def _known(self, name: str) -> Entry | None:
        with self._changed:
            return self._entries.get(self._names.get(name, ""))

    def _begin(self, name: str) -> Entry:
        """The entry of a model; made, and its loading begun, where there is none."""
        local = self._resolve(name)
        with self._changed:
            self._names[name] = local.name
            if local.name in self._entries:
                return self._entries[local.name]
        kind = kind_of(local)
        needed = estimated_bytes(local, kind, self.settings, None, None)
        evicted: list[Entry] = []
        try:
            with self._changed:
                if self._closed:
                    raise EngineError("the models are being unloaded; nothing is loaded any more")
                if local.name in self._entries:
                    return self._entries[local.name]
                evicted = self._make_room(name, needed)
                entry = self._entries[local.name] = Entry(local, kind, needed, self._keep_alive)
        finally:
            self._close_entries(evicted)
        threading.Thread(target=self._load, args=(entry,), name=f"load {local.name}", daemon=True).start()
        return entry

    def _make_room(self, name: str, needed: int) -> list[Entry]:
        """Mark for closing what has to go, longest unused first. Called with the lock held."""
        if needed > self.budget:
            raise EngineError(
                f"{name} needs about {needed / 1e9:.1f} GB and the budget for models is {self.budget / 1e9:.1f} GB: "
                "start with a larger --memory, or take a smaller model"
            )
        used = sum(entry.reserved for entry in self._entries.values())
        idle = [entry for entry in self._entries.values() if entry.state == "loaded" and not entry.leases]
        evicted: list[Entry] = []
        for entry in sorted(idle, key=lambda entry: entry.used):
            if used + needed <= self.budget:
                break
            evicted.append(entry)
            used -= entry.reserved
        if used + needed > self.budget:
            holders = ", ".join(sorted(e.local.name for e in self._entries.values() if e not in evicted))
            raise BusyError(
                f"{name} needs about {needed / 1e9:.1f} GB, and {holders} in use hold {used / 1e9:.1f} of the "
                f"{self.budget / 1e9:.1f} GB for models; try again when they are done"
            )
        for entry in evicted:
            entry.state = "closing"
            _log.info("%s is unloaded to make room for %s", entry.local.name, name)
        return evicted

    def _load(self, entry: Entry) -> None:
        with self._one_load:  # two conversions at once would each take the whole budget
            try:
                self._fill(entry)
            except Exception as error:
                with self._changed:
                    entry.error = error
                    self._entries.pop(entry.local.name, None)
                    self._changed.notify_all()
                return
        loaded = told(entry)
        why = f": {loaded.reason}" if loaded.reason else ""
        _log.info("%s runs in %s on %s, weights %s%s", loaded.name, loaded.engine, loaded.device, loaded.weights, why)
        with self._changed:
            entry.used = time.monotonic()
            entry.state = "loaded"
            self._changed.notify_all()

    def _fill(self, entry: Entry) -> None:
        name = entry.local.row.canonical if entry.local.row and entry.local.source != "path" else entry.local.name
        if entry.kind == "embedding":
            from turboprop.embed.model import EmbeddingModel

            entry.embedding = EmbeddingModel.load(name, settings=self.settings)
            entry.batcher = EmbeddingBatcher(entry.embedding)
        elif entry.kind == "reranker":
            from turboprop.rerank.model import Reranker

            entry.reranker = Reranker.load(name, settings=self.settings)
        else:
            from turboprop.generate.model import LanguageModel

            entry.language = LanguageModel.load(name, memory=entry.reserved, settings=self.settings)

    def _release(self, entry: Entry) -> None:
        with self._changed:
            entry.leases -= 1
            entry.used = time.monotonic()
            self._changed.notify_all()

    def _close_entries(self, entries: list[Entry]) -> None:
        """Close what was marked, then let those who wait for the room know."""
        for entry in entries:
            try:
                entry.close()
            finally:
                with self._changed:
                    self._entries.pop(entry.local.name, None)
                    self._changed.notify_all()

    def _reap(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                now = time.monotonic()
                idle = [
                    (entry.used + entry.keep_alive, entry)
                    for entry in self._entries.values()
                    if entry.state == "loaded" and not entry.leases and entry.keep_alive is not None
                ]
                expired = [entry for until, entry in idle if until <= now]
                for entry in expired:
                    entry.state = "closing"
                if not expired:
                    self._changed.wait(min((until - now for until, _ in idle), default=None))
            self._close_entries(expired)
