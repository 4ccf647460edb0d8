"""`tp`, and `python -m turboprop`: a search that a running server answers takes a short way, the rest the long one."""

from __future__ import annotations

import os
import sys

from turboprop.edges.warm import client


def main() -> None:
    """Run `tp` and exit."""
    arguments = sys.argv[1:]
    start_one, environment = False, dict(os.environ)
    if client.takes(arguments):
        code, start_one = client.search(arguments)
        if code is not None:
            os._exit(code)  # everything is flushed, and there is nothing to tidy up: 3 ms less
    _replace_missing_streams()
    from turboprop.edges.cli.entry import main as command_line

    try:
        command_line(arguments)
    except SystemExit as done:
        if start_one and done.code in (0, 1):
            from turboprop.edges.warm.start import start

            start(arguments, environment)
        raise


def _replace_missing_streams() -> None:
    """A caller may have closed some (`2>&-`): what would be printed there goes nowhere, and is no defect."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  until the end


if __name__ == "__main__":
    main()
