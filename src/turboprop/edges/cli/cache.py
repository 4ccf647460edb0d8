"""`tp cache`: vectors kept for other worktrees, branches and clones, and converted models."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from turboprop.edges.cli import options
from turboprop.edges.cli.options import plural
from turboprop.printable import echo, echo_json, human_size

if TYPE_CHECKING:
    from turboprop.embed.cache import EmbeddingCache

_FILE = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def cache() -> None:
    """Show and clear what is kept; export and import embeddings."""


def _cache() -> EmbeddingCache:
    from turboprop.embed.cache import FILE, EmbeddingCache
    from turboprop.settings import load_settings

    settings = load_settings()
    return EmbeddingCache(settings.cache_home / FILE, settings.embedding_cache)


@cache.command()
@options.as_json
def stats(as_json: bool) -> None:
    """Vectors and converted models that are kept, and their size."""
    from turboprop.engines.graph_cache import converted_stats
    from turboprop.settings import load_settings

    found, converted = _cache().stats(), converted_stats(load_settings().cache_home)
    if as_json:
        models = {**dataclasses.asdict(converted), "path": str(converted.path)}
        echo_json({**dataclasses.asdict(found), "path": str(found.path), "converted": models})
        return
    echo(f"{plural(found.vectors, 'vector')}, {human_size(found.bytes)} of {human_size(found.limit)}")
    echo(found.path)
    echo(f"{plural(converted.models, 'converted model')}, {human_size(converted.bytes)}")
    echo(converted.path)


@cache.command()
@click.option("--converted", is_flag=True, help="Converted models instead; each is converted again when it is used.")
@options.as_json
def clear(converted: bool, as_json: bool) -> None:
    """Remove all vectors; indexes and models are not touched."""
    from turboprop.engines.graph_cache import clear_converted
    from turboprop.settings import load_settings

    freed = clear_converted(load_settings().cache_home) if converted else _cache().clear()
    if as_json:
        echo_json({"freed": freed})
    else:
        echo(f"freed {human_size(freed)}")


@cache.command(name="export")
@_FILE
@options.as_json
def export_file(file: Path, as_json: bool) -> None:
    """Write all of them to FILE, with a checksum, for another machine."""
    from turboprop.embed.cache_file import export_cache

    count = export_cache(_cache(), file)
    if as_json:
        echo_json({"vectors": count})
    else:
        echo(f"{plural(count, 'vector')} written to {file}")


@cache.command(name="import")
@_FILE
@options.as_json
def import_file(file: Path, as_json: bool) -> None:
    """Take those of an exported FILE."""
    from turboprop.embed.cache_file import import_cache

    count = import_cache(_cache(), file)
    if as_json:
        echo_json({"vectors": count})
    else:
        echo(f"{plural(count, 'vector')} taken from {file}")
