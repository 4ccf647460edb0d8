"""Names of files that lead to them, in terminals that take links (OSC 8)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_PROGRAMS = frozenset(["iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "Tabby", "rio", "WarpTerminal"])
_TERMS = ("xterm-kitty", "xterm-ghostty", "alacritty", "foot", "contour", "wezterm")
_VARIABLES = ("KITTY_WINDOW_ID", "WT_SESSION", "KONSOLE_VERSION", "DOMTERM", "WEZTERM_PANE", "GHOSTTY_RESOURCES_DIR")


def takes_links() -> bool:
    """Whether standard output is a terminal that is known to show links: others may print what they do not understand.

    `FORCE_HYPERLINK` says it where nothing is known, 0 that there is none; as for other tools.
    """
    forced = os.environ.get("FORCE_HYPERLINK")
    if forced is not None:
        return forced != "0"
    if not sys.stdout.isatty() or os.environ.get("TERM") == "dumb" or "CI" in os.environ:
        return False
    vte = os.environ.get("VTE_VERSION", "")
    return (
        os.environ.get("TERM_PROGRAM") in _PROGRAMS
        or os.environ.get("TERM", "").startswith(_TERMS)
        or (vte.isdecimal() and int(vte) >= 5000)
        or any(name in os.environ for name in _VARIABLES)
    )


def linked(text: str, path: Path, line: int | None = None) -> str:
    """The text, as a link to a file (at a line, which some terminals pass on) where links are taken.

    `text` is safe for a terminal already. A path that no URI can hold stays as it is.
    """
    if not takes_links():
        return text
    try:
        address = path.absolute().as_uri()
    except (ValueError, OSError, UnicodeError):
        return text
    place = f"#L{line}" if line is not None else ""
    return f"\x1b]8;;{address}{place}\x1b\\{text}\x1b]8;;\x1b\\"
