"""Taking a model off this machine, where it is ours to take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turboprop.errors import UsageError
from turboprop.models.local import distribution_of
from turboprop.models.naming import HubReference
from turboprop.models.store.folder import remove_from_store

if TYPE_CHECKING:
    from turboprop.models.local import LocalModel
    from turboprop.settings import Settings


def check_removable(local: LocalModel) -> None:
    """Raise `UsageError`, which says who can remove it, for a model that is another's."""
    if local.source == "path":
        raise UsageError(f"{local.path} is a path of yours, not a model that tp keeps; delete it yourself")
    if local.source == "package":
        raise UsageError(f"{local.name} came as a package; remove it with: pip uninstall {distribution_of(local)}")
    if local.source == "Ollama":
        raise UsageError(f"{local.name} belongs to Ollama; remove it with: ollama rm {local.name}")
    if local.source in ("LM Studio", "fastembed"):
        raise UsageError(f"{local.name} belongs to {local.source}; remove it there, or delete {local.path} yourself")


def remove_model(local: LocalModel, settings: Settings) -> int:
    """Delete the files of a model of the store or of the hub's cache; returns the bytes freed.

    Raises `UsageError` for every other.
    """
    check_removable(local)
    repo, _, file = local.name.partition(":")
    if local.source == "store":
        return remove_from_store(HubReference(repo, file), settings.models_dir)
    from turboprop.models.hub.remove import remove_from_hub_cache

    return remove_from_hub_cache(HubReference(repo, file))
