"""One view of a checkpoint, whatever files it comes in: hyperparameters, weights, tokenizer, pooling, prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xxhash
from numpy.typing import NDArray

from turboprop.errors import ModelFormatError, ModelUnsupportedError, UsageError
from turboprop.models.checkpoint.tensors import StoredTensor, whole_values
from turboprop.models.families import model_facts
from turboprop.models.store.hashes import remembered_sha256
from turboprop.types import Prompts

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from turboprop.models.checkpoint.late import LateInteraction
    from turboprop.models.endpoint import Endpoint
    from turboprop.models.local import LocalModel

FileFormat = Literal["safetensors", "gguf", "onnx", "endpoint"]
PoolingMode = Literal["cls", "max", "mean", "mean_sqrt", "weighted_mean", "last", "tokens"]
"""`tokens` pools nothing: each token keeps its state, those of all inputs end to end."""


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer after the pooling (sentence-transformers `Dense`). `weight` is [out, in]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    activation: Literal["identity", "tanh", "relu", "gelu"]


def read_dense(
    where: object,
    tensors: Mapping[str, StoredTensor],
    stem: str,
    activation: Literal["identity", "tanh", "relu", "gelu"],
) -> Dense:
    """The layer of `<stem>.weight` and, where there is one, `<stem>.bias`. Raises `ModelFormatError`."""
    if f"{stem}.weight" not in tensors:
        raise ModelFormatError(f"{where} lacks {stem}.weight; download the model again")
    weight = whole_values(where, f"{stem}.weight", tensors[f"{stem}.weight"], 2)
    bias = None
    if f"{stem}.bias" in tensors:
        bias = whole_values(where, f"{stem}.bias", tensors[f"{stem}.bias"], 1)
        if bias.shape != weight.shape[:1]:
            raise ModelFormatError(f"{where}: {stem}.bias has {len(bias)} values for {len(weight)} outputs")
    return Dense(weight, bias, activation)


def check_chain(where: object, layers: Sequence[Dense]) -> None:
    """Raises `ModelFormatError` where a layer does not take what the one before it gives."""
    for before, after in pairwise(layers):
        if before.weight.shape[0] != after.weight.shape[1]:
            raise ModelFormatError(
                f"{where}: a layer after the pooling takes {after.weight.shape[1]} features and gets "
                f"{before.weight.shape[0]}; download the model again"
            )


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
    default_width: int | None = None
    """`truncate_dim` of the repository: the width to use where the caller asks for none."""
    special_tokens: bool = True
    """Static models take a text's tokens bare, whatever their tokenizer would put around them."""
    unknown_token: int | None = None
    """Id of the token that a static model leaves out of its mean."""
    end_token: str = ""
    """Ends every input, unless the tokenizer puts a token there by itself."""
    pairs: bool = False
    """Inputs are pairs of texts, and the tokens of the second one have a type of their own."""
    known_as: tuple[str, ...] = ()
    """What the files call the model."""
    golden: tuple[float, ...] = ()
    """The catalogue's golden values of this model."""
    late: LateInteraction | None = None
    """How token vectors are made, of a model that has these and no vectors of texts."""
    endpoint: Endpoint | None = None
    """Where the model runs that has no files here."""
    adapter: Path | None = None
    """The folder of the LoRA that is in `tensors`."""

    @property
    def is_onnx(self) -> bool:
        """Whether the weights are inside an exported graph; `tensors` is empty then."""
        return bool(self.weight_files) and self.weight_files[0].suffix == ".onnx"

    @property
    def file_format(self) -> FileFormat:
        """What kind of files the weights are in."""
        if self.endpoint is not None:
            return "endpoint"
        if self.is_onnx:
            return "onnx"
        return "gguf" if self.origin == "gguf" else "safetensors"

    @property
    def full_width(self) -> int:
        """Width of a vector before any cut, as the configuration states it; 0 where it does not."""
        if self.dense:
            return int(self.dense[-1].weight.shape[0])
        keys = (f"{self.family}.embedding_length", "hidden_size", "dim", "n_embd", "hidden_dim")
        stated = next((self.config[key] for key in keys if key in self.config), 0)
        return stated * len(self.pooling) if isinstance(stated, int) else 0

    @property
    def unknown_tokenizer(self) -> str | None:
        """What of a GGUF file's tokenizer is not known here, in words after "it"; None where all is."""
        from turboprop.models.gguf.metadata import GGUFMetadata
        from turboprop.models.tokenizer.gguf import unknown_rule

        return unknown_rule(self.config) if isinstance(self.config, GGUFMetadata) else None

    def tokenizer(self) -> Tokenizer:
        """Build the tokenizer, without padding and truncation."""
        from turboprop.models.tokenizer.load import tokenizer_from_path
        from turboprop.models.tokenizer.parts import append_token, bare

        if self.endpoint is not None:
            raise ModelUnsupportedError(f"{self.name} runs behind an address, and its tokenizer with it")
        tokenizer = tokenizer_from_path(self.tokenizer_path)
        if not self.special_tokens:
            bare(tokenizer)
        elif self.end_token:
            append_token(tokenizer, self.end_token)
        return tokenizer

    def weights_hash(self, cache_home: Path) -> str:
        """Hash of the weights' bytes, in hex; remembered by path, size, time and inode. Behind an address, of that."""
        if self.endpoint is not None:
            return xxhash.xxh3_128_hexdigest(repr((self.endpoint.canonical, self.endpoint.normalize)).encode())
        parts = [remembered_sha256(path, cache_home) for path in self.weight_files]
        return parts[0] if len(parts) == 1 else xxhash.xxh3_128_hexdigest(" ".join(parts).encode())

    def with_row(self, local: LocalModel) -> Checkpoint:
        """Fill what the files do not say from the model's catalogue row, then from its family's facts."""
        row = local.row
        names = [*self.known_as, local.base.name, *((row.name, row.canonical) if row else ())]
        facts = model_facts(self.family, [*names, local.path.name])
        choices = (self.prompts, row.prompts if row else Prompts(), facts.prompts)
        limit = min(self.max_tokens, row.context) if row and row.context else self.max_tokens
        return replace(
            self,
            name=local.name,
            prompts=next((prompts for prompts in choices if prompts != Prompts()), Prompts()),
            max_tokens=limit,
            widths=tuple(self.widths) or tuple(facts.all_widths(self.full_width)),
            layer_norm_before_cut=facts.layer_norm_before_cut,
            golden=row.golden if row and self.adapter is None else (),
        )

    def extended(self, factor: float) -> Checkpoint:
        """nomic-bert for inputs beyond the trained 2,048 tokens, `factor` times as long (2 on its card).

        Inputs up to the trained length keep their vectors. Raises `UsageError` for other families.
        """
        if self.family not in ("nomic-bert", "nomic_bert"):
            raise UsageError(f"{self.name} has no form for longer inputs; it takes {self.max_tokens} tokens")
        if not 1 < factor <= 4:
            raise UsageError(f"the positions of {self.name} can be stretched up to 4 times, not {factor:g} times")
        config = {**self.config, "rotary_scaling_factor": factor}
        return replace(self, config=config, max_tokens=int(self.max_tokens * factor))
