"""One file a runtime; nothing outside this room imports openvino, torch or xllamacpp."""

from __future__ import annotations

import sys
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine's name, and in words why it is the one."""

    name: str
    reason: str


def choose_engine(checkpoint: Checkpoint, engine: str = "auto") -> Choice:
    """The engine that runs a model. Raises `UsageError` for a name that is none."""
    if engine != "auto":
        if engine not in ENGINES:
            raise UsageError(f"there is no engine {engine!r}; there are: auto, {', '.join(ENGINES)}")
        return Choice(engine, "asked for")
    if checkpoint.family == "static":
        return Choice("static", "a static model is a table of rows to average")
    return Choice("openvino", f"the architecture {checkpoint.family} has a graph here")


def load_encoder(checkpoint: Checkpoint, engine: str, options: EngineOptions) -> Encoder:
    """Load an embedding model in the engine named, or in the best one for `auto`."""
    name = choose_engine(checkpoint, engine).name
    return cast("Encoder", import_module(ENGINES[name]).load_encoder(checkpoint, options))


def planned_weights(checkpoint: Checkpoint, engine: str, options: EngineOptions) -> tuple[str, int]:
    """The weight format that an engine would choose, and the bytes that its weights take in memory.

    An engine that keeps the file's own format plans nothing. Raises what loading would raise first.
    """
    plan = getattr(import_module(ENGINES[engine]), "plan", None)
    if plan is None:
        return "as stored", sum(path.stat().st_size for path in checkpoint.weight_files)
    return cast("tuple[str, int]", plan(checkpoint, options))
