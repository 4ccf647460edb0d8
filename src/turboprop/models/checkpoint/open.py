"""The reader for a model's files: GGUF, an ONNX export, or a folder of safetensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turboprop.errors import ModelFormatError

if TYPE_CHECKING:
    from turboprop.models.checkpoint.view import Checkpoint
    from turboprop.models.local import LocalModel


def open_checkpoint(local: LocalModel) -> Checkpoint:
    """Open what `models.resolve` found. Raises `ModelFormatError` or `ModelUnsupportedError`."""
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
    return checkpoint.with_row(local)
