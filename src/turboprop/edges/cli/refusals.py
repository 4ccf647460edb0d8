"""What click refuses of a command line, in a line for people, and in a second one where to read what would be right."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import click

_PLAINER = (
    (re.compile(r"is not a valid float\."), "is no number"),
    (re.compile(r"is not a valid integer\."), "is no whole number"),
    (re.compile(r"is not in the range x>=(\S+?)\.?$"), r"is less than \1"),
    (re.compile(r"is not in the range (\S+?)<=x<=(\S+?)\.?$"), r"is not from \1 to \2"),
    (re.compile(r"^Invalid value for '\{.*?\}': "), ""),
)
"""click's words, and those that need no knowledge of Python."""


def refusal(error: click.ClickException, arguments: Sequence[str], commands: Collection[str]) -> str:
    """The cause and the next step."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return f"give a command\n{error.format_message()}"
    context = error.ctx if isinstance(error, click.UsageError) else None
    said = error.format_message().strip()
    if isinstance(error, click.MissingParameter) and error.param is not None and context is not None:
        said = f"{error.param.make_metavar(context).removesuffix('...')} is missing"
    for theirs, ours in _PLAINER:
        said = theirs.sub(ours, said)
    if isinstance(error, click.NoSuchOption):
        from turboprop.edges.cli.other_words import option_meant

        if near := option_meant(error.option_name):
            said = f"No such option {error.option_name!r}. {near}"
    # Of an option without its value click does not know the command.
    path = (
        context.command_path if context is not None else " ".join(["tp", *(a for a in arguments[:1] if a in commands)])
    )
    return f"{said}\n`{path} --help` shows what it takes"
