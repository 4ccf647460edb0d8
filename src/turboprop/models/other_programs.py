"""Models in the folders of LM Studio and Ollama: GGUF files, read where they lie and never changed.

Both are another program's: what is no regular file, what leads out of the folder and what is damaged is passed over,
because that program is the one to say so.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.errors import ModelError
from turboprop.models.catalog import is_repo_name
from turboprop.models.json_file import read_model_file
from turboprop.models.store.contents import split_names

if TYPE_CHECKING:
    from collections.abc import Iterator

_MODEL_LAYER = "application/vnd.ollama.image.model"
# Weights that a program adds to those of the model layer: without them the model is another one.
_ADAPTER_LAYER = "application/vnd.ollama.image.adapter"
_DIGEST = re.compile(r"sha256[:-](?P<hex>[0-9a-f]{64})")
_TAGGED = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)
_MANIFEST_BYTES = 1 << 20
"""A manifest has 1 kB; one that names a tensor a layer has some 100."""
_SERVICE = Path("/usr/share/ollama/.ollama/models")
"""Where Ollama keeps its models when its installer for Linux made it a service."""


def find_in_lm_studio(repo: str, file: str) -> Path | None:
    """One GGUF file of LM Studio's copy of a repository (the first part of a split), where that is whole."""
    for root in _lm_studio_folders() if file else ():
        parts = [root / repo / part for part in split_names(file)]
        if all(_is_inside(root, part) for part in parts):
            return parts[0]
    return None


def lm_studio_models() -> Iterator[tuple[str, str, Path]]:
    """(`owner/name` on the hub, file, path) of each whole GGUF file that LM Studio has; of a split the first part."""
    for root in _lm_studio_folders():
        for path in sorted([*root.glob("*/*/*.gguf"), *root.glob("*/*/*/*.gguf")]):
            owner, name, *inner = path.relative_to(root).parts
            repo, file = f"{owner}/{name}", "/".join(inner)
            if is_repo_name(repo) and file == split_names(file)[0] and find_in_lm_studio(repo, file) == path:
                yield repo, file, path


def _lm_studio_folders() -> Iterator[Path]:
    """The folders that are there: of the home that it moved to, of the usual one, and of releases before 2025."""
    home = Path.home()
    homes = [home / ".lmstudio", home / ".cache" / "lm-studio"]
    with contextlib.suppress(OSError, ModelError, UnicodeDecodeError):
        homes.insert(0, Path(read_model_file(home / ".lmstudio-home-pointer", 4096).decode().strip()))
    for folder in dict.fromkeys(homes):
        models = folder / "models"
        if folder.is_absolute() and models.is_dir():
            yield models.resolve()


def ollama_models() -> Iterator[tuple[str, Path]]:
    """(name and tag as `ollama list` has them, GGUF file) of each of Ollama's models that is one GGUF file."""
    for root in _ollama_folders():
        blobs = root / "blobs"
        for manifest in sorted(root.glob("manifests/*/*/*/*")):
            host, owner, name, tag = manifest.relative_to(root / "manifests").parts
            if not all(map(_TAGGED.fullmatch, (host, owner, name, tag))) or not _is_inside(root, manifest):
                continue
            path = _blob(manifest, blobs)
            if path is not None and _is_inside(root, path):
                usual = host == "registry.ollama.ai"
                owner = "" if usual and owner == "library" else f"{owner}/"
                yield f"{'' if usual else f'{host}/'}{owner}{name}:{tag}", path


def _ollama_folders() -> Iterator[Path]:
    stated = os.environ.get("OLLAMA_MODELS")
    for folder in [Path(stated)] if stated else [Path.home() / ".ollama" / "models", _SERVICE]:
        with contextlib.suppress(OSError):  # a service's folder may be closed to others
            if (folder / "manifests").is_dir():
                yield folder.resolve()


def _blob(manifest: Path, blobs: Path) -> Path | None:
    """The file of a manifest's one model layer; None for a model of several, of none, or with an adapter."""
    try:
        values = json.loads(read_model_file(manifest, _MANIFEST_BYTES))
    except (ModelError, OSError, ValueError, RecursionError):
        return None
    layers = values.get("layers") if isinstance(values, dict) else None
    if not isinstance(layers, list):
        return None
    kinds = [layer.get("mediaType") if isinstance(layer, dict) else None for layer in layers]
    if kinds.count(_MODEL_LAYER) != 1 or _ADAPTER_LAYER in kinds:
        return None
    digest = _DIGEST.fullmatch(str(layers[kinds.index(_MODEL_LAYER)].get("digest")))
    return blobs / f"sha256-{digest['hex']}" if digest else None


def _is_inside(root: Path, path: Path) -> bool:
    """Whether the path is a regular file that lies in the folder once its links are followed."""
    try:
        return path.is_file() and path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # links in a circle
        return False
