"""The llama.cpp engine (package `xllamacpp`): GGUF files whose architecture has no file here.

It runs in a worker process (worker.py): llama.cpp aborts, hangs or takes all memory on files that look sound.
Our reader has checked the file before; what is left of the danger stays in the worker, and a worker that died
is an `EngineError`, after which the next call starts another.
"""

from __future__ import annotations

import math
import os
import sys
from typing import TYPE_CHECKING

from turboprop.engines.contract import EngineOptions, Plan
from turboprop.engines.llamacpp_encoder import LlamaCppEncoder, metadata_number
from turboprop.errors import EngineError, ModelFormatError

if TYPE_CHECKING:
    from turboprop.engines.llamacpp_generate import LlamaCppGenerator
    from turboprop.models.checkpoint.view import Checkpoint
    from turboprop.models.kind import Kind

_POOLINGS = ("mean", "cls", "last")


def devices() -> list[str]:
    """The processor; llama.cpp's other devices are not used."""
    return ["cpu"]


def why_not(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> str | None:
    """What llama.cpp does not do."""
    if checkpoint.config.get("rotary_scaling_factor"):
        return "has no form for longer inputs"
    if purpose == "language":
        return None
    if checkpoint.pairs:
        return "does not tell the two texts of a pair apart"
    if len(checkpoint.pooling) != 1 or checkpoint.pooling[0] not in _POOLINGS or not checkpoint.pool_prompt:
        wanted = " + ".join(checkpoint.pooling) + ("" if checkpoint.pool_prompt else " without the prompt")
        return f"pools by {', '.join(_POOLINGS)} over all tokens, and not by {wanted}"
    return None


def plan(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> Plan:
    """The weights run as they are stored, mapped from the file; inputs run one after the other."""
    return Plan("as stored", sum(path.stat().st_size for path in checkpoint.weight_files))


def load_encoder(checkpoint: Checkpoint, options: EngineOptions) -> LlamaCppEncoder:
    """Start the worker and load the model.

    Raises `ModelFormatError` for metadata that cannot be right, `EngineError` where loading fails.
    """
    check_file(checkpoint)
    return LlamaCppEncoder(checkpoint, options)


def load_generator(checkpoint: Checkpoint, options: EngineOptions) -> LlamaCppGenerator:
    """The same for a model that writes; a program of the user's that cannot be run is an `EngineError`, too."""
    from turboprop.engines.llamacpp_generate import LlamaCppGenerator

    check_file(checkpoint)
    program = options.programs.get("llamacpp")
    if program and (sys.platform == "win32" or not os.access(program, os.X_OK) or program.is_dir()):
        raise EngineError(
            f"TP_LLAMA_SERVER names {program}, which is no program that can be run here; correct it, or "
            "unset it to use the package xllamacpp"
        )
    return LlamaCppGenerator(checkpoint, options)


def check_file(checkpoint: Checkpoint) -> None:
    """Refuse metadata that would crash llama.cpp."""
    name = checkpoint.name
    prefix = f"{checkpoint.family}."
    for key in ("block_count", "embedding_length", "context_length"):
        if (value := metadata_number(checkpoint, key, 0)) < 1:
            raise ModelFormatError(f"{name}: {prefix}{key} is {value}, which cannot be right")
    for key, value in checkpoint.config.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ModelFormatError(f"{name}: {key} is {value}, which cannot be right")
    # llama.cpp aborts on a token that is there twice; reading the vocabulary says so first.
    checkpoint.tokenizer()
