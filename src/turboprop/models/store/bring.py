"""Bringing a model into the store: checked first, copied beside, then renamed into place.

A file is taken by reflink where the file system can share blocks, else by hard link, else by copy, so
that importing 5 GB from the same disk costs a hash and no space.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.errors import ModelError, ModelFormatError, ModelNotFoundError
from turboprop.models.catalog import is_repo_name, safe_member
from turboprop.models.hub.files import choose_files
from turboprop.models.json_file import read_json
from turboprop.models.naming import HubReference, parse_name
from turboprop.models.store.archive import is_archive, unpack
from turboprop.models.store.contents import missing_files, split_names
from turboprop.models.store.folder import read_manifest, store_dir, store_lock, write_manifest
from turboprop.models.store.hashes import sha256_file
from turboprop.models.store.weights import check_weights
from turboprop.progress import Transfers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turboprop.models.catalog import Catalog
    from turboprop.progress import DownloadProgress
    from turboprop.settings import Settings

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")
# Linux's ioctl number to share the blocks of one file with another (btrfs, XFS, bcachefs).
_FICLONE = 0x40049409


def import_model(
    path: Path,
    settings: Settings,
    catalog: Catalog,
    *,
    name: str | None = None,
    progress: DownloadProgress | None = None,
) -> HubReference:
    """Bring a .gguf file, a model's folder or an archive of either into the store, under its name.

    Without `name`, the name comes from the Hugging Face cache's layout, from the catalogue (file or
    folder name) or is `local/<file name>`. Raises `ModelNotFoundError` (nothing there, or not a whole
    model), `ModelFormatError` (not what it says it is) and `ModelError` (the store cannot be written).
    """
    path = path.expanduser().absolute()
    if not path.exists():
        raise ModelNotFoundError(
            f"there is nothing at {path} to import; give a .gguf file, a model's folder or an archive of one"
        )
    models_dir = settings.models_dir
    incoming = models_dir / f".incoming-{uuid.uuid4().hex}"
    try:
        incoming.mkdir(parents=True)
        source = path
        if path.is_file() and is_archive(path):
            unpacked = incoming / "archive"
            unpacked.mkdir()
            source = unpack(path, unpacked)
        reference, files = _what_is_it(source, path, catalog, name)
        _bring(reference, files, incoming / "model", models_dir, Transfers(progress))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ModelError(f"the disk of {models_dir} is full; make room, or set TP_HOME elsewhere") from error
        raise ModelError(f"cannot import {path} into {models_dir}: {error}") from error
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return reference


def _what_is_it(source: Path, given: Path, catalog: Catalog, name: str | None) -> tuple[HubReference, dict[str, Path]]:
    """The name it gets, and its files by the name each will have in the store."""
    if source.is_file():
        if source.suffix != ".gguf":
            raise ModelFormatError(
                f"{source} is neither a .gguf file nor an archive; for safetensors give their folder"
            )
        folder, only = source.parent, source.name
    else:
        folder, only = _model_folder(source), ""
    names = [str(file.relative_to(folder).as_posix()) for file in _regular_files(folder)] if not only else []
    if only:
        chosen = split_names(only)
        if lacking := [part for part in chosen if not (folder / part).is_file()]:
            raise ModelNotFoundError(f"{source} is a part of a split model; {', '.join(lacking)} must lie beside it")
    else:
        if missing := missing_files(folder):
            if not any(entry.endswith(".gguf") for entry in names):
                raise ModelNotFoundError(f"{folder} is no whole model: it lacks {', '.join(missing)}")
            names = [entry for entry in names if entry.endswith(".gguf")]
        chosen = choose_files(str(folder), names, "")
    files = {entry: _inside(folder, folder / entry) for entry in chosen}
    for entry, file in files.items():
        if not file.is_file():
            raise ModelFormatError(f"{folder / entry} is no regular file; refused")
        check_weights(file)
        if entry.endswith(".json"):
            read_json(file)
    gguf = next((entry for entry in chosen if entry.endswith(".gguf")), "")
    return _name_it(source, given, gguf, catalog, name), files


def _model_folder(folder: Path) -> Path:
    """The snapshot inside of a `models--owner--name` folder; any other folder is itself."""
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return folder
    found = sorted(snapshots.iterdir(), key=lambda entry: entry.stat().st_mtime_ns)
    if not found:
        raise ModelNotFoundError(f"{folder} holds no snapshot of its model")
    return found[-1]


def _regular_files(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = [entry for entry in folders if not (Path(root) / entry).is_symlink()]
        yield from (Path(root) / entry for entry in files)


def _inside(folder: Path, file: Path) -> Path:
    """Follow a link only to where the Hugging Face cache keeps a snapshot's bytes, or within the folder."""
    try:
        real = file.resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise ModelFormatError(f"{file} leads nowhere ({error}); refused") from None
    allowed = [folder.resolve()]
    if folder.parent.name == "snapshots":
        allowed += [(root / "blobs").resolve() for root in folder.parents[1:3]]
    if not any(real.is_relative_to(root) for root in allowed):
        raise ModelFormatError(f"{file} is a link out of its folder, to {real}; refused (copy it with cp -L)")
    return real


def _name_it(source: Path, given: Path, gguf: str, catalog: Catalog, name: str | None) -> HubReference:
    if name is not None:
        meaning = parse_name(name, catalog)
        if not isinstance(meaning, HubReference):
            raise ModelNotFoundError(f"--name {name!r} is no name: give owner/name or a name of the catalogue")
        if meaning.file and meaning.file != gguf:
            raise ModelFormatError(f"{given} is not {meaning.canonical}: it holds {gguf or 'no .gguf file'}")
        return HubReference(meaning.repo, gguf, meaning.revision, catalog.row_of(meaning.repo, gguf))
    for part in source.parts[::-1]:
        if part.startswith("models--") and is_repo_name(repo := part[8:].replace("--", "/", 1)):
            return _with_row(repo, gguf, catalog)
    stem = given.name
    for suffix in (".tar.gz", ".tar.xz", ".tar.bz2", ".tgz", ".tar", ".zip"):
        stem = stem.removesuffix(suffix)
    if gguf and (row := catalog.find(gguf)) is not None:
        return HubReference(row.repo, gguf, row.revision, row)
    for row in catalog:
        if not gguf and not row.file and row.repo.rpartition("/")[2].casefold() == stem.casefold():
            return HubReference(row.repo, "", row.revision, row)
    own = _NOT_IN_NAMES.sub("-", stem.removesuffix(".gguf")).strip(".-") or "model"
    return _with_row(f"local/{own[:80]}".replace("--", "-").replace("..", "."), gguf, catalog)


def _with_row(repo: str, gguf: str, catalog: Catalog) -> HubReference:
    row = catalog.row_of(repo, gguf)
    return HubReference(repo, gguf, row.revision if row else "main", row)


def _bring(
    reference: HubReference,
    files: dict[str, Path],
    staging: Path,
    models_dir: Path,
    told: Transfers,
) -> None:
    told.start({name: file.stat().st_size for name, file in files.items()})
    staging.mkdir()
    known: dict[str, dict[str, object]] = {}
    pins = reference.row.sha256 if reference.row else {}
    try:
        for name, file in files.items():
            target = staging / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _take(file, target)
            digest = sha256_file(target, lambda count, name=name: told.advance(name, count))  # type: ignore[misc]
            if name in pins and digest != pins[name]:
                raise ModelFormatError(
                    f"{file} is not the {name} of {reference.repo}: its sha256 is {digest}, expected "
                    f"{pins[name]}; give it another name with --name owner/name"
                )
            known[name] = {"size": target.stat().st_size, "sha256": digest}
    finally:
        told.finish()
    with store_lock(models_dir):
        _swap_in(reference.repo, staging, known, models_dir)


def _take(source: Path, target: Path) -> None:
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError), source.open("rb") as data, target.open("wb") as out:
            fcntl.ioctl(out, _FICLONE, data.fileno())
            return
        target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _swap_in(repo: str, staging: Path, known: dict[str, dict[str, object]], models_dir: Path) -> None:
    """Put the new folder in place of the old one; the other models that the old one had stay.

    A repository can hold one folder model and any number of GGUF files.
    """
    home = store_dir(repo, models_dir)
    before = read_manifest(home)
    is_file = all(name.endswith(".gguf") for name in known)
    for name, values in before.items():
        old = home / name
        if (is_file or name.endswith(".gguf")) and name not in known and safe_member(name) and old.is_file():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).hardlink_to(old)
            known[name] = values
    write_manifest(staging, repo, known)
    home.parent.mkdir(parents=True, exist_ok=True)
    if not home.exists():
        staging.rename(home)
        return
    retired = models_dir / f".retired-{repo.replace('/', '--')}"
    home.rename(retired)
    try:
        staging.rename(home)
    except OSError:
        retired.rename(home)
        raise
    shutil.rmtree(retired, ignore_errors=True)
