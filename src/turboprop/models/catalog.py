"""Which models are known by name: the rows of `catalog.toml` and the user's own `[[models]]`.

A row says where a model's bytes are and what its card states about it. It is a convenience, never a
gate: any `owner/name`, `owner/name:file.gguf` or local path works without one.

Reading the whole catalogue costs about 5 ms; nothing here imports more than the standard library.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from turboprop.errors import SettingsError, UsageError
from turboprop.models.endpoint import checked_url
from turboprop.types import Prompts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from turboprop.models.kind import Kind

CATALOG_FILE = Path(__file__).with_name("catalog.toml")
GOLDEN_TEXT = "hello world"
KINDS = ("embedding", "reranker", "language")
POOLINGS = ("", "cls", "mean", "last")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One model. Zero, empty or False means that the row does not say.

    `repo` is `owner/name` on the hub; `file` is set for GGUF and names one file of it (the first, of a
    split model). `context` is in tokens and is the length that the model's card states for use.
    `size` is approximate, in bytes of what is downloaded. `sha256` maps file names to hashes that are
    known for certain; all other hashes come from the hub's metadata at download. `golden` are the first
    components of the unit vector of `GOLDEN_TEXT` as a document, in float32. `package` is where in an installed
    package the model's files are, `small_package` the one GGUF file of the same model in fewer bits; the extra of this
    project that brings the latter has the row's name.

    A row of the user's own with a `url` has no `repo`: the model runs behind that address under the name `model`, and
    the fields from `url` on say how it is asked (`turboprop.models.endpoint.Endpoint`).
    """

    name: str
    repo: str
    kind: Kind = "embedding"
    file: str = ""
    revision: str = "main"
    aliases: tuple[str, ...] = ()
    family: str = ""
    dimensions: int = 0
    context: int = 0
    pooling: str = ""
    prompts: Prompts = field(default_factory=Prompts)
    size: int = 0
    licence: str = ""
    good_for: str = ""
    package: str = ""
    small_package: str = ""
    gated: bool = False
    sha256: Mapping[str, str] = field(default_factory=dict, hash=False)
    golden: tuple[float, ...] = ()
    own: bool = False
    url: str = ""
    model: str = ""
    api_key_env: str = ""
    normalize: bool = True
    batch: int = 0
    parallel: int = 0
    timeout: int = 0
    requests_per_minute: int = 0
    plain_http: bool = False

    @property
    def canonical(self) -> str:
        """`owner/name`, or `owner/name:file.gguf`, or `url#model`: what this model is called in an index."""
        if self.url:
            return f"{self.url}#{self.model}"
        return f"{self.repo}:{self.file}" if self.file else self.repo

    @property
    def packages(self) -> tuple[str, ...]:
        """Where in installed packages the model may be: `module/file or folder`."""
        return tuple(filter(None, (self.package, self.small_package)))

    @property
    def format(self) -> str:
        """`gguf` or `safetensors`."""
        return "gguf" if self.file else "safetensors"


_FIELD_TYPES: dict[str, type] = {
    "name": str,
    "repo": str,
    "kind": str,
    "file": str,
    "revision": str,
    "aliases": list,
    "family": str,
    "dimensions": int,
    "context": int,
    "pooling": str,
    "prompts": dict,
    "size": int,
    "licence": str,
    "good_for": str,
    "package": str,
    "small_package": str,
    "gated": bool,
    "sha256": dict,
    "golden": list,
    "url": str,
    "model": str,
    "api_key_env": str,
    "normalize": bool,
    "batch": int,
    "parallel": int,
    "timeout": int,
    "requests_per_minute": int,
    "plain_http": bool,
}
_OF_ENDPOINTS = (
    "model",
    "api_key_env",
    "normalize",
    "batch",
    "parallel",
    "timeout",
    "requests_per_minute",
    "plain_http",
)
_OF_FILES = (
    "repo",
    "file",
    "revision",
    "pooling",
    "package",
    "small_package",
    "gated",
    "sha256",
    "golden",
    "size",
    "family",
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_MOST = {"batch": 2_048, "parallel": 64, "timeout": 3_600}


class Catalog:
    """All rows, the user's own first; looked up by any of a row's names, whatever their case."""

    def __init__(self, rows: tuple[CatalogRow, ...]) -> None:
        self.rows = rows
        self._by_name: dict[str, CatalogRow] = {}
        for row in rows:
            for name in _names(row):
                self._by_name.setdefault(name.casefold(), row)

    def __iter__(self) -> Iterator[CatalogRow]:
        return iter(self.rows)

    def find(self, name: str) -> CatalogRow | None:
        """The row of a short name, alias, `owner/name`, `owner/name:file` or bare GGUF file name."""
        return self._by_name.get(name.casefold())

    def row_of(self, repo: str, file: str = "") -> CatalogRow | None:
        """The row of one model of a repository.

        Another GGUF file of a known repository is the same model in another quantisation: it has that row's
        facts, without what is true of one file only.
        """
        row = self.find(f"{repo}:{file}" if file else repo)
        if row is not None:
            return row if bool(row.file) == bool(file) else None
        sibling = self.find(repo)
        if not file or sibling is None or not sibling.file:
            return None
        return replace(sibling, name=f"{repo}:{file}", file=file, aliases=(), size=0, sha256={}, package="")

    def nearest(self, name: str, others: Iterable[str] = (), limit: int = 3) -> list[str]:
        """Short names, and `others`, that look most like `name`, best first."""
        import difflib  # 4 ms, paid by an unknown name only

        wanted = name.casefold()
        scores: dict[str, float] = {}
        words = [(known, row.name) for known, row in self._by_name.items()]
        for known, shown in [*words, *((other.casefold(), other) for other in others)]:
            ratio = difflib.SequenceMatcher(None, wanted, known).ratio()
            if wanted in known or known in wanted:
                ratio = max(ratio, 0.7)
            scores[shown] = max(ratio, scores.get(shown, 0.0))
        # 0.5 keeps `mistal` -> mistral-7b-instruct and drops what shares only a few letters.
        near = [item for item in scores.items() if item[1] >= 0.5]
        return [name for name, _ in sorted(near, key=lambda item: -item[1])[:limit]]


def _names(row: CatalogRow) -> Iterator[str]:
    yield row.name
    yield from row.aliases
    yield row.canonical
    if row.file:
        yield PurePosixPath(row.file).name
        yield PurePosixPath(row.file).stem
    if row.repo:
        yield row.repo  # of several GGUF files of one repository, the first row stands for it


def safe_member(name: str) -> bool:
    """Whether a file name from a hub, an index.json or an archive stays inside its folder.

    Also refuses what only another system would read as leaving it (`C:\\x`, `..\\x`), control
    characters and empty parts, so that one answer holds on every platform.
    """
    if not name or len(name) > 1024 or any(ord(char) < 32 for char in name) or "\\" in name or ":" in name:
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def is_repo_name(name: str) -> bool:
    """Whether `name` can be an `owner/name` of the hub (which allows neither `--` nor `..`)."""
    return len(name) <= 96 and "--" not in name and ".." not in name and _REPO.fullmatch(name) is not None


def _row(values: object, where: str, *, own: bool) -> CatalogRow:
    if not isinstance(values, dict):
        raise SettingsError(f"{where}: a model must be a table [[models]] with at least name and repo")
    label = f"{where}: model {values.get('name', '(without a name)')!r}"
    for key, value in values.items():
        kind = _FIELD_TYPES.get(key)
        if kind is None:
            raise SettingsError(f"{label}: unknown key {key!r}; known: {', '.join(_FIELD_TYPES)}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise SettingsError(f"{label}: {key} must be {kind.__name__}, not {value!r}")
        if isinstance(value, int) and value < 0:
            raise SettingsError(f"{label}: {key} must not be negative")
    fields = dict(values)
    if "url" in fields:
        _check_endpoint(fields, label)
    else:
        _check_files(fields, label)
    for key in ("name", "repo"):
        if not fields.get(key) and not (key == "repo" and "url" in fields):
            raise SettingsError(f"{label}: {key} is missing")
    if fields["repo"] and not is_repo_name(fields["repo"]):
        raise SettingsError(f"{label}: repo must be owner/name, not {fields['repo']!r}")
    file = fields.get("file", "")
    if file and not (safe_member(file) and file.endswith(".gguf")):
        raise SettingsError(f"{label}: file must be the name of a .gguf file inside the repository")
    if fields.get("kind", "embedding") not in KINDS:
        raise SettingsError(f"{label}: kind must be one of {', '.join(KINDS)}")
    if fields.get("pooling", "") not in POOLINGS:
        raise SettingsError(f"{label}: pooling must be one of {', '.join(POOLINGS[1:])}")
    prompts = fields.get("prompts", {})
    if set(prompts) - {"query", "document"} or not all(isinstance(text, str) for text in prompts.values()):
        raise SettingsError(f"{label}: prompts may hold the strings query and document")
    hashes = fields.get("sha256", {})
    if not all(isinstance(value, str) and _SHA256.fullmatch(value) for value in hashes.values()):
        raise SettingsError(f"{label}: sha256 maps a file name to 64 lower-case hexadecimal digits")
    aliases = fields.get("aliases", [])
    if not all(isinstance(alias, str) for alias in aliases):
        raise SettingsError(f"{label}: aliases must be strings")
    golden = fields.get("golden", [])
    if not all(isinstance(value, float) for value in golden):
        raise SettingsError(f"{label}: golden must be decimal fractions")
    fields["golden"] = tuple(golden)
    fields["prompts"] = Prompts(**prompts)
    fields["aliases"] = tuple(aliases)
    return CatalogRow(**fields, own=own)


def _check_endpoint(fields: dict[str, Any], label: str) -> None:
    """A row with a `url`; its address is put in the form that names are compared in. Raises `SettingsError`."""
    if wrong := [key for key in _OF_FILES if key in fields]:
        raise SettingsError(f"{label}: {wrong[0]} is of a model's files, and a row with a url has none")
    if not str(fields.get("model", "")).strip():
        raise SettingsError(f"{label}: model is missing: the name that the server at its url knows the model by")
    if fields.get("api_key_env") and not _VARIABLE.fullmatch(fields["api_key_env"]):
        # It may be the key itself, which is not shown.
        raise SettingsError(f"{label}: api_key_env is the name of the variable that holds the key, not the key")
    for key, most in _MOST.items():
        if fields.get(key, 0) > most:
            raise SettingsError(f"{label}: {key} must be at most {most}, not {fields[key]}")
    try:
        fields["url"] = checked_url(fields["url"], plain_http=fields.get("plain_http", False))
    except UsageError as error:
        raise SettingsError(f"{label}: {error}") from None
    fields["repo"] = ""


def _check_files(fields: dict[str, Any], label: str) -> None:
    if wrong := [key for key in _OF_ENDPOINTS if key in fields]:
        raise SettingsError(f"{label}: {wrong[0]} is of a model behind an address, and the row has no url")


def _read_rows(path: Path, *, own: bool) -> tuple[CatalogRow, ...]:
    try:
        values = tomllib.loads(path.read_text("utf-8")).get("models", [])
    except FileNotFoundError:
        return ()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    if not isinstance(values, list):
        raise SettingsError(f"{path}: models must be an array of tables, [[models]]")
    rows = tuple(_row(value, str(path), own=own) for value in values)
    seen: set[str] = set()
    for row in rows:
        if row.name.casefold() in seen:
            raise SettingsError(f"{path}: two models are named {row.name!r}")
        seen.add(row.name.casefold())
    return rows


@cache
def _built_in() -> tuple[CatalogRow, ...]:
    return _read_rows(CATALOG_FILE, own=False)


def load_catalog(config_file: Path | None = None) -> Catalog:
    """The built-in rows, and before them the user's own from `config_file`; `SettingsError` if bad."""
    own = _read_rows(config_file, own=True) if config_file else ()
    return Catalog(own + _built_in())
