"""One file a runtime; nothing outside this room imports openvino, torch or xllamacpp."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from turboprop.architectures import FAMILIES, architecture
from turboprop.engines.native.library import refusal
from turboprop.errors import ModelUnsupportedError, UsageError
from turboprop.models.checkpoint_onnx import quantises_at_run_time

if TYPE_CHECKING:
    from types import ModuleType

    from turboprop.engines.contract import Encoder, EngineOptions, WeightFormat
    from turboprop.models.checkpoint import Checkpoint

# `import openvino` tells a statistics server of its maker that it was imported, through this package, in a
# forked process. Nothing leaves this machine: with the name blocked, OpenVINO takes its own empty stand-in.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

ENGINES = {
    "native": "turboprop.engines.native.encoder",
    "numpy": "turboprop.engines.numpy_engine",
    "openvino": "turboprop.engines.openvino",
    "static": "turboprop.engines.static",
    "llamacpp": "turboprop.engines.llamacpp",
    "fastembed": "turboprop.engines.fastembed",
}
_ONNX_IN_OPENVINO = "turboprop.engines.onnx_openvino"
# What each engine reads, by a checkpoint's files.
_READS = {
    "native": ("hf", "gguf"),
    "numpy": ("hf", "gguf"),
    "openvino": ("hf", "gguf", "onnx"),
    "static": ("hf",),
    "llamacpp": ("gguf",),
    "fastembed": ("onnx",),
}
_KINDS = {
    "static": "a static model",
    "hf": "a safetensors folder",
    "gguf": "a GGUF file",
    "onnx": "an ONNX export",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine's name, and in words why it is the one."""

    name: str
    reason: str


def choose_engine(
    checkpoint: Checkpoint,
    engine: str = "auto",
    weights: WeightFormat = "auto",  # noqa: ARG001 - every engine here runs every format
) -> Choice:
    """The engine that runs a model with weights of a format, and in words why.

    Raises `UsageError` for a name that is none, `ModelUnsupportedError` for an engine that cannot read the
    model's files and for a model that none can run. Nothing is loaded.
    """
    name, family = checkpoint.name, checkpoint.family
    origin = "onnx" if checkpoint.is_onnx else checkpoint.origin
    if engine != "auto":
        if engine not in ENGINES:
            raise UsageError(f"there is no engine {engine!r}; there are: auto, {', '.join(ENGINES)}")
        if origin not in _READS[engine] or (engine == "static") != (family == "static"):
            raise ModelUnsupportedError(
                f"the engine {engine} cannot run {name}, {_KINDS.get(family, _KINDS[origin])}; leave --engine away: "
                f"that takes {choose_engine(checkpoint).name}"
            )
        return Choice(engine, "asked for")
    if family == "static":
        return Choice("static", "a static model is a table of rows to average")
    if origin == "onnx":
        # all-MiniLM-L6-v2 on 2 cores, tokens a second: float32 6,750 in OpenVINO and 5,340 in ONNX Runtime;
        # quantised by ONNX Runtime's own operators 2,930 and 5,450.
        if not quantises_at_run_time(checkpoint.weight_files[0]):
            return Choice("openvino", "OpenVINO reads an ONNX export by itself")
        if find_spec("onnxruntime") is not None:
            return Choice("fastembed", "the export uses int8 operators that ONNX Runtime is faster at")
        return Choice("openvino", "ONNX Runtime, faster at this export's int8 operators, is not installed")
    if family in FAMILIES:
        if reason := refusal():
            return Choice(
                "openvino", f"the architecture {family} has a graph here, and the native engine is out: {reason}"
            )
        return Choice("native", f"the architecture {family} and the processor suit our own kernels")
    if origin == "gguf":
        return Choice("llamacpp", f"there is no graph here for the architecture {family}, which llama.cpp may know")
    architecture(family)  # says what there is
    raise AssertionError(family)


def load_encoder(checkpoint: Checkpoint, engine: str, options: EngineOptions) -> Encoder:
    """Load an embedding model in the engine named, or in the best one for `auto`."""
    name = choose_engine(checkpoint, engine, options.weights).name
    return cast("Encoder", _module(checkpoint, name).load_encoder(checkpoint, options))


def engines_here() -> dict[str, list[str]]:
    """The engines that are installed, each with the devices that it finds, or for `native` why there is none."""
    reason = refusal()
    found = {"native": [f"not here: {reason}" if reason else "CPU"]}
    found |= {"openvino": list(import_module("openvino").Core().available_devices), "static": ["CPU"], "numpy": ["CPU"]}
    for engine, package in (("llamacpp", "xllamacpp"), ("fastembed", "fastembed")):
        if find_spec(package) is not None:
            found[engine] = ["CPU"]
    return found


def planned_weights(checkpoint: Checkpoint, engine: str, options: EngineOptions) -> tuple[str, int]:
    """The weight format that an engine would choose, and the bytes that its weights take in memory.

    An engine that keeps the file's own format plans nothing. Raises what loading would raise first.
    """
    plan = getattr(_module(checkpoint, engine), "plan", None)
    if plan is None:
        return "as stored", sum(path.stat().st_size for path in checkpoint.weight_files)
    return cast("tuple[str, int]", plan(checkpoint, options))


def _module(checkpoint: Checkpoint, engine: str) -> ModuleType:
    if engine == "openvino" and checkpoint.is_onnx:
        return import_module(_ONNX_IN_OPENVINO)
    return import_module(ENGINES[engine])
