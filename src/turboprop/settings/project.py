"""`.turboprop.toml`: what a repository says of how it wants to be indexed. It came with the repository: untrusted."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from turboprop.errors import SettingsError
from turboprop.files import MOST_BYTES, open_regular
from turboprop.settings.schema import KEYS, Value, from_file, nearest

PROJECT_FILE = ".turboprop.toml"
_LARGEST = 64_000
INDEX_ENTRY = re.compile(
    r"chunks_[0-9a-f]{16}\.(lance|manifest\.json|\d+\.lexicon|adapter)|writer\.(lock|json)|(check|history)\.json|\.gitignore"
    r"|\.new-[0-9a-f]{16}|\.lexicon-\w+"
)
"""What the entries of an index folder are called; `turboprop.index.schema` says what they are."""


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """A repository's settings file as it was read once. `sha256` is of its bytes."""

    path: Path
    root: Path
    sha256: str
    values: dict[str, Value]

    @property
    def needs_trust(self) -> list[str]:
        """The settings of it that hold only once the user trusts the file."""
        return [name for name in self.values if KEYS[name].trust or not self._is_harmless(name)]

    def index_folder(self) -> Path | None:
        """Where it wants the index, absolute; None where it does not say."""
        value = self.values.get("index")
        return Path(os.path.normpath(self.root.absolute() / str(value))) if value is not None else None

    def _is_harmless(self, name: str) -> bool:
        if name == "max_filesize":
            return int(str(self.values[name])) <= MOST_BYTES
        return name != "index" or self._index_is_harmless()

    def _index_is_harmless(self) -> bool:
        """Inside the repository, whatever links there are, and no folder with something else in it.

        The index folder hides itself from Git, and would hide the rest of such a folder.
        """
        folder = self.index_folder()
        assert folder is not None
        root, real = os.path.realpath(self.root), os.path.realpath(folder)
        if not real.startswith(root + os.sep) or ".git" in Path(real).relative_to(root).parts:
            return False
        try:
            names = [entry.name for entry in Path(real).iterdir()]
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return all(INDEX_ENTRY.fullmatch(name) for name in names)


def read_project_file(root: Path) -> ProjectFile | None:
    """The settings file of a repository, checked; None where it has none. Raises `SettingsError`."""
    path = root / PROJECT_FILE
    # Read once: what is trusted by its hash is what is used.
    try:
        with open_regular(path) as file:
            data = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise SettingsError(f"{path} has more than {_LARGEST:,} bytes; it is no settings file")
    found = read_toml(data, path)
    allowed = [name for name, key in KEYS.items() if key.project]
    for name in found:
        if name in KEYS and name not in allowed:
            raise SettingsError(
                f"{path}: {name} is a setting of your own file or of {KEYS[name].variable}, not of a repository"
            )
    return ProjectFile(path, root, hashlib.sha256(data).hexdigest(), checked(found, allowed, path))


def read_toml(data: bytes, path: Path) -> dict[str, object]:
    """The values of a TOML file. Raises `SettingsError`."""
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise SettingsError(f"{path} is not valid TOML: it is nested too deeply") from error


def checked(found: dict[str, object], allowed: list[str], path: Path) -> dict[str, Value]:
    """Each value checked. Raises `SettingsError` for one that cannot be, and for an unknown name."""
    values: dict[str, Value] = {}
    for name, value in found.items():
        if name not in allowed:
            near = nearest(name, allowed)
            hint = f"did you mean {near!r}?" if near else f"known: {', '.join(sorted(allowed))}"
            raise SettingsError(f"{path}: unknown setting {name!r}; {hint}")
        values[name] = from_file(KEYS[name], value, str(path))
    return values
