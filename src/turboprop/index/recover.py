"""What a writer finds when it opens an index, and the way back to what was published.

All of this runs under the writer's lock.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from turboprop.errors import IndexDamagedError, IndexMismatchError, IndexNotFoundError
from turboprop.index.failures import translated
from turboprop.index.lance_table import load_lance, open_version
from turboprop.index.manifest import (
    Header,
    LeftOutFile,
    check_spec,
    read_manifest,
    replace_file,
)
from turboprop.index.schema import IndexSpec, arrow_schema, manifest_file, table_folder, table_name
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
    begun: bool = False


def make_folder(directory: Path) -> None:
    """The index folder, which ignores itself, so that no Git sees it. Raises `StorageError`."""
    with translated(directory, "make the index folder"):
        directory.mkdir(parents=True, exist_ok=True)
        ignore = directory / ".gitignore"
        if not ignore.exists():
            replace_file(ignore, b"*\n")


def open_table(directory: Path, spec: IndexSpec, rebuild: bool) -> OpenedTable:
    """The table of `spec` as it was published, or a new one where there is none or `rebuild` is asked."""
    table = table_name(spec.fingerprint)
    folder = table_folder(directory, table)
    try:
        manifest = read_manifest(manifest_file(directory, table))
        if not rebuild:
            check_spec(manifest.header.spec, spec, directory)
        with translated(directory, "open the index"):
            dataset = open_version(folder)
            if dataset.version != manifest.header.version:
                dataset = restore(folder, manifest.header.version)
            rows = int(dataset.count_rows())
        if rows != manifest.header.rows:
            raise IndexDamagedError(
                f"the index in {directory} has {rows} rows where its manifest says {manifest.header.rows}. "
                "Make it anew with `tp index --rebuild`"
            )
    except IndexNotFoundError:
        return _begin(directory, spec)  # and whatever a writer left that died before its first publish
    except (IndexDamagedError, IndexMismatchError):
        if not rebuild:
            raise
        return _begin(directory, spec)
    if rebuild:
        return _begin_over(directory, spec, manifest.header)
    return OpenedTable(dataset, manifest.header, manifest.files, manifest.left_out)


def restore(folder: Path, version: int) -> Any:
    """The table at a new version with the content of `version`; those between were never published."""
    open_version(folder, version).restore()
    dataset = open_version(folder)
    unpublished = [
        reference["version"] for reference in dataset.version_refs() if version < reference["version"] < dataset.version
    ]
    if unpublished:
        dataset.cleanup_old_versions(versions=unpublished, delete_unverified=True, error_if_tagged_old_versions=False)
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
    empty = arrow_schema(spec.dimensions).empty_table()
    return load_lance().write_dataset(empty, str(folder), mode=mode)
