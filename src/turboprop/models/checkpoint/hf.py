"""A Hugging Face folder, with or without the files that sentence-transformers adds to it.

What each file says is in docs/models.md; the names of modules and keys are those of
sentence-transformers, old and new.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from turboprop.errors import ModelFormatError, ModelNotFoundError, ModelUnsupportedError
from turboprop.models.checkpoint.late import LateInteraction, is_stanford, read_late
from turboprop.models.checkpoint.onnx_external import external_files
from turboprop.models.checkpoint.static import is_static, open_static
from turboprop.models.checkpoint.tensors import ShardedTensors, StoredTensor, WithoutPrefix, WithParts, open_safetensors
from turboprop.models.checkpoint.view import Checkpoint, Dense, PoolingMode, check_chain, read_dense
from turboprop.models.families import END_TOKENS
from turboprop.models.json_file import read_json, read_object, read_objects
from turboprop.types import Prompts

# Several may be set at once; sentence-transformers concatenates them in this order.
_POOLING_FLAGS: tuple[tuple[str, PoolingMode], ...] = (
    ("pooling_mode_cls_token", "cls"),
    ("pooling_mode_max_tokens", "max"),
    ("pooling_mode_mean_tokens", "mean"),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt"),
    ("pooling_mode_weightedmean_tokens", "weighted_mean"),
    ("pooling_mode_lasttoken", "last"),
)
_POOLING_NAMES: dict[str, PoolingMode] = {
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt",
    "weightedmean": "weighted_mean",
    "lasttoken": "last",
}
_ACTIVATIONS: dict[str, Literal["identity", "tanh", "relu", "gelu"]] = {
    "Tanh": "tanh",
    "Identity": "identity",
    "ReLU": "relu",
    "GELU": "gelu",
}
# Families whose hidden states are read at the last token when no pooling file says otherwise.
_CAUSAL_FAMILIES = {
    *("qwen2", "qwen3", "llama", "mistral", "ministral", "mixtral", "phi3", "smollm3", "granite", "granitemoe"),
    *("olmo2", "olmoe", "qwen2_moe", "qwen3_moe", "gemma2"),
}
# What stands before a weight's name where the file was saved from a model with a head.
_WRAPPERS = {
    "bert": "bert.",
    "roberta": "roberta.",
    "xlm-roberta": "roberta.",
    "camembert": "roberta.",
    "distilbert": "distilbert.",
    "modernbert": "model.",
    "qwen2": "model.",
    "qwen3": "model.",
    "llama": "model.",
    "mistral": "model.",
    "gemma3_text": "model.",
    **dict.fromkeys(("gemma2", "ministral", "mixtral", "phi3", "smollm3", "granite", "granitemoe"), "model."),
    **dict.fromkeys(("olmo2", "olmoe", "qwen2_moe", "qwen3_moe"), "model."),
}
_UNBOUNDED = 1 << 24  # tokenizers without a limit state 1e30


def open_folder(folder: Path, onnx: Path | None = None, *, reranker: bool = False) -> Checkpoint:
    """Open a folder of `config.json`, safetensors and a tokenizer.

    With `onnx`, that export takes the place of the weights, and `config.json` may be absent. `reranker` lets
    the modules of a sentence-transformers CrossEncoder pass.
    """
    modules = read_objects(folder / "modules.json")
    if is_static(folder, modules):
        return open_static(folder, modules)
    known = _CROSS_ENCODER if reranker else _EMBEDDER
    places = {_module_kind(folder, module, known): _inside(folder, module) for module in modules}
    root = places.get("Transformer", folder)
    config = read_json(root / "config.json")
    if onnx is not None and config is None:
        config = {}
    if not isinstance(config, dict):
        raise ModelFormatError(f"{folder} has no config.json; it is no model folder")
    tensors, files = _open_weights(root) if onnx is None else ({}, (onnx, *external_files(onnx)))
    if prefix := _WRAPPERS.get(str(config.get("model_type"))):
        tensors = WithoutPrefix(tensors, prefix)
    st_config = read_object(folder / "config_sentence_transformers.json")
    pooling, pool_prompt = _pooling(places.get("Pooling"), config)
    dense = tuple(
        _open_dense(_inside(folder, module)) for module in modules if _module_kind(folder, module, known) == "Dense"
    )
    late = read_late(folder, st_config, config)
    if is_stanford(config):
        dense = (read_dense(root / "model.safetensors", tensors, "linear", "identity"),)
    check_chain(folder, dense)
    stated = st_config.get("matryoshka_dimensions") or config.get("matryoshka_dimensions")
    widths = tuple(filter(None, map(_width, stated))) if isinstance(stated, list) else ()
    return Checkpoint(
        name=str(folder),
        origin="hf",
        family=str(config.get("model_type", "")),
        config=config,
        tensors=WithParts(tensors),
        tokenizer_path=root,
        weight_files=files,
        pooling=pooling if late is None else ("tokens",),
        max_tokens=_max_tokens(root, config, late),
        # Without modules.json there is no statement; unit vectors serve every use of ours.
        normalize="Normalize" in places or not modules or late is not None,
        pool_prompt=pool_prompt,
        dense=dense,
        prompts=_prompts(st_config),
        widths=widths,
        default_width=_width(st_config.get("truncate_dim")),
        end_token=END_TOKENS.get(str(config.get("model_type")), "") if "last" in pooling else "",
        late=late,
        known_as=tuple(name for name in (config.get("_name_or_path"),) if isinstance(name, str)),
    )


def _width(stated: object) -> int | None:
    return stated if isinstance(stated, int) and stated > 0 else None


_EMBEDDER = ("Transformer", "Pooling", "Dense", "Normalize")
_CROSS_ENCODER = ("Transformer", "LogitScore")


def _module_kind(folder: Path, module: Mapping[str, Any], known: tuple[str, ...]) -> str:
    try:
        kind = str(module["type"]).rsplit(".", 1)[-1]
    except (KeyError, TypeError) as error:
        raise ModelFormatError(f"{folder / 'modules.json'} has a module without a type") from error
    if kind not in known:
        raise ModelUnsupportedError(f"{folder / 'modules.json'} uses the module {kind!r}, which is not known here")
    return kind


def _inside(folder: Path, module: Mapping[str, Any]) -> Path:
    place = (folder / str(module.get("path", ""))).resolve()
    # A hub cache holds links to its blobs, so the folder itself is compared, not its files.
    if not place.is_relative_to(folder.resolve()):
        raise ModelFormatError(f"{folder / 'modules.json'} points outside its folder: {module.get('path')!r}")
    return place


def _open_weights(folder: Path) -> tuple[Mapping[str, StoredTensor], tuple[Path, ...]]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return open_safetensors(single), (single,)
    if index.is_file():
        sharded = ShardedTensors(index)
        return sharded, sharded.files
    if (folder / "pytorch_model.bin").is_file() or (folder / "pytorch_model.bin.index.json").is_file():
        raise ModelUnsupportedError(
            f"{folder} has its weights in pytorch_model.bin only: a pickle, which can run code when it is "
            "loaded, so it is never opened. Take a revision with model.safetensors (the hub offers a "
            "conversion), or convert it with safetensors.torch.save_file on a machine that trusts it"
        )
    raise ModelNotFoundError(f"{folder} has no model.safetensors; download the model again")


def _pooling(place: Path | None, config: Mapping[str, Any]) -> tuple[tuple[PoolingMode, ...], bool]:
    if place is None:
        return ("last",) if config.get("model_type") in _CAUSAL_FAMILIES else ("mean",), True
    stated = read_json(place / "config.json")
    if not isinstance(stated, dict):
        raise ModelFormatError(f"{place} has no config.json: the pooling is not stated")
    include_prompt = bool(stated.get("include_prompt", True))
    name = stated.get("pooling_mode")
    if isinstance(name, str | list):
        modes = tuple(_POOLING_NAMES.get(str(part)) for part in ([name] if isinstance(name, str) else name))
        if None in modes:
            raise ModelUnsupportedError(f"{place / 'config.json'}: pooling {name!r} is not known here")
        return cast("tuple[PoolingMode, ...]", modes), include_prompt
    found = tuple(mode for flag, mode in _POOLING_FLAGS if stated.get(flag))
    if not found:
        raise ModelFormatError(f"{place / 'config.json'} switches no pooling mode on")
    return found, include_prompt


def _open_dense(place: Path) -> Dense:
    stated = read_object(place / "config.json")
    tensors = open_safetensors(place / "model.safetensors")
    kind = str(stated.get("activation_function", "torch.nn.modules.activation.Tanh")).rsplit(".", 1)[-1]
    if kind not in _ACTIVATIONS:
        raise ModelUnsupportedError(f"{place / 'config.json'}: activation {kind!r} is not known here")
    layer = read_dense(place / "model.safetensors", tensors, "linear", _ACTIVATIONS[kind])
    return _with_residual(place, layer, tensors) if stated.get("use_residual") else layer


def _with_residual(place: Path, layer: Dense, tensors: Mapping[str, StoredTensor]) -> Dense:
    """PyLate's layer that adds what it is given: itself, or through a matrix where the widths differ."""
    if layer.activation != "identity":
        raise ModelUnsupportedError(f"{place / 'config.json'}: a residual around {layer.activation} is not known here")
    rows, columns = layer.weight.shape
    if rows == columns:
        return replace(layer, weight=layer.weight + np.eye(rows, dtype=np.float32))
    beside = read_dense(place / "model.safetensors", tensors, "residual", "identity").weight
    if beside.shape != layer.weight.shape:
        raise ModelFormatError(f"{place / 'model.safetensors'}: residual.weight has another shape than linear.weight")
    return replace(layer, weight=layer.weight + beside)


def _max_tokens(root: Path, config: Mapping[str, Any], late: LateInteraction | None) -> int:
    limits = [config.get("max_position_embeddings"), config.get("n_positions")]
    # nomic-bert states 8,192 positions and was trained on fewer: more only where its scaling is on.
    if config.get("rotary_scaling_factor") is None:
        limits.append(config.get("max_trained_positions"))
    # Beyond it a model with these factors would have to turn the keys again that it kept.
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if isinstance(scaling, dict) and "short_factor" in scaling:
        limits.append(scaling.get("original_max_position_embeddings", config.get("original_max_position_embeddings")))
    # Position rows 0 and 1 (up to pad_token_id) are not used by this family.
    if config.get("model_type") in ("roberta", "xlm-roberta", "camembert") and isinstance(limits[0], int):
        limits[0] -= int(config.get("pad_token_id", 1)) + 1
    if late is not None:  # PyLate sets the tokenizer's limit to these, whatever was saved with it
        limits.append(max(late.query_length, late.document_length))
    else:
        limits.append(read_object(root / "sentence_bert_config.json").get("max_seq_length"))
        limits.append(read_object(root / "tokenizer_config.json").get("model_max_length"))
    known = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < _UNBOUNDED]
    return min(known, default=512)


def _prompts(st_config: Mapping[str, Any]) -> Prompts:
    prompts = st_config.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise ModelFormatError("config_sentence_transformers.json has prompts without names: get the model again")
    default = prompts.get(str(st_config.get("default_prompt_name") or ""), "")
    document = next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), default)
    return Prompts(query=str(prompts.get("query", default)), document=str(document))
