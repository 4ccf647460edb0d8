"""What every model that runs in an encoder has: its checkpoint, its engine, and one call at a time."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from turboprop.closing import Closing
from turboprop.models.naming import adapted_name, split_adapter

if TYPE_CHECKING:
    from turboprop.engines.contract import Encoder, Plan
    from turboprop.engines.registry import Choice
    from turboprop.models.checkpoint.view import Checkpoint
    from turboprop.models.local import LocalModel


class EncoderModel(Closing):
    """A checkpoint in an encoder. Use it as a context manager, or call `close()`.

    What is pickled is the name and the options that it was loaded with; unpickled, it is loaded anew.
    """

    _loaded_with: tuple[str, dict[str, Any]] | None = None

    def __init__(self, checkpoint: Checkpoint, encoder: Encoder, engine: Choice) -> None:
        self._checkpoint = checkpoint
        self._encoder = encoder
        self._engine = engine
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.weights} in {self.engine}>"

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[Any, ...]]:
        if self._loaded_with is None:
            raise TypeError(f"a {type(self).__name__} that was not made by `load` cannot be pickled")
        return _load, (type(self), *self._loaded_with)

    def _remember(self, local: LocalModel, name: str, options: dict[str, Any]) -> Self:
        """Keep what `load` was given; a process that unpickles the model may run in another folder."""
        base = str(local.path) if local.source == "path" else split_adapter(name)[0]
        self._loaded_with = adapted_name(base, local.adapter), options
        return self

    @property
    def checkpoint(self) -> Checkpoint:
        """What the model was loaded from."""
        return self._checkpoint

    @property
    def name(self) -> str:
        """The model's canonical name."""
        return self._checkpoint.name

    @property
    def engine(self) -> str:
        """The engine that runs it."""
        return self._engine.name

    @property
    def engine_reason(self) -> str:
        """Why that engine was chosen."""
        return self._engine.reason

    @property
    def device(self) -> str:
        """What it runs on."""
        return self.plan.device

    @property
    def weights(self) -> str:
        """The weight format that runs."""
        return self.plan.weights

    @property
    def plan(self) -> Plan:
        """How the engine runs it."""
        return self._engine.plan

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
        self._encoder.close()


def _load(kind: Any, name: str, options: dict[str, Any]) -> Any:
    return kind.load(name, **options)
