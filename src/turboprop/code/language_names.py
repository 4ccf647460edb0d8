"""The languages as people call them: `py`, `c++`, `golang`, an extension."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache

from turboprop.code.languages import LANGUAGES

_ALSO = {
    "bash": "shell sh zsh ksh console",
    "c": "ansi-c h",
    "clojure": "clojurescript",
    "cpp": "c++ cplusplus cuda arduino",
    "csharp": "c# c-sharp dotnet",
    "dockerfile": "docker containerfile",
    "elisp": "emacs emacs-lisp lisp",
    "elixir": "phoenix",
    "fsharp": "f# f-sharp",
    "go": "golang",
    "hcl": "terraform",
    "javascript": "node nodejs ecmascript react",
    "kotlin": "kotlinscript",
    "make": "makefile",
    "markdown": "mkdown",
    "objc": "objective-c objectivec obj-c objective-c++ objc++",
    "perl": "perl5",
    "php": "php8",
    "powershell": "pwsh posh",
    "proto": "protobuf protocol-buffers",
    "python": "python3 py3",
    "r": "rlang",
    "ruby": "rails",
    "rust": "rustlang",
    "starlark": "bazel",
    "text": "plaintext plain",
    "typescript": "deno",
    "vim": "viml vimscript",
}
_TELLING = 4
"""Letters of a name from which another one is a slip of it: `pyhton`, but not `pt`."""
_TOGETHER = {"typescript": ("typescript", "tsx")}
"""What one name means that the index tells apart."""


def languages_called(name: str) -> tuple[str, ...]:
    """The languages, as the index names them, that somebody means by a name, an alias or an extension; the name
    itself, in lower case, where nobody is known to."""
    bare = name.strip().lower().lstrip(".")
    known = _known().get(bare, bare)
    return _TOGETHER.get(known, (known,))


def nearest_language(name: str) -> str:
    """The language whose name is written nearly like this one, '' where none is or it is one itself."""
    bare = name.strip().lower().lstrip(".")
    long_enough = [each for each in _known() if len(each) >= _TELLING]
    near = get_close_matches(bare, long_enough, n=1, cutoff=0.7) if bare not in _known() else []
    return _known()[near[0]] if near else ""


@cache
def _known() -> dict[str, str]:
    """Every name by which a language is called; of an extension that several have, it is the first one's."""
    names = {row.name: row.name for row in LANGUAGES.values()}
    for row in LANGUAGES.values():
        for alias in _ALSO.get(row.name, "").split():
            names.setdefault(alias, row.name)
    for row in LANGUAGES.values():
        for extension in row.extensions:
            names.setdefault(extension.lstrip("."), row.name)
    return names
