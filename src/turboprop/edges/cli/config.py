"""`tp config`: which settings hold, and where each came from."""

from __future__ import annotations

import contextlib
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
def show(repo: str | None, as_json: bool) -> None:
    """Show every setting with its value, where it came from, and how to set it."""
    from turboprop.settings import KEYS, load_settings, mistyped_variables
    from turboprop.workspace.location import root_around

    settings = load_settings(root_around(repo or "."))
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
@options.index_dir
@click.option("--revoke", is_flag=True, help="Trust them no longer.")
@click.option("--list", "as_list", is_flag=True, help="Show what is trusted.")
@options.as_json
def trust(repo: str | None, index_dir: str | None, revoke: bool, as_list: bool, as_json: bool) -> None:
    """Trust what came with a repository: its settings file, and an index that was not made here.

    Of the settings file that are its model, its engine and where its index goes. Trust holds for both as they are
    now; when they change, it has to be given again. The model of such an index is compared with yours, never loaded.
    """
    from turboprop.errors import SettingsError, UsageError
    from turboprop.index.manifest import foreign_header
    from turboprop.index.provenance import manifest_files
    from turboprop.index.schema import INDEX_FOLDER
    from turboprop.settings import PROJECT_FILE, load_settings, read_project_file, user_data_home
    from turboprop.settings.trust import grant, is_trusted, trusted_files
    from turboprop.settings.trust import revoke as take_back
    from turboprop.workspace.location import index_directory, root_around

    data_home = user_data_home()
    if as_list:
        files = trusted_files(data_home)
        if as_json:
            echo_json([{**dataclasses.asdict(file), "path": str(file.path)} for file in files])
            return
        echo(
            "\n".join(printable_name(str(file.path)) for file in files)
            or "nothing that came with a repository is trusted"
        )
        return
    root = root_around(repo or ".")
    said: list[str] = []
    answer: dict[str, Any] = {}
    tables = []
    if revoke:
        places = [root / PROJECT_FILE]
        with contextlib.suppress(SettingsError):  # a settings file that is none says nothing of an index
            places += manifest_files(index_directory(root, index_dir, load_settings(root)))
        for place in dict.fromkeys([*places, *manifest_files(root / INDEX_FOLDER)]):
            was = take_back(data_home, place)
            if was or place.name == PROJECT_FILE:
                said.append(f"{printable_name(str(place))} is {'no longer' if was else 'not'} trusted")
    else:
        # Everything is read before anything is granted. A settings file says where the index lies only once it is
        # trusted, so an index elsewhere takes a second `tp trust`, and is named by it.
        file = read_project_file(root)
        known = file is not None and is_trusted(data_home, file.path, file.sha256)
        directory = index_directory(root, index_dir, load_settings(root))
        foreign = [(path, found) for path in manifest_files(directory) if (found := foreign_header(path))]
        if file is not None:
            if not known:
                grant(data_home, file.path, file.sha256)
            answer = {"path": str(file.path), "sha256": file.sha256, "settings": file.needs_trust}
            names = ", ".join(f"{name} = {_shown(file.values[name])}" for name in file.needs_trust)
            already = "already " if known else ""
            said.append(f"{file.path} is {already}trusted as it is now: {names or 'nothing in it needs it'}")
        for path, (header, sha256, why) in foreign:
            grant(data_home, path, sha256)
            tables.append({"path": str(path), "sha256": sha256, "model": header.spec.model, "why": why})
            size = f"{options.plural(header.file_count, 'file')}, {options.plural(header.rows, 'chunk')}"
            model = printable_name(header.spec.model)
            said.append(f"{path} is trusted as it is now ({why}): {size}, made with {model}")
    if not said:
        raise UsageError(
            f"{root} has no {PROJECT_FILE}, and no index that was made elsewhere; there is nothing to trust"
        )
    if as_json:
        echo_json({**answer, "tables": tables})
        return
    echo("\n".join(said))
