"""What a model's files hold and how they would run here, without running them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from turboprop.engines.contract import EngineOptions
from turboprop.engines.registry import choose
from turboprop.errors import ModelError, TurboPropError
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.reranker import is_reranker, open_reranker
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.gguf.file import GGUFFile
from turboprop.models.kind import kind_of
from turboprop.models.tokenizer.named import tokenizer_of

if TYPE_CHECKING:
    from pathlib import Path

    from turboprop.models.checkpoint.tensors import StoredTensor
    from turboprop.models.endpoint import Endpoint
    from turboprop.models.kind import Kind
    from turboprop.models.local import LocalModel
    from turboprop.types import WeightFormat


@dataclass(frozen=True, slots=True)
class TensorType:
    """How many tensors a file holds in one format, and their bytes."""

    type: str
    tensors: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ModelReport:
    """Sizes are in bytes. What the files do not state is None or empty.

    `kind` is embedding, language or reranker. `runs` says whether an engine here can run it as that; `why` is the
    engine's reason, or the cause that none can. `memory` is what the converted weights take.
    """

    name: str
    path: str
    format: str
    architecture: str
    size: int
    parameters: int
    tensors: list[TensorType]
    tokenizer: dict[str, Any]
    context: int | None = None
    dimensions: int | None = None
    widths: str = ""
    pooling: list[str] = field(default_factory=list)
    normalize: bool | None = None
    prompts: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    runs: bool = False
    engine: str | None = None
    weights: str | None = None
    memory: int | None = None
    why: str = ""
    kind: str = "embedding"


def inspect_model(
    local: LocalModel,
    weights: WeightFormat | None = None,
    engine: str | None = None,
    *,
    embedding_engine: str = "auto",
    embedding_weights: WeightFormat = "auto",
    programs: Mapping[str, Path] | None = None,
) -> ModelReport:
    """Read a model's files; `embedding_...` are for models that are no language models, where none are given.

    Of a model behind an address it is told what is known without asking there.

    Raises `ModelFormatError` and the like for files that are not sound; one that is
    sound and cannot run here is told in the report.
    """
    metadata: dict[str, Any] = {}
    checkpoint: Checkpoint | None
    reranks = is_reranker(local)

    def opened(local: LocalModel) -> Checkpoint:
        return open_reranker(local).checkpoint if reranks else open_checkpoint(local)

    if local.endpoint is not None:
        return _behind_an_address(local, local.endpoint, EngineOptions(weights or "auto", engine=engine or "auto"))
    reason = "the file holds a vocabulary and no weights"
    if local.is_gguf:
        with GGUFFile.open(local.path) as file:
            metadata = _short_metadata(file)
            # A vocabulary without weights is a sound file, and no model.
            whole = bool(file.tensors) and file.has_data
            files, kind = file.paths, f"GGUF v{file.version}"
            tensors: Mapping[str, StoredTensor] = file.tensors
            architecture = str(file.metadata.get("general.architecture", ""))
        try:
            checkpoint = opened(local) if whole else None
        except ModelError as error:  # a sound file of something that is no embedding model
            checkpoint, reason = None, str(error)
    else:
        checkpoint = opened(local)
        files, tensors, kind = (
            checkpoint.weight_files,
            checkpoint.tensors,
            "ONNX" if checkpoint.is_onnx else "safetensors",
        )
        architecture = checkpoint.family
    report: dict[str, Any] = {
        "name": local.name,
        "path": str(local.path),
        "format": kind,
        "architecture": architecture,
        "size": sum(path.stat().st_size for path in files),
        "parameters": sum(_count(tensor.shape) for tensor in tensors.values()),
        "tensors": _by_type(tensors),
        "tokenizer": _tokenizer(local, metadata),
        "metadata": metadata,
        "kind": "reranker" if reranks else "embedding",
    }
    if checkpoint is None:
        return ModelReport(**report, why=reason)
    if kind_of(local) == "language":
        report["kind"] = "language"
        options = EngineOptions(weights or "auto", engine=engine or "auto", programs=programs or {})
    else:
        options = EngineOptions(
            weights or embedding_weights, engine=engine or embedding_engine, programs=programs or {}
        )
    plan = _plan(checkpoint, report["kind"], options)
    return ModelReport(**report, **_facts(checkpoint), **plan)


def _behind_an_address(local: LocalModel, endpoint: Endpoint, options: EngineOptions) -> ModelReport:
    checkpoint, kind = open_checkpoint(local), kind_of(local)
    facts = {**_facts(checkpoint), "dimensions": endpoint.dimensions or None, "context": endpoint.context or None}
    plan = _plan(checkpoint, kind, options)
    tokenizer = {"kind": "the server's"}
    return ModelReport(local.name, endpoint.url, "endpoint", "", 0, 0, [], tokenizer, kind=kind, **facts, **plan)


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    widths = list(checkpoint.widths)
    return {
        "context": checkpoint.max_tokens,
        "dimensions": checkpoint.full_width or None,
        "widths": f"{widths[0]} to {widths[-1]}" if len(widths) > 32 else ", ".join(map(str, widths)),
        "pooling": list(checkpoint.pooling),
        "normalize": checkpoint.normalize,
        "prompts": {"query": checkpoint.prompts.query, "document": checkpoint.prompts.document},
    }


def _plan(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> dict[str, Any]:
    try:
        choice = choose(checkpoint, purpose, options)
    except TurboPropError as error:
        return {"why": str(error)}
    plan = choice.plan
    return {
        "runs": True,
        "engine": choice.name,
        "weights": plan.weights,
        "memory": plan.bytes,
        "why": choice.reason,
    }


def _by_type(tensors: Mapping[str, StoredTensor]) -> list[TensorType]:
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for tensor in tensors.values():
        name = tensor.kind
        count[name] += 1
        size[name] += tensor.nbytes
    return [TensorType(name, count[name], size[name]) for name, _ in size.most_common()]


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for extent in shape:
        total *= extent
    return total


def _tokenizer(local: LocalModel, metadata: dict[str, Any]) -> dict[str, Any]:
    keys = ("tokenizer.ggml.model", "tokenizer.ggml.pre")
    stated = {key.rpartition(".")[2]: metadata[key] for key in keys if key in metadata}
    try:
        tokenizer = tokenizer_of(local)
    except TurboPropError as error:
        return {**stated, "error": str(error)}
    plain = tokenizer.encode("a", add_special_tokens=False).tokens
    return {
        **stated,
        "kind": type(tokenizer.model).__name__,
        "tokens": tokenizer.get_vocab_size(),
        "example": tokenizer.encode("a").tokens,
        "special": len(tokenizer.encode("a").tokens) - len(plain),
    }


def _short_metadata(file: GGUFFile) -> dict[str, Any]:
    """Numbers and short strings; arrays by their length, long strings cut."""
    shown: dict[str, Any] = {}
    for key in file.metadata:
        value = file.metadata[key]
        if isinstance(value, str):
            shown[key] = value if len(value) <= 200 else value[:200] + "..."
        elif isinstance(value, bool | int | float):
            shown[key] = value
        else:
            shown[key] = f"{len(value)} values"
    return shown
