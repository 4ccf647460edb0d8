"""Which engine generates with a checkpoint."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from turboprop.architectures import FAMILIES, architecture
from turboprop.engines import Choice
from turboprop.engines.native.library import refusal
from turboprop.errors import UsageError

if TYPE_CHECKING:
    from turboprop.engines.contract import WeightFormat
    from turboprop.engines.generation_contract import GenerationEngineOptions, Generator
    from turboprop.models.checkpoint import Checkpoint

GENERATORS = {
    "native": "turboprop.engines.native.generate",
    "numpy": "turboprop.engines.numpy_engine",
    "openvino": "turboprop.engines.openvino_generate",
    "llamacpp": "turboprop.engines.llamacpp_generate",
}


def choose_generator(checkpoint: Checkpoint, engine: str, weights: WeightFormat) -> Choice:  # noqa: ARG001
    """The engine that generates: of `auto` native or openvino where the architecture has a file, else llamacpp.

    Raises `UsageError` for an unknown engine.
    """
    family = checkpoint.family
    choice = Choice(engine, "asked for")
    if engine == "auto":
        own = family in FAMILIES and hasattr(architecture(family), "head_names")
        choice = Choice("llamacpp", f"no graph here writes for the architecture {family}, which llama.cpp may know")
        if own or checkpoint.origin != "gguf":
            choice = Choice("native", f"the architecture {family} and the processor suit our own kernels")
            if reason := refusal():
                choice = Choice("openvino", f"the native engine is out: {reason}")
    if choice.name not in GENERATORS:
        raise UsageError(f"there is no engine {engine!r} for language models; there are: auto, {', '.join(GENERATORS)}")
    return choice


def load_generator(checkpoint: Checkpoint, engine: str, options: GenerationEngineOptions) -> Generator:
    """Load a language model in the engine named, or in the best one for `auto`. Raises as `choose_generator` does."""
    name = choose_generator(checkpoint, engine, options.weights).name
    return cast("Generator", import_module(GENERATORS[name]).load_generator(checkpoint, options))


def planned_generation(checkpoint: Checkpoint, engine: str, options: GenerationEngineOptions) -> tuple[str, int]:
    """The weight format that an engine would generate with, and the bytes that its weights take in memory.

    Raises what loading would raise first.
    """
    return cast("tuple[str, int]", import_module(GENERATORS[engine]).plan(checkpoint, options))
