"""One file a runtime; nothing outside this room imports openvino, torch or xllamacpp."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, cast

from turboprop.errors import UsageError

if TYPE_CHECKING:
    from turboprop.engines.contract import Encoder, EngineOptions
    from turboprop.models.checkpoint import Checkpoint

# `import openvino` tells a statistics server of its maker that it was imported, through this package, in a
# forked process. Nothing leaves this machine: with the name blocked, OpenVINO takes its own empty stand-in.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

ENGINES = {
    "openvino": "turboprop.engines.openvino",
    "static": "turboprop.engines.static",
}


def load_encoder(checkpoint: Checkpoint, engine: str, options: EngineOptions) -> Encoder:
    """Load an embedding model in the engine named, or in the best one for `auto`."""
    name = engine
    if engine == "auto":
        name = "static" if checkpoint.family == "static" else "openvino"
    if name not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}; there are: auto, {', '.join(ENGINES)}")
    return cast("Encoder", import_module(ENGINES[name]).load_encoder(checkpoint, options))
