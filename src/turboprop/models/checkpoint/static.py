"""Static embedding models: a row for each token, and nothing else (model2vec, `StaticEmbedding`).

`model.safetensors` holds `embeddings` [rows, width], or `embedding.weight` where sentence-transformers
wrote it. The vocabulary-quantised form of model2vec has fewer rows than tokens: `mapping` [tokens] gives
the row of a token and `weights` [tokens] what the row is multiplied with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turboprop.errors import ModelFormatError, ModelNotFoundError
from turboprop.models.checkpoint.tensors import open_safetensors
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.json_file import read_json, read_object

FAMILY = "static"
# Any length has a mean; without a limit in the configuration this is model2vec's own.
_LONGEST = 1_000_000


def is_static(folder: Path, modules: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the folder's configuration or its module list says that it holds a static model."""
    config = read_json(folder / "config.json")
    if isinstance(config, dict) and config.get("model_type") == "model2vec":
        return True
    return any(str(module.get("type", "")).endswith(".StaticEmbedding") for module in modules)


def open_static(folder: Path, modules: Sequence[Mapping[str, Any]]) -> Checkpoint:
    """Open such a folder. Raises `ModelFormatError` or `ModelNotFoundError`."""
    places = [
        (folder / str(module.get("path", ""))).resolve()
        for module in modules
        if str(module.get("type", "")).endswith(".StaticEmbedding")
    ]
    root = places[0] if places else folder
    if not root.is_relative_to(folder.resolve()) and root != folder:
        raise ModelFormatError(f"{folder / 'modules.json'} points outside its folder")
    weights = root / "model.safetensors"
    if not weights.is_file():
        raise ModelNotFoundError(f"{root} has no model.safetensors; download the model again")
    config = read_object(folder / "config.json")
    normalizes = any(str(module.get("type", "")).endswith(".Normalize") for module in modules)
    limit = config.get("seq_length")
    return Checkpoint(
        name=str(folder),
        origin="hf",
        family=FAMILY,
        config=config,
        tensors=open_safetensors(weights),
        tokenizer_path=root,
        weight_files=(weights,),
        pooling=("mean",),
        max_tokens=min(limit, _LONGEST) if isinstance(limit, int) and limit > 1 else _LONGEST,
        normalize=bool(config.get("normalize", normalizes)) or normalizes,
        special_tokens=False,
        unknown_token=_unknown_token(root),
    )


def _unknown_token(folder: Path) -> int | None:
    """The id that the tokenizer gives to what it does not know."""
    model = read_object(folder / "tokenizer.json").get("model")
    if not isinstance(model, dict):
        return None
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    vocabulary, token = model.get("vocab"), model.get("unk_token")
    number = vocabulary.get(token) if isinstance(vocabulary, dict) and isinstance(token, str) else None
    return number if isinstance(number, int) else None
