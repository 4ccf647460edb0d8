"""The reader for a model's files: GGUF, an ONNX export, a folder of safetensors; and what is known of one without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from turboprop.errors import ModelFormatError
from turboprop.models.endpoint import CONTEXT
from turboprop.models.local import NOWHERE

if TYPE_CHECKING:
    from turboprop.models.checkpoint.view import Checkpoint
    from turboprop.models.endpoint import Endpoint
    from turboprop.models.local import LocalModel


def open_checkpoint(local: LocalModel) -> Checkpoint:
    """Open what `models.resolve` found. Raises `ModelFormatError` or `ModelUnsupportedError`."""
    if local.endpoint is not None:
        return _behind(local.name, local.endpoint)
    if local.is_gguf:
        from turboprop.models.checkpoint.gguf import open_gguf

        checkpoint = open_gguf(local.path)
    elif local.path.suffix == ".onnx":
        from turboprop.models.checkpoint.onnx import open_onnx

        checkpoint = open_onnx(local)
    else:
        from turboprop.models.checkpoint.hf import open_folder

        checkpoint = open_folder(local.path)
    if checkpoint.max_tokens < 2:
        raise ModelFormatError(f"{local.path} states a context of {checkpoint.max_tokens} tokens")
    checkpoint = with_adapter(checkpoint, local)
    return checkpoint.with_row(local)


def with_adapter(checkpoint: Checkpoint, local: LocalModel) -> Checkpoint:
    """The checkpoint with the adapter that a model was named with, if any."""
    if local.adapter is None:
        return checkpoint
    from turboprop.models.checkpoint.adapter import merged

    return merged(replace(checkpoint, name=local.base.name), local.adapter)


def _behind(name: str, endpoint: Endpoint) -> Checkpoint:
    """What is known of a model behind an address before it is asked: no tensors, no tokenizer."""
    from turboprop.models.checkpoint.view import Checkpoint

    return Checkpoint(
        name,
        "hf",
        "",
        {},
        {},
        NOWHERE,
        (),
        (),
        endpoint.context or CONTEXT[endpoint.kind or "embedding"],
        endpoint.normalize,
        prompts=endpoint.prompts,
        endpoint=endpoint,
    )
