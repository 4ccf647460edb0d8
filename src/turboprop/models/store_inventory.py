"""What is on this machine: every model of the store, of the Hugging Face cache and of packages, by size."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.errors import ModelError
from turboprop.models.catalog import is_repo_name
from turboprop.models.hub_cache import hub_cache_dir, snapshots
from turboprop.models.naming import HubReference
from turboprop.models.resolve import LocalModel, package_folder
from turboprop.models.store import store_dir, stored_repos
from turboprop.models.store_contents import missing_files, split_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turboprop.models.catalog import Catalog
    from turboprop.settings import Settings


@dataclass(frozen=True, slots=True)
class HeldModel:
    """A model that is here, and the bytes that it takes."""

    model: LocalModel
    size: int


@dataclass(frozen=True, slots=True)
class PartialDownload:
    """What a broken download left for its next try."""

    repo: str
    size: int


def held_models(settings: Settings, catalog: Catalog) -> list[HeldModel]:
    """Every whole model on this machine, once: where a name is in two places, the one that is used."""
    found: dict[str, HeldModel] = {}
    for repo in stored_repos(settings.models_dir):
        for reference, path in _in_folder(repo, store_dir(repo, settings.models_dir), catalog):
            model = LocalModel(reference.canonical, path, "store", reference.row)
            found.setdefault(reference.canonical, HeldModel(model, model_size(path)))
    for repo in cached_repos():
        for snapshot in snapshots(repo, "main"):
            for reference, path in _in_folder(repo, snapshot, catalog):
                model = LocalModel(reference.canonical, path, "hub cache", reference.row)
                found.setdefault(reference.canonical, HeldModel(model, model_size(path)))
    for row in catalog:
        if row.package and row.canonical not in found:
            # Not hashed here: that takes 0.1 s once, and a damaged package is told when it is used.
            folder = package_folder(row)
            if folder is not None and folder.is_dir():
                local = LocalModel(row.canonical, folder, "package", row)
                found[row.canonical] = HeldModel(local, model_size(folder))
    return list(found.values())


def cached_repos() -> list[str]:
    """Names of all model repositories in the Hugging Face cache, sorted."""
    found = []
    with contextlib.suppress(OSError):
        for entry in hub_cache_dir().iterdir():
            repo = entry.name.removeprefix("models--").replace("--", "/", 1)
            if entry.name.startswith("models--") and is_repo_name(repo):
                found.append(repo)
    return sorted(found)


def partial_downloads() -> list[PartialDownload]:
    """Repositories with `*.incomplete` files, and the bytes of those."""
    found = []
    for repo in cached_repos():
        blobs = hub_cache_dir() / ("models--" + repo.replace("/", "--")) / "blobs"
        size = sum(path.lstat().st_size for path in blobs.glob("*.incomplete") if path.is_file())
        if size:
            found.append(PartialDownload(repo, size))
    return found


def _in_folder(repo: str, folder: Path, catalog: Catalog) -> Iterator[tuple[HubReference, Path]]:
    """The models of one repository's folder: the folder itself, and each GGUF file that is whole."""
    with contextlib.suppress(ModelError):
        if not missing_files(folder):
            yield HubReference(repo, row=catalog.row_of(repo)), folder
    for path in sorted(folder.rglob("*.gguf")):
        name = path.relative_to(folder).as_posix()
        parts = split_names(name)
        if name == parts[0] and all((folder / part).is_file() for part in parts):
            yield HubReference(repo, name, row=catalog.row_of(repo, name)), path


def model_size(path: Path) -> int:
    """Bytes of a model: of its GGUF file with all parts, or of its folder without other GGUF files."""
    if path.suffix == ".gguf":
        return sum(path.with_name(Path(part).name).stat().st_size for part in split_names(path.name))
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and file.suffix != ".gguf")
