"""The language model of a server: loaded by the first question, given back when nobody asks for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from turboprop.generate.installed import language_model_name

if TYPE_CHECKING:
    from turboprop.generate.model import LanguageModel
    from turboprop.settings import Settings

IDLE_SECONDS = 600.0
"""A model of 1.7B parameters takes 2 GB and 2 s to load."""


class Writer:
    """`name` None takes the language model that is installed. Any number of threads may use it."""

    def __init__(self, name: str | None, settings: Settings, idle: float = IDLE_SECONDS) -> None:
        self._name = name
        self._settings = settings
        self._idle = idle
        self._lock = threading.Lock()
        self._model: LanguageModel | None = None
        self._users = 0
        self._timer: threading.Timer | None = None

    @property
    def loaded(self) -> bool:
        """Whether the model takes memory now."""
        return self._model is not None

    @contextmanager
    def model(self) -> Iterator[LanguageModel]:
        """The model, for the length of an answer. Raises `ModelNotFoundError` where none is installed."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._model is None:
                from turboprop.generate.model import LanguageModel

                name = language_model_name(self._name, self._settings)
                self._model = LanguageModel.load(name, settings=self._settings)
            model = self._model
            self._users += 1
        try:
            yield model
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._timer = threading.Timer(self._idle, self.close)
                    self._timer.daemon = True
                    self._timer.start()

    def close(self) -> None:
        """Give the memory back, unless somebody is being answered."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._model is not None and not self._users:
                self._model.close()
                self._model = None
