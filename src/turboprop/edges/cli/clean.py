"""`tp clean`: what of TurboProp lies where, how large it is, and removing what one names."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from turboprop.edges.cli import options
from turboprop.edges.cli.options import plural
from turboprop.errors import StorageError, TurboPropError, UsageError
from turboprop.files import remove_any
from turboprop.printable import echo, echo_json, human_size, printable_name

_REMOVABLE = ("index", "vectors", "converted", "downloads")
_AT_WORK_SECONDS = 600
"""A part of a download that was written since may be one that goes on right now."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Something that lies somewhere; `remove` takes it away, or `how` says what does."""

    name: str
    size: int
    path: Path
    note: str
    remove: Callable[[], int] | None = None


@click.command()
@click.argument("what", nargs=-1, type=click.Choice(_REMOVABLE), metavar="[index|vectors|converted|downloads]...")
@options.repo_if_given
@options.index_dir
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.as_json
def clean(what: tuple[str, ...], repo: str | None, index_dir: str | None, yes: bool, as_json: bool) -> None:
    """Show what of TurboProp lies where, or remove what you name.

    `index` is that of the repository, `vectors` those kept for other indexes, `converted` models in the form that their
    engine takes, `downloads` what broken ones left. Files of a repository and models are never touched.
    """
    places = _places(repo or ".", index_dir)
    if not what:
        _show(places, as_json)
        return
    chosen = [place for place in places if place.name in what and place.remove is not None and place.size]
    if chosen and not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"removing {', '.join(what)} needs --yes where nobody can be asked")
        for place in chosen:
            echo(f"{place.name:<11}{human_size(place.size):>10}  {printable_name(str(place.path))}", err=True)
        click.confirm("Remove this?", abort=True, err=True)
    freed = {place.name: place.remove() for place in chosen if place.remove is not None}
    if as_json:
        echo_json({"freed": freed})
    elif any(freed.values()):
        echo(f"freed {human_size(sum(freed.values()))}")
    elif not freed:
        echo(f"nothing to remove: there is no {' and no '.join(what)}", err=True)


def _show(places: list[_Place], as_json: bool) -> None:
    if as_json:
        echo_json([{"name": each.name, "size": each.size, "path": str(each.path)} for each in places])
        return
    for each in places:
        echo(f"{each.name:<11}{human_size(each.size):>10}  {printable_name(str(each.path))}")
        if each.note:
            echo(f"{'':<23}{each.note}")


def _places(repo: str, index_dir: str | None) -> list[_Place]:
    from turboprop.embed.cache import FILE, EmbeddingCache
    from turboprop.engines.graph_cache import clear_converted, converted_stats
    from turboprop.models.catalog import load_catalog
    from turboprop.models.hub.cache import hub_cache_dir
    from turboprop.models.inventory import held_models, model_size, partial_downloads
    from turboprop.settings import load_settings

    settings = load_settings()
    cache = EmbeddingCache(settings.cache_home / FILE, settings.embedding_cache)
    vectors, converted = cache.stats(), converted_stats(settings.cache_home)
    held = held_models(settings, load_catalog(settings.config_file))
    own = [local for local in held if local.source in ("store", "hub cache", "package")]
    config = settings.config_file or settings.data_home / "config.toml"
    data = sum(_size_of(each) for each in _entries(settings.data_home) if each != settings.models_dir)
    return [
        *_index(repo, index_dir),
        _Place("vectors", vectors.bytes, vectors.path, "", cache.clear),
        _Place("converted", converted.bytes, converted.path, "", partial(clear_converted, settings.cache_home)),
        _Place("downloads", sum(partial_downloads().values()), hub_cache_dir(), "", _remove_partial),
        _Place(
            "models", sum(map(model_size, own)), settings.models_dir, "`tp model du` lists them all; `tp model remove`"
        ),
        _Place("your data", data, settings.data_home, "what you trust, your key, the history of chats"),
        _Place("settings", _size_of(config), config, ""),
    ]


def _index(repo: str, index_dir: str | None) -> list[_Place]:
    from turboprop.workspace.location import Location

    try:
        location = Location.around(repo, index_dir)
    except TurboPropError:
        return []
    directory = location.directory
    size = sum(map(_size_of, _index_entries(directory))) or _size_of(directory)  # of none of ours, which is said
    return [_Place("index", size, directory, "", partial(_remove_index, directory))]


def _index_entries(directory: Path) -> list[Path]:
    """What of a folder is an index's, manifests first; a user may keep other things in it, `.gitignore` among them."""
    from turboprop.index.recover import ignores_all
    from turboprop.settings.project import INDEX_ENTRY

    found = [path for path in _entries(directory) if INDEX_ENTRY.fullmatch(path.name)]
    ours = [path for path in found if path.name != ".gitignore" or ignores_all(directory)]
    return sorted(ours, key=lambda path: not path.name.endswith(".manifest.json"))


def _remove_index(directory: Path) -> int:
    """Raises `UsageError` for a folder that holds no index, `IndexBusyError` where one is being written."""
    from turboprop.index.holder import HOLDER_FILE
    from turboprop.index.lock import LOCK_FILE, WriterLock
    from turboprop.index.manifest import index_tables

    if directory.is_symlink() or not index_tables(directory):
        raise UsageError(f"{directory} holds no index of ours; it is left as it is")
    size = 0
    try:
        with WriterLock(directory):
            for path in _index_entries(directory):
                if path.name not in ((LOCK_FILE, HOLDER_FILE) if os.name == "nt" else (HOLDER_FILE,)):
                    size += _size_of(path)
                    remove_any(path)
        if os.name == "nt":
            remove_any(directory / LOCK_FILE)  # which no one removes there while it is open
        left = sorted(path.name for path in _entries(directory))
        if not left:
            directory.rmdir()
    except OSError as error:
        raise StorageError(f"{directory} cannot be removed: {error.strerror or error}") from error
    if left:
        names = ", ".join(map(printable_name, left[:3])) + (", ..." if len(left) > 3 else "")
        echo(f"tp: {printable_name(str(directory))} stays, for it holds what is not the index's: {names}", err=True)
    return size


def _remove_partial() -> int:
    from turboprop.models.inventory import partial_files

    freed, in_use, failed = 0, 0, 0
    for part, status in partial_files().items():
        if time.time() - status.st_mtime <= _AT_WORK_SECONDS:
            in_use += 1
            continue
        try:
            part.unlink(missing_ok=True)
            freed += status.st_size
        except OSError:
            failed += 1
    if in_use:
        echo(f"tp: {plural(in_use, 'part')} of downloads may be in use: written to in the last ten minutes", err=True)
    if failed:
        echo(f"tp: {plural(failed, 'part')} of downloads cannot be removed", err=True)
    return freed


def _entries(folder: Path) -> list[Path]:
    return [*folder.iterdir()] if folder.is_dir() else []


def _size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder; links are not followed, and what is not there has none."""
    paths: list[Any] = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    total = 0
    for each in paths:
        try:
            total += each.lstat().st_size if each.is_file() else 0
        except OSError:
            continue
    return total
