"""`tp status`: what is indexed, and what changed since."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import click

from turboprop.edges.cli import options
from turboprop.edges.cli.index import left_out_text
from turboprop.edges.cli.options import plural
from turboprop.printable import echo, echo_json, human_size, printable_name


@click.command()
@options.repo_or_path
@options.index_dir
@options.as_json
def status(repo: str | None, index_dir: str | None, as_json: bool) -> None:
    """Show what is indexed and what changed since."""
    from turboprop.workspace.index import Index

    with Index.open(repo or ".", index_dir=index_dir) as index:
        state = index.status()
    if as_json:
        values = dataclasses.asdict(state)
        values["repo"], values["directory"] = str(state.repo), str(state.directory)
        echo_json(values)
        return
    echo(f"index    {state.directory}")
    if state.dimensions:
        echo(f"model    {state.model} ({state.dimensions} dimensions)")
    else:
        echo("model    none: searched by words alone; `tp index --model NAME` adds search by meaning")
    echo(f"content  {plural(state.files, 'file')}, {plural(state.chunks, 'chunk')}, {human_size(state.bytes_on_disk)}")
    echo(f"updated  {_age(time.time() - state.updated)} ago")
    if state.tuned:
        echo(f"tuned    {_tuned_text(state.tuned)}")
    if said := left_out_text(state.left_out):
        echo(f"left out {said}")
    if not state.complete:
        echo("state    incomplete, or cut by older rules: `tp index` completes it")
    elif note := state.vectors_note:
        echo(f"state    {note}; `tp index` goes on")
    elif state.stale or state.removed:
        changed = plural(len(state.stale), "file") + " new or changed"
        gone = f", {len(state.removed):,} removed" if state.removed else ""
        echo(f"state    stale: {changed}{gone}; run `tp index`")
        for path in (*state.stale, *state.removed)[:10]:
            echo(f"         {printable_name(path)}")
    else:
        echo("state    up to date")


def _tuned_text(tuned: Mapping[str, Any]) -> str:
    before, now = tuned["MRR"]
    held, since = plural(tuned["held_out"], "commit"), plural(tuned["commits_since"], "commit")
    return f"MRR of {held} {before:.3f} -> {now:.3f}, learnt from {tuned['learnt_from']:,} others; {since} came since"


def _age(seconds: float) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return plural(int(seconds // size), unit)
    return plural(max(0, int(seconds)), "second")
