"""`tp index --dry-run`: what would be indexed, what is left out, and what it would take."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from turboprop.edges.cli.bars import duration
from turboprop.edges.cli.options import plural
from turboprop.printable import echo, echo_json, human_size, printable_message, printable_name
from turboprop.types import NO_MODEL

if TYPE_CHECKING:
    from turboprop.types import IndexScope
    from turboprop.workspace.location import Location
    from turboprop.workspace.preflight import Estimate


def show_dry_run(
    location: Location,
    model: str | None,
    engine: str | None,
    scope: IndexScope,
    *,
    as_json: bool,
) -> None:
    """Print it; nothing is written or downloaded."""
    from turboprop.workspace.preflight import preflight

    found = preflight(location, model, scope=scope, engine=engine)
    plan = found.preview
    if as_json:
        values = dataclasses.asdict(found)
        echo_json({**values.pop("preview"), **values})
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False)  # a folder may be called [id]
    for note in plan.notes:
        echo(f"tp: {printable_message(note)}", err=True)
    table = Table(title=f"would index {plural(plan.files, 'file')}, {human_size(plan.bytes)}", title_justify="left")
    for heading, justify in (("language", "left"), ("files", "right"), ("size", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for language, (files, size) in plan.languages.items():
        table.add_row(language or "plain text", f"{files:,}", human_size(size))
    console.print(table)
    if plan.left_out:
        table = Table(title="left out (what Git ignores is not listed)", title_justify="left")
        for heading in ("reason", "files", "for example"):
            table.add_column(heading, justify="right" if heading == "files" else "left")
        for reason, (count, examples) in plan.left_out.items():
            table.add_row(reason, f"{count:,}", "\n".join(map(printable_name, examples)))
        console.print(table)
    for title, rows in (("largest folders", found.largest_folders), ("largest files", found.largest_files)):
        if rows:
            table = Table(title=title, title_justify="left", show_header=False)
            table.add_column()
            table.add_column(justify="right")
            for path, size in rows:
                table.add_row(printable_name(path), human_size(size))
            console.print(table)
    echo(_estimate_text(found.estimate))
    for warning in found.warnings:
        echo(f"tp: {printable_message(warning)}", err=True)


def _estimate_text(estimate: Estimate) -> str:
    if not estimate.files:
        return "nothing changed since the last run: nothing would be embedded"
    lines = [f"to read: {plural(estimate.files, 'file')} that are new or changed, {human_size(estimate.bytes)}"]
    if estimate.model == NO_MODEL:
        lines.append(f"by words alone: about {plural(estimate.chunks, 'chunk')}")
    elif estimate.tokens is None or estimate.seconds is None:
        lines.append(
            f"{estimate.model} is not on this machine; about {plural(estimate.chunks, 'chunk')}. "
            f"With it here (`tp model download {estimate.model}`) time and memory are estimated too"
        )
    else:
        lines.append(
            f"with {estimate.model}: about {plural(estimate.chunks, 'chunk')}, {plural(estimate.tokens, 'token')}, "
            f"{duration(estimate.seconds)} on this machine"
        )
    memory = f", {human_size(estimate.memory)} of memory" if estimate.memory else ""
    lines.append(f"about {human_size(estimate.disk)} on disk{memory}")
    return "\n".join(lines)
