"""What the user's word for a model means: a place on this disk, or a repository of the hub."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.errors import ModelNotFoundError, UsageError
from turboprop.models.catalog import is_repo_name, safe_member
from turboprop.models.store.contents import split_names

if TYPE_CHECKING:
    from turboprop.models.catalog import Catalog, CatalogRow


ADAPTER = "+lora:"
"""Between the name of a model and the folder of the LoRA adapter that is merged into it."""


def adapted_name(name: str, adapter: str | Path | None) -> str:
    """A model with an adapter in one name, which stands wherever a model's does; without one as it is.

    Raises `UsageError` for a second adapter.
    """
    if adapter is None:
        return name
    if ADAPTER in name:
        raise UsageError(f"{name} has an adapter already, and one is merged at most")
    return f"{name}{ADAPTER}{Path(adapter).expanduser().absolute()}"


def split_adapter(name: str) -> tuple[str, Path | None]:
    """The model and the folder of its adapter."""
    base, found, folder = name.partition(ADAPTER)
    return base, Path(folder).expanduser().absolute() if found else None


@dataclass(frozen=True, slots=True)
class HubReference:
    """A repository, and for GGUF the file of it (empty: the only one, or no GGUF at all)."""

    repo: str
    file: str = ""
    revision: str = "main"
    row: CatalogRow | None = None

    @property
    def canonical(self) -> str:
        return f"{self.repo}:{self.file}" if self.file else self.repo


def parse_name(name: str, catalog: Catalog) -> HubReference | Path | None:
    """What a name means by its form: a path, a model of the catalogue or of the hub, or None for any other word.

    A catalogue name wins over a folder of the same name in the current directory: a cloned
    repository could otherwise slip in its own `sentence-transformers/all-MiniLM-L6-v2`. A GGUF file that
    is here wins over the catalogue, because whoever types a file name means that file. Raises
    `ModelNotFoundError` for an empty name.
    """
    if not name.strip():
        raise ModelNotFoundError("the model's name is empty; `tp model list` shows the names known")
    path = Path(name).expanduser()
    if path.is_absolute() or name.startswith((".", "~", os.sep)) or "\\" in name:
        return path
    if name.endswith(".gguf") and path.is_file():
        return path
    row = catalog.find(name)
    if row is not None:
        return HubReference(row.repo, row.file, row.revision, row)
    repo, _, file = name.partition(":")
    if is_repo_name(repo):
        if ":" not in name:
            return HubReference(repo)
        if safe_member(file) and file.endswith(".gguf"):
            first = split_names(file)[0]
            return HubReference(repo, first, row=catalog.row_of(repo, first))
    return None
