"""One view of a checkpoint, whatever files it comes in: hyperparameters, weights, tokenizer, pooling, prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xxhash
from numpy.typing import NDArray

from turboprop.errors import ModelFormatError
from turboprop.models.store_hashes import remembered_sha256
from turboprop.models.tensors import StoredTensor
from turboprop.types import Prompts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from turboprop.models.resolve import LocalModel

PoolingMode = Literal["cls", "max", "mean", "mean_sqrt", "weighted_mean", "last"]


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer after the pooling (sentence-transformers `Dense`). `weight` is [out, in]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    activation: Literal["identity", "tanh", "relu", "gelu"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model on disk. Nothing but metadata has been read when one of these exists.

    `family` names the architecture; `config` is `config.json` or the GGUF metadata as it stands.
    Several `pooling` modes are concatenated in order. `widths` are the dimensions that the model was
    trained to be cut to (Matryoshka), empty where it was not. `max_tokens` counts special tokens.
    """

    name: str
    origin: Literal["hf", "gguf"]
    family: str
    config: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]
    tokenizer_path: Path
    weight_files: tuple[Path, ...]
    pooling: tuple[PoolingMode, ...]
    max_tokens: int
    normalize: bool = True
    pool_prompt: bool = True
    dense: tuple[Dense, ...] = ()
    prompts: Prompts = field(default_factory=Prompts)
    widths: tuple[int, ...] = ()
    layer_norm_before_cut: bool = False
    """nomic-embed-text-v1.5 normalises the full vector (no affine) before it is cut."""

    def tokenizer(self) -> Tokenizer:
        """Build the tokenizer, without padding and truncation."""
        from turboprop.models.tokenizer import tokenizer_from_path

        return tokenizer_from_path(self.tokenizer_path)

    def weights_hash(self, cache_home: Path) -> str:
        """Hash of the weights' bytes, in hex; remembered by path, size, time and inode."""
        parts = [remembered_sha256(path, cache_home) for path in self.weight_files]
        return parts[0] if len(parts) == 1 else xxhash.xxh3_128_hexdigest(" ".join(parts))

    def with_row(self, local: LocalModel) -> Checkpoint:
        """Fill what the files do not say from the model's catalogue row."""
        row = local.row
        if row is None:
            return replace(self, name=local.name)
        prompts = self.prompts if self.prompts != Prompts() else row.prompts
        limit = min(self.max_tokens, row.context) if row.context else self.max_tokens
        return replace(self, name=local.name, prompts=prompts, max_tokens=limit)


def open_checkpoint(local: LocalModel) -> Checkpoint:
    """Open what `models.resolve` found. Raises `ModelFormatError` or `ModelUnsupportedError`."""
    if local.path.suffix == ".gguf":
        from turboprop.models.checkpoint_gguf import open_gguf

        checkpoint = open_gguf(local.path)
    else:
        from turboprop.models.checkpoint_hf import open_folder

        checkpoint = open_folder(local.path)
    if checkpoint.max_tokens < 2:
        raise ModelFormatError(f"{local.path} states a context of {checkpoint.max_tokens} tokens")
    return checkpoint.with_row(local)
