"""Hashing a model again and comparing with what was known when it came."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from turboprop.models.catalog import safe_member
from turboprop.models.hub.cache import SHA256_NAME, download_record, record_file
from turboprop.models.store.contents import split_names
from turboprop.models.store.folder import read_manifest, store_dir
from turboprop.models.store.hashes import git_object_id, known_sha256, sha256_file
from turboprop.progress import Transfers
from turboprop.settings.records import RecordError, read_record
from turboprop.types import CacheFault

if TYPE_CHECKING:
    from turboprop.models.local import LocalModel
    from turboprop.progress import DownloadProgress
    from turboprop.settings import Settings

State = Literal["ok", "wrong", "missing", "unknown"]


@dataclass(frozen=True, slots=True)
class FileCheck:
    """One file's verdict. `unknown`: nothing was recorded to compare with."""

    name: str
    state: State
    expected: str = ""
    actual: str = ""


def verify_model(model: LocalModel, settings: Settings, progress: DownloadProgress | None = None) -> list[FileCheck]:
    """Hash every file of a model that is here; the memory of earlier hashes is not asked."""
    if model.endpoint is not None:
        return []
    told = Transfers(progress)
    folder, names = _members(model)
    expected = _expected(model, folder, settings)
    if model.path.is_dir():
        names = sorted({*names, *(name for name in expected if not name.endswith(".gguf"))})
    there = {name: (folder / name).stat().st_size for name in names if (folder / name).is_file()}
    told.start(there)
    try:
        return [_check(folder, name, name in there, expected.get(name, ""), told) for name in names]
    finally:
        told.finish()


def examine_model(model: LocalModel, settings: Settings) -> list[CacheFault]:
    """What of a model's files is not what it was. Hashes every byte (0.1 s for 90 MB).

    A file that nothing was recorded of when it came is held against the hash that was taken at its last use: one that
    changed since and still has its size, time and inode was changed by the disk.
    """
    faults: list[CacheFault] = []
    if model.endpoint is not None:
        return faults
    folder, _ = _members(model)
    for check in verify_model(model, settings):
        path = folder / check.name
        if check.state == "missing":
            faults.append(CacheFault("model", f"{model.name} lacks {check.name}", path))
        elif check.state == "wrong":
            faults.append(CacheFault("model", f"{check.name} of {model.name} has other bytes than were brought", path))
        elif check.state == "unknown":
            known = known_sha256(path, settings.cache_home)
            if known is not None and known != check.actual:
                faults.append(CacheFault("model", f"{check.name} of {model.name} changed since it was used", path))
    return faults


def _check(folder: Path, name: str, there: bool, expected: str, told: Transfers) -> FileCheck:
    if not there:
        return FileCheck(name, "missing", expected)
    path = folder / name
    if len(expected) == 40:
        actual = git_object_id(path)
        told.advance(name, path.stat().st_size)
    else:
        actual = sha256_file(path, lambda count: told.advance(name, count))
    if not expected:
        return FileCheck(name, "unknown", "", actual)
    return FileCheck(name, "ok" if actual == expected else "wrong", expected, actual)


def _members(model: LocalModel) -> tuple[Path, list[str]]:
    if model.path.suffix == ".gguf":
        named = model.source in ("store", "hub cache", "LM Studio")
        relative = model.name.partition(":")[2] if named else model.path.name
        folder = model.path
        for _ in Path(relative).parts:
            folder = folder.parent
        return folder, split_names(relative)
    if model.path.is_file():
        return model.path.parent, [model.path.name]
    files = (path for path in model.path.rglob("*") if path.is_file() and path.suffix != ".gguf")
    names = sorted(path.relative_to(model.path).as_posix() for path in files)
    return model.path, [name for name in names if not name.startswith(".")]


def _expected(model: LocalModel, folder: Path, settings: Settings) -> dict[str, str]:
    """File name to hash: what was recorded, below what the cache's blob names say, below the pins."""
    known: dict[str, str] = {}
    repo = model.name.partition(":")[0]
    if model.source == "store":
        manifest = read_manifest(store_dir(repo, settings.models_dir))
        known = {name: str(values.get("sha256", "")) for name, values in manifest.items() if safe_member(name)}
    elif model.source == "Ollama":
        known = {model.path.name: model.path.name.removeprefix("sha256-")}
    elif model.source == "hub cache":
        try:
            record = read_record(record_file(repo, settings.models_dir), download_record(repo))
            if record["commit"] == folder.name:
                known = {name: str(values["etag"]) for name, values in record["files"].items() if safe_member(name)}
        except (OSError, RecordError, KeyError, TypeError, AttributeError):
            known = {}
        for path in folder.rglob("*"):
            if path.is_symlink():
                blob = path.readlink().name
                if SHA256_NAME.fullmatch(blob) or len(blob) == 40:
                    known[path.relative_to(folder).as_posix()] = blob
    if model.row is not None:
        known.update(model.row.sha256)
    return known
