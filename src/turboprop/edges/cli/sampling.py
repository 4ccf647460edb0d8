"""The options of every command that generates, and what they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from turboprop.edges.cli import options
from turboprop.errors import UsageError

if TYPE_CHECKING:
    from turboprop.generate.model import LanguageModel
    from turboprop.generate.options import GenerationOptions

F = TypeVar("F", bound=Callable[..., Any])

_SAMPLING = (
    click.option("--temperature", type=float, metavar="T", help="0 takes the likeliest token [default: 0.7]."),
    click.option("--top-k", type=int, metavar="N", help="Draw from the N likeliest tokens, 0 from all [default: 40]."),
    click.option("--top-p", type=float, metavar="P", help="Draw from the likeliest that make up P [default: 0.95]."),
    click.option("--min-p", type=float, metavar="P", help="Leave out tokens below P of the likeliest [default: 0.05]."),
    click.option("--repetition-penalty", type=float, metavar="X", help="Above 1 avoids what was said [default: 1]."),
    click.option("--presence-penalty", type=float, metavar="X", help="Taken off tokens of the answer [default: 0]."),
    click.option("--frequency-penalty", type=float, metavar="X", help="The same for each occurrence [default: 0]."),
    click.option("--seed", type=int, metavar="N", help="Draw the same again."),
    click.option("--stop", multiple=True, metavar="TEXT", help="End before this text; repeatable."),
    click.option("--max-tokens", type=int, metavar="N", help="Tokens of the answer at most [default: what fits]."),
    click.option("--reasoning/--no-reasoning", default=None, help="Let models that can think first, or not."),
)
NAMES = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "max_tokens",
    "reasoning",
)
_LOADING = (
    click.option("--model", metavar="NAME", help="Language model [default: the first that is installed]."),
    options.adapter,
    click.option("--context", type=int, metavar="N", help="Tokens of prompt and answer [default: the model's]."),
    options.engine,
    options.weights,
    options.memory,
    options.gpu_layers,
    click.option("--draft", metavar="NAME", help="Small model of the same vocabulary, whose guesses the model checks."),
)


def sampling_options(command: F) -> F:
    """`--temperature` and the like; the command takes them as keywords."""
    for option in reversed(_SAMPLING):
        command = option(command)
    return command


def loading_options(command: F) -> F:
    """`--model` and the like; `--adapter` is a part of `model`."""

    @wraps(command)
    def run(*arguments: Any, model: str | None, adapter: str | None, **others: Any) -> Any:
        if adapter is not None:
            from turboprop.models.inventory import language_model_name
            from turboprop.models.naming import adapted_name
            from turboprop.settings import load_settings

            model = adapted_name(language_model_name(model, load_settings()), adapter)
        return command(*arguments, model=model, **others)

    wrapped: Any = run
    for option in reversed(_LOADING):
        wrapped = option(wrapped)
    return cast("F", wrapped)


def made_options(given: Mapping[str, Any], **more: Any) -> GenerationOptions:
    """The options that were given over the defaults."""
    from turboprop.generate.options import GenerationOptions

    chosen = {name: given[name] for name in NAMES if given.get(name) not in (None, ())}
    return GenerationOptions(**chosen, **more)


def load_language_model(
    model: str | None,
    context: int | None,
    engine: str | None,
    weights: Any,
    memory: int | None,
    gpu_layers: Any,
    draft: str | None,
) -> LanguageModel:
    """Load what `--model` names, else the installed one."""
    from turboprop.edges.cli.download import transfer_progress
    from turboprop.generate.model import LanguageModel
    from turboprop.models.inventory import language_model_name
    from turboprop.settings import load_settings

    settings = load_settings()
    return LanguageModel.load(
        language_model_name(model, settings),
        engine=engine or "auto",
        weights=weights,
        context=context,
        memory=memory,
        gpu_layers=gpu_layers,
        draft=draft,
        progress=transfer_progress(),
        settings=settings,
    )


def text_or_file(value: str | None) -> str | None:
    """`@FILE` stands for the file's content."""
    if value is None or not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {value[1:]}: {error}") from None
