"""`tp ask`: a question about a repository, answered with the lines it rests on."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from turboprop import limits
from turboprop.edges.cli import options
from turboprop.edges.cli.bars import moves
from turboprop.edges.cli.first_index import make_index, root_to_index
from turboprop.edges.cli.generate import stats_line
from turboprop.edges.cli.hits import print_hits
from turboprop.edges.cli.sampling import load_language_model, loading_options, made_options, sampling_options
from turboprop.errors import IndexNotFoundError, UsageError
from turboprop.printable import echo, echo_json, printable_name

if TYPE_CHECKING:
    from turboprop.answer import AnsweredEvent, AnswerSession, Source
    from turboprop.generate.options import GenerationOptions
    from turboprop.workspace.index import Index


_PLACES = 5
"""Places that are shown with their code where no model writes an answer."""


@click.command()
@click.argument("question", nargs=-1)
@options.repo_if_given
@options.index_dir
@click.option("--embedding-model", metavar="NAME", help="Search the table that this model made.")
@click.option("--models", metavar="A,B", help="Language models that answer one after the other, instead of --model.")
@loading_options
@sampling_options
@click.option(
    "--source-tokens",
    type=options.InRange(limits.SOURCE_TOKENS),
    metavar="N",
    help="Tokens of sources [default: 3000].",
)
@click.option("--show-context", is_flag=True, help="Print what the model is shown, on stderr.")
@click.option("--interactive", "-i", is_flag=True, help="Go on with questions that follow up.")
@click.option("--stats", is_flag=True, help="Print tokens and speed on stderr.")
@options.as_json
@click.pass_context
def ask(
    ctx: click.Context,
    /,
    question: tuple[str, ...],
    repo: str | None,
    index_dir: str | None,
    embedding_model: str | None,
    models: str | None,
    model: str | None,
    context: int | None,
    engine: str | None,
    weights: Any,
    memory: int | None,
    gpu_layers: Any,
    draft: str | None,
    source_tokens: int | None,
    show_context: bool,
    interactive: bool,
    stats: bool,
    as_json: bool,
    **sampling: Any,
) -> None:
    """Answer a question about a repository; every citation is checked to be of lines that were retrieved.

    Several words need no quotes. A last word that is written as a path and names a folder (./app) is the repository,
    or the part of one that the answer is taken from.

    Ends with 0 when there is an answer, 1 when nothing carries one and 2 on an error.
    """
    text, folder = (" ".join(question), repo) if repo else options.words_and_folder(question)
    if not text.strip() and not interactive:
        raise UsageError("give a question, or --interactive")
    if text:
        limits.QUESTION.check(text)
    if interactive and as_json:
        raise UsageError("--interactive and --json exclude each other; give one")
    several = [each.strip() for each in (models or "").split(",") if each.strip()]
    if models is not None and (model is not None or interactive or len(several) < 2):
        raise UsageError(
            "--models takes two names or more, with a comma between, and neither --model nor --interactive"
        )
    from turboprop.answer import ANSWER_TOKENS, SOURCE_TOKENS, AnswerSession
    from turboprop.models.inventory import how_to_get_one, installed_language_model
    from turboprop.workspace.index import Index
    from turboprop.workspace.location import Location

    given = {name: value for name, value in sampling.items() if value is not None}
    wishes = made_options({"max_tokens": ANSWER_TOKENS, "temperature": 0.2, "reasoning": False, **given})
    location = Location.around(folder or ".", index_dir)
    try:
        opened = Index.open(location, embedding_model)
    except IndexNotFoundError:
        root = None if as_json else root_to_index(location, index_dir)
        if root is None:
            raise
        opened = make_index(ctx, Location.at(root, index_dir), embedding_model)
    with opened as index:
        below = Location.around(folder, index_dir).below if folder else ""
        if several:
            answers = []
            for each in several:
                with load_language_model(each, context, engine, weights, memory, gpu_layers, draft) as loaded:
                    session = AnswerSession(index, loaded, source_tokens or SOURCE_TOKENS, below=below)
                    if not as_json:
                        echo(f"## {printable_name(loaded.name)}\n")
                    answers.append((loaded.name, _answered(session, text, wishes, show_context, stats, as_json)))
            _print_agreement(text, answers, as_json)
            options.tell_what_is_left(index)
            raise click.exceptions.Exit(int(all(answer.weak for _, answer in answers)))
        name = model or installed_language_model(index.settings)
        if name is None:
            _print_without_model(index, text, below, as_json, how_to_get_one())
            options.tell_what_is_left(index)
            raise click.exceptions.Exit(2)
        with load_language_model(name, context, engine, weights, memory, gpu_layers, draft) as loaded:
            session = AnswerSession(index, loaded, source_tokens or SOURCE_TOKENS, below=below)
            answered = True
            if text:
                answered = _answer(session, text, wishes, show_context, stats, as_json, loaded.name)
            while interactive:
                try:
                    text = input("? " if sys.stdin.isatty() else "").strip()
                except (EOFError, KeyboardInterrupt):
                    break
                if text:
                    _answer(session, text, wishes, show_context, stats, as_json, loaded.name)
        options.tell_what_is_left(index)
    if not answered:
        raise click.exceptions.Exit(1)


def _answer(
    session: AnswerSession,
    question: str,
    wishes: GenerationOptions,
    show_context: bool,
    stats: bool,
    as_json: bool,
    name: str,
) -> bool:
    """Print one answer; whether there was one."""
    answer = _answered(session, question, wishes, show_context, stats, as_json)
    if as_json:
        echo_json({"question": question, "model": name, **_answer_object(answer)})
    return not answer.weak


def _answered(
    session: AnswerSession, question: str, wishes: GenerationOptions, show_context: bool, stats: bool, as_json: bool
) -> AnsweredEvent:
    """One answer, printed unless it becomes a part of JSON."""
    from turboprop.answer import AnsweredEvent, ReadingEvent, SourcesEvent
    from turboprop.generate.events import TextEvent

    ended = True
    with _reading() as reading:
        for event in session.ask(question, wishes):
            if isinstance(event, SourcesEvent):
                if show_context:
                    for source in event.sources:
                        echo(f"{source.numbered()}\n", err=True)
                if not event.weak:
                    reading.begin(event.prompt_tokens)
                continue
            if isinstance(event, ReadingEvent):
                reading.update(event.tokens)
                continue
            reading.end()
            if isinstance(event, AnsweredEvent):
                answer = event
            elif isinstance(event, TextEvent) and not as_json:
                echo(event.text, nl=False)
                ended = event.text.endswith("\n")
    if not as_json:
        if not ended:
            echo()
        _print_end(answer, stats)
    return answer


def _print_agreement(question: str, answers: list[tuple[str, AnsweredEvent]], as_json: bool) -> None:
    """The lines that all answers cite, and those that one alone cites."""
    from turboprop.generate.citations import agreed

    lines = agreed([answer.citations for _, answer in answers])
    if as_json:
        each = [{"model": name, **_answer_object(answer)} for name, answer in answers]
        echo_json({"question": question, "answers": each, "agreed": [dataclasses.asdict(one) for one in lines]})
        return
    echo("\n## Agreement\n")
    echo("All cite: " + (", ".join(printable_name(str(one)) for one in lines) or "no line in common"))
    for name, answer in answers:
        others = [line for other, theirs in answers if other != name for line in theirs.citations]
        alone = [one for one in answer.citations if not agreed([[one], others])]
        if alone:
            cited = ", ".join(printable_name(str(one)) for one in alone)
            echo(f"Only {printable_name(name)} cites: {cited}")


def _print_end(answer: AnsweredEvent, stats: bool) -> None:
    if answer.removed:
        listed = ", ".join(map(printable_name, answer.removed))
        echo(f"tp: removed what cites lines that were not retrieved: {listed}", err=True)
    if answer.doubts:
        echo("\n" + "\n".join(answer.doubts))
    cited = {citation.path for citation in answer.citations}
    echo("\nSources:")
    for source in answer.sources:
        mark = "*" if source.path in cited else " "
        echo(f"{mark} {_where(source)}")
    if answer.model:
        echo(f"answered by {printable_name(answer.model)}", err=True)
    if stats and answer.done is not None:
        echo(stats_line(answer.done), err=True)


def _where(source: Source) -> str:
    names = source.symbol.split(", ")
    symbol = f"  {names[0]}" + (", ..." if len(names) > 1 else "") if source.symbol else ""
    return printable_name(f"{source.path}:{source.start_line}-{source.end_line}{symbol}")


def _answer_object(answer: AnsweredEvent) -> dict[str, Any]:
    sources = [
        {key: value for key, value in dataclasses.asdict(each).items() if key != "text"} for each in answer.sources
    ]
    return {
        "answer": answer.text,
        "weak": answer.weak,
        "citations": [dataclasses.asdict(each) for each in answer.citations],
        "removed_citations": list(answer.removed),
        "unknown_names": list(answer.unknown),
        "doubts": list(answer.doubts),
        "sources": sources,
        "usage": dataclasses.asdict(answer.done.usage) if answer.done else None,
        "timings": dataclasses.asdict(answer.done.timings) if answer.done else None,
    }


def _print_without_model(index: Index, question: str, below: str, as_json: bool, advice: str) -> None:
    """The places that an answer would be taken from, with their code, and how to get a model."""
    from turboprop.answer import widened
    from turboprop.workspace.merged import RepoHit

    found = index.search(question, _PLACES, below=below) if question else []
    if as_json:
        sources = [
            {key: value for key, value in dataclasses.asdict(each).items() if key != "text"}
            for each in widened(found, index.reader)
        ]
        echo_json({"question": question, "model": None, "answer": None, "sources": sources, "advice": advice})
        return
    seen_from = index.location.seen_from_here()
    print_hits([RepoHit("", hit, seen_from, index.repo) for hit in found], "text")
    echo(f"tp: these are the best places, and nothing wrote an answer: {advice}", err=True)


class _Reading:
    """Shows on a terminal how much of the prompt the model has read, until it writes."""

    def __init__(self) -> None:
        self._status: Any = None
        self._task: Any = None
        self._tokens = 0

    def begin(self, tokens: int) -> None:
        if moves():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            # A model behind an address does not tell how far it is: the bar has no end then.
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(16), TimeElapsedColumn())
            self._status = Progress(*columns, console=Console(stderr=True), transient=True)
            self._tokens = tokens
            self._task = self._status.add_task(f"reading {tokens:,} tokens", total=None)
            self._status.start()

    def update(self, tokens: int) -> None:
        if self._status is not None:
            said = f"reading {tokens:,} of {self._tokens:,} tokens"
            self._status.update(self._task, description=said, completed=tokens, total=self._tokens)

    def end(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


@contextmanager
def _reading() -> Iterator[_Reading]:
    reading = _Reading()
    try:
        yield reading
    finally:
        reading.end()
