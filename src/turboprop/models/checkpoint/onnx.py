"""An ONNX export as an embedding model: the graph is the architecture, the folder around it says the rest.

A folder holds `model.onnx` (or `onnx/model.onnx`), its tokenizer, and as far as there are any `config.json` and
the files of sentence-transformers, which are read as in a safetensors folder. Exports of another name
(`model_quantized.onnx`) are given by their path.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from turboprop.models.store.contents import TOKENIZER_FILES

if TYPE_CHECKING:
    from turboprop.models.checkpoint.view import Checkpoint, PoolingMode
    from turboprop.models.local import LocalModel

_POOLINGS = ("mean", "cls", "last")


def onnx_file(folder: Path) -> Path | None:
    """The export of a folder that holds one under its usual name, with a tokenizer."""
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return None
    places = (folder / "model.onnx", folder / "onnx" / "model.onnx")
    return next((path for path in places if path.is_file()), None)


def open_onnx(local: LocalModel) -> Checkpoint:
    """Raises `ModelFormatError` where a file around the export is damaged, as for a safetensors folder."""
    from turboprop.models.checkpoint.hf import open_folder

    path = local.path
    nested = path.parent.name == "onnx" and not any((path.parent / name).is_file() for name in TOKENIZER_FILES)
    checkpoint = open_folder(path.parent.parent if nested else path.parent, path)
    if local.row is not None and local.row.pooling in _POOLINGS:
        # Catalogues of exports know the pooling, and their folders seldom say it.
        return replace(checkpoint, pooling=(cast("PoolingMode", local.row.pooling),))
    return checkpoint
