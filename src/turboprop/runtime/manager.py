"""The owner of every loaded model of a process.

A model is loaded by the first who leases it. One that nobody leases stays for its keep-alive; where another needs the
room, the one unused longest goes first, and one that is in use never. A model that does not fit is refused with what
holds the room: nothing falls back to a smaller format or another device unasked. A model whose files changed is loaded
anew, and the old one goes with its last lease.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from turboprop.closing import Closing
from turboprop.errors import BusyError, EngineError, ModelLoadingError, ModelUnsupportedError, UsageError
from turboprop.models.checkpoint.late import is_late
from turboprop.models.kind import Kind, kind_of
from turboprop.models.local import LocalModel
from turboprop.models.model_files import Stamp, model_files, stamp_of
from turboprop.models.resolve import resolve
from turboprop.runtime.leases import EmbeddingLease, Lease, LoadOptions
from turboprop.runtime.memory import default_budgets, estimated_need
from turboprop.settings import Settings, load_settings

if TYPE_CHECKING:
    from turboprop.embed.model import EmbeddingModel
    from turboprop.generate.model import LanguageModel
    from turboprop.progress import DownloadProgress
    from turboprop.rerank.model import Reranker
    from turboprop.runtime.batcher import EmbeddingBatcher
    from turboprop.types import WeightFormat

KEEP_ALIVE = 600.0
"""Seconds that a model stays loaded after its last use."""
_KINDS = {"embedding": "an embedding model", "language": "a language model", "reranker": "a reranker"}
_DEFAULT = LoadOptions()
_log = logging.getLogger("turboprop.runtime")


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


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a name led, and the files as they were then. `kind` is None where nobody needed to know it."""

    local: LocalModel
    files: tuple[Path, ...]
    stamp: Stamp
    kind: Kind | None


@dataclass(frozen=True, slots=True)
class _Key:
    """What tells loaded models apart."""

    name: str
    kind: Kind
    engine: str | None
    weights: WeightFormat | None
    threads: int | None
    llama_server: Path | None
    gpu_layers: int | Literal["auto"]
    cache: tuple[Path, int]
    """Where an embedding model keeps vectors, and how many bytes of them."""
    stamp: Stamp


@dataclass(eq=False, slots=True)
class Entry:
    """A model from the moment that its loading begins. The manager's lock guards it."""

    key: _Key
    local: LocalModel
    options: LoadOptions
    settings: Settings
    device: str
    reserved: int
    keep_alive: float | None
    draft: str | None = None
    """The model that drafts for a language model."""
    state: Literal["loading", "loaded", "closing"] = "loading"
    leases: int = 0
    used: float = field(default_factory=time.monotonic)
    model: EmbeddingModel | LanguageModel | Reranker | None = None
    batcher: EmbeddingBatcher | None = None
    error: Exception | None = None

    @property
    def kind(self) -> Kind:
        """What the model is for."""
        return self.key.kind

    def load(self) -> None:
        """Load the model, a language model within what is reserved for it."""
        name = self.local.name
        # It is here by now: nothing is downloaded behind the back of who allowed no download.
        offline = self.settings.offline or self.local.endpoint is None
        common: dict[str, Any] = {
            "progress": self.options.progress,
            "settings": replace(self.settings, offline=offline),
        }
        if self.kind == "language":
            from turboprop.generate.model import LanguageModel

            memory = self.options.memory or self.reserved or None
            self.model = LanguageModel.load(name, memory=memory, draft=self.draft, **common)
            return
        common.update(weights=self.key.weights, memory=self.options.memory or self.settings.memory)
        if self.kind == "reranker":
            from turboprop.rerank.model import Reranker

            self.model = Reranker.load(name, **common)
        else:
            from turboprop.embed.model import EmbeddingModel
            from turboprop.runtime.batcher import EmbeddingBatcher

            if is_late(self.local.path):
                raise ModelUnsupportedError(
                    f"{name} is a late-interaction model (ColBERT): it has a vector for each token and none for a "
                    f"text, so nothing is embedded with it; `tp search --rerank {name}` reads the hits again with it"
                )
            self.model = EmbeddingModel.load(name, engine=self.key.engine, **common)
            self.batcher = EmbeddingBatcher(self.model)

    def close(self) -> None:
        """Give the memory back."""
        if self.batcher is not None:
            self.batcher.close()
        if self.model is not None:
            self.model.close()

    def describe(self) -> LoadedModel:
        """What is told of it; call it with the manager's lock held."""
        model: Any = self.model
        return LoadedModel(
            name=self.local.name,
            kind=self.kind,
            state="loading" if self.state == "loading" and model is None else "loaded",
            reserved=self.reserved,
            in_use=self.leases,
            idle_seconds=0.0 if self.leases else time.monotonic() - self.used,
            keep_alive=self.keep_alive,
            engine=model.engine if model else "",
            device=model.device if model else "",
            weights=model.weights if model else "",
            reason=getattr(model, "engine_reason", "") if self.kind == "embedding" else "",
            dimensions=getattr(model, "dimensions", None),
            context=getattr(model, "context", None),
        )


class ModelManager(Closing):
    """Thread-safe. `budgets` are bytes for all models of a device, by default three quarters of what is free; without
    one nothing is measured, and nothing is refused. `keep_alive` None keeps a model until another needs its room, 0
    closes it with its last lease. `draft` names the model that drafts for every language model; it is
    loaded with each."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        budgets: Mapping[str, int] | None = None,
        keep_alive: float | None = KEEP_ALIVE,
        download: bool = False,
        draft: str | None = None,
    ) -> None:
        self.budgets = dict(default_budgets() if budgets is None else budgets)
        for budget in self.budgets.values():
            if budget < 1:
                raise UsageError(f"the memory budget must be at least 1 byte, not {budget}")
        self._settings = settings
        self._keep_alive = keep_alive
        self._download = download
        self._draft = draft
        self._changed = threading.Condition()
        self._one_load = threading.Lock()
        self._entries: dict[_Key, Entry] = {}
        self._found: dict[tuple[Any, ...], _Found] = {}
        self._closed = False
        self._reaper: threading.Thread | None = None
        if keep_alive:
            self._reaper = threading.Thread(target=self._reap, name="model keep-alive", daemon=True)
            self._reaper.start()

    @cached_property
    def settings(self) -> Settings:
        """Those that it was given, or the user's."""
        return self._settings or load_settings()

    @property
    def reserved(self) -> dict[str, int]:
        """Bytes that the budget of each device counts for what is loaded or being loaded."""
        with self._changed:
            return {
                device: sum(entry.reserved for entry in self._all() if entry.device == device)
                for device in self.budgets
            }

    def embedding(
        self, name: str | None = None, options: LoadOptions = _DEFAULT, *, wait: float | None = None
    ) -> EmbeddingLease:
        """Lease an embedding model (None: the one of the settings), loading it first where it is not.

        Without `wait` it is loaded in the calling thread. With it, in one of its own: after so many seconds
        `ModelLoadingError`, and the loading goes on. Raises what loading raises, `BusyError` where models in use
        leave no room and `EngineError` where the budget is too small for it.
        """
        return EmbeddingLease(self._lease(name, "embedding", options, wait), self._count)

    def language(
        self, name: str, options: LoadOptions = _DEFAULT, *, wait: float | None = None
    ) -> Lease[LanguageModel]:
        """Lease a language model, as `embedding` does; its engine and weights are chosen by its files."""
        return Lease(self._lease(name, "language", options, wait), self._count)

    def reranker(self, name: str, options: LoadOptions = _DEFAULT, *, wait: float | None = None) -> Lease[Reranker]:
        """Lease a reranker, as `embedding` does; its engine is chosen by its files."""
        return Lease(self._lease(name, "reranker", options, wait), self._count)

    def load(self, name: str, *, keep: bool = False, wait: float | None = None) -> LoadedModel:
        """Load a model of any kind; `keep` holds it until `unload`, whatever its keep-alive. `wait` as above."""
        entry = self._lease(name, None, _DEFAULT, wait)
        with self._changed:
            if keep:
                entry.keep_alive = None
            told = entry.describe()
        self._count(entry, -1)
        return told

    def unload(self, name: str) -> None:
        """Give a model's memory back. Raises `BusyError` while it is in use, `UsageError` where it is not loaded."""
        # Its files may be gone while it is loaded.
        canonical = name if self._named(name) else self._resolved(name, self.settings).local.name
        with self._changed:
            entries = self._named(canonical)
            if not entries:
                raise UsageError(f"{name} is not loaded")
            if any(entry.state == "loading" or entry.leases for entry in entries):
                raise BusyError(f"{name} is in use; unload it when its requests are done")
            _mark(entries)
        self._close_entries(entries)

    def clear(self) -> None:
        """Unload whatever nobody uses."""
        with self._changed:
            entries = _mark(self._idle())
        self._close_entries(entries)

    def status(self) -> list[LoadedModel]:
        """What is loaded or being loaded, the one used last first."""
        with self._changed:
            entries = [entry for entry in self._all() if entry.state != "closing"]
            return [entry.describe() for entry in sorted(entries, key=lambda entry: -entry.used)]

    def waiting_tokens(self) -> int:
        """Tokens that wait in the batchers of all embedding models."""
        with self._changed:
            return sum(entry.batcher.waiting_tokens for entry in self._all() if entry.batcher)

    def kind(self, name: str) -> Kind:
        """What a model that is here is for."""
        found = self._resolved(name, self.settings)
        return found.kind or kind_of(found.local)

    def stamp(self, name: str, settings: Settings) -> Stamp:
        """The files that a name means now, as they are: another model has another one. Raises what `resolve` does."""
        return self._resolved(name, settings).stamp

    def close(self) -> None:
        """Unload everything, in use or not; a second call does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while any(entry.state == "loading" for entry in self._all()):
                self._changed.wait()
            entries = _mark(self._all())
        self._close_entries(entries)
        if self._reaper is not None:
            self._reaper.join()

    def _all(self) -> list[Entry]:
        return list(self._entries.values())  # a copy: a lease that is let go of may end in the middle of a loop

    def _idle(self) -> list[Entry]:
        """Those that nobody uses, the one unused longest first."""
        idle = [entry for entry in self._all() if entry.state == "loaded" and not entry.leases]
        return sorted(idle, key=lambda entry: entry.used)

    def _named(self, name: str) -> list[Entry]:
        names = {name, *(found.local.name for key, found in list(self._found.items()) if key[0] == name)}
        return [entry for entry in self._all() if entry.local.name in names and entry.state != "closing"]

    def _resolved(self, name: str, settings: Settings, progress: DownloadProgress | None = None) -> _Found:
        """Where a name leads now. A look takes 20 to 50 us where nothing changed, and `resolve` up to 20 ms."""
        # A relative path means another model in another folder, and a catalogue of the user's may change.
        key = (name, os.getcwd(), settings.models_dir, stamp_of((settings.config_file,)))  # noqa: PTH109
        known = self._found.get(key)
        if known is not None and stamp_of(known.files) == known.stamp:
            return known
        local = resolve(name, settings, download=self._download, progress=progress)
        files = model_files(local)
        # Opening its files a second time costs a command of one model 1 to 200 ms, and its loader refuses others; what
        # the catalogue says of it costs nothing.
        kind = kind_of(local) if self.budgets or local.row is not None else None
        if local.endpoint is not None:  # nothing else but its use says what it is for
            kind = local.endpoint.kind
        self._found[key] = found = _Found(local, files, stamp_of(files), kind)
        return found

    def _lease(self, name: str | None, kind: Kind | None, options: LoadOptions, wait: float | None) -> Entry:
        """An entry that is loaded, and counts one lease more."""
        deadline = None if wait is None else time.monotonic() + wait
        settings = options.settings or self.settings
        name = name or settings.model
        while True:
            found = self._resolved(name, settings, options.progress)
            if kind is not None and found.kind not in (None, kind):
                raise ModelUnsupportedError(
                    f"{name} is {_KINDS[found.kind]}, and {_KINDS[kind]} is asked for; `tp model list` shows models of "
                    "each kind"
                )
            entry = self._begun(found, kind or found.kind or kind_of(found.local), options, settings, wait is None)
            with self._changed:
                while entry.state == "loading":
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        raise ModelLoadingError(f"{name} is being loaded; ask again in a few seconds")
                    self._changed.wait(left)
                if entry.error is not None:
                    raise entry.error
                if entry.state == "loaded":
                    entry.leases += 1
                    entry.used = time.monotonic()
                    return entry
                while self._entries.get(entry.key) is entry:  # it is being unloaded: the next one is loaded anew
                    self._changed.wait()

    def _begun(self, found: _Found, kind: Kind, options: LoadOptions, settings: Settings, here: bool) -> Entry:
        """The entry of a model; where there is none, made, and loaded `here` or in a thread of its own."""
        key = _key(found, kind, options, settings)
        draft = self._draft if kind == "language" else None
        with self._changed:
            if key in self._entries:
                return self._entries[key]
        device, needed = "", 0
        if self.budgets:
            device, needed = estimated_need(found.local, kind, settings, key.engine, key.weights)
            if draft is not None:
                needed += estimated_need(self._resolved(draft, settings).local, kind, settings, None, None)[1]
        closing: list[Entry] = []
        try:
            with self._changed:
                if self._closed:
                    raise EngineError("the models are being unloaded; nothing is loaded any more")
                if key in self._entries:
                    return self._entries[key]
                keep_alive, closing = self._outdated(key)
                closing += self._make_room(found.local.name, needed, device, closing)
                entry = self._entries[key] = Entry(
                    key, found.local, options, settings, device, needed, keep_alive, draft
                )
        finally:
            self._close_entries(closing)
        if here:  # an interrupt and the progress of a conversion are the caller's
            self._load(entry)
        else:
            threading.Thread(target=self._load, args=(entry,), name=f"load {entry.local.name}", daemon=True).start()
        return entry

    def _outdated(self, key: _Key) -> tuple[float | None, list[Entry]]:
        """The keep-alive of a model, and those to be closed that were read from files which have changed since."""
        others = [entry for entry in self._all() if replace(entry.key, stamp=key.stamp) == key]
        keep_alive = others[-1].keep_alive if others else self._keep_alive
        for entry in others:
            entry.keep_alive = 0.0  # it goes with its last lease
        return keep_alive, _mark([entry for entry in self._idle() if entry in others])

    def _make_room(self, name: str, needed: int, device: str, closing: list[Entry]) -> list[Entry]:
        """Mark for closing what has to go beside `closing`, longest unused first. Called with the lock held."""
        budget = self.budgets.get(device)
        if budget is None:
            return []
        if needed > budget:
            raise EngineError(
                f"{name} needs about {needed / 1e9:.1f} GB and the budget for models is {budget / 1e9:.1f} GB: "
                "start with a larger --memory, or take a smaller model"
            )
        there = [entry for entry in self._all() if entry.device == device and entry not in closing]
        used = sum(entry.reserved for entry in there)
        evicted: list[Entry] = []
        for entry in [entry for entry in self._idle() if entry in there]:
            if used + needed <= budget:
                break
            evicted.append(entry)
            used -= entry.reserved
        if used + needed > budget:
            holders = ", ".join(sorted(entry.local.name for entry in there if entry not in evicted))
            raise BusyError(
                f"{name} needs about {needed / 1e9:.1f} GB, and {holders} in use hold {used / 1e9:.1f} of the "
                f"{budget / 1e9:.1f} GB for models; try again when they are done"
            )
        for entry in evicted:
            _log.info("%s is unloaded to make room for %s", entry.local.name, name)
        return _mark(evicted)

    def _load(self, entry: Entry) -> None:
        try:
            with self._one_load:  # two conversions at once would each take the whole budget
                entry.load()
        except BaseException as error:
            with self._changed:  # whoever waits is told of an error, and tries himself after an interrupt
                entry.error = error if isinstance(error, Exception) else None
                entry.state = "closing"
                self._entries.pop(entry.key, None)
                self._changed.notify_all()
            if entry.error is None:
                raise
            return
        with self._changed:
            loaded = entry.describe()
            entry.used = time.monotonic()
            entry.state = "loaded"
            self._changed.notify_all()
        why = f": {loaded.reason}" if loaded.reason else ""
        _log.info("%s runs in %s on %s, weights %s%s", loaded.name, loaded.engine, loaded.device, loaded.weights, why)

    def _count(self, entry: Entry, leases: int) -> None:
        ended: list[Entry] = []
        with self._changed:
            entry.leases += leases
            entry.used = time.monotonic()
            if not entry.leases and entry.keep_alive == 0 and entry.state == "loaded":
                ended = _mark([entry])
            self._changed.notify_all()
        self._close_entries(ended)

    def _close_entries(self, entries: list[Entry]) -> None:
        """Close what was marked, then let those who wait for the room know."""
        for entry in entries:
            try:
                entry.close()
            finally:
                with self._changed:
                    if self._entries.get(entry.key) is entry:
                        del self._entries[entry.key]
                    self._changed.notify_all()

    def _reap(self) -> None:
        while True:
            with self._changed:
                if self._closed:
                    return
                now = time.monotonic()
                idle = [
                    (entry.used + entry.keep_alive, entry) for entry in self._idle() if entry.keep_alive is not None
                ]
                expired = _mark([entry for until, entry in idle if until <= now])
                if not expired:
                    self._changed.wait(min((until - now for until, _ in idle), default=None))
            self._close_entries(expired)


def _mark(entries: list[Entry]) -> list[Entry]:
    for entry in entries:
        entry.state = "closing"
    return entries


def _key(found: _Found, kind: Kind, options: LoadOptions, settings: Settings) -> _Key:
    # An endpoint has neither engine nor weights to choose: what the settings say of them is for models here.
    here = found.local.endpoint is None
    return _Key(
        found.local.name,
        kind,
        (options.engine or (settings.engine if here else None)) if kind == "embedding" else None,
        (options.weights or (settings.weights if here else None)) if kind != "language" else None,
        settings.threads,
        settings.llama_server,
        settings.gpu_layers,
        (settings.cache_home, settings.embedding_cache),
        found.stamp,
    )


DEFAULT_MANAGER = ModelManager(budgets={}, keep_alive=0, download=True)
"""That of scripts and one-off commands: it takes any model, and closes it with its last lease."""
