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


def address_of(path: Path, line: int | None = None) -> str:
    """The URI of a file (and a line of it, which some terminals pass on) where links are taken; '' elsewhere, and for a
    path that no URI can hold."""
    if not takes_links():
        return ""
    try:
        return path.absolute().as_uri() + (f"#L{line}" if line is not None else "")
    except (ValueError, OSError, UnicodeError):
        return ""


def linked(text: str, path: Path) -> str:
    """The text, which is safe for a terminal already, as a link to a file where links are taken."""
    address = address_of(path)
    return f"\x1b]8;;{address}\x1b\\{text}\x1b]8;;\x1b\\" if address else text
