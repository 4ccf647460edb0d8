"""The one reader of environment variables and settings files. docs/settings.md is its manual."""

from __future__ import annotations

from turboprop.settings.layers import DEFAULT, ENVIRONMENT, PROJECT, USER, Settings, load_settings, user_data_home
from turboprop.settings.project import PROJECT_FILE, ProjectFile, read_project_file
from turboprop.settings.schema import DEFAULT_MODEL, EMBEDDING_CACHE, KEYS, MAX_FILESIZE, mistyped_variables, parse_size

__all__ = [
    "DEFAULT",
    "DEFAULT_MODEL",
    "EMBEDDING_CACHE",
    "ENVIRONMENT",
    "KEYS",
    "MAX_FILESIZE",
    "PROJECT",
    "PROJECT_FILE",
    "USER",
    "ProjectFile",
    "Settings",
    "load_settings",
    "mistyped_variables",
    "parse_size",
    "read_project_file",
    "user_data_home",
]
