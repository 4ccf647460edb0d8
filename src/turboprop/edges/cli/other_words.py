"""Words of other tools (Ollama, ripgrep, semble, pip): understood where there is the same here, answered where not."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection

from turboprop.errors import UsageError
from turboprop.printable import echo

SAME = {
    "pull": ("model", "download"),
    "list": ("model", "list"),
    "ls": ("model", "list"),
    "models": ("model", "list"),
    "rm": ("model", "remove"),
    "show": ("model", "info"),
    "ps": ("daemon", "status"),
    "stop": ("daemon", "stop"),
    "find": ("search",),
    "query": ("search",),
    "rg": ("grep",),
    "init": ("index",),
    "reindex": ("index",),
    "version": ("--version",),
}
"""What people type who come from elsewhere, and the words of ours that do it."""

ANSWERED = {
    "install": "`tp mcp install claude` gives an agent the search; `tp model download NAME` fetches a model",
    "uninstall": "`tp clean` shows and removes what lies where; `pip uninstall turboprop-local` the program",
    "upgrade": "`pip install --upgrade turboprop-local` brings a newer version",
    "create": "`tp model import FILE --name NAME` takes a model in; sampling is set by options of `tp chat`",
    "cp": "a model has one name here; `tp model import FILE --name NAME` takes a file in under another",
    "push": "nothing is uploaded from here; a model is shared as its file, and `tp model path NAME` says where it is",
    "login": "there is no account; a token for gated models is read from HF_TOKEN",
    "signin": "there is no account; a token for gated models is read from HF_TOKEN",
    "start": "`tp serve` starts the server with the page; the one that keeps `tp search` warm starts by itself",
    "web": "`tp serve` shows the page at http://127.0.0.1:8321",
    "setup": "`tp index` indexes this repository; `tp mcp install claude` sets an agent up",
    "watch": "`tp index --watch` brings in what changes until Ctrl-C",
    "delete": "`tp clean` removes indexes and caches, `tp model remove NAME` a model",
}
"""What has no command of ours that does the same, and what comes near."""

_OPTIONS = {
    "--limit N": ("-k", "--k", "--top-k", "--top_k", "--topk", "--max-results", "--num", "--count", "--results"),
    "--lang NAME": ("-t", "--type", "--language"),
    "--filter GLOB": ("-g", "--glob", "--include", "--path"),
    "--context N": ("-C", "-A", "-B"),
    "--repo PATH": ("--dir", "--directory", "--root", "--cwd", "--folder"),
    "--json": ("--format", "-j"),
    "--output paths": ("-l", "--files-with-matches"),
    "--yes": ("-y", "-f", "--force"),
    "--verbose": ("--debug",),
}


def meant(words: list[str], commands: Collection[str]) -> list[str]:
    """The command line that one means whose first word is none of our commands. Raises `UsageError` with the
    next step where it means none."""
    first, rest = words[0], words[1:]
    if first == "help":
        while rest[:1] == ["help"]:
            rest = rest[1:]
        if not rest:
            return ["--help"]
        ours = rest if rest[0] in commands else [*({**SAME, "run": ("chat",)}.get(rest[0]) or meant(rest, commands))]
        return [*ours, *rest[1:], "--help"]
    if first == "run":
        return _run(rest)
    if first in SAME:
        same = SAME[first]
        if first == "stop":  # of one model, elsewhere; here all go with the process that holds them
            rest = [word for word in rest if word.startswith("-")]
        _tell(first, same)
        return [*same, *rest]
    raise UsageError(_answer(first, rest, commands))


def option_meant(name: str) -> str:
    """What stands here for an option of another tool; '' for one that none has."""
    return next((f"What you look for may be {ours}." for ours, theirs in _OPTIONS.items() if name in theirs), "")


def _run(rest: list[str]) -> list[str]:
    """`run MODEL` talks with a model, which is fetched where it is not here; `run MODEL PROMPT` answers one prompt."""
    if not rest or rest[0].startswith("-"):
        raise UsageError("`tp run` needs a model: `tp run qwen3-1.7b` fetches it and talks; `tp model list` has others")
    name, more = rest[0], rest[1:]
    command = "chat" if not more or more[0].startswith("-") else "generate"
    _tell("run", (command, "--model"))
    return [command, "--model", name, *more]


def _tell(word: str, ours: tuple[str, ...]) -> None:
    """People learn the name; a program that reads stderr is not disturbed."""
    if sys.stderr is not None and sys.stderr.isatty():
        echo(f"tp: `tp {word}` is `tp {' '.join(ours)}` here", err=True, dim=True)


def _answer(first: str, rest: list[str], commands: Collection[str]) -> str:
    from difflib import get_close_matches

    if first in ANSWERED:
        return f"There is no command {first!r}: {ANSWERED[first]}."
    if os.path.isdir(first):  # noqa: PTH112
        return f"{first!r} is a folder: `tp index {first}` indexes it, `tp search WORDS --repo {first}` searches in it."
    if os.path.isfile(first):  # noqa: PTH113
        return f"{first!r} is a file: `tp why {first}` says how it is indexed, `tp similar {first}:1` finds its like."
    # 0.7: "serch" has 0.91 of "search", "where" 0.6 of "serve".
    if near := get_close_matches(first, [*commands, *SAME, "run", "help"], n=1, cutoff=0.7):
        return f"There is no command {first!r}. Did you mean `tp {near[0]}`?"
    if rest or " " in first:
        words = " ".join([first, *rest])
        return f'There is no command {first.split()[0]!r}; `tp search "{words}"` looks for these words.'
    return f"There is no command {first!r}; `tp search {first}` looks for the word, `tp --help` lists the commands."
