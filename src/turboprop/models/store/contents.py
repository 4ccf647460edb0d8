"""What a model's folder must hold to be loadable, judged by names, sizes and indexes alone.

Nothing is opened but the small JSON files that name others; a name that leaves the folder is refused.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from turboprop.errors import ModelFormatError, ModelNotFoundError
from turboprop.models.catalog import safe_member
from turboprop.models.json_file import read_json

SPLIT = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
INDEX_FILE = "model.safetensors.index.json"


def split_names(file: str) -> list[str]:
    """All parts of a split GGUF file, in order; the file alone where it is not one of a split."""
    path = PurePosixPath(file)
    match = SPLIT.fullmatch(path.name)
    if match is None:
        return [file]
    count = int(match["count"])
    return [str(path.with_name(f"{match['stem']}-{n:05d}-of-{count:05d}.gguf")) for n in range(1, count + 1)]


def shard_names(index: Path) -> list[str]:
    """The weight files that a `model.safetensors.index.json` names; each stays in its folder."""
    values = read_json(index)
    weight_map = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelFormatError(f"{index} has no weight_map; get the model again")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if not safe_member(name) or not name.endswith(".safetensors"):
            raise ModelFormatError(f"{index} names {name!r}, which is not a weight file of its folder; refused")
    return names


def _modules(folder: Path) -> list[tuple[str, str]]:
    """(path, type) of each step of a sentence-transformers pipeline; empty for a plain folder."""
    file = folder / "modules.json"
    if not file.is_file():
        return []
    values = read_json(file)
    if not isinstance(values, list):
        raise ModelFormatError(f"{file} is not a list of modules; get the model again")
    modules = []
    for value in values:
        path = value.get("path") if isinstance(value, dict) else None
        kind = value.get("type") if isinstance(value, dict) else None
        if not isinstance(path, str) or not isinstance(kind, str):
            raise ModelFormatError(f"{file} has a module without path or type; get the model again")
        path = "" if path == "." else path.removesuffix("/")
        if path and not safe_member(path):
            raise ModelFormatError(f"{file} names {path!r}, which is outside of its folder; refused")
        modules.append((path, kind.rpartition(".")[2]))
    return modules


def missing_files(folder: Path) -> list[str]:
    """Names of what a Hugging Face folder lacks to be loaded; empty when it is whole.

    Raises `ModelFormatError` for an index that is damaged or points outside of the folder.
    """
    modules = _modules(folder)
    # The first module holds the weights: in the root for most, in `0_Transformer` or the like for some.
    base = modules[0][0] if modules and (folder / modules[0][0]).is_dir() else ""
    static = bool(modules) and modules[0][1] == "StaticEmbedding"
    missing = [] if static or (folder / base / "config.json").is_file() else [_join(base, "config.json")]
    if (folder / base / "model.safetensors").is_file():
        pass
    elif (folder / base / INDEX_FILE).is_file():
        shards = shard_names(folder / base / INDEX_FILE)
        missing += [_join(base, name) for name in shards if not (folder / base / name).is_file()]
    else:
        missing.append(_join(base, "model.safetensors"))
    if not any((folder / at / name).is_file() for at in {base, ""} for name in TOKENIZER_FILES):
        missing.append(_join(base, "tokenizer.json"))
    for path, kind in modules[1:]:
        if kind in ("Pooling", "Dense") and not (folder / path / "config.json").is_file():
            missing.append(_join(path, "config.json"))
        if kind == "Dense" and not any(
            (folder / path / name).is_file() for name in ("model.safetensors", "pytorch_model.bin")
        ):
            missing.append(_join(path, "model.safetensors"))
    return missing


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def find_in_folder(folder: Path, name: str, file: str) -> Path | None:
    """What of a repository's folder is the model: the file of that name (the first part of a split), or without one
    the folder itself, or its only GGUF file. None where that is not whole."""
    if file:
        return folder / file if all((folder / part).is_file() for part in split_names(file)) else None
    return only_gguf(folder, name) if missing_files(folder) else folder


def only_gguf(folder: Path, name: str) -> Path | None:
    """The one GGUF model of a folder (a split counts once, by its first part); None if there is none.

    Several are an error that lists them.
    """
    first: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.gguf")):
        relative = path.relative_to(folder).as_posix()
        first.setdefault(split_names(relative)[0], path)
    if len(first) > 1:
        raise ModelNotFoundError(
            f"{name} holds several models; name one: " + ", ".join(f"{name}:{file}" for file in first)
        )
    return next(iter(first.values()), None)
