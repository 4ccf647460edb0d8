"""`tp model`: which models there are, which are here, and bringing, checking and removing them."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from turboprop.edges.cli import options
from turboprop.edges.cli.model_convert import convert
from turboprop.edges.cli.model_inspect import check, inspect
from turboprop.errors import ModelFormatError, ModelNotFoundError, UsageError
from turboprop.printable import echo, echo_json, human_size
from turboprop.settings import Settings, load_settings

if TYPE_CHECKING:
    from turboprop.models.catalog import CatalogRow
    from turboprop.models.endpoint import Endpoint
    from turboprop.models.local import LocalModel


@click.group(name="model")
def model() -> None:
    """Find, download, check and remove models."""


def _facts(
    row: CatalogRow | None, name: str, kind: str | None, size: int, local: LocalModel | None, state: str
) -> dict[str, Any]:
    return {
        "name": row.name if row else name,
        "model": name,
        "kind": kind or "",
        "format": "endpoint"
        if state == "endpoint"
        else "gguf"
        if (local.is_gguf if local else row and row.file)
        else "safetensors",
        "family": row.family if row else "",
        "dimensions": (row.dimensions or None) if row else None,
        "context": (row.context or None) if row else None,
        "pooling": row.pooling if row else "",
        "licence": row.licence if row else "",
        "gated": row.gated if row else False,
        "good_for": row.good_for if row else "",
        "aliases": list(row.aliases) if row else [],
        "prompts": {"query": row.prompts.query, "document": row.prompts.document} if row else {},
        "size": size,
        "state": state,
        "path": (local.endpoint.url if local.endpoint else str(local.path))
        if local
        else row.url or None
        if row
        else None,
    }


@model.command(name="list")
@click.option("--all", "which", flag_value="all", help="Also those that are neither here nor recommended.")
@click.option("--local", "which", flag_value="local", help="Only models that are on this machine.")
@click.option("--remote", "which", flag_value="remote", help="Only models that are not here yet, all of them.")
@options.as_json
def list_models(which: str | None, as_json: bool) -> None:
    """Models that are here, then those to begin with. Exit code 1 when there is none to show."""
    from turboprop.models.inventory import RECOMMENDED, known_models

    models, first_ones = [], set(RECOMMENDED)
    for known in known_models(load_settings()):
        if which in ("local", "remote") and (known.local is not None) != (which == "local"):
            continue
        facts = _facts(known.row, known.canonical, known.kind, known.size, known.local, known.state)
        models.append(facts | {"fits_memory": known.fits_memory})
        if known.row is not None and known.row.own:
            first_ones.add(known.row.name)
    if as_json:
        echo_json(models, indent=2)
    elif models:
        from turboprop.edges.cli.model_table import print_models

        here = [entry for entry in models if entry["state"] != "remote"]
        others = [entry for entry in models if entry["state"] == "remote"]
        first = [entry for entry in others if entry["name"] in first_ones]
        rest = [entry for entry in others if entry["name"] not in first_ones]
        print_models({"on this machine": here, "to begin with": first, "others": rest if which else []})
        if rest and not which:
            echo(f"{len(rest)} more: `tp model list --all`", err=True)
            echo("any model of the hub runs by its owner/name", err=True)
    else:
        echo("no model is here yet; `tp model download minilm` fetches the default one", err=True)
    if not models:
        raise click.exceptions.Exit(1)


@model.command()
@click.argument("name")
@options.as_json
def info(name: str, as_json: bool) -> None:
    """What is known of one model: its card's facts, where it is, its files."""
    from turboprop.models.inventory import kind_here, model_size
    from turboprop.models.local import LocalModel
    from turboprop.models.resolve import look_up

    found = look_up(name, load_settings())
    row = found.row
    if isinstance(found, LocalModel):
        size = model_size(found) if found.endpoint is None else 0
        facts = _facts(row, found.name, kind_here(found), size, found, found.source)
        if found.endpoint is not None:
            facts |= endpoint_facts(found.endpoint)
        facts["commit"] = next((at.name for at in (found.path, *found.path.parents) if _is_snapshot(at)), None)
    else:
        kind, size = (row.kind, row.size) if row else (None, 0)
        facts = _facts(row, found.canonical, kind, size, None, "remote") | {"revision": found.revision}
    if as_json:
        echo_json(facts, indent=2)
        return
    for key, value in facts.items():
        if value not in (None, "", [], {}, False) and key != "prompts":
            text = human_size(value) if key == "size" else ", ".join(value) if key == "aliases" else value
            echo(f"{key.replace('_', ' '):<12}{text}")
    for side, prompt in facts["prompts"].items():
        if prompt:
            echo(f"{side + ' prompt':<16}{prompt!r}")


def endpoint_facts(endpoint: Endpoint) -> dict[str, Any]:
    """How a model behind an address is asked; of its key the variable alone."""
    facts = dataclasses.asdict(endpoint)
    facts["key"] = f"from {endpoint.api_key_env}" if endpoint.api_key_env else "none"
    for name in ("kind", "model", "api_key_env"):
        del facts[name]
    return facts


def _is_snapshot(folder: Path) -> bool:
    return folder.parent.name == "snapshots"


def _find_here(name: str, settings: Settings) -> LocalModel:
    from turboprop.models.local import LocalModel
    from turboprop.models.resolve import look_up

    found = look_up(name, settings)
    if not isinstance(found, LocalModel):
        raise ModelNotFoundError(f"{name} is not on this machine; fetch it with `tp model download {name}`")
    found.check_has_files()
    return found


@model.command()
@click.argument("name")
@options.as_json
def download(name: str, as_json: bool) -> None:
    """Fetch a model, or go on with a fetch that broke; print where it is."""
    from turboprop.edges.cli.download import transfer_progress
    from turboprop.models.resolve import resolve

    settings = load_settings()
    try:
        local = resolve(name, settings, download=False)
        local.check_has_files()
        echo(f"{local.name} is here already ({local.source})", err=True)
    except ModelNotFoundError:
        try:
            local = resolve(name, settings, progress=transfer_progress())
        except KeyboardInterrupt:
            echo(f"stopped; what has arrived is kept: `tp model download {name}` goes on from there", err=True)
            raise
    if as_json:
        echo_json({"model": local.name, "path": str(local.path), "source": local.source}, indent=2)
    else:
        echo(local.path)


@model.command()
@click.argument("name", required=False)
@options.as_json
def verify(name: str | None, as_json: bool) -> None:
    """Hash the files of a model (or of all that are here) again and compare."""
    from turboprop.edges.cli.download import transfer_progress
    from turboprop.models.catalog import load_catalog
    from turboprop.models.inventory import held_models
    from turboprop.models.store.verify import verify_model

    settings = load_settings()
    if name is not None:
        models = [_find_here(name, settings)]
    else:
        models = held_models(settings, load_catalog(settings.config_file))
    results = {found.name: verify_model(found, settings, transfer_progress()) for found in models}
    if as_json:
        echo_json({key: [dataclasses.asdict(check) for check in checks] for key, checks in results.items()}, indent=2)
    else:
        for key, checks in results.items():
            states = [check.state for check in checks]
            counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
            echo(f"{key}: {counted}")
    bad = [
        f"{key}:{check.name} is {check.state}"
        for key, checks in results.items()
        for check in checks
        if check.state in ("wrong", "missing")
    ]
    if bad:
        raise ModelFormatError(f"{'; '.join(bad)}. Remove it with `tp model remove` and download or import it again")
    if not models:
        raise click.exceptions.Exit(1)


@model.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.as_json
def remove(name: str, yes: bool, as_json: bool) -> None:
    """Delete a model's files from this machine."""
    from turboprop.models.inventory import model_size
    from turboprop.models.removal import check_removable, remove_model

    settings = load_settings()
    local = _find_here(name, settings)
    check_removable(local)
    where = "the Hugging Face cache, which other programs share" if local.source == "hub cache" else "the store"
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"removing {local.name} from {where} needs --yes where nobody can be asked")
        question = f"Remove {local.name} ({human_size(model_size(local))}) from {where}?"
        click.confirm(question, abort=True, err=True)
    freed = remove_model(local, settings)
    if as_json:
        echo_json({"model": local.name, "freed": freed}, indent=2)
    else:
        echo(f"removed {local.name}, {human_size(freed)}", err=True)


@model.command(name="import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", help="Its name: owner/name, or one of `tp model list`.")
@options.as_json
def import_path(path: Path, name: str | None, as_json: bool) -> None:
    """Bring a .gguf file, a model's folder or an archive of one into the store."""
    from turboprop.edges.cli.download import transfer_progress
    from turboprop.models.catalog import load_catalog
    from turboprop.models.inventory import use_of
    from turboprop.models.local import find_local
    from turboprop.models.store.bring import import_model

    settings = load_settings()
    catalog = load_catalog(settings.config_file)
    reference = import_model(path, settings, catalog, name=name, progress=transfer_progress())
    local = find_local(reference, settings)
    if local is None:
        raise ModelNotFoundError(f"{path} was imported but another process has removed it since; try again")
    if as_json:
        echo_json({"model": local.name, "path": str(local.path), "source": local.source}, indent=2)
        return
    echo(f"imported as {local.name}", err=True)
    if command := use_of(local, settings, catalog):
        echo(f"use it with: {command}", err=True)
    echo(local.path)


@model.command()
@click.argument("name")
def path(name: str) -> None:
    """Print where a model is: its folder, or its .gguf file."""
    echo(_find_here(name, load_settings()).path)


@model.command()
@options.as_json
def du(as_json: bool) -> None:
    """What the models on this machine take, and what broken downloads left."""
    from turboprop.models.catalog import load_catalog
    from turboprop.models.inventory import held_models, model_size, partial_downloads

    settings = load_settings()
    entries = [
        {"model": local.name, "state": local.source, "size": model_size(local)}
        for local in held_models(settings, load_catalog(settings.config_file))
    ]
    entries += [{"model": repo, "state": "partial", "size": size} for repo, size in partial_downloads().items()]
    entries.sort(key=lambda entry: -int(str(entry["size"])))
    total = sum(int(str(entry["size"])) for entry in entries)
    if as_json:
        echo_json({"total": total, "models": entries}, indent=2)
        return
    from turboprop.edges.cli.model_table import print_table

    rows = [[str(e["model"]), human_size(int(str(e["size"]))), str(e["state"])] for e in entries]
    print_table(["model", "size", "state"], [*rows, ["in all", human_size(total), ""]])


model.add_command(inspect)
model.add_command(check)
model.add_command(convert)
