"""One file a runtime; nothing outside this room imports openvino, torch or xllamacpp."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from turboprop.errors import UsageError

if TYPE_CHECKING:
    from turboprop.engines.contract import Encoder, EngineOptions
    from turboprop.models.checkpoint import Checkpoint

ENGINES = {
    "openvino": "turboprop.engines.openvino",
}


def load_encoder(checkpoint: Checkpoint, engine: str, options: EngineOptions) -> Encoder:
    """Load an embedding model in the engine named, or in the best one for `auto`."""
    name = "openvino" if engine == "auto" else engine
    if name not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}; there are: auto, {', '.join(ENGINES)}")
    return cast("Encoder", import_module(ENGINES[name]).load_encoder(checkpoint, options))
