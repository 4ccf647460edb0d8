"""A LoRA adapter as PEFT saves it, merged into the weights of a checkpoint while they are read.

The folder has `adapter_config.json` and `adapter_model.safetensors`. The latter holds for a linear layer `M` the
tensors `base_model.model.M.lora_A.weight` [rank, in] and `.lora_B.weight` [out, rank], of an embedding
`.lora_embedding_A` [rank, rows] and `.lora_embedding_B` [width, rank]; with DoRA `.lora_magnitude_vector` [out]; and
whole tensors (biases, `modules_to_save`) that take the place of the model's. The merged weight is W + alpha / rank *
B A, with rank-stabilised LoRA W + alpha / sqrt(rank) * B A (arXiv 2106.09685, 2312.03732); DoRA gives its rows the
lengths of the magnitude vector (arXiv 2402.09353). `fan_in_fan_out` changes nothing: PEFT itself takes it back for
linear layers, and the architectures known here have no others. Everything in the folder is a stranger's.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from turboprop.errors import ModelFormatError, ModelNotFoundError, ModelUnsupportedError
from turboprop.models.checkpoint.tensors import WithParts, open_safetensors
from turboprop.models.json_file import read_object

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from turboprop.models.checkpoint.tensors import StoredTensor
    from turboprop.models.checkpoint.view import Checkpoint

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PICKLE = "adapter_model.bin"
_START = "base_model.model."
_WRAPPERS = ("0.auto_model.", "auto_model.", "model.", "bert.", "roberta.", "distilbert.", "")
"""What stands before a module's name by the class that was trained; a checkpoint's names have none of these."""
_PARTS = {
    ".lora_A.weight": "a",
    ".lora_B.weight": "b",
    ".lora_embedding_A": "a",
    ".lora_embedding_B": "b",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
}
_REFUSED = {
    "layer_replication": "it repeats layers",
    "trainable_token_indices": "it trains single tokens",
    "target_parameters": "it adapts parameters that are no layers",
    "alora_invocation_tokens": "it works from a token on, which no merged weights can",
    "lora_bias": "its matrices have biases",
    "use_qalora": "it adapts groups of a quantized layer",
    "use_bdlora": "its matrices are block-diagonal",
    "kasa_config": "it takes a part off the model's own weights",
    "monteclora_config": "it is drawn anew at each run",
    "arrow_config": "it chooses among adapters at each run",
}
"""Settings that change what is computed, and why such an adapter cannot be merged here."""
_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Ways to begin a training that leave the model's weights as they are; PiSSA, OLoRA and the like take a part off."""
_TABLES = ("embed_tokens.weight", "token_embd.weight")
_PAIRED = ("llama", "granite", "granitemoe", "smollm3")
"""Architectures whose converter to GGUF permutes q and k: those whose graphs here turn neighbouring features."""
_NUMBERED = re.compile(r"(.*?)(?<![^.])(\d+)\.(.+)")
_MOST_PATTERNS = 10_000
_LONGEST_PATTERN = 2_000


@dataclass(slots=True)
class _Layer:
    """What the file has for one layer. `embeds`: it is a table, whose factors lie the other way round."""

    parts: dict[str, StoredTensor] = field(default_factory=dict)
    embeds: bool = False


@dataclass(frozen=True, slots=True)
class MergedTensor:
    """A tensor of a checkpoint with an adapter's part added: float32, whatever the file holds.

    `left` [out, rank] and `right` [rank, in] are the factors; `order` says for each row of `base` which row of `left`
    belongs to it, None where they lie alike.
    """

    base: StoredTensor
    left: Callable[[], NDArray[np.float32]]
    right: Callable[[], NDArray[np.float32]]
    scale: float
    magnitude: Callable[[], NDArray[np.float32]] | None = None
    order: NDArray[np.intp] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base.shape

    @property
    def kind(self) -> str:
        return "F32"

    @property
    def nbytes(self) -> int:
        return self.base.nbytes

    def dequantize(self, rows: slice | None = None) -> NDArray[np.float32]:
        chosen = slice(None) if rows is None else rows
        left = self._ordered(self.left())[chosen]
        # Not finite where it overflows, which whoever converts weights looks for.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            values = self.base.dequantize(rows) + np.float32(self.scale) * (left @ self.right())
            if self.magnitude is not None:
                lengths = np.linalg.norm(values, axis=1)
                values *= (self._ordered(self.magnitude())[chosen] / lengths)[:, None]
        return np.asarray(values, np.float32)

    def _ordered(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values if self.order is None else values[self.order]

    def part(self, first: int, shape: tuple[int, ...]) -> StoredTensor:
        """Raises `ModelUnsupportedError`: only a stack of experts is taken apart, and none is merged into."""
        raise ModelUnsupportedError(f"an adapter of a stack of experts is not merged ({first}, {shape})")

    def release(self) -> None:
        self.base.release()


def merged(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """The checkpoint with the adapter of `folder` in its weights.

    Raises `ModelNotFoundError` where there is none, `ModelFormatError` for one that is damaged or of another model, and
    `ModelUnsupportedError` for one that cannot be merged.
    """
    config = _config(folder)
    layers, whole = _sorted(folder)
    if not checkpoint.tensors:
        return replace(checkpoint, adapter=folder)  # an engine that runs the files themselves refuses it
    names = _Names(checkpoint, folder)
    stored = {module: name for module in layers if (name := names.of(f"{module}.weight")) is not None}
    if not stored:
        raise ModelFormatError(f"{folder} is an adapter of another model: {checkpoint.name} has none of its layers")
    _check_targets(folder, config, list(layers))
    _check_depth(folder, config, stored, checkpoint)
    tensors = dict(checkpoint.tensors)
    for given, tensor in whole.items():
        if (name := names.whole(given, tensor)) is not None:
            tensors[name] = _Checked(tensor, folder, given)
    ranks = _by_pattern(folder, config, "rank_pattern", list(stored), config.get("r", 8))
    alphas = _by_pattern(folder, config, "alpha_pattern", list(stored), config.get("lora_alpha", 8))
    for module, name in stored.items():
        merge = _Merge(folder, module, layers[module], ranks[module], alphas[module], bool(config.get("use_rslora")))
        tensors[name] = merge.into(tensors[name], names.row_order(name), dora=bool(config.get("use_dora")))
    files = (*checkpoint.weight_files, folder / WEIGHTS, folder / CONFIG)
    # The golden values of the catalogue are those of the model without it.
    return replace(checkpoint, tensors=WithParts(tensors), weight_files=files, golden=(), adapter=folder)


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / CONFIG).exists():
        raise ModelNotFoundError(
            f"there is no adapter in {folder}: it lacks {CONFIG}. Give the folder that PEFT's save_pretrained wrote"
        )
    config = read_object(folder / CONFIG)
    if (kind := config.get("peft_type")) != "LORA":
        raise ModelUnsupportedError(
            f"{folder / CONFIG}: an adapter of the type {str(kind)[:40]!r} is not merged here, LORA is"
        )
    for key, why in _REFUSED.items():
        if config.get(key):
            raise ModelUnsupportedError(f"{folder / CONFIG}: {key} is set, so it cannot be merged here: {why}")
    start = config.get("init_lora_weights", True)
    if not any(start is each or (isinstance(each, str) and start == each) for each in _PLAIN_STARTS):
        raise ModelUnsupportedError(
            f"{folder / CONFIG}: init_lora_weights is {str(start)[:40]!r}, which takes a part off the model's own "
            "weights. Save it with path_initial_model_for_weight_conversion, which makes it a plain LoRA"
        )
    return config


def _sorted(folder: Path) -> tuple[dict[str, _Layer], dict[str, StoredTensor]]:
    """By the module's name what is added to a layer, and by its own name what replaces a tensor."""
    if not (folder / WEIGHTS).exists() and (folder / _PICKLE).exists():
        raise ModelUnsupportedError(
            f"{folder} has its weights in {_PICKLE} only: a pickle, which can run code when it is loaded, so it is "
            "never opened. Save it again as safetensors (save_pretrained of PEFT does) on a machine that trusts it"
        )
    layers: dict[str, _Layer] = defaultdict(_Layer)
    whole: dict[str, StoredTensor] = {}
    for name, tensor in open_safetensors(folder / WEIGHTS).items():
        inner = name.removeprefix(_START)
        for ending, part in _PARTS.items():
            if inner.endswith(ending):
                layer = layers[inner.removesuffix(ending)]
                layer.parts[part] = tensor
                layer.embeds = layer.embeds or "embedding" in ending
                break
        else:
            if ".lora_" in inner:
                raise ModelUnsupportedError(f"{folder / WEIGHTS}: the tensor {name[:200]!r} is not known here")
            whole[inner.replace(".modules_to_save.default.", ".")] = tensor
    return dict(layers), whole


class _Names:
    """From the names of PyTorch's modules to those of a checkpoint's tensors."""

    def __init__(self, checkpoint: Checkpoint, folder: Path) -> None:
        self._checkpoint, self._folder = checkpoint, folder
        self._map: Any = None
        if checkpoint.origin == "gguf":
            import gguf

            kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
            if checkpoint.family not in kinds:
                raise ModelUnsupportedError(
                    f"{checkpoint.name} is of the architecture {checkpoint.family}, whose names in GGUF are not known: "
                    "take the model's safetensors"
                )
            layers = checkpoint.config.get(f"{checkpoint.family}.block_count")
            self._map = gguf.get_tensor_name_map(kinds[checkpoint.family], layers if isinstance(layers, int) else 0)

    def of(self, name: str) -> str | None:
        """The tensor that a name means. None for BERT's pooler where the file has none: no vector is made with it.

        Raises `ModelFormatError` for what the model does not have.
        """
        for wrapper in _WRAPPERS:
            if not name.startswith(wrapper):
                continue
            inner = name.removeprefix(wrapper)
            found = inner if self._map is None else self._map.get_name(inner, try_suffixes=(".weight", ".bias"))
            if found in self._checkpoint.tensors:
                return str(found)
        if "pooler." in name:
            return None
        raise ModelFormatError(
            f"{self._folder} is an adapter of another model: it has weights for {name[:200]!r}, and "
            f"{self._checkpoint.name} has no such tensor"
        )

    def whole(self, name: str, tensor: StoredTensor) -> str | None:
        """The tensor that one takes the place of: of a table that is adapted, too, PEFT saves its `base_layer`.

        Raises `ModelFormatError` where the shapes differ, `ModelUnsupportedError` where it cannot be replaced alone.
        """
        checkpoint = self._checkpoint
        found = self.of(name.replace(".base_layer.", "."))
        if found is None:
            return None
        shape = checkpoint.tensors[found].shape
        if tuple(tensor.shape) != tuple(shape):
            raise ModelFormatError(
                f"{self._folder} is an adapter of another model, or of one with more tokens: its {name[:200]!r} has "
                f"the shape {list(tensor.shape)}, and that of {checkpoint.name} {list(shape)}"
            )
        if self._map is not None and found != "token_embd.weight":
            raise ModelUnsupportedError(
                f"{self._folder} replaces whole tensors ({name[:200]}), which a GGUF file may hold in another form: "
                "take the model's safetensors"
            )
        tied = not checkpoint.tensors.keys() & {"lm_head.weight", "output.weight"}
        if found in _TABLES and tied and ".base_layer." not in name:
            raise ModelUnsupportedError(
                f"{self._folder} replaces the table of tokens, which {checkpoint.name} uses for its output, too: "
                "trained apart, they cannot be merged into one"
            )
        return found

    def row_order(self, name: str) -> NDArray[np.intp] | None:
        """In which order a GGUF file has the rows of a tensor, None for that of PyTorch.

        Files of `_PAIRED` architectures hold those of q and k by neighbouring pairs within each head, where PyTorch has
        halves.
        """
        found, family = re.search(r"\.attn_([qk])\.weight$", name), self._checkpoint.family
        if family not in _PAIRED or self._map is None or found is None:
            return None
        config, rows = self._checkpoint.config, self._checkpoint.tensors[name].shape[0]
        heads = config.get(f"{family}.attention.head_count")
        if found[1] == "k":
            heads = config.get(f"{family}.attention.head_count_kv", heads)
        if not isinstance(heads, int) or heads < 1 or rows % (2 * heads):
            raise ModelFormatError(f"{self._checkpoint.name}: {name} does not consist of its attention heads")
        return np.arange(rows).reshape(heads, 2, rows // heads // 2).swapaxes(1, 2).reshape(rows)


@dataclass(frozen=True, slots=True)
class _Merge:
    """One layer's part, checked."""

    folder: Path
    module: str
    layer: _Layer
    rank: float
    alpha: float
    stabilised: bool

    def into(self, base: StoredTensor, order: NDArray[np.intp] | None, *, dora: bool) -> MergedTensor:
        """Raises `ModelFormatError` where it does not fit the tensor."""
        parts = self.layer.parts
        if {"a", "b"} - parts.keys():
            raise self._wrong("has only one of the two factors")
        a, b = parts["a"], parts["b"]
        if not len(a.shape) == len(b.shape) == len(base.shape) == 2:
            raise self._wrong("is no matrix")
        rank = a.shape[0]
        if rank < 1 or rank != self.rank or b.shape[1] != rank:
            raise self._wrong(
                f"has factors of {list(a.shape)} and {list(b.shape)}, and {CONFIG} states rank {self.rank:g}"
            )
        adds = (a.shape[1], b.shape[0]) if self.layer.embeds else (b.shape[0], a.shape[1])
        if adds != tuple(base.shape):
            raise self._wrong(
                f"adds {adds[0]} x {adds[1]} to {' x '.join(map(str, base.shape))}: it is of another model"
            )
        magnitude = parts.get("magnitude")
        if dora != (magnitude is not None):
            raise self._wrong(
                f"has {'no' if dora else 'a'} magnitude, and {CONFIG} {'states' if dora else 'lacks'} use_dora"
            )
        scale = self.alpha / (math.sqrt(rank) if self.stabilised else rank)
        first, second = self._reader(a), self._reader(b)
        if self.layer.embeds:
            if magnitude is not None:
                raise ModelUnsupportedError(
                    f"{self.folder}: DoRA of the table {self.module[:200]!r} is not merged here"
                )
            return MergedTensor(base, lambda: first().T, lambda: second().T, scale)
        if magnitude is None:
            return MergedTensor(base, second, first, scale, None, order)
        if magnitude.shape != (base.shape[0],):
            raise self._wrong(f"has a magnitude of {list(magnitude.shape)} for {base.shape[0]} rows")
        return MergedTensor(base, second, first, scale, self._reader(magnitude), order)

    def _reader(self, tensor: StoredTensor) -> Callable[[], NDArray[np.float32]]:
        return _Checked(tensor, self.folder, self.module).dequantize

    def _wrong(self, defect: str) -> ModelFormatError:
        return ModelFormatError(f"{self.folder / WEIGHTS}: {self.module[:200]!r} {defect}")


@dataclass(frozen=True, slots=True)
class _Checked:
    """A tensor of an adapter, whose values are looked at when they are read."""

    source: StoredTensor
    folder: Path
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def kind(self) -> str:
        return self.source.kind

    @property
    def nbytes(self) -> int:
        return self.source.nbytes

    def dequantize(self, rows: slice | None = None) -> NDArray[np.float32]:
        values = self.source.dequantize(rows)
        if not np.isfinite(values).all():
            raise ModelFormatError(f"{self.folder / WEIGHTS}: {self.name[:200]!r} holds values that are not finite")
        return values

    def part(self, first: int, shape: tuple[int, ...]) -> StoredTensor:
        return _Checked(self.source.part(first, shape), self.folder, self.name)

    def release(self) -> None:
        self.source.release()


def _check_targets(folder: Path, config: Mapping[str, Any], modules: list[str]) -> None:
    """Every layer that has weights must be one that the configuration names: PEFT leaves others out."""
    targets = config.get("target_modules")
    if isinstance(targets, str):
        missed = (
            []
            if targets == "all-linear"
            else [m for m, hit in zip(modules, _matches(folder, targets, modules), strict=True) if not hit]
        )
    elif isinstance(targets, list) and targets and all(isinstance(each, str) for each in targets):
        names = set(targets)
        missed = [module for module in modules if not any(end in names for end in _ends(module))]
    else:
        raise ModelFormatError(f"{folder / CONFIG}: target_modules names no layers")
    if missed:
        raise ModelFormatError(
            f"{folder}: {WEIGHTS} has weights for {missed[0][:200]!r}, which target_modules of {CONFIG} does not name; "
            "the two files do not belong together"
        )


def _ends(module: str) -> list[str]:
    """`a.b.c`, `b.c`, `c`."""
    parts = module.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]


def _check_depth(folder: Path, config: Mapping[str, Any], stored: Mapping[str, str], checkpoint: Checkpoint) -> None:
    """A kind of layer that is named without a number must be adapted in all layers, or in those that
    `layers_to_transform` lists: an adapter of a shallower model would else pass for one of this."""
    targets, excluded = config.get("target_modules"), config.get("exclude_modules")
    if not isinstance(targets, list) or excluded:
        return
    numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
    for name in checkpoint.tensors:
        if found := _NUMBERED.fullmatch(name):
            numbers[found[1], found[3]].add(int(found[2]))
    listed = config.get("layers_to_transform")
    if isinstance(listed, list) and not all(isinstance(each, int) for each in listed):
        raise ModelFormatError(f"{folder / CONFIG}: layers_to_transform is no list of numbers")
    chosen = {listed} if isinstance(listed, int) else set(listed) if isinstance(listed, list) else None
    adapted: dict[tuple[str, str], set[int]] = defaultdict(set)
    for module, name in stored.items():
        inner, found = _NUMBERED.fullmatch(module), _NUMBERED.fullmatch(name)
        if inner and found and any(end in targets for end in _ends(inner[3])):
            adapted[found[1], found[3]].add(int(found[2]))
    for kind, layers in adapted.items():
        wanted = numbers[kind] if chosen is None else numbers[kind] & chosen
        if layers != wanted:
            raise ModelFormatError(
                f"{folder} is an adapter of another model, or not whole: it adapts {len(layers)} of the {len(wanted)} "
                f"layers {kind[0]}N.{kind[1].removesuffix('.weight')} of {checkpoint.name}"
            )


def _by_pattern(
    folder: Path, config: Mapping[str, Any], key: str, modules: list[str], default: object
) -> dict[str, float]:
    """For each module the number of the first pattern that matches its name, else `default`."""
    patterns = config.get(key) or {}
    if not isinstance(patterns, dict) or len(patterns) > _MOST_PATTERNS:
        raise ModelFormatError(f"{folder / CONFIG}: {key} is no table of numbers")
    found: dict[str, float] = {}
    for pattern, value in patterns.items():
        for module, hit in zip(modules, _matches(folder, f"(.*\\.)?({pattern})", modules), strict=True):
            if hit:
                found.setdefault(module, _number(folder, key, value))
    rest = _number(folder, "r" if key == "rank_pattern" else "lora_alpha", default)
    return {module: found.get(module, rest) for module in modules}


def _number(folder: Path, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ModelFormatError(f"{folder / CONFIG}: {key} is {str(value)[:40]}, which cannot be right")
    return float(value)


def _matches(folder: Path, pattern: str, texts: list[str]) -> list[bool]:
    """Which texts a pattern matches whole. By RE2, which never backtracks: the pattern is a stranger's."""
    import pyarrow
    import pyarrow.compute

    if len(pattern) > _LONGEST_PATTERN:
        raise ModelFormatError(f"{folder / CONFIG}: a pattern has {len(pattern)} characters")
    try:
        found = pyarrow.compute.match_substring_regex(pyarrow.array(texts, pyarrow.string()), f"^(?:{pattern})$")
    except (pyarrow.ArrowInvalid, UnicodeEncodeError) as error:  # JSON has halves of pairs, which UTF-8 has not
        raise ModelUnsupportedError(
            f"{folder / CONFIG}: the pattern {pattern[:80]!r} is not known here: {str(error)[:120]}"
        ) from None
    return [bool(each) for each in found.to_pylist()]
