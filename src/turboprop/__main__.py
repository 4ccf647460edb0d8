"""`tp`, and `python -m turboprop`: a search that a running server answers takes a short way, the rest the long one."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run `tp` and exit."""
    try:
        _run(sys.argv[1:])
    except KeyboardInterrupt:  # before the command line is there to take it
        os.write(2, b"tp: interrupted\n")
        sys.exit(130)


def _run(arguments: list[str]) -> None:
    from turboprop.edges.warm import client

    start_one, environment = False, dict(os.environ)
    _escape_what_cannot_be_encoded()
    if client.takes(arguments):
        code, start_one = client.search(arguments)
        if code is not None:
            os._exit(code)  # everything is flushed, and there is nothing to tidy up: 3 ms less
    _replace_missing_streams()
    from turboprop.edges.cli.entry import main as command_line

    after: list[list[str]] = []
    try:
        command_line(arguments, after=after)
    except SystemExit as done:
        if client.hands_over(arguments) and done.code == 0:
            after.append(arguments)
        for rest in after:
            if start_one := not client.hand_over(rest):
                arguments = rest
        if start_one and done.code in (0, 1):
            from turboprop.edges.warm.start import start

            start(arguments, environment)
        raise


def _replace_missing_streams() -> None:
    """A caller may have closed some (`2>&-`): what would be printed there goes nowhere, and is no defect."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  until the end


def _escape_what_cannot_be_encoded() -> None:
    """Names and code hold characters that an output of another encoding than UTF-8 lacks; it shows their numbers."""
    if sys.stdout is not None and sys.stdout.errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
