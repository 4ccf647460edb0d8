"""Which settings there are, what they may hold, and where they may stand. docs/settings.md is their manual."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from turboprop.errors import SettingsError
from turboprop.types import WEIGHT_FORMATS

Kind = Literal["text", "choice", "count", "size", "switch", "globs", "count or auto"]
Value = str | int | bool | tuple[str, ...]

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
EMBEDDING_CACHE = 2_000_000_000
SERVER_IDLE = 600
MAX_FILESIZE = 1_000_000

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*(b|k|kb|kib|m|mb|mib|g|gb|gib)?", re.IGNORECASE | re.ASCII)
_UNITS = {
    "": 1,
    "b": 1,
    "k": 10**3,
    "kb": 10**3,
    "kib": 2**10,
    "m": 10**6,
    "mb": 10**6,
    "mib": 2**20,
    "g": 10**9,
    "gb": 10**9,
    "gib": 2**30,
}


@dataclass(frozen=True, slots=True)
class Key:
    """One setting. `default` is as `tp config show` prints it where nothing else was said.

    `project`: it may stand in a repository's file. `trust`: what it says there could run or download
    something, or write elsewhere, so that it holds only once the user trusts the file; for `index` and
    `max_filesize` the value decides (`turboprop.settings.project`).
    """

    name: str
    kind: Kind
    default: Value | None
    project: bool = False
    user: bool = True
    trust: bool = False
    choices: tuple[str, ...] = ()
    least: int = 1

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"TP_{self.name.upper()}"


KEYS = {
    key.name: key
    for key in (
        Key("model", "text", DEFAULT_MODEL, project=True, trust=True),
        Key("language_model", "text", None, project=True, trust=True),
        Key("engine", "text", "auto", project=True, trust=True),
        Key("weights", "choice", "auto", project=True, choices=WEIGHT_FORMATS),
        # Not in the user's file: all repositories would share one folder.
        Key("index", "text", None, project=True, user=False),
        Key("exclude", "globs", (), project=True),
        Key("include", "globs", (), project=True),
        Key("max_filesize", "size", MAX_FILESIZE, project=True),
        Key("limit", "count", None, project=True),
        Key("threads", "count", None),
        Key("memory", "size", None),
        Key("offline", "switch", False),
        Key("embedding_cache", "size", EMBEDDING_CACHE, least=0),
        Key("llama_server", "text", None),
        Key("gpu_layers", "count or auto", "auto", least=0),
        Key("server", "switch", True),
        Key("server_idle", "count", SERVER_IDLE),
        Key("tune", "switch", False),
    )
}


OTHER_VARIABLES = ("TP_HOME", "TP_CACHE", "TP_CONFIG", "TP_DEBUG", "TP_API_KEY", "TP_REMOTE_API_KEY")
"""Variables that are read and are no settings: folders, and what one command alone takes."""

_NEAR = 0.75
"""How alike two names are, of 1, where one is the other mistyped: MODLE and MODEL are 0.8. Other programs have
variables that begin with TP_, too; at difflib's own 0.6, NODE would count as MODEL."""


def mistyped_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that nothing reads and that are nearly known: `{name: the known one}`."""
    known = {name.removeprefix("TP_") for name in (*OTHER_VARIABLES, *(key.variable for key in KEYS.values()))}
    unknown = [
        name for name, value in environment.items() if value and name.startswith("TP_") and name[3:] not in known
    ]
    if not unknown:
        return {}
    from difflib import get_close_matches

    near = {name: get_close_matches(name[3:], known, n=1, cutoff=_NEAR) for name in sorted(unknown)}
    return {name: f"TP_{found[0]}" for name, found in near.items() if found}


def parse_size(text: str) -> int | None:
    """Bytes of `500000`, `2mb` or `1.5MiB`; None for what is no size."""
    match = _SIZE.fullmatch(text.strip())
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()]) if match else None


def from_file(key: Key, value: object, place: str) -> Value:
    """A value of a TOML file, checked. Raises `SettingsError` that names `place`."""
    if key.kind == "switch":
        if isinstance(value, bool):
            return value
        raise SettingsError(f"{place}: {key.name} must be true or false, not {value!r}")
    if key.kind == "globs":
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise SettingsError(f'{place}: {key.name} must be a list of texts such as ["docs/", "*.sql"], not {value!r}')
    if key.kind in ("count", "size", "count or auto") and isinstance(value, int) and not isinstance(value, bool):
        return _at_least(key, value, place)
    if key.kind == "count":
        raise SettingsError(f"{place}: {key.name} must be a whole number, not {value!r}")
    if isinstance(value, str):
        return _from_text(key, value, place)
    wanted = 'a size such as "2mb" or a number of bytes' if key.kind == "size" else "a text"
    raise SettingsError(f"{place}: {key.name} must be {wanted}, not {value!r}")


def from_environment(key: Key, text: str) -> Value | None:
    """The value of an environment variable; None where it is empty and that means nothing."""
    if key.kind == "switch":
        return switch(key.variable, text)
    if not text:
        return None
    if key.kind == "globs":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if key.kind == "count" or (key.kind == "count or auto" and text != "auto"):
        if not (text.isascii() and text.isdecimal() and len(text) < 16):
            raise SettingsError(f"{key.variable}={text!r} is not a whole number of at least {key.least}")
        return _at_least(key, int(text), key.variable)
    return _from_text(key, text, key.variable)


def switch(variable: str, text: str) -> bool:
    """On or off, as people write it in an environment. Raises `SettingsError`."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise SettingsError(f"{variable}={text!r} is neither on nor off; set it to 1 or 0")


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The known name that a misspelt one was meant to be, if any is near."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(names), n=1)
    return near[0] if near else None


def _from_text(key: Key, text: str, place: str) -> Value:
    if key.kind == "size":
        size = parse_size(text)
        if size is None:
            raise SettingsError(f"{place}: {key.name} is {text!r}, which is no size; write 500kb, 2mb or 1000000")
        return _at_least(key, size, place)
    if key.kind == "count or auto" and text != "auto":
        raise SettingsError(f'{place}: {key.name} must be "auto" or a whole number, not {text!r}')
    if key.kind == "choice" and text not in key.choices:
        raise SettingsError(f"{place}: {key.name} is {text!r}; it must be one of {', '.join(key.choices)}")
    if not text or "\0" in text:
        raise SettingsError(f"{place}: {key.name} must be a text that is not empty, not {text!r}")
    return text


def _at_least(key: Key, value: int, place: str) -> int:
    if value < key.least:
        raise SettingsError(f"{place}: {key.name} must be at least {key.least}, not {value}")
    return value
