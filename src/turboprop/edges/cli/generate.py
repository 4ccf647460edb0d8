"""`tp generate`: one answer of a language model."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

import click

from turboprop.edges.cli.input import text_or_input
from turboprop.edges.cli.sampling import (
    load_language_model,
    loading_options,
    made_options,
    sampling_options,
    text_or_file,
)
from turboprop.errors import UsageError
from turboprop.printable import echo, echo_json, printable

if TYPE_CHECKING:
    from turboprop.generate.events import DoneEvent, Generation, GenerationEvent


@click.command()
@click.argument("prompt", nargs=-1)
@click.option("--system", metavar="TEXT", help="What the model is told before the prompt.")
@click.option("--raw", is_flag=True, help="Continue the prompt as a text, without the model's chat template.")
@loading_options
@sampling_options
@click.option("--logprobs", type=int, metavar="N", help="With JSON: logarithms of the N likeliest tokens' probability.")
@click.option("--json-schema", metavar="JSON", help="Answer in JSON of this schema; @FILE reads it.")
@click.option("--grammar", metavar="GBNF", help="Answer in this grammar; @FILE reads it.")
@click.option("--show-reasoning", is_flag=True, help="Print what the model thinks, on stderr.")
@click.option("--stats", is_flag=True, help="Print tokens and speed on stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--jsonl", "as_jsonl", is_flag=True, help="Print each event as a JSON object on a line.")
def generate(
    prompt: tuple[str, ...],
    system: str | None,
    raw: bool,
    model: str | None,
    context: int | None,
    engine: str | None,
    weights: Any,
    memory: int | None,
    gpu_layers: Any,
    draft: str | None,
    logprobs: int | None,
    json_schema: str | None,
    grammar: str | None,
    show_reasoning: bool,
    stats: bool,
    as_json: bool,
    as_jsonl: bool,
    **sampling: Any,
) -> None:
    """Answer PROMPT, or what comes on standard input, with a language model that runs here."""
    if as_json and as_jsonl:
        raise UsageError("--json and --jsonl exclude each other; give one")
    if raw and system is not None:
        raise UsageError("--raw continues a text, which has no place for --system; give one")
    wishes = made_options(
        sampling,
        logprobs=logprobs,
        json_schema=text_or_file(json_schema),
        grammar=text_or_file(grammar),
    )
    text = text_or_input(prompt)
    if not text.strip():
        raise UsageError("the prompt is empty")
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages.append({"role": "user", "content": text})
    with load_language_model(model, context, engine, weights, memory, gpu_layers, draft) as loaded:
        asked: Any = text if raw else messages
        if as_json:
            echo_json({"model": loaded.name, **generation_object(loaded.generate(asked, wishes))})
            return
        thinking, ended = False, True
        with loaded.stream(asked, wishes) as stream:
            for event in stream:
                if as_jsonl:
                    echo_json(event_object(event))
                    continue
                kind = type(event).__name__
                if kind == "ReasoningEvent" and show_reasoning:
                    echo(event.text, nl=False, err=True)  # type: ignore[union-attr]
                    thinking = True
                elif kind == "TextEvent":
                    if thinking:
                        echo(err=True)
                        thinking = False
                    shown = printable(event.text) if sys.stdout.isatty() else event.text  # type: ignore[union-attr]
                    click.echo(shown, nl=False)
                    ended = event.text.endswith("\n")  # type: ignore[union-attr]
                elif kind == "DoneEvent":
                    if not ended:
                        echo()
                    if stats:
                        echo(stats_line(event), err=True)  # type: ignore[arg-type]


def event_object(event: GenerationEvent) -> dict[str, Any]:
    """An event as JSON: `type` is text, reasoning or done."""
    kind = type(event).__name__.removesuffix("Event").lower()
    values = _values(event)
    if not values.get("logprobs", True):
        del values["logprobs"]
    return {"type": kind, **values}


def generation_object(answer: Generation) -> dict[str, Any]:
    """An answer as JSON; what is empty is left out."""
    values = _values(answer)
    return {name: value for name, value in values.items() if name == "text" or value not in ("", (), None)}


def _values(told: GenerationEvent | Generation) -> dict[str, Any]:
    """The fields, with the texts of tokens and without their bytes, which are no JSON."""
    values = dataclasses.asdict(told)
    for token in values.get("logprobs", ()):
        del token["raw"], token["top_raw"]
    return values


def stats_line(done: DoneEvent) -> str:
    """`read 1,024 tokens (992 cached) at 3,100/s, wrote 40 at 19.0/s, first after 0.31 s`"""
    usage, timings = done.usage, done.timings
    cached = f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""
    return (
        f"read {usage.prompt_tokens:,} tokens{cached} at {timings.prompt_tokens_per_second:,.0f}/s, "
        f"wrote {usage.generated_tokens:,} at {timings.tokens_per_second:.1f}/s, "
        f"first after {timings.first_token_seconds:.2f} s"
    )
