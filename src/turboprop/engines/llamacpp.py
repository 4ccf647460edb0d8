"""The llama.cpp engine: GGUF files whose architecture has no file here.

The package `xllamacpp`, or a `llama-server` of the user's own (`EngineOptions.programs`), runs in a child process
(llamacpp_server.py). Our reader has checked the file before; what is left of the danger stays in the child.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from turboprop.engines.contract import EngineOptions, Plan
from turboprop.engines.llamacpp_encoder import LlamaCppEncoder
from turboprop.engines.llamacpp_model import metadata_number
from turboprop.errors import ModelFormatError

if TYPE_CHECKING:
    from turboprop.engines.llamacpp_generate import LlamaCppGenerator
    from turboprop.models.checkpoint.view import Checkpoint
    from turboprop.models.kind import Kind

_POOLINGS = ("mean", "cls", "last")


def devices() -> list[str]:
    """The processor; layers that a GPU takes do not change where the model belongs."""
    return ["cpu"]


def why_not(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> str | None:
    """What llama.cpp does not do."""
    if sys.platform == "win32":
        return "is asked over a Unix socket, which Python does not have on Windows"
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
    """Start the server and load the model.

    Raises `ModelFormatError` for metadata that cannot be right, `EngineError` where loading fails or a program of the
    user's cannot be run.
    """
    check_file(checkpoint)
    return LlamaCppEncoder(checkpoint, options)


def load_generator(checkpoint: Checkpoint, options: EngineOptions) -> LlamaCppGenerator:
    """The same for a model that writes."""
    from turboprop.engines.llamacpp_generate import LlamaCppGenerator

    check_file(checkpoint)
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
    if checkpoint.unknown_tokenizer is None:
        checkpoint.tokenizer()
