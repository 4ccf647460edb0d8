"""Which models there are: those of the catalogue, and every other one on this machine; and taking one away."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from turboprop.errors import ModelNotFoundError, TurboPropError, UsageError
from turboprop.models.catalog import CatalogRow, load_catalog
from turboprop.models.kind import Kind, kind_of
from turboprop.models.naming import HubReference, parse_name
from turboprop.models.resolve import LocalModel, find_local
from turboprop.models.store_inventory import held_models, partial_downloads
from turboprop.models.store_memory import fits, memory_bytes
from turboprop.settings import Settings


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One model. `name` is the short one where the catalogue has one; `size` in bytes; `partial` is a download that
    broke off."""

    name: str
    canonical: str
    kind: Kind
    state: Literal["installed", "partial", "remote"]
    size: int
    fits_memory: bool
    dimensions: int | None = None
    context: int | None = None
    licence: str = ""
    good_for: str = ""


def known_models(settings: Settings) -> list[KnownModel]:
    """The catalogue in its order, then what else is here."""
    catalog = load_catalog(settings.config_file)
    memory = memory_bytes()
    held = {entry.model.name: entry for entry in held_models(settings, catalog)}
    partial = {entry.repo for entry in partial_downloads()}
    found: list[KnownModel] = []
    for row in catalog:
        entry = held.pop(row.canonical, None)
        size = entry.size if entry else row.size
        state: Literal["installed", "partial", "remote"] = "partial" if row.repo in partial else "remote"
        found.append(
            KnownModel(
                name=row.name,
                canonical=row.canonical,
                kind=_kind_of_row(row),
                state="installed" if entry else state,
                size=size,
                fits_memory=fits(size, memory),
                dimensions=row.dimensions or None,
                context=row.context or None,
                licence=row.licence,
                good_for=row.good_for,
            )
        )
    for name, entry in held.items():
        kind = _kind_of_files(entry.model)
        if kind is not None:
            found.append(KnownModel(name, name, kind, "installed", entry.size, fits(entry.size, memory)))
    return found


def remove_model(name: str, settings: Settings) -> int:
    """Delete a model's files; returns the bytes freed. Raises `ModelNotFoundError` and `UsageError` where it is not
    one that is kept here."""
    catalog = load_catalog(settings.config_file)
    meaning = parse_name(name, catalog)
    if isinstance(meaning, Path):
        raise UsageError(f"{name} is a path, not a model that tp keeps; delete it yourself")
    local = find_local(meaning, settings)
    if local is None:
        raise ModelNotFoundError(f"{name} is not on this machine")
    if local.source == "package":
        package = local.row.distribution if local.row else ""
        raise UsageError(f"{local.name} came as a package; remove it with: pip uninstall {package}")
    exact: HubReference = dataclasses.replace(meaning, file=local.name.partition(":")[2])
    if local.source == "store":
        from turboprop.models.store import remove_from_store

        return remove_from_store(exact, settings.models_dir)
    from turboprop.models.hub_remove import remove_from_hub_cache

    return remove_from_hub_cache(exact)


def _kind_of_row(row: CatalogRow) -> Kind:
    return "language" if row.kind == "language" else "reranker" if row.kind == "reranker" else "embedding"


def _kind_of_files(model: LocalModel) -> Kind | None:
    """None for files that no engine here reads."""
    with contextlib.suppress(TurboPropError, OSError):
        return kind_of(model)
    return None
