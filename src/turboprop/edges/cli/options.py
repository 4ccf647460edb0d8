"""Options and argument types that several commands share."""

from __future__ import annotations

import os
import posixpath
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from turboprop import limits
from turboprop.errors import UsageError
from turboprop.printable import echo, printable_message, printable_name
from turboprop.types import WEIGHT_FORMATS

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from turboprop.embed.model import EmbeddingModel
    from turboprop.limits import Range
    from turboprop.rerank.model import Reranker
    from turboprop.workspace.index import Index


if TYPE_CHECKING:
    _WholeType = click.ParamType[int]
    _NumberType = click.ParamType[float]
    _TextType = click.ParamType[str]
    _AnyType = click.ParamType[Any]
else:  # click 8.2 and 8.3 do not take the parameter when it runs
    _WholeType = _NumberType = _TextType = _AnyType = click.ParamType


class Size(_WholeType):
    """Bytes, with a unit or without: 500000, 2mb, 1.5MiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        from turboprop.settings import parse_size

        size = parse_size(str(value))
        if not size:
            self.fail(f"{value!r} is not a size; write it as 500kb, 2mb or 1000000", param, ctx)
        return size


class InRange(_NumberType):
    """A number that `limit` allows; another is refused in its words."""

    name = "number"

    def __init__(self, limit: Range) -> None:
        self._limit = limit

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = value if isinstance(value, int | float) else (float if self._limit.real else int)(value)
        except ValueError:
            number = value
        try:
            self._limit.check(number)
        except UsageError as error:
            self.fail(str(error), param, ctx)
        return number


class Folder(_TextType):
    """A folder, which a shell completes; whether it is there is for the command to say."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value:  # what a variable that is not set comes to must not mean the current folder
            self.fail("the path is empty", param, ctx)
        return str(value)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="dir")]


hits = click.option(
    "--limit", "-n", type=InRange(limits.HITS), default=10, show_default=True, metavar="N", help="Hits at most."
)
repo = click.option(
    "--repo",
    type=Folder(),
    default=".",
    show_default="the current folder",
    metavar="PATH",
    help="The repository's folder, or one inside of it.",
)
repo_if_given = click.option(
    "--repo",
    type=Folder(),
    show_default="the current folder",
    metavar="PATH",
    help="The repository's folder, or one inside of it.",
)
model = click.option("--model", metavar="NAME", help="Embedding model: name, hub id, file or folder.")
adapter = click.option(
    "--adapter", type=Folder(), metavar="PATH", help="LoRA adapter of PEFT's, a folder, that is merged into the model."
)


def model_and_adapter(command: Any) -> Any:
    """`--model` and `--adapter`, together as `model`."""

    @model
    @adapter
    @wraps(command)
    def run(*arguments: Any, model: str | None, adapter: str | None, **others: Any) -> Any:
        if adapter is not None:
            from turboprop.models.naming import adapted_name
            from turboprop.settings import load_settings

            model = adapted_name(model or load_settings().model, adapter)
        return command(*arguments, model=model, **others)

    return run


index_dir = click.option(
    "--index",
    "index_dir",
    metavar="DIR",
    help="Where the index lies [default: .turboprop in the repository].",
)
engine = click.option("--engine", metavar="NAME", help="Engine that runs the model [default: auto].")
weights = click.option(
    "--weights",
    type=click.Choice(WEIGHT_FORMATS),
    help="Weight format in the engine [default: auto].",
)
memory = click.option(
    "--memory",
    type=Size(),
    metavar="SIZE",
    help="Memory that may be used, such as 8gb [default: three quarters of what is free].",
)


class Layers(_AnyType):
    """A number of layers, or `auto`."""

    name = "layers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value != "auto" and not (str(value).isascii() and str(value).isdecimal()):
            self.fail(f"{value!r} is neither a whole number nor auto", param, ctx)
        return value if value == "auto" else int(value)


gpu_layers = click.option(
    "--gpu-layers", type=Layers(), metavar="N", help="Layers that llamacpp puts on a GPU [default: those that fit]."
)
verbose = click.option("--verbose", "-v", is_flag=True, help="Say on stderr which engine was chosen and why.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def repo_or_path(command: Any) -> Any:
    """`[PATH]` and `--repo PATH`, which mean the same, as `repo`; None where neither is given."""

    @click.argument("folder", type=Folder(), required=False, metavar="[PATH]")
    @repo_if_given
    @wraps(command)
    def run(*arguments: Any, folder: str | None, repo: str | None, **others: Any) -> Any:
        if folder and repo and os.path.realpath(folder) != os.path.realpath(repo):
            raise UsageError(f"PATH is {folder} and --repo is {repo}; they mean the same, so give one of them")
        return command(*arguments, repo=folder or repo, **others)

    return run


def words_and_folder(words: tuple[str, ...]) -> tuple[str, str | None]:
    """A text of several words, and the folder that its last word is where that is written as a path (`./app`, `..`,
    `src/app`).

    Other tools take the folder second. A folder's bare name stays a word: `blueprint flask` asks for both, and stderr
    tells how to mean the folder. Raises `UsageError` where what begins with `./` or `../` is nothing that is there.
    """
    # Not pathlib: it raises for a word that is too long for a name, or that begins with the home of nobody.
    last = os.path.expanduser(words[-1]) if len(words) > 1 else ""  # noqa: PTH111
    if (last.startswith(".") or "/" in last or os.sep in last) and os.path.isdir(last):  # noqa: PTH112
        return " ".join(words[:-1]), words[-1]
    if last and os.path.isdir(last):  # noqa: PTH112
        name = printable_name(last)
        echo(f"tp: {name} is taken for a word of the query; the folder of that name is ./{name}", err=True)
    first = os.path.expanduser(words[0]) if len(words) > 1 else ""  # noqa: PTH111
    if ("/" in first or os.sep in first) and os.path.isdir(first):  # noqa: PTH112
        name = printable_name(first)
        echo(f"tp: {name} is taken for a word of the query; a folder to search in comes last", err=True)
    if last.startswith(("./", "../")) and not os.path.lexists(last):
        raise UsageError(f"there is no folder {printable_name(last)}; put the whole query in quotes if it is a word")
    return " ".join(words), None


def last_is_a_file(words: tuple[str, ...]) -> bool:
    """Whether the last of several words is written as a path, and is that of a file: it narrows what is searched."""
    last = words[-1] if len(words) > 1 else ""
    return ("/" in last or os.sep in last) and os.path.isfile(last)  # noqa: PTH113


def seen_from_root(globs: tuple[str, ...], seen_from: str) -> tuple[str, ...]:
    """Globs that begin with `./` or `../`, which are told from the current folder, as they are from the root."""
    told = []
    for glob in globs:
        sign, path = ("!", glob[1:]) if glob.startswith("!") else ("", glob)
        if path.startswith(("./", "../")) and seen_from:
            folder = "/" if path.endswith("/") else ""
            path = "/" + posixpath.normpath(f"{seen_from}/{path}") + folder
        told.append(sign + path)
    return tuple(told)


def narrowing(command: Any) -> Any:
    """`--filetype`, `--lang` and `--filter`, as `filetype`, `lang` and `filters`."""
    for option in (
        click.option(
            "--filter", "filters", multiple=True, metavar="GLOB", help="Only these paths, `!GLOB` excludes; repeatable."
        ),
        click.option("--lang", multiple=True, metavar="NAME", help="Only this language; repeatable."),
        click.option("--filetype", multiple=True, metavar=".EXT", help="Only files with this extension; repeatable."),
    ):
        command = option(command)
    return command


def widening(command: Any) -> Any:
    """`--context` and `--full`."""
    for option in (
        click.option("--full", is_flag=True, help="Show whole definitions, not the part that was found."),
        click.option(
            "--context", type=click.IntRange(min=0), default=0, metavar="N", help="Show N lines before and after a hit."
        ),
    ):
        command = option(command)
    return command


def tell_what_is_left(index: Index) -> None:
    """Say on stderr what of changed files was not brought in before a search, and how far the vectors are."""
    done = index.last_refresh
    if note := index.vectors_note:
        echo(f"tp: {note}; `tp index` goes on with them", err=True)
    if done.failed:
        echo(f"tp: not brought up to date: {printable_message(done.left)}", err=True)
    elif done.left and done.changed:
        said = f"{printable_message(done.left)}: {plural(done.changed, 'file')} may differ from the index"
        echo(f"tp: {said}; `tp index` brings them in", err=True)


def choice_text(model: EmbeddingModel | Reranker) -> str:
    """What runs the model, and why."""
    return f"tp: {model.name} runs in {model.engine}, weights {model.weights}: {model.engine_reason}"


def plural(count: int, noun: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
