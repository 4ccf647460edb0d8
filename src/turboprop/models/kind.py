"""What a model is for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from turboprop.errors import ModelUnsupportedError
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.reranker import is_reranker
from turboprop.models.endpoint import kind_by_name
from turboprop.models.json_file import read_json

if TYPE_CHECKING:
    from turboprop.models.local import LocalModel

Kind = Literal["embedding", "language", "reranker"]


def kind_of(local: LocalModel) -> Kind:
    """Whether a model embeds, writes or reranks: by its catalogue row, else by what its files say, or
    the name of what has none.

    Raises what opening the files raises, and `ModelUnsupportedError` for one that is no model by itself, such as a
    projector of images.
    """
    local = local.base  # an adapter changes nothing of it, and is not read for it
    if local.row is not None:
        return local.row.kind
    if local.endpoint is not None:
        return local.endpoint.kind or kind_by_name(local.endpoint.model)
    if is_reranker(local):
        return "reranker"
    checkpoint = open_checkpoint(local)
    if checkpoint.origin == "gguf":
        if checkpoint.config.get("general.type", "model") != "model" or checkpoint.family == "clip":
            raise ModelUnsupportedError(f"{local.name} is a part that works beside another model; name that one")
        # A converter writes the pooling of an embedding model down; encoders have no way to generate.
        causal = f"{checkpoint.family}.attention.causal"
        if f"{checkpoint.family}.pooling_type" in checkpoint.config or checkpoint.config.get(causal) is False:
            return "embedding"
        return "embedding" if checkpoint.prompts.query or "bert" in checkpoint.family else "language"
    if (local.path / "modules.json").exists():  # sentence-transformers
        return "embedding"
    named = checkpoint.config.get("architectures")
    writes = isinstance(named, list) and any(str(each).endswith(("ForCausalLM", "LMHeadModel")) for each in named)
    if not named:
        writes = _has_chat_template(local.path)
    return "language" if writes and not checkpoint.prompts.query else "embedding"


def _has_chat_template(folder: Path) -> bool:
    settings = read_json(folder / "tokenizer_config.json") if folder.is_dir() else None
    return (folder / "chat_template.jinja").is_file() or (isinstance(settings, dict) and "chat_template" in settings)
