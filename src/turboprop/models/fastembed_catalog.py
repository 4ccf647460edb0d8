"""The catalogue of the package `fastembed`: `fastembed:BAAI/bge-small-en-v1.5` as a model's name.

Only models that take a text and give one vector by one of the usual poolings are run; the package's classes say
which. Files are taken from the package's own cache, and downloaded by it where that is allowed.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turboprop.errors import DownloadError, EngineError, ModelNotFoundError, ModelUnsupportedError
from turboprop.models.catalog import CatalogRow
from turboprop.models.local import LocalModel

if TYPE_CHECKING:
    from turboprop.settings import Settings

MISSING = (
    "names fastembed:... are those of the package fastembed, which is not installed: "
    "pip install 'turboprop-local[fastembed]'"
)
# The class that the package runs a model with, and the pooling that class does.
_POOLINGS = {
    "OnnxTextEmbedding": "cls",
    "PooledEmbedding": "mean",
    "PooledNormalizedEmbedding": "mean",
    "LastTokenNormalizedEmbedding": "last",
}


def find(name: str, settings: Settings, download: bool) -> LocalModel:
    """A model of the catalogue, by the package's name for it.

    Raises `EngineError` where the extra is missing, `ModelNotFoundError` for an unknown name and for a model
    that is not here while `download` is false, `ModelUnsupportedError` for one that needs more than a text
    (images, task numbers), `DownloadError` where the download fails.
    """
    if importlib.util.find_spec("fastembed") is None:
        raise EngineError(MISSING)
    family, description = _description(name)
    if (pooling := _POOLINGS.get(family.__name__)) is None:
        raise ModelUnsupportedError(
            f"{name} is run by fastembed's class {family.__name__}, which does more than pool the states of a text; "
            "choose another model of its catalogue"
        )
    folder = _folder(family, description, _cache(settings), download)
    row = CatalogRow(
        name=f"fastembed:{description.model}",
        repo=description.model,
        dimensions=int(description.dim or 0),
        pooling=pooling,
        licence=str(description.license),
    )
    return LocalModel(row.name, folder / description.model_file, "fastembed", row)


def _description(name: str) -> tuple[Any, Any]:
    """The class that runs the model, and the package's description of it."""
    from fastembed import TextEmbedding

    names = []
    for family in TextEmbedding.EMBEDDINGS_REGISTRY:
        for description in family._list_supported_models():
            if description.model.lower() == name.lower():
                return family, description
            names.append(description.model)
    near = difflib.get_close_matches(name, names, 3, 0.5)
    guess = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(names)}"
    raise ModelNotFoundError(f"fastembed's catalogue has no model {name!r}; {guess}")


def _cache(settings: Settings) -> Path:
    """Where the package keeps its files. Its default lies in the shared temporary folder, where another user can
    have put files first: that one is used only where it is ours."""
    if stated := os.environ.get("FASTEMBED_CACHE_PATH"):
        return Path(stated)
    default = Path(tempfile.gettempdir()) / "fastembed_cache"
    if default.is_dir() and not default.is_symlink() and (os.name == "nt" or default.stat().st_uid == os.getuid()):
        return default
    return settings.data_home / "fastembed"


def _folder(family: Any, description: Any, cache: Path, download: bool) -> Path:
    import logging

    from loguru import logger

    logger.disable("fastembed")  # it reports to stderr what we raise
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        if download:
            cache.mkdir(parents=True, exist_ok=True)
        folder = Path(family.download_model(description, str(cache), local_files_only=not download))
    except Exception as error:  # the package's errors have no common class
        if not download:
            raise ModelNotFoundError(
                f"fastembed:{description.model} is not in {cache}, and downloading is off; bring "
                f"{description.sources.hf or description.sources.url} there, or go online"
            ) from error
        raise DownloadError(f"fastembed could not download {description.model}: {str(error)[:300]}") from error
    if not (folder / description.model_file).is_file():
        raise ModelNotFoundError(f"{folder} lacks {description.model_file}; remove it and download the model again")
    return folder
