"""The layers of settings, and what they come to.

Later wins: built-in default, the user's file, the repository's file, environment (`TP_*`); options of
the command line win over all and never get here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from turboprop.errors import SettingsError
from turboprop.settings.project import ProjectFile, checked, read_project_file, read_toml
from turboprop.settings.schema import (
    DEFAULT_MODEL,
    EMBEDDING_CACHE,
    KEYS,
    MAX_FILESIZE,
    SERVER_IDLE,
    Value,
    from_environment,
    switch,
)
from turboprop.settings.trust import is_trusted
from turboprop.types import WeightFormat

DEFAULT, USER, PROJECT, ENVIRONMENT = "default", "user file", "project file", "environment"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that does not come with a call. Paths need not exist yet."""

    model: str = DEFAULT_MODEL
    language_model: str | None = None
    """What answers; None takes the first of the catalogue that is installed."""
    engine: str = "auto"
    weights: WeightFormat = "auto"
    threads: int | None = None
    memory: int | None = None
    """Bytes that indexing may take; None sets no bound."""
    offline: bool = False
    embedding_cache: int = EMBEDDING_CACHE
    """Bytes that kept vectors may take; 0 keeps none (`TP_EMBEDDING_CACHE`)."""
    llama_server: Path | None = None
    """A llama-server program that the engine llamacpp uses instead of its package."""
    gpu_layers: int | Literal["auto"] = "auto"
    """Layers that the engine llamacpp puts on a GPU; `auto` as many as fit."""
    server: bool = True
    """Whether `tp search` may start and ask a server in the background."""
    server_idle: int = SERVER_IDLE
    """Seconds after which it ends unused."""
    tune: bool = False
    """Whether indexing learns from the commits, and again every 50 (`turboprop.workspace.tune`)."""
    index: Path | None = None
    """Where the index of the repository lies; None means its own `.turboprop`."""
    exclude: tuple[str, ...] = ()
    """What is left out of an index, in gitignore syntax from the repository's root."""
    include: tuple[str, ...] = ()
    """What is taken into an index whatever would leave it out, in the same syntax."""
    max_filesize: int = MAX_FILESIZE
    limit: int | None = None
    data_home: Path = Path()
    """Where models live (`TP_HOME`, else `$XDG_DATA_HOME/turboprop`)."""
    cache_home: Path = Path()
    """What can be deleted at any time: compiled graphs, embeddings (`TP_CACHE`, else XDG)."""
    config_file: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)
    """Which layer each setting came from: one of `DEFAULT`, `USER`, `PROJECT`, `ENVIRONMENT`."""
    project: ProjectFile | None = field(default=None, compare=False, hash=False)
    untrusted: tuple[str, ...] = ()
    """Settings of the project file that are ignored until it is trusted."""

    @property
    def programs(self) -> Mapping[str, Path]:
        """Programs of the user's own, by the engine that runs them."""
        return {} if self.llama_server is None else {"llamacpp": self.llama_server}

    @property
    def models_dir(self) -> Path:
        """The local model store."""
        return self.data_home / "models"


def load_settings(repo: Path | None = None) -> Settings:
    """Read environment and files, with `repo` also the settings file of that repository.

    What in it needs trust and has none is ignored, and said once, by the logger `turboprop`. Raises
    `SettingsError` for a value that cannot be used and for an unknown name.
    """
    config = _path("TP_CONFIG") or _user_dir("XDG_CONFIG_HOME", ".config", "APPDATA") / "config.toml"
    data_home = user_data_home()
    cache_home = _path("TP_CACHE") or _user_dir("XDG_CACHE_HOME", ".cache", "LOCALAPPDATA")
    values: dict[str, Any] = {name: key.default for name, key in KEYS.items()}
    origins = dict.fromkeys(KEYS, DEFAULT)

    def take(layer: Mapping[str, Value], origin: str) -> None:
        values.update(layer)
        origins.update(dict.fromkeys(layer, origin))

    take(_user_layer(config), USER)
    project = read_project_file(repo) if repo is not None else None
    untrusted: tuple[str, ...] = ()
    if project is not None:
        wanting = project.needs_trust
        if wanting and not is_trusted(data_home, project.path, project.sha256):
            untrusted = tuple(wanting)
            _say_untrusted(project, untrusted)
        layer = {name: value for name, value in project.values.items() if name not in untrusted}
        take(layer, PROJECT)
        if "index" in layer:
            values["index"] = project.index_folder()
    environment = _environment_layer()
    take(environment, ENVIRONMENT)
    if "index" in environment:
        values["index"] = Path(str(environment["index"])).expanduser().absolute()
    if values["llama_server"] is not None:
        values["llama_server"] = Path(str(values["llama_server"])).expanduser()
    return Settings(
        **values,
        data_home=data_home,
        cache_home=cache_home,
        config_file=config,
        origins=origins,
        project=project,
        untrusted=untrusted,
    )


def user_data_home() -> Path:
    """Where models, trust and the user's key live, found without reading a settings file."""
    return _path("TP_HOME") or _user_dir("XDG_DATA_HOME", ".local/share", "LOCALAPPDATA")


def _path(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None


def _user_dir(xdg: str, fallback: str, windows: str) -> Path:
    if value := os.environ.get(xdg):
        return Path(value) / "turboprop"
    if sys.platform == "win32":
        return Path(os.environ.get(windows) or Path.home() / "AppData" / "Local") / "turboprop"
    return Path.home() / fallback / "turboprop"


def _user_layer(path: Path) -> dict[str, Value]:
    try:
        found = read_toml(path.read_bytes(), path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    found.pop("models", None)  # the user's own catalogue rows, read by models.catalog
    return checked(found, [name for name, key in KEYS.items() if key.user], path)


def _environment_layer() -> dict[str, Value]:
    layer: dict[str, Value] = {}
    for name, key in KEYS.items():
        text = os.environ.get(key.variable)
        if text is not None and (value := from_environment(key, text)) is not None:
            layer[name] = value
    if "offline" not in layer and (text := os.environ.get("HF_HUB_OFFLINE")) is not None:
        layer["offline"] = switch("HF_HUB_OFFLINE", text)
    return layer


_said: set[tuple[Path, str]] = set()


def _say_untrusted(file: ProjectFile, names: tuple[str, ...]) -> None:
    """Once a process for each state of a file: a command may read the settings more than once."""
    if (file.path, file.sha256) in _said:
        return
    _said.add((file.path, file.sha256))
    import logging

    logging.getLogger("turboprop").warning(
        "tp: %s came with the repository and sets %s, which is ignored until you trust it: look at the file, "
        "then run `tp trust --repo %s`",
        file.path,
        ", ".join(names),
        file.root,
    )
