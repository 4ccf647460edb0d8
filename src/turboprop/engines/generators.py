"""Which engine generates with a checkpoint."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from turboprop.architectures import FAMILIES, architecture
from turboprop.engines.native.library import refusal
from turboprop.errors import ModelUnsupportedError, UsageError

if TYPE_CHECKING:
    from turboprop.engines.generation_contract import GenerationEngineOptions, Generator
    from turboprop.models.checkpoint import Checkpoint

GENERATORS = {
    "native": "turboprop.engines.native.generate",
    "openvino": "turboprop.engines.openvino_generate",
    "llamacpp": "turboprop.engines.llamacpp_generate",
}


def load_generator(checkpoint: Checkpoint, engine: str, options: GenerationEngineOptions) -> Generator:
    """Load a language model in the engine named; `auto` takes native or openvino where the architecture has a file.

    Raises `UsageError` for an unknown engine, `ModelUnsupportedError` where none can run the model.
    """
    name = engine
    if engine == "auto":
        own = checkpoint.family in FAMILIES and hasattr(architecture(checkpoint.family), "head_names")
        name = "llamacpp"
        if own or checkpoint.origin != "gguf":
            name = "openvino" if refusal(options.weights) else "native"
    if name not in GENERATORS:
        raise UsageError(f"there is no engine {engine!r} for language models; there are: auto, {', '.join(GENERATORS)}")
    if find_spec(GENERATORS[name]) is None:
        raise ModelUnsupportedError(
            f"{checkpoint.name} is a {checkpoint.family or 'nameless'} model, and no engine here generates with it"
        )
    return cast("Generator", import_module(GENERATORS[name]).load_generator(checkpoint, options))
