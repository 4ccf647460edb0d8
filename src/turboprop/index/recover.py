"""What a writer finds when it opens an index, and the way back to what was published.

All of this runs under the writer's lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from turboprop.errors import (
    IndexDamagedError,
    IndexMismatchError,
    IndexNotFoundError,
    IndexUntrustedError,
    RepositoryIndexError,
    StorageError,
    UsageError,
)
from turboprop.files import open_regular, remove_any, replace_file
from turboprop.index.failures import damaged, translated
from turboprop.index.integrity import StoredFile, check_regular, find_damage, irregular_entries
from turboprop.index.lance_table import delete_versions, load_lance, open_version
from turboprop.index.lease import LATEST
from turboprop.index.lock import LOCK_FILE
from turboprop.index.manifest import (
    Header,
    LeftOutFile,
    check_spec,
    read_manifest,
)
from turboprop.index.provenance import check_owner, manifest_files
from turboprop.index.schema import INDEX_FOLDER, IndexSpec, arrow_schema, manifest_file, table_folder, table_name
from turboprop.settings import user_data_home
from turboprop.settings.project import INDEX_ENTRY
from turboprop.settings.trust import SIGNATURE_DIGITS, is_signed, sign
from turboprop.types import IndexedFile


@dataclass(frozen=True, slots=True)
class OpenedTable:
    """A `lance.LanceDataset` at its newest version, and what is published of it.

    `begun`: the table was begun now and is empty; a header with version 0 names nothing yet, another
    one what readers keep until the first publish.
    """

    dataset: Any
    header: Header
    files: dict[str, IndexedFile]
    left_out: dict[str, LeftOutFile]
    stored: dict[str, StoredFile] = field(default_factory=dict)
    begun: bool = False


IGNORE_ALL = b"*\n"


def make_folder(directory: Path, rebuild: bool = False) -> None:
    """The index folder, which ignores itself, so that no Git sees it.

    Links, pipes and devices in it are refused; with `rebuild` they are removed, and what they name is not touched.
    A folder that holds something else than an index is left as it is. Raises `StorageError`, `IndexUntrustedError`
    and `UsageError`.
    """
    with translated(directory, "make the index folder"):
        manifests = manifest_files(directory)  # refuses a folder that is a link
        directory.mkdir(parents=True, exist_ok=True)
        check_owner(directory)
        names = [entry.name for entry in directory.iterdir()]
        others = sorted(name for name in names if not INDEX_ENTRY.fullmatch(name))
        is_own = directory.name == INDEX_FOLDER or not others
        if rebuild and is_own:
            for found in list(irregular_entries(directory)):
                remove_any(found)
        check_regular(directory)
        if not is_own and not manifests:
            raise UsageError(
                f"{directory} holds other things ({others[0]}), and the folder of an index hides all that is in it "
                "from Git; give one of its own with --index DIR"
            )
        ignore = directory / ".gitignore"
        if is_own and not ignores_all(directory):
            replace_file(ignore, IGNORE_ALL)
        lock = directory / LOCK_FILE
        if lock.exists() and lock.stat().st_nlink > 1:
            lock.unlink()  # a name of some other file
        elif lock.exists() and lock.stat().st_size:
            os.truncate(lock, 0)  # never replaced: a lock is held on the file, not on its name


def ignores_all(directory: Path) -> bool:
    """Whether the folder keeps itself out of Git."""
    try:
        with open_regular(directory / ".gitignore") as stream:
            return stream.read(len(IGNORE_ALL) + 1) == IGNORE_ALL
    except OSError:
        return False


def open_table(directory: Path, spec: IndexSpec, rebuild: bool) -> OpenedTable:
    """The table of `spec` as it was published, or a new one where there is none, where files are cut by other rules
    now, or where `rebuild` is asked.

    `rebuild` also removes tables that cannot be read or are someone else's, whatever their model.
    """
    table = table_name(spec.fingerprint)
    folder = table_folder(directory, table)
    if rebuild:
        _remove_unusable(directory)
    try:
        manifest = read_manifest(manifest_file(directory, table))
        if not rebuild:
            check_spec(manifest.header.spec, spec, directory)
        with translated(directory, "open the index"):
            # Whole, as what is read now may be written again, and then with digests that say it is sound.
            if damage := next(find_damage(folder, manifest.stored), None):
                raise damaged(directory, damage)
            dataset = open_version(folder)
            if not dataset.version == newest_version(folder) == manifest.header.version:
                dataset = restore(folder, manifest.header.version)
            rows = int(dataset.count_rows())
        if rows != manifest.header.rows:
            raise damaged(directory, f"it has {rows} rows where its manifest says {manifest.header.rows}")
    except IndexNotFoundError:
        return _begin(directory, spec)  # and whatever a writer left that died before its first publish
    except (IndexDamagedError, IndexMismatchError, StorageError) as error:
        # Files that may not be read are as good as damaged; a full disk or too many open files are no reason to delete.
        if not rebuild or (isinstance(error, StorageError) and not isinstance(error.__cause__, PermissionError)):
            raise
        return _begin(directory, spec)
    if rebuild or manifest.header.spec.chunker != spec.chunker:  # cut by older rules
        return _begin_over(directory, spec, manifest.header)
    # The model by the name that this user gave it: of a trusted table of someone else what is written next is ours.
    header = replace(manifest.header, spec=spec)
    return OpenedTable(dataset, header, manifest.files, manifest.left_out, manifest.stored)


def _remove_unusable(directory: Path) -> None:
    """Remove the tables that cannot be read, and those that someone else made and the user does not trust."""
    for path in manifest_files(directory):
        try:
            read_manifest(path)
        except (IndexUntrustedError, IndexDamagedError, IndexMismatchError):
            with translated(directory, f"remove {path.name}"):
                path.unlink()
                remove_table(table_folder(directory, path.name.removesuffix(".manifest.json")))


def restore(folder: Path, version: int) -> Any:
    """The table at a new version with the content of `version`; those between were never published."""
    open_version(folder, version).restore()
    dataset = open_version(folder)
    unpublished = [
        reference["version"] for reference in dataset.version_refs() if version < reference["version"] < dataset.version
    ]
    if unpublished:
        delete_versions(dataset, folder, unpublished)
    return dataset


def remove_table(folder: Path) -> None:
    """Delete a table that no reader can hold."""
    if folder.exists():
        shutil.rmtree(folder)


def _begin(directory: Path, spec: IndexSpec) -> OpenedTable:
    """An empty table, in place of one that is missing or cannot be used."""
    table = table_name(spec.fingerprint)
    folder = table_folder(directory, table)
    with translated(directory, "begin the index"):
        manifest_file(directory, table).unlink(missing_ok=True)
        remove_table(folder)
        dataset = _write_empty(folder, spec, "create")
    now = time.time()
    header = Header(spec=spec, table=table, version=0, rows=0, created=now, updated=now)
    return OpenedTable(dataset, header, {}, {}, begun=True)


def _begin_over(directory: Path, spec: IndexSpec, published: Header) -> OpenedTable:
    """An empty version over a sound table: readers keep the published one meanwhile."""
    with translated(directory, "begin the index"):
        dataset = _write_empty(table_folder(directory, published.table), spec, "overwrite")
    header = replace(published, spec=spec, created=time.time())
    return OpenedTable(dataset, header, {}, {}, begun=True)


def _write_empty(folder: Path, spec: IndexSpec, mode: str) -> Any:
    empty = arrow_schema(spec.dimensions).with_metadata({_MADE_WITH: _sealed(spec)}).empty_table()
    return load_lance().write_dataset(empty, str(folder), mode=mode)


_MADE_WITH = b"turboprop"
"""The entry of a table's metadata that says again which model it was made with: a damaged manifest cannot."""


def _sealed(spec: IndexSpec) -> bytes:
    content = json.dumps([spec.model, spec.fingerprint]).encode()
    return sign(user_data_home(), content).encode() + content


def made_with(folder: Path) -> str:
    """The model that a table was made with here, read from the table itself; empty where it does not say so."""
    with contextlib.suppress(RepositoryIndexError), translated(folder.parent, "read the table"):
        sealed = (open_version(folder).schema.metadata or {}).get(_MADE_WITH, b"")
        content = sealed[SIGNATURE_DIGITS:]
        if is_signed(user_data_home(), content, sealed[:SIGNATURE_DIGITS].decode("ascii", "replace")):
            model, fingerprint = json.loads(content)
            if table_folder(folder.parent, table_name(fingerprint)) == folder:
                return str(model)
    return ""


def newest_version(folder: Path) -> int | None:
    """The newest version that a table's folder describes, published or not."""
    versions = [int(found[1]) for name in (folder / "_versions").glob("*") if (found := _VERSION.fullmatch(name.name))]
    return LATEST - min(versions) if versions else None


def right_hint(folder: Path) -> bool:
    """Whether Lance's note of the newest version is there and true; it is a help for object stores, no more."""
    try:
        with open_regular(folder / "_versions" / _HINT) as stream:
            return bool(json.loads(stream.read(100)) == {"version": newest_version(folder)})
    except (OSError, ValueError, RecursionError):
        return False


def mend_hint(folder: Path) -> None:
    """Write that note anew where it is not right. Raises `OSError`."""
    if not right_hint(folder):
        note = json.dumps({"version": newest_version(folder)}, separators=(",", ":"))
        replace_file(folder / "_versions" / _HINT, note.encode("ascii"))


_HINT = "latest_version_hint.json"
_VERSION = re.compile(r"(\d{20})\.manifest")
