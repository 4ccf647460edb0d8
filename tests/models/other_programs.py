"""The folders of LM Studio and Ollama, as these programs make them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

MODEL_LAYER = "application/vnd.ollama.image.model"


def lm_studio(home: Path, file: Path, repo: str) -> Path:
    """Put a GGUF file into LM Studio's folder under the name of its repository."""
    folder = home / ".lmstudio" / "models" / repo
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(file, folder))


def ollama(home: Path, file: Path, name: str, tag: str, *layers: str, host: str = "registry.ollama.ai") -> Path:
    """Put a GGUF file into Ollama's folder as `owner/name` and tag, with `layers` beside those it usually has."""
    root = home / ".ollama" / "models"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    blob = root / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, blob)
    kinds = (MODEL_LAYER, "application/vnd.ollama.image.template", *layers)
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:0", "size": 1},
        "layers": [{"mediaType": kind, "digest": f"sha256:{digest}", "size": 1} for kind in kinds],
    }
    place = root / "manifests" / host / name / tag
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(manifest))
    return blob
