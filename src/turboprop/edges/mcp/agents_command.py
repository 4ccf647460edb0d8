"""`tp agents`: tell the coding agents of a repository to search before they grep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from turboprop.printable import echo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from turboprop.edges.mcp.agent_files import Change

_REPO = click.option("--repo", default=".", metavar="PATH", help="The repository  [default: this folder's].")
_SESSIONS = "agent-sessions.json"
_MOST_SESSIONS = 50
_OFFER = (
    "search_code of the MCP server turboprop (or `tp search`) finds code by meaning and by words; grep_code (or "
    "`tp grep`) gives matching lines with definitions first. Prefer them where you do not know the exact text."
)


@click.group("agents")
def agents() -> None:
    """Tell the coding agents of a repository of the search, in the files that they read."""


@agents.command()
@_REPO
@click.option("--hook/--no-hook", default=True, help="With a hook that offers the search before grep  [default: with].")
@click.option("--print", "print_only", is_flag=True, help="Show what would be written, and write nothing.")
def init(repo: str, hook: bool, print_only: bool) -> None:
    """Write a section for AGENTS.md or CLAUDE.md, a skill, a sub-agent and a hook. What others wrote stays as it is."""
    from turboprop.edges.mcp.agent_files import parts, write
    from turboprop.workspace.location import root_around

    root = root_around(repo)
    if print_only:
        for file, text in parts(root, hook=hook):
            echo(f"for {file}:", err=True)
            echo(text)
        return
    _tell(write(root, hook=hook))
    echo("next: `tp mcp install AGENT` gives an agent the tools; start the agent anew")


@agents.command()
@_REPO
def remove(repo: str) -> None:
    """Take out what `init` wrote, and nothing else. Exit code 1 where nothing was there."""
    from turboprop.edges.mcp.agent_files import remove as take_out
    from turboprop.workspace.location import root_around

    if not _tell(take_out(root_around(repo))):
        echo("nothing of TurboProp's is in the files of agents here", err=True)
        raise SystemExit(1)


@agents.command(hidden=True)
def hook() -> None:
    """What an agent runs before its own grep: offers the search once in a session, never fails, and stops nothing."""
    import json
    import sys
    from contextlib import suppress
    from hashlib import sha256

    from turboprop.files import open_regular, replace_file
    from turboprop.settings import load_settings

    with suppress(Exception):  # an agent works on, whatever is wrong here
        asked = json.loads(sys.stdin.buffer.read(1_000_000))
        session = sha256(str(asked.get("session_id")).encode()).hexdigest()[:16]
        file = load_settings().cache_home / _SESSIONS
        known: list[str] = []
        with suppress(OSError, ValueError), open_regular(file) as stream:
            known = [str(each) for each in json.loads(stream.read(100_000))]
        if session in known:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps([*known, session][-_MOST_SESSIONS:]).encode(), mode=0o600)
        echo(json.dumps({"hookSpecificOutput": {"hookEventName": "PreToolUse", "additionalContext": _OFFER}}))


def _tell(changes: Iterable[Change]) -> bool:
    """Say what became of each file; whether anything was said."""
    told = False
    for change in changes:
        told = True
        echo(f"{change.done}: {change.file}" + (f": {change.why}" if change.why else ""))
    return told
