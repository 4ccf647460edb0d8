"""The one reader of environment variables and settings files.

Precedence, highest first: command line, environment (`TP_*`), user file, built-in default.
"""

from __future__ import annotations

import os
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from turboprop.errors import SettingsError

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}
_USER_KEYS = {"model": str, "engine": str, "threads": int, "offline": bool, "embedding_cache": int}
EMBEDDING_CACHE = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that does not come with a call. Paths need not exist yet."""

    model: str = DEFAULT_MODEL
    engine: str = "auto"
    threads: int | None = None
    offline: bool = False
    embedding_cache: int = EMBEDDING_CACHE
    """Bytes that kept vectors may take; 0 keeps none (`TP_EMBEDDING_CACHE`)."""
    llama_server: Path | None = None
    """A llama-server program that the engine llamacpp uses instead of its package (`TP_LLAMA_SERVER`)."""
    data_home: Path = Path()
    """Where models live (`TP_HOME`, else `$XDG_DATA_HOME/turboprop`)."""
    cache_home: Path = Path()
    """What can be deleted at any time: compiled graphs, embeddings (`TP_CACHE`, else XDG)."""
    config_file: Path | None = None

    @property
    def models_dir(self) -> Path:
        """The local model store."""
        return self.data_home / "models"


def _user_dir(xdg: str, fallback: str, windows: str) -> Path:
    if value := os.environ.get(xdg):
        return Path(value) / "turboprop"
    if sys.platform == "win32":
        return Path(os.environ.get(windows) or Path.home() / "AppData" / "Local") / "turboprop"
    return Path.home() / fallback / "turboprop"


def _flag(name: str) -> bool | None:
    value = os.environ.get(name)
    if value is None:
        return None
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise SettingsError(f"{name}={value!r} is neither on nor off; set it to 1 or 0")


def _read_user_file(path: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    for key, value in values.items():
        if key == "models":  # the user's own catalogue rows, read by models.catalog
            continue
        if key not in _USER_KEYS:
            raise SettingsError(f"{path}: unknown setting {key!r}; known: {', '.join(sorted(_USER_KEYS))}")
        kind = _USER_KEYS[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise SettingsError(f"{path}: {key} must be {kind.__name__}, not {value!r}")
    return values


def load_settings() -> Settings:
    """Read environment and user file; raise `SettingsError` for a value that cannot be used."""
    data = Path(os.environ["TP_HOME"]) if os.environ.get("TP_HOME") else None
    cache = Path(os.environ["TP_CACHE"]) if os.environ.get("TP_CACHE") else None
    config = (
        Path(os.environ["TP_CONFIG"])
        if os.environ.get("TP_CONFIG")
        else _user_dir("XDG_CONFIG_HOME", ".config", "APPDATA") / "config.toml"
    )
    user = _read_user_file(config)
    threads: int | None = None
    if raw := os.environ.get("TP_THREADS"):
        if not raw.isdecimal() or int(raw) < 1:
            raise SettingsError(f"TP_THREADS={raw!r} is not a whole number of at least 1")
        threads = int(raw)
    elif isinstance(user.get("threads"), int):
        threads = int(str(user["threads"]))
        if threads < 1:
            raise SettingsError(f"{config}: threads must be at least 1, not {threads}")
    stated = os.environ.get("TP_EMBEDDING_CACHE") or str(user.get("embedding_cache", EMBEDDING_CACHE))
    if not stated.isdecimal():
        raise SettingsError(f"embedding_cache is {stated!r}, not a number of bytes; 0 switches it off")
    offline = _flag("TP_OFFLINE")
    if offline is None:
        offline = _flag("HF_HUB_OFFLINE")
    if offline is None:
        offline = bool(user.get("offline", False))
    return Settings(
        model=os.environ.get("TP_MODEL") or str(user.get("model", DEFAULT_MODEL)),
        engine=os.environ.get("TP_ENGINE") or str(user.get("engine", "auto")),
        threads=threads,
        offline=offline,
        embedding_cache=int(stated),
        llama_server=Path(os.environ["TP_LLAMA_SERVER"]) if os.environ.get("TP_LLAMA_SERVER") else None,
        data_home=data or _user_dir("XDG_DATA_HOME", ".local/share", "LOCALAPPDATA"),
        cache_home=cache or _user_dir("XDG_CACHE_HOME", ".cache", "LOCALAPPDATA"),
        config_file=config,
    )
