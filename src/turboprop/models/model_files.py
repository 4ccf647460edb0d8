"""The files that a model is read from, and a stamp of them that differs once they changed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.models.store.contents import split_names

if TYPE_CHECKING:
    from turboprop.models.local import LocalModel

Stamp = tuple[tuple[str, int, int, int], ...]
_READ = {".json", ".jinja", ".model", ".onnx", ".onnx_data", ".safetensors", ".txt"}


def model_files(local: LocalModel) -> tuple[Path, ...]:
    """All files that loading a model may read: a GGUF file says everything by itself (or in its parts), a folder has
    modules in folders of its own."""
    if local.endpoint is not None:
        return ()
    if local.adapter is not None:
        own = (local.adapter / name for name in ("adapter_config.json", "adapter_model.safetensors"))
        return (*model_files(local.base), *own)
    path = local.path
    if local.is_gguf:
        return tuple(path.with_name(part) for part in split_names(path.name))
    folder = path
    if path.is_file():  # an ONNX export, whose tokenizer may lie a folder higher
        folder = path.parent.parent if path.parent.name == "onnx" else path.parent
    return tuple(
        sorted(file for pattern in ("*", "*/*") for file in folder.glob(pattern) if file.suffix.lower() in _READ)
    )


def stamp_of(files: Iterable[Path | None]) -> Stamp:
    """Place, size, time and number of each file that is there."""
    found = []
    for file in files:
        if file is not None:
            with contextlib.suppress(OSError):
                status = os.stat(file)  # noqa: PTH116  Path.stat takes twice as long, and this runs at each search
                found.append((str(file), status.st_size, status.st_mtime_ns, status.st_ino))
    return tuple(found)
