"""A reranker's checkpoint: an encoder that is read at one place, and the small head that makes a score of it.

Which head there is shows in the checkpoint: BERT has a pooler and a classifier, RoBERTa and XLM-R a
classification head of two layers, ModernBERT one with a norm; Qwen3-Reranker is a language model of which
two rows of the output matrix are read. GGUF files with llama.cpp's rank pooling hold the same heads as `cls`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from turboprop.errors import ModelFormatError, ModelUnsupportedError
from turboprop.models.checkpoint.gguf import RANK, open_gguf
from turboprop.models.checkpoint.hf import open_folder
from turboprop.models.checkpoint.late import is_late
from turboprop.models.checkpoint.open import open_checkpoint, with_adapter
from turboprop.models.checkpoint.tensors import whole_values
from turboprop.models.checkpoint.view import Checkpoint, Dense, PoolingMode, read_dense
from turboprop.models.endpoint import kind_by_name
from turboprop.models.gguf.metadata import GGUFMetadata
from turboprop.models.json_file import read_json, read_objects

if TYPE_CHECKING:
    from turboprop.models.local import LocalModel

_BERT = {"bert"}
_ROBERTA = {"roberta", "xlm-roberta", "camembert"}
_ACTIVATIONS: dict[str, Literal["identity", "tanh", "relu", "gelu"]] = {"gelu": "gelu", "relu": "relu", "tanh": "tanh"}
# Labels that mean "belongs to the query"; without one of them the second of two does, as Hugging Face numbers them.
_YES = ("yes", "true", "relevant", "positive", "entailment")


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm of the head. `weight` and `bias` are [width]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    eps: float


@dataclass(frozen=True, slots=True)
class RerankerCheckpoint:
    """`head` leads from the pooled state to one number; `form` says how query and document become one input.

    `pair`: both between the tokenizer's own special tokens; `prompt`: in Qwen3-Reranker's conversation; `tokens`: they
    stay two, whose token vectors are compared (late interaction), and there is no head.
    """

    checkpoint: Checkpoint
    head: tuple[Dense | Norm, ...]
    form: Literal["pair", "prompt", "tokens"]


def is_reranker(local: LocalModel) -> bool:
    """Whether a model's row, its configuration or its name says that it is one."""
    local = local.base
    if local.row is not None:
        return local.row.kind == "reranker"
    if local.endpoint is not None:
        return (local.endpoint.kind or kind_by_name(local.endpoint.model)) == "reranker"
    if local.is_gguf:
        from turboprop.models.gguf.file import GGUFFile

        with GGUFFile.open(local.path) as file:
            return file.metadata.get(f"{file.metadata.get('general.architecture')}.pooling_type") == RANK
    if not local.path.is_dir():
        return False
    if is_cross_encoder(local.path) or is_late(local.path):
        return True
    config = read_json(local.path / "config.json")
    if not isinstance(config, dict) or (local.path / "modules.json").is_file():
        return False
    return _task(config) == "classification" or (_task(config) == "language" and _is_named(local, config))


def is_cross_encoder(path: Path) -> bool:
    """Whether the path is a folder that sentence-transformers saved as a CrossEncoder."""
    stated = read_json(path / "config_sentence_transformers.json") if path.is_dir() else None
    return isinstance(stated, dict) and stated.get("model_type") == "CrossEncoder"


def open_reranker(local: LocalModel) -> RerankerCheckpoint:
    """Open a reranker that `models.resolve` found.

    Raises `ModelUnsupportedError` for a model of another kind, `ModelFormatError` where tensors of its head
    are missing or do not fit.
    """
    if local.endpoint is not None:
        return RerankerCheckpoint(open_checkpoint(local), (), "pair")
    if local.path.suffix == ".onnx":
        raise ModelUnsupportedError(f"{local.name} is an ONNX export; a reranker is read from safetensors or GGUF")
    if is_late(local.path):
        return RerankerCheckpoint(open_checkpoint(local), (), "tokens")
    if local.is_gguf:
        opened = _of_gguf(with_adapter(open_gguf(local.path, reranker=True), local))
    else:
        opened = _of_folder(with_adapter(open_folder(local.path, reranker=True), local), local.base)
    return replace(opened, checkpoint=opened.checkpoint.with_row(local))


def _of_folder(checkpoint: Checkpoint, local: LocalModel) -> RerankerCheckpoint:
    family, config = checkpoint.family, checkpoint.config
    if family == "qwen3":
        return RerankerCheckpoint(_read_at(checkpoint, "last"), (_of_language_model(checkpoint, local),), "prompt")
    labels = _labels(config.get("id2label"))
    head: tuple[Dense | Norm, ...]
    if family in _BERT:
        head = (
            _dense(checkpoint, "pooler.dense", "tanh"),
            _scoring(checkpoint, "classifier", labels),
        )
        return RerankerCheckpoint(_read_at(checkpoint, "cls"), head, "pair")
    if family in _ROBERTA:
        head = (
            _dense(checkpoint, "classifier.dense", "tanh"),
            _scoring(checkpoint, "classifier.out_proj", labels),
        )
        return RerankerCheckpoint(_read_at(checkpoint, "cls"), head, "pair")
    if family == "modernbert":
        kind = str(config.get("classifier_activation", "gelu"))
        pooling = str(config.get("classifier_pooling", "cls"))
        if kind not in _ACTIVATIONS or pooling not in ("cls", "mean"):
            raise ModelUnsupportedError(f"{checkpoint.name}: a head with {kind!r} over {pooling!r} is not known here")
        head = (
            _dense(checkpoint, "head.dense", _ACTIVATIONS[kind]),
            _norm(checkpoint, "head.norm", _norm_eps(checkpoint)),
            _scoring(checkpoint, "classifier", labels),
        )
        return RerankerCheckpoint(_read_at(checkpoint, "mean" if pooling == "mean" else "cls"), head, "pair")
    raise ModelUnsupportedError(
        f"{checkpoint.name} ({family or 'no model_type'}) is no reranker that is known here; known are those of bert, "
        "roberta, xlm-roberta, modernbert and qwen3"
    )


def _of_gguf(checkpoint: Checkpoint) -> RerankerCheckpoint:
    assert isinstance(checkpoint.config, GGUFMetadata)
    key = f"{checkpoint.family}.classifier.output_labels"
    labels = checkpoint.config.strings(key) if key in checkpoint.config else []
    scoring = _scoring(checkpoint, "cls.output", labels)
    if checkpoint.family == "qwen3":
        return RerankerCheckpoint(replace(checkpoint, end_token=""), (scoring,), "prompt")
    if checkpoint.family not in ("bert", "modern-bert"):
        raise ModelUnsupportedError(f"{checkpoint.name} is a reranker of {checkpoint.family}, which has no head here")
    if "cls.weight" not in checkpoint.tensors:
        # llama.cpp's converter drops BERT's pooler, without which the scores are other ones.
        raise ModelUnsupportedError(
            f"{checkpoint.name} lacks cls.weight, the layer before the scores; take the model's safetensors"
        )
    modern = checkpoint.family == "modern-bert"
    head: list[Dense | Norm] = [_dense(checkpoint, "cls", "gelu" if modern else "tanh")]
    if "cls.norm.weight" in checkpoint.tensors:
        head.append(_norm(checkpoint, "cls.norm", 1e-5))
    return RerankerCheckpoint(_read_at(checkpoint, checkpoint.pooling[0]), (*head, scoring), "pair")


def _read_at(checkpoint: Checkpoint, pooling: PoolingMode) -> Checkpoint:
    tensors = checkpoint.tensors
    name = "embeddings.token_type_embeddings.weight" if checkpoint.origin == "hf" else "token_types.weight"
    typed = checkpoint.family in _BERT and name in tensors and tensors[name].shape[0] > 1
    return replace(checkpoint, pooling=(pooling,), pool_prompt=True, end_token="", pairs=typed)


def _of_language_model(checkpoint: Checkpoint, local: LocalModel) -> Dense:
    """The difference of the rows of `yes` and `no`: its product with the last state is their log-odds."""
    tensors = checkpoint.tensors
    if "score.weight" in tensors:
        return _scoring(checkpoint, "score", _labels(checkpoint.config.get("id2label")))
    named = local.row.kind == "reranker" if local.row else _is_named(local, checkpoint.config)
    if not named and not is_cross_encoder(local.path):
        raise ModelUnsupportedError(
            f"{checkpoint.name} is a language model; one that was trained to rerank has `reranker` in its name"
        )
    rows = "lm_head.weight" if "lm_head.weight" in tensors else "embed_tokens.weight"
    tokenizer = checkpoint.tokenizer()
    ids = [tokenizer.token_to_id(word) for word in ("yes", "no")]
    if (stated := _stated_ids(local.path)) not in (None, ids):
        raise ModelUnsupportedError(
            f"{checkpoint.name} answers with the tokens {stated}, not with yes and no: its prompt is not known here"
        )
    found = [_row(checkpoint, rows, number, word) for number, word in zip(ids, ("yes", "no"), strict=True)]
    return Dense(found[0] - found[1], None, "identity")


def _stated_ids(folder: Path) -> list[object] | None:
    """The two tokens that a sentence-transformers module `LogitScore` compares, None where there is none."""
    for module in read_objects(folder / "modules.json"):
        if str(module.get("type", "")).endswith(".LogitScore"):
            stated = read_json(folder / Path(str(module.get("path", ""))).name / "config.json")
            keys = ("true_token_id", "false_token_id")
            return [stated.get(key) for key in keys] if isinstance(stated, dict) else [None, None]
    return None


def _row(checkpoint: Checkpoint, name: str, number: int | None, word: str) -> NDArray[np.float32]:
    if name not in checkpoint.tensors:
        raise ModelFormatError(f"{checkpoint.name} lacks the tensor {name}")
    tensor = checkpoint.tensors[name]
    if number is None or len(tensor.shape) != 2 or number >= tensor.shape[0]:
        raise ModelFormatError(f"{checkpoint.name} has no row of {name} for the token {word!r}")
    return _finite(checkpoint, name, tensor.dequantize(slice(number, number + 1)))


def _dense(
    checkpoint: Checkpoint, stem: str, activation: Literal["identity", "tanh", "relu", "gelu"] = "identity"
) -> Dense:
    return read_dense(checkpoint.name, checkpoint.tensors, stem, activation)


def _scoring(checkpoint: Checkpoint, stem: str, labels: Sequence[str]) -> Dense:
    """The last layer with one output: of two labels, the logit of the relevant one less the other's."""
    layer = _dense(checkpoint, stem)
    count = layer.weight.shape[0]
    if count == 1:
        return layer
    if count != 2:
        raise ModelUnsupportedError(
            f"{checkpoint.name} sorts texts into {count} classes ({', '.join(labels)[:200] or 'unnamed'}); a reranker "
            "has one score, or yes and no"
        )
    relevant = next((at for at, label in enumerate(labels[:2]) if label.lower() in _YES), 1)
    bias = None if layer.bias is None else layer.bias[[relevant]] - layer.bias[[1 - relevant]]
    return Dense(layer.weight[[relevant]] - layer.weight[[1 - relevant]], bias, "identity")


def _norm(checkpoint: Checkpoint, stem: str, eps: float) -> Norm:
    tensors = checkpoint.tensors
    if f"{stem}.weight" not in tensors:
        raise ModelFormatError(f"{checkpoint.name} lacks {stem}.weight, a part of a reranker's head")
    weight, bias = (
        whole_values(checkpoint.name, name, tensors[name], 1) if name in tensors else None
        for name in (f"{stem}.weight", f"{stem}.bias")
    )
    assert weight is not None
    return Norm(weight, bias, eps)


def _norm_eps(checkpoint: Checkpoint) -> float:
    stated = checkpoint.config.get("norm_eps", 1e-5)
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not 0 < stated < 1:
        raise ModelFormatError(f"{checkpoint.name}: norm_eps is {str(stated)[:80]}, which cannot be right")
    return float(stated)


def _finite(checkpoint: Checkpoint, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise ModelFormatError(f"{checkpoint.name}: the tensor {name!r} holds values that are not finite")
    return values


def _labels(stated: object) -> list[str]:
    """`id2label` of config.json in the order of its numbers."""
    if not isinstance(stated, dict):
        return []
    numbered = sorted((int(key), str(label)) for key, label in stated.items() if str(key).isdecimal())
    return [label for _, label in numbered]


def _task(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    names = [str(name) for name in names] if isinstance(names, list) else []
    if any(name.endswith("ForSequenceClassification") for name in names):
        return "classification"
    return "language" if config.get("model_type") == "qwen3" else ""


def _is_named(local: LocalModel, config: Mapping[str, Any]) -> bool:
    names = (local.name, str(local.path), str(config.get("_name_or_path", "")))
    # The last part alone: a chat model may lie in somebody's folder `reranker-experiments`.
    return any("reranker" in Path(name).name.lower() for name in names)
