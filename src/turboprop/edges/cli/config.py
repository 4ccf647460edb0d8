"""`tp config`: which settings hold, and where each came from."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from turboprop.edges.cli import options
from turboprop.printable import echo, echo_json, printable_name

if TYPE_CHECKING:
    from turboprop.settings import Settings


@click.group()
def config() -> None:
    """Show which settings hold, and where they came from."""


@config.command()
@options.repo_or_path
@options.as_json
def show(repo: str, as_json: bool) -> None:
    """Show every setting with its value, where it came from, and how to set it."""
    from turboprop.repository import checked_repo
    from turboprop.settings import KEYS, load_settings, mistyped_variables

    settings = load_settings(checked_repo(repo))
    mistyped = mistyped_variables(os.environ)
    rows = [(name, getattr(settings, name), _origin(settings, name), key.variable) for name, key in KEYS.items()]
    if as_json:
        values = {
            name: {"value": _plain(value), "from": settings.origins[name], "variable": variable}
            for name, value, _, variable in rows
        }
        folders = {"data": settings.data_home, "cache": settings.cache_home, "config_file": settings.config_file}
        places = {name: _plain(place) for name, place in folders.items()}
        echo_json({"settings": values, "untrusted": list(settings.untrusted), "mistyped": mistyped, **places})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("setting", "value", "from", "variable"):
        table.add_column(heading, overflow="fold")
    for name, value, origin, variable in rows:
        table.add_row(name, _shown(value), printable_name(origin), variable)
    Console(markup=False).print(table)
    echo(f"\nyour file   {settings.config_file}{'' if _exists(settings.config_file) else ' (not there)'}")
    if settings.project is not None:
        echo(f"repository  {settings.project.path}")
    echo(f"models      {settings.models_dir}\ncache       {settings.cache_home}")
    for name, near in mistyped.items():
        echo(f"mistyped    {name}, which nothing reads; {near} is a setting")


def _origin(settings: Settings, name: str) -> str:
    if name in settings.untrusted:
        return f"{settings.origins[name]} (the repository's is not trusted)"
    return settings.origins[name]


def _shown(value: Any) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    return printable_name(", ".join(value) if isinstance(value, tuple) else str(value))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


def _exists(path: Path | None) -> bool:
    return path is not None and path.exists()


@click.command()
@options.repo_or_path
@click.option("--revoke", is_flag=True, help="Trust it no longer.")
@click.option("--list", "as_list", is_flag=True, help="Show which files are trusted.")
@options.as_json
def trust(repo: str, revoke: bool, as_list: bool, as_json: bool) -> None:
    """Trust the settings file of a repository: its model, its engine, where its index goes.

    Trust holds for the file as it is now; when it changes, it has to be given again.
    """
    from turboprop.errors import UsageError
    from turboprop.repository import checked_repo
    from turboprop.settings import PROJECT_FILE, load_settings, read_project_file
    from turboprop.settings.trust import grant, is_trusted, trusted_files
    from turboprop.settings.trust import revoke as take_back

    data_home = load_settings().data_home
    if as_list:
        files = trusted_files(data_home)
        if as_json:
            echo_json([{**dataclasses.asdict(file), "path": str(file.path)} for file in files])
            return
        echo("\n".join(str(file.path) for file in files) or "no settings file of a repository is trusted")
        return
    root = checked_repo(repo)
    if revoke:
        was = take_back(data_home, root / PROJECT_FILE)
        echo(f"{root / PROJECT_FILE} is {'no longer' if was else 'not'} trusted")
        return
    file = read_project_file(root)
    if file is None:
        raise UsageError(f"{root} has no {PROJECT_FILE}; there is nothing to trust")
    known = is_trusted(data_home, file)
    if not known:
        grant(data_home, file)
    if as_json:
        echo_json({"path": str(file.path), "sha256": file.sha256, "settings": file.needs_trust})
        return
    names = ", ".join(f"{name} = {_shown(file.values[name])}" for name in file.needs_trust)
    echo(f"{file.path} is {'already ' if known else ''}trusted as it is now: {names or 'nothing in it needs it'}")
