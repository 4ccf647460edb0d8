"""The manual page and the shells' completions, made from the commands: share/, which a wheel installs.

    python tools/manual.py            write them
    python tools/manual.py --check    end with 1 where one is not as the commands are now

They lie in the repository because a wheel is built where the commands cannot be imported.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from turboprop import __version__
from turboprop.edges.cli.entry import EXAMPLES, GROUPS, tp

SHARE = Path(__file__).parent.parent / "share"
COMPLETIONS = {
    "bash": "bash-completion/completions/tp",
    "zsh": "zsh/site-functions/_tp",
    "fish": "fish/vendor_completions.d/tp.fish",
}
"""Where the shells look below the `share` of an installation."""


def main(arguments: list[str]) -> int:
    """Write or check the files; returns the exit code."""
    stale = []
    for name, text in files().items():
        path = SHARE / name
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    if "--check" in arguments and stale:
        print(f"not as the commands are now: {', '.join(stale)}; run: python tools/manual.py", file=sys.stderr)
        return 1
    return 0


def files() -> dict[str, str]:
    """Each file's text, by its path below `share`."""
    made = {"man/man1/tp.1": manual()}
    for shell, name in COMPLETIONS.items():
        kind = get_completion_class(shell)
        assert kind is not None
        completion = kind(tp, {}, "tp", "_TP_COMPLETE")
        # `source()` of bash runs the bash of this machine to look at its version.
        made[name] = (completion.source_template % completion.source_vars()).strip() + "\n"
    return made


def commands(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """A command and all below it, with the words that run each."""
    context = click.Context(command, info_name=name, parent=parent)
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None and not found.hidden:
                yield from commands(found, below, context)


def description(command: click.Command) -> list[str]:
    """The paragraphs of a command's help, each on one line."""
    text = re.sub(r"\f.*", "", command.help or "", flags=re.DOTALL)
    return [" ".join(part.replace("\b", "").split()) for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]


def options(command: click.Command, context: click.Context) -> list[tuple[str, str]]:
    """Each option as it is written, with what it does."""
    records = (parameter.get_help_record(context) for parameter in command.get_params(context))
    return [record for record in records if record is not None and record[1]]


def usage(command: click.Command, context: click.Context) -> str:
    """The line that shows how a command is called."""
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def manual() -> str:
    """The page `tp(1)`."""
    lines = [
        f'.TH TP 1 "" "TurboProp {__version__}" "User Commands"',
        ".SH NAME",
        r"tp \- search code by meaning and by words, and run models, on your own machine",
        ".SH SYNOPSIS",
        r"\fBtp\fR [\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]",
        ".SH EXAMPLES",
    ]
    for example, what in EXAMPLES:
        lines += [".TP", rf"\fB{_escaped(example)}\fR", _escaped(what)]
    everything = {path.partition(" ")[2]: (command, context) for path, command, context in commands(tp, "tp")}
    for title, names in GROUPS.items():
        lines.append(f".SH {_escaped(title.upper())}")
        for name, (command, context) in everything.items():
            if name.partition(" ")[0] not in names:
                continue
            lines += [f".SS {_escaped(usage(command, context))}"]
            for paragraph in description(command):
                lines += [".PP", _escaped(paragraph)]
            for option, what in options(command, context):
                lines += [".TP", rf"\fB{_escaped(option)}\fR", _escaped(" ".join(what.split()))]
    lines += [
        ".SH EXIT STATUS",
        "0 found or done, 1 nothing found, 2 error or wrong usage, 130 interrupted.",
        ".SH FILES",
        ".TP",
        r"\fB.turboprop\fR",
        "The index, in the repository that it is of.",
        ".TP",
        r"\fB~/.config/turboprop/config.toml\fR",
        "Settings; another file where TP_CONFIG names one.",
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return r"\&" + text if text.startswith((".", "'")) else text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
