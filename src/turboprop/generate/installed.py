"""Which language model to take where the caller names none: the first of the catalogue that is on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turboprop.errors import ModelNotFoundError
from turboprop.models.catalog import load_catalog
from turboprop.models.naming import HubReference, parse_name
from turboprop.models.resolve import find_local

if TYPE_CHECKING:
    from turboprop.settings import Settings

SUGGESTED = "qwen3-1.7b"


def installed_language_model(settings: Settings) -> str | None:
    """The one of the settings, else the first language model of the catalogue whose files are here."""
    if settings.language_model:
        return settings.language_model
    catalog = load_catalog(settings.config_file)
    for row in catalog:
        if row.kind == "language":
            meaning = parse_name(row.name, catalog)
            if isinstance(meaning, HubReference) and find_local(meaning, settings) is not None:
                return row.name
    return None


def language_model_name(name: str | None, settings: Settings) -> str:
    """`name`, or the installed one. Raises `ModelNotFoundError` that says how to get one."""
    found = name or installed_language_model(settings)
    if found is None:
        raise ModelNotFoundError(how_to_get_one())
    return found


def how_to_get_one() -> str:
    """What to do where no language model is here."""
    return (
        f"no language model is installed: get one with `tp model download {SUGGESTED}` (`tp model list` shows "
        "others), or name a GGUF file or folder with --model"
    )
