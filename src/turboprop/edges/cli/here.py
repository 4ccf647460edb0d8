"""`tp` alone: how things stand in this folder and on this machine, and what to do next. Loads no model."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING

from turboprop import __version__
from turboprop.edges.cli.options import plural
from turboprop.errors import IndexNotFoundError, TurboPropError
from turboprop.printable import echo, human_size, printable_message, printable_name

if TYPE_CHECKING:
    from turboprop.settings import Settings
    from turboprop.types import IndexStatus
    from turboprop.workspace.location import Location

_LABEL = 8
_EXAMPLE = 'tp search "what you look for"'


def look_around(server: str) -> None:
    """Print it; `server` says how the one in the background is. What is wrong with one part is told in its place."""
    from turboprop.settings import load_settings

    echo(f"tp {__version__}: local code search and language models\n")
    next_steps = _repository()
    try:
        next_steps += _models(load_settings())
    except TurboPropError as error:
        _line("models", printable_message(str(error)))
    _line("server", server)
    next_steps.append(("tp --help", "all commands"))
    wide = max((len(command) for command, _ in next_steps), default=0) + 2
    for number, (command, why) in enumerate(next_steps):
        text = f"{command:<{wide}}{why}".rstrip()
        parts = [text] if len(text) <= _room() else [command, f"  {why}"]
        for place, part in enumerate(parts):
            echo(f"{'' if number or place else 'next':<{_LABEL}}{part}")


def _repository() -> list[tuple[str, str]]:
    """Tell of the repository of the current folder; the next steps."""
    from turboprop.workspace.index import Index
    from turboprop.workspace.location import Location, repository_here

    try:
        root = repository_here()
        location = Location.around(".")
        if root is None:
            _line("here", f"{printable_name(str(location.root))}: no repository and no index")
            return [("cd REPOSITORY", "then `tp` again")]
        _line("here", printable_name(str(root)))
        try:
            with Index.open(location) as index:
                state = index.status()
        except IndexNotFoundError:
            return _not_indexed(Location.at(root))
    except TurboPropError as error:
        _line("index", printable_message(str(error)))
        return [("tp doctor", "look for what is wrong")]
    return _indexed(state)


def _indexed(state: IndexStatus) -> list[tuple[str, str]]:
    made = f"by {state.model}" if state.dimensions else "by words alone"
    _line("index", f"{plural(state.files, 'file')}, {plural(state.chunks, 'chunk')}, {made}")
    changed = len(state.stale) + len(state.removed)
    if not state.complete or state.vectors_note:
        _line("state", state.vectors_note or "incomplete")
        return [("tp index", "goes on where it stopped"), (_EXAMPLE, "")]
    if changed:
        _line("state", f"{plural(changed, 'file')} changed since")
        return [("tp index", "brings them in; a search does so itself where few changed"), (_EXAMPLE, "")]
    _line("state", "up to date")
    return [(_EXAMPLE, "")]


def _not_indexed(location: Location) -> list[tuple[str, str]]:
    from turboprop.workspace.survey import survey

    files = len(survey(location, location.scope()).walk.files)
    if not files:
        _line("index", "none, and no file to index: `tp index --dry-run` says what is left out")
        return []
    _line("index", f"none yet; {plural(files, 'file')} would be indexed")
    return [("tp index", "index them"), (_EXAMPLE, "asks before it indexes")]


def _models(settings: Settings) -> list[tuple[str, str]]:
    from turboprop.models.inventory import first_language_model, known_models, suggested_language_model

    known = list(known_models(settings))
    here = [model.name for model in known if model.local is not None]
    language = settings.language_model or first_language_model(known)
    names = ", ".join(map(printable_name, here[:4])) + (f" and {len(here) - 4} more" if len(here) > 4 else "")
    _line("models", f"{names or 'none here'}; " + (f"{language} answers `tp ask`" if language else "none that writes"))
    if not language:
        row = suggested_language_model()
        return [(f"tp model download {row.name}", f"{human_size(row.size)}, writes answers for `tp ask`")]
    return [('tp ask "how does it work?"', "")]


def _line(label: str, text: str) -> None:
    """A label and its text, whose further lines are set in."""
    indent = " " * _LABEL
    lines = textwrap.wrap(text, _room(), break_long_words=False, break_on_hyphens=False) or [""]
    echo(f"{label:<{_LABEL}}" + f"\n{indent}".join(lines))


def _room() -> int:
    return max(30, shutil.get_terminal_size().columns - _LABEL - 1)
