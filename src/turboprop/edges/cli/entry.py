"""The entry point: which commands there are, and how errors leave the program.

Exit codes: 0 found or done, 1 nothing found, 2 error or wrong usage, 130 interrupted. Answers go to
stdout, everything else to stderr.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

import click

from turboprop import __version__
from turboprop.errors import TurboPropError
from turboprop.printable import echo, printable_message, printable_name

# A command's module is imported when the command runs; the line here is what `tp --help` prints.
COMMANDS = {
    "index": ("turboprop.edges.cli.index", "Index a repository, or bring its index up to date."),
    "search": ("turboprop.edges.cli.search", "Search a repository by meaning and by words."),
    "grep": ("turboprop.edges.cli.grep", "Find the lines of indexed files that match a regular expression."),
    "symbols": ("turboprop.edges.cli.symbols", "List definitions by name, or what implements a type."),
    "callers": ("turboprop.edges.cli.symbols", "List the calls of a function, method or type, by its name."),
    "similar": ("turboprop.edges.cli.similar", "Find code like that at PATH:LINE."),
    "status": ("turboprop.edges.cli.status", "Show what is indexed and what changed since."),
    "embed": ("turboprop.edges.cli.embed", "Print the vectors of texts."),
    "tokenize": ("turboprop.edges.cli.tokenize", "Print the tokens of a text."),
    "model": ("turboprop.edges.cli.model", "Find, download, check and remove models."),
    "generate": ("turboprop.edges.cli.generate", "Answer a prompt with a language model."),
    "chat": ("turboprop.edges.cli.chat", "Talk with a language model."),
    "ask": ("turboprop.edges.cli.ask", "Answer a question about a repository, with citations."),
    "mcp": ("turboprop.edges.mcp.command", "Serve repositories to coding agents (MCP), or set an agent up."),
    "daemon": ("turboprop.edges.warm.command", "Show or stop the background process that keeps `tp search` warm."),
    "doctor": ("turboprop.edges.cli.doctor", "Look for what is wrong with an index, and mend it."),
    "why": ("turboprop.edges.cli.why", "Say why a file is indexed or not, and as what."),
    "serve": ("turboprop.serve", "Serve models, search and the web page over HTTP."),
    "cache": ("turboprop.edges.cli.cache", "Show, clear, export and import kept vectors."),
    "bench": ("turboprop.edges.cli.bench", "Compare models and modes on your own repository."),
    "config": ("turboprop.edges.cli.config", "Show which settings hold, and where each came from."),
    "trust": ("turboprop.edges.cli.config", "Trust the settings file of a repository."),
    "completion": ("turboprop.edges.cli.completion", "Print the completion script of a shell."),
}

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
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean `tp {near[0]}`?" if near else " See `tp --help`."
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        # click would import every command to print its first line; `tp --help` must stay fast.
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tp", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, envvar="TP_DEBUG", help="Show the traceback of an error.")
@click.pass_context
def tp(ctx: click.Context, debug: bool) -> None:
    """A local runtime for code and language models: index a repository and search it, offline."""
    ctx.obj = {**(ctx.obj or {}), "debug": debug}
    _warn_of_mistyped_variables()


def _warn_of_mistyped_variables() -> None:
    """No error: other programs have variables that begin with TP_, too."""
    if not any(name.startswith("TP_") for name in os.environ):
        return  # `tp COMMAND --help` comes here, and most people have none
    from turboprop.settings import mistyped_variables

    for name, near in mistyped_variables(os.environ).items():
        echo(f"tp: nothing reads the variable {name}; did you mean {near}?", err=True)


def main(argv: Sequence[str] | None = None, *, services: Mapping[str, Any] | None = None) -> None:
    """Run `tp` and exit. Errors of ours become one message and exit code 2.

    `services` reach the commands as `ctx.obj`: `open_index` in place of `Index.open`. There, `main` is this function.
    Whoever gives them is raised a defect, in place of its message.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or os.environ.get("TP_DEBUG", "") not in ("", "0")
    try:
        code = tp.main(arguments, prog_name="tp", standalone_mode=False, obj={"main": main, **(services or {})})
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.Abort:
        code = _interrupted()
    except KeyboardInterrupt:
        code = _interrupted()
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        echo(said.getvalue(), err=True, nl=False)
        code = 2
    except (BrokenPipeError, _OutputClosed):
        # The reader (`head`, a pager) has what it wants; Python must not complain while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except TurboPropError as error:
        if debug:
            raise
        echo(f"tp: {printable_message(str(error))}", err=True)
        code = 2
    except OSError as error:
        if debug:
            raise
        code = _refused_by_the_system(error)
        if code is None and services is not None:
            raise
        code = code or _defect(error)
    except Exception as error:
        if debug or services is not None:
            raise
        code = _defect(error)
    sys.exit(code if isinstance(code, int) else 0)


def _interrupted() -> int:
    echo("tp: interrupted", err=True)
    return 130


def _refused_by_the_system(error: OSError) -> int | None:
    """A file that may not be used, or an output that takes no more, is no defect; None for all else, which is one."""
    if error.filename is not None:
        echo(f"tp: {printable_name(str(error.filename))} cannot be used: {error.strerror}", err=True)
    elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        echo(f"tp: the output cannot be written: {error.strerror}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes the rest while it shuts down
    elif isinstance(error, FileNotFoundError):  # a file would have its name; what is missing is where we are
        echo("tp: the current folder is gone; change to one that is there", err=True)
    else:
        return None
    return 2


def _defect(error: Exception) -> int:
    echo(
        f"tp: unexpected {type(error).__name__}: {printable_message(str(error))}\n"
        "This is a defect of TurboProp. Run the command again with `tp --debug ...` and report what it prints.",
        err=True,
    )
    return 2
