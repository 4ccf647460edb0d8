"""The entry point: which commands there are, and how errors leave the program.

Exit codes: 0 found or done, 1 nothing found, 2 error or wrong usage, 130 interrupted. Answers go to
stdout, everything else to stderr.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

import click

from turboprop import __version__
from turboprop.errors import TurboPropError
from turboprop.printable import echo, echo_json, printable_message, printable_name

# A command's module is imported when the command runs; the line here is what `tp --help` prints.
GROUPS = {
    "Search": {
        "index": ("turboprop.edges.cli.index", "Index a repository, or bring its index up to date."),
        "search": ("turboprop.edges.cli.search", "Search a repository by meaning and by words."),
        "grep": ("turboprop.edges.cli.grep", "Find the lines of indexed files that match a regular expression."),
        "symbols": ("turboprop.edges.cli.symbols", "List definitions by name, or what implements a type."),
        "callers": ("turboprop.edges.cli.symbols", "List the calls of a function, method or type, by its name."),
        "similar": ("turboprop.edges.cli.similar", "Find code like that at PATH:LINE."),
    },
    "Answers": {
        "ask": ("turboprop.edges.cli.ask", "Answer a question about a repository, with citations."),
        "chat": ("turboprop.edges.cli.chat", "Talk with a language model."),
        "generate": ("turboprop.edges.cli.generate", "Answer a prompt with a language model."),
    },
    "Models": {
        "model": ("turboprop.edges.cli.model", "Find, download, check and remove models."),
        "embed": ("turboprop.edges.cli.embed", "Print the vectors of texts."),
        "tokenize": ("turboprop.edges.cli.tokenize", "Print the tokens of a text."),
        "bench": ("turboprop.edges.cli.bench", "Compare models and modes on your own repository."),
    },
    "Agents and servers": {
        "mcp": ("turboprop.edges.mcp.command", "Serve repositories to coding agents (MCP), or set an agent up."),
        "agents": (
            "turboprop.edges.mcp.agents_command",
            "Tell the coding agents of a repository to search before they grep.",
        ),
        "serve": ("turboprop.serve", "Serve models, search and the web page over HTTP."),
        "daemon": ("turboprop.edges.warm.command", "Show or stop the background process that keeps `tp search` warm."),
    },
    "Upkeep": {
        "status": ("turboprop.edges.cli.status", "Show what is indexed and what changed since."),
        "why": ("turboprop.edges.cli.why", "Say why a file is indexed or not, and as what."),
        "tune": ("turboprop.edges.cli.tune", "Learn from a repository's commits how its questions are meant."),
        "doctor": ("turboprop.edges.cli.doctor", "Look for what is wrong with an index, and mend it."),
        "logs": ("turboprop.edges.warm.command", "Show what the background process wrote."),
        "clean": ("turboprop.edges.cli.clean", "Show what lies where and how large it is; remove what you name."),
        "cache": ("turboprop.edges.cli.cache", "Show, clear, export and import kept vectors."),
        "config": ("turboprop.edges.cli.config", "Show which settings hold, and where each came from."),
        "trust": ("turboprop.edges.cli.config", "Trust the settings file of a repository."),
        "completion": ("turboprop.edges.cli.completion", "Print the completion script of a shell."),
    },
}
COMMANDS = {name: row for group in GROUPS.values() for name, row in group.items()}
EXAMPLES = (
    ("tp index", "index the repository that the current folder is in"),
    ('tp search "where are sessions signed"', "find the code that answers"),
    ("tp mcp install claude", "give the search to a coding agent"),
)

FORMER = {"server": "daemon"}
"""Names of before, which one version still takes: `tp server` and `tp serve` differed by a letter."""


class _OutputClosed(Exception):  # noqa: N818  no error: who reads has what it wants
    """Nobody reads what is printed."""


@contextmanager
def _told_of_a_closed_output() -> Iterator[None]:
    """click and rich end with 1 where nobody reads, which here means that nothing was found."""
    try:
        yield
    except BrokenPipeError as error:
        raise _OutputClosed from error
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            raise _OutputClosed from end
        raise


class _Commands(click.Group):
    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _told_of_a_closed_output():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _told_of_a_closed_output():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        return cast("click.Command", getattr(import_module(COMMANDS[cmd_name][0]), cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in FORMER:
            echo(
                f"tp: `tp {args[0]}` is called `tp {FORMER[args[0]]}` now; the next version forgets the old name",
                err=True,
            )
            args = [FORMER[args[0]], *args[1:]]
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from turboprop.edges.cli.other_words import meant

            args = meant(args, COMMANDS)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        # click would import every command to print its first line; `tp --help` must stay fast.
        with formatter.section("Examples"):
            formatter.write_dl(EXAMPLES, col_max=40 if formatter.width > 70 else 30)
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, line) for name, (_, line) in commands.items()])
        formatter.write_paragraph()
        formatter.write_text("`tp help COMMAND` says what a command takes; `tp` alone says how things stand here.")


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", "-V", prog_name="tp", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, envvar="TP_DEBUG", help="Show the traceback of an error.")
@click.pass_context
def tp(ctx: click.Context, debug: bool) -> None:
    """Local code search and language models: index a repository, search it, ask about it, offline."""
    ctx.obj = {**(ctx.obj or {}), "debug": debug}
    _warn_of_mistyped_variables()
    if ctx.invoked_subcommand is None:
        from turboprop.edges.cli.here import look_around

        look_around(import_module(COMMANDS["daemon"][0]).in_a_line())


def _warn_of_mistyped_variables() -> None:
    """No error: other programs have variables that begin with TP_, too."""
    if not any(name.startswith("TP_") for name in os.environ):
        return  # `tp COMMAND --help` comes here, and most people have none
    from turboprop.settings import mistyped_variables

    for name, near in mistyped_variables(os.environ).items():
        echo(f"tp: nothing reads the variable {name}; did you mean {near}?", err=True)


def main(
    argv: Sequence[str] | None = None,
    *,
    services: Mapping[str, Any] | None = None,
    after: list[list[str]] | None = None,
) -> None:
    """Run `tp` and exit. Errors of ours become one message and exit code 2.

    `services` reach the commands as `ctx.obj`: `open_index` in place of `Index.open`. There, `main` is this function.
    Whoever gives them is raised a defect, in place of its message. To `after` go command lines that the process in the
    background can do once this one has ended.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or os.environ.get("TP_DEBUG", "") not in ("", "0")
    given = {"main": main, **(services or {}), **({"after": after} if after is not None else {})}
    try:
        code = tp.main(arguments, prog_name="tp", standalone_mode=False, obj=given)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        code = done.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = _failed(arguments, "Interrupted", "interrupted", code=130)
    except click.ClickException as error:
        from turboprop.edges.cli.refusals import refusal

        code = _failed(arguments, type(error).__name__, refusal(error, arguments, COMMANDS))
    except (BrokenPipeError, _OutputClosed):
        _drop_the_output()  # the reader (`head`, a pager) has what it wants
        code = 0
    except TurboPropError as error:
        if debug:
            raise
        code = _failed(arguments, type(error).__name__, printable_message(str(error)))
    except OSError as error:
        if debug:
            raise
        code = _refused_by_the_system(arguments, error)
        if code is None and services is not None:
            raise
        code = code or _defect(arguments, error)
    except Exception as error:
        if debug or services is not None:
            raise
        code = _defect(arguments, error)
    sys.exit(code if isinstance(code, int) else 0)


def _failed(arguments: Sequence[str], kind: str, message: str, code: int = 2) -> int:
    """Say an error: to programs that asked for JSON as JSON where they read, to people, and where nobody reads, on
    stderr. Returns `code`."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    wants = {"--json", "--jsonl", "--output=json"} & {*options}
    if wants or ("--output" in options and options[options.index("--output") + 1 :][:1] == ["json"]):
        try:
            echo_json({"error": {"type": kind, "message": message}})
            return code
        except OSError:
            _drop_the_output()
    echo(f"tp: {message}", err=True)
    return code


def _drop_the_output() -> None:
    """What is left of it goes nowhere: Python must not complain while it shuts down."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refused_by_the_system(arguments: Sequence[str], error: OSError) -> int | None:
    """A file that may not be used, or an output that takes no more, is no defect; None for all else, which is one."""
    if error.filename is not None:
        message = f"{printable_name(str(error.filename))} cannot be used: {error.strerror}"
    elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        echo(f"tp: the output cannot be written: {error.strerror}", err=True)
        _drop_the_output()
        return 2
    elif isinstance(error, FileNotFoundError):  # a file would have its name; what is missing is where we are
        message = "the current folder is gone; change to one that is there"
    else:
        return None
    return _failed(arguments, type(error).__name__, message)


def _defect(arguments: Sequence[str], error: Exception) -> int:
    return _failed(
        arguments,
        type(error).__name__,
        f"unexpected {type(error).__name__}: {printable_message(str(error))}\n"
        "This is a defect of TurboProp. Run the command again with `tp --debug ...` and report what it prints.",
    )
