"""`tp doctor`: is the index what it says, and can this machine use it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from turboprop.edges.cli import options
from turboprop.edges.cli.options import plural
from turboprop.printable import echo, echo_json, human_size, printable_message

if TYPE_CHECKING:
    from turboprop.workspace.diagnosis import Diagnosis


@click.command()
@options.repo_or_path
@options.index_dir
@click.option("--fix", is_flag=True, help="Do what the findings advise, then look again.")
@options.as_json
@click.pass_context
def doctor(ctx: click.Context, repo: str | None, index_dir: str | None, fix: bool, as_json: bool) -> None:
    """Look for what is wrong with an index, its model and the machine, and say how to mend it.

    Ends with 0 when all is well and 1 when there are findings.
    """
    from turboprop.workspace.diagnosis import diagnose, repair
    from turboprop.workspace.location import Location

    location = Location.around(repo or ".", index_dir)
    found = diagnose(location)
    if fix and found.findings:
        _print(found, as_json=False, err=True)
        repair(location, found)
        found = diagnose(location)
    _print(found, as_json=as_json, err=False)
    ctx.exit(1 if found.findings else 0)


def _print(found: Diagnosis, *, as_json: bool, err: bool) -> None:
    if as_json:
        values = dataclasses.asdict(found)
        echo_json({**values, "directory": str(found.directory), "ok": not found.findings})
        return
    for table in found.tables:
        echo(
            f"index    {table.model}: {plural(table.files, 'file')}, {plural(table.rows, 'chunk')}, "
            f"{plural(table.versions, 'version')}, {human_size(table.bytes)}",
            err=err,
        )
    if "engine" in found.model:
        echo(f"model    {found.model['name']} in {found.model['engine']}, {found.model['weights']}", err=err)
    engines = "; ".join(f"{name} ({', '.join(devices)})" for name, devices in found.engines.items())
    echo(f"engines  {engines}", err=err)
    echo(
        f"cache    {plural(found.cache['vectors'], 'vector')}, {human_size(found.cache['bytes'])} of "
        f"{human_size(found.cache['limit'])}",
        err=err,
    )
    memory = f", {human_size(found.memory_free)} of memory" if found.memory_free is not None else ""
    echo(f"free     {human_size(found.disk_free)} of disk{memory}", err=err)
    for finding in found.findings:
        said = printable_message(f"{finding.subject}: {finding.problem}")
        echo(f"WRONG    {said}\n         {printable_message(finding.advice)}", err=err)
    if not found.findings:
        echo("all is well", err=err)
