"""Which model a client's word means. A client names models, never files: a path is known by its file's name, and
only where the server was started with it."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from threading import Lock
from typing import TYPE_CHECKING

from turboprop.errors import ModelNotFoundError
from turboprop.models.catalog import is_repo_name, load_catalog, safe_member
from turboprop.models.endpoint import is_address
from turboprop.models.inventory import (
    KnownModel,
    find_held,
    first_language_model,
    how_to_get_one,
    known_models,
)
from turboprop.models.local import LocalModel
from turboprop.models.naming import ADAPTER, split_adapter
from turboprop.models.resolve import look_up
from turboprop.models.tokenizer.named import load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from turboprop.models.catalog import CatalogRow
    from turboprop.models.kind import Kind
    from turboprop.runtime.manager import ModelManager

_KNOWN_SECONDS = 5.0
"""How long a look at the disk for models counts; it takes 10 to 100 ms."""
_NAMED = 8
"""Models that an error names."""
_TOKENIZERS = 4
"""Tokenizers that are kept: up to 50 MB each."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that a client may name. `name` is what it is called outside, `target` what the manager is asked for."""

    name: str
    target: str
    kind: Kind
    context: int = 0
    """Tokens of an input of an embedding model or a reranker, where the catalogue says it."""


class ModelNames:
    """Thread-safe. `started` are the models that the server was started with, by name or path."""

    def __init__(self, manager: ModelManager, started: tuple[str, ...]) -> None:
        self._manager = manager
        self._settings = manager.settings
        self._catalog = load_catalog(self._settings.config_file)
        self._lock = Lock()
        self._looked = float("-inf")
        self._known: list[KnownModel] = []
        self._tokenizers: dict[str, Tokenizer] = {}
        targets = [self._in_full(name) for name in started]
        self._started = [ServedModel(self.public(target), target, manager.kind(target)) for target in targets]

    def started(self) -> list[str]:
        """What the manager is asked for when the server starts."""
        return [model.target for model in self._started]

    def embedding(self, given: str | None = None) -> str:
        """What to ask the manager for; without a name the first that the server was started with, else the default.

        Raises `ModelNotFoundError` for a name that means nothing here.
        """
        if given is not None:
            return self._target(given)
        return self._first("embedding") or self._settings.model

    def language(self, given: str | None = None) -> str:
        """The same for language models; without a name and with none given, the first that is installed."""
        if given is not None:
            return self._target(given)
        name = self._first("language") or self._settings.language_model or first_language_model(self.known())
        if name is None:
            raise ModelNotFoundError(how_to_get_one())
        return name

    def _first(self, kind: Kind) -> str | None:
        return next((model.target for model in self._started if model.kind == kind), None)

    def any(self, given: str | None = None) -> str:
        """A model of either kind; without a name the first that the server was started with, else the default."""
        if given is not None:
            return self._target(given)
        return self._started[0].target if self._started else self._settings.model

    def tokenizer(self, given: str | None = None) -> Tokenizer:
        """The tokenizer of a model; the last few are kept."""
        target = self.any(given)
        with self._lock:
            if target not in self._tokenizers:
                self._tokenizers[target] = load_tokenizer(target, settings=self._settings)
                if len(self._tokenizers) > _TOKENIZERS:
                    del self._tokenizers[next(iter(self._tokenizers))]
            return self._tokenizers[target]

    def public(self, target: str) -> str:
        """What a model is called outside: its short name, or for a path the name of its file or folder."""
        row = self._catalog.find(target)
        if row is not None:
            return row.name
        if is_address(target):
            return target.partition("#")[2]
        base, adapter = split_adapter(target)
        if adapter is not None:
            return f"{self.public(base)}{ADAPTER}{adapter.name}"
        place = Path(target).expanduser()
        return place.name if place.is_absolute() or place.exists() else target

    def without_paths(self, message: str) -> str:
        """A message for clients: a model that was given as a path appears by its name, and what lies in the folders of
        models and of the cache by the file's."""
        for model in self._started:
            if Path(model.target).is_absolute() or ADAPTER in model.target:
                message = message.replace(model.target, model.name)
        # As they were last seen: an error has no time to look at the disk.
        places = {known.local.path for known in self._known if known.local is not None}
        places |= {self._settings.data_home, self._settings.cache_home}
        for model in self._started:
            base, adapter = split_adapter(model.target)
            places |= {place for place in (Path(base), adapter) if place is not None and place.is_absolute()}
        roots = sorted({str(place) for place in places if len(place.parts) > 2}, key=len, reverse=True)
        inside = rf"(?:{'|'.join(map(re.escape, roots))})(?:[\\/][^\s'\":;,()]*)?"
        return re.sub(inside, lambda found: PurePath(found[0]).name, message) if roots else message

    def listed(self) -> list[ServedModel]:
        """What is installed, the default embedding model first."""
        first = self.embedding()
        found = {self.public(first): ServedModel(self.public(first), first, "embedding")}
        for model in self._started:
            found.setdefault(model.name, model)
        for known in self.known():
            if known.local is not None and known.kind is not None:
                found.setdefault(known.name, ServedModel(known.name, known.canonical, known.kind))
        rows = {name: self._catalog.find(model.target) for name, model in found.items()}
        contexts = {name: row.context for name, row in rows.items() if row is not None and row.kind != "language"}
        return [replace(model, context=contexts.get(name, 0)) for name, model in found.items()]

    def longer(self, than: int) -> CatalogRow | None:
        """The smallest embedding model of the catalogue that takes inputs of four times as many tokens."""
        rows = [row for row in self._catalog if row.kind == "embedding" and row.size and row.context >= 4 * than]
        return min(rows, key=lambda row: row.size, default=None)

    def known(self, *, fresh: bool = False) -> list[KnownModel]:
        """All models that there are; looked up again every few seconds."""
        with self._lock:
            if fresh or time.monotonic() - self._looked > _KNOWN_SECONDS:
                # What runs behind an address of the user's is asked with the user's key: only where the server was
                # started with it.
                self._known = [each for each in known_models(self._settings) if each.state != "endpoint"]
                self._looked = time.monotonic()
            return self._known

    def _in_full(self, name: str) -> str:
        """The full name of a model that is here, which for a file or folder is its path; any other as it is."""
        found = look_up(name, self._settings)
        return found.name if isinstance(found, LocalModel) else name

    def forget(self) -> None:
        """Look at the disk again when next asked."""
        with self._lock:
            self._looked = float("-inf")

    def downloadable(self, given: str) -> tuple[str, str]:
        """The name and the target of a model that can be fetched. Raises `ModelNotFoundError` for what is none."""
        row = self._catalog.find(given)
        if row is not None and not row.url:
            return row.name, row.canonical
        repo, colon, file = given.partition(":")
        if not is_repo_name(repo) or (colon and not (safe_member(file) and file.endswith(".gguf"))):
            raise ModelNotFoundError(f"{given!r} is no model: give a name of the catalogue, or owner/name on the hub")
        if Path(given).exists():
            raise ModelNotFoundError(f"{given!r} is a file or folder here, not a model of the hub")
        return given, given

    def _target(self, given: str) -> str:
        for word in dict.fromkeys((given, given.removesuffix(":latest"))):
            wanted = _without_suffix(word)
            for model in self._started:
                if wanted in (_without_suffix(model.name), _without_suffix(model.target)):
                    return model.target
            if word == self._settings.model:
                return word
            if (found := self._held(word)) is not None:
                return found
        raise self._unknown(given)

    def _held(self, given: str) -> str | None:
        here = [known.local for known in self.known() if known.local is not None and known.kind is not None]
        if (found := find_held(given, here, self._catalog)) is not None:
            return found.name
        if (row := self._catalog.find(given)) is not None and not row.url:
            return row.canonical
        return None

    def _unknown(self, given: str) -> ModelNotFoundError:
        names = [model.name for model in self.listed()]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        here = f"{', '.join(names[:_NAMED])}{more}"
        return ModelNotFoundError(f"the model {given!r} does not exist here; here are {here}; GET /v1/models lists all")


def _without_suffix(name: str) -> str:
    """A name as clients vary it: in any letter case, with `.gguf` or without."""
    return name.casefold().removesuffix(".gguf")
