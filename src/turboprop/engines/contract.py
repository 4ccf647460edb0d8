"""What an engine offers, on one screen. It knows token ids: no text, no prompts and no files of a repository.

An engine is a module with the functions of `EngineModule`, and a row of `registry.ENGINES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from turboprop.types import WeightFormat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from turboprop.engines.generation_contract import Generator
    from turboprop.models.checkpoint.view import Checkpoint
    from turboprop.models.kind import Kind
    from turboprop.progress import DownloadProgress
    from turboprop.types import TokenBatch

BATCH_TOKENS = 4096
"""Tokens of one batch. On 2 cores 2,048 to 8,192 differ by less than the noise; a batch of 4,096 keeps the largest
activation of a 22M model at 25 MB."""
PROMPT_TOKENS = 256
"""Prompt tokens of one step. A Qwen3-0.6B shape read 402 tokens a second in steps of 128, 464 of 256, 465 of 512 and
476 of 1,024 (2 cores, the best of four rounds)."""
PROMPT_TOKENS_BESIDE = 128
"""The same while answers are being written: each of them waits that long for its next token."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to load a model. `threads` None means the usable physical cores, `device` auto what the engine likes best.

    `memory` in bytes bounds a conversion, and of a language model weights and cache together; None is what the engine
    finds fit. `context` in tokens is of language models, None what the model states.
    """

    weights: WeightFormat = "auto"
    threads: int | None = None
    cache_home: Path | None = None
    """Where converted weights are kept; None keeps nothing."""
    memory: int | None = None
    progress: DownloadProgress | None = None
    """Told of a conversion as of a download."""
    context: int | None = None
    device: str = "auto"
    engine: str = "auto"
    programs: Mapping[str, Path] = field(default_factory=dict)
    """By an engine's name a program of the user's own, which it runs instead of its package."""
    gpu_layers: int | Literal["auto"] = "auto"
    """Layers on a GPU, where the engine splits a model between one and the processor; `auto`: those that fit."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How an engine runs a model, known before it is loaded.

    `weights` is the format that runs and `bytes` what the weights take on the `device`. An encoder is given up to
    `batch_tokens` at once, counted with the padding to a multiple of `padded_to` where it pads (None: inputs lie end to
    end). A language model reads up to `prompt_tokens` of prompts in a step, `prompt_tokens_beside` while it writes.
    """

    weights: str
    bytes: int
    device: str = "cpu"
    batch_tokens: int = BATCH_TOKENS
    padded_to: int | None = None
    prompt_tokens: int = PROMPT_TOKENS
    prompt_tokens_beside: int = PROMPT_TOKENS_BESIDE


class Encoder(Protocol):
    """A loaded model of states: an embedding model, or a reranker without its head."""

    @property
    def dimensions(self) -> int:
        """Width of what `encode` returns: the hidden width times the number of poolings."""

    def encode(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Pooled vectors, float32 [n, dimensions], neither cut nor normalised; zeros for an input without tokens.

        With the pooling `tokens` the states of all tokens, float32 [tokens, dimensions].
        """

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""


def own_tokenizer(loaded: object) -> Tokenizer | None:
    """The tokenizer that an engine of the registry's `tokenizes` brings with a model, where the file's rules are not
    known here."""
    found: Tokenizer | None = getattr(loaded, "tokenizer", None)
    return found


class EngineModule(Protocol):
    """What the module of an engine contains.

    What its row says (files, formats, devices, the package) has been looked at when these are called.
    """

    def devices(self) -> list[str]:
        """The devices that it finds here. Raises `EngineError` that says why there is none."""

    def why_not(self, checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> str | None:
        """What keeps it from running a model, after "it"; None where it can. Nothing is loaded or converted."""

    def plan(self, checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> Plan:
        """How it would run a model that it can run. Raises what loading would raise first."""

    def load_encoder(self, checkpoint: Checkpoint, options: EngineOptions) -> Encoder:
        """Load what embeds or reranks. Raises `ModelError` or `EngineError`."""

    def load_generator(self, checkpoint: Checkpoint, options: EngineOptions) -> Generator:
        """Load what writes; for engines whose row has the purpose `language`."""
