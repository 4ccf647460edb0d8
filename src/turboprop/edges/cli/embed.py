"""`tp embed`: vectors of texts, for other programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from turboprop.edges.cli import options
from turboprop.edges.cli.input import texts_or_lines
from turboprop.errors import UsageError
from turboprop.printable import echo, echo_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_GROUP = 512
"""Texts that are read and embedded at a time: sorted by length within, streamed out in order."""


@click.command()
@click.argument("text", nargs=-1)
@options.model_and_adapter
@click.option("--query", is_flag=True, help="Embed as queries, not as documents.")
@click.option("--instruction", metavar="TEXT", help="The task, for models that take one.")
@click.option("--dimensions", type=click.IntRange(min=1), metavar="N", help="Cut the vectors of a Matryoshka model.")
@click.option("--format", "form", type=click.Choice(["json", "jsonl", "npy"]), default="json", show_default=True)
@click.option("--truncate", is_flag=True, help="Cut texts that are too long; without it they are an error.")
@click.option("--max-length", type=click.IntRange(min=8), metavar="N", help="Tokens of one text at most.")
@click.option("--stretch", type=float, metavar="FACTOR", help="Longer inputs for nomic-bert models, 2 on their card.")
@click.option("--no-normalize", is_flag=True, help="Leave the vectors as long as they come.")
@options.engine
@options.weights
@options.memory
@options.verbose
def embed(
    text: tuple[str, ...],
    model: str | None,
    query: bool,
    instruction: str | None,
    dimensions: int | None,
    form: str,
    truncate: bool,
    max_length: int | None,
    stretch: float | None,
    no_normalize: bool,
    engine: str | None,
    weights: Any,
    memory: int | None,
    verbose: bool,
) -> None:
    """Print the vectors of texts; without any, of the lines of standard input, one text a line.

    `json` is one object with all embeddings, `jsonl` one object a text, `npy` a float32 array for numpy.
    """
    if form == "npy" and sys.stdout.isatty():
        raise UsageError("npy is binary; send it to a file: tp embed ... --format npy > vectors.npy")
    texts = texts_or_lines(text)
    from turboprop.edges.cli.download import transfer_progress
    from turboprop.embed.model import EmbeddingModel
    from turboprop.embed.options import EmbeddingOptions

    wishes = EmbeddingOptions(instruction, False if no_normalize else None, max_length, dimensions)
    with EmbeddingModel.load(
        model, engine=engine, weights=weights, stretch=stretch, memory=memory, progress=transfer_progress()
    ) as loaded:
        if verbose:
            echo(options.choice_text(loaded), err=True)
        side = loaded.embed_queries if query else loaded.embed_documents
        overlong = "truncate" if truncate else "error"

        def groups() -> Iterator[NDArray[np.float32]]:
            while group := list(islice(texts, _GROUP)):
                yield side(group, wishes, overlong=overlong)  # type: ignore[arg-type]

        _print(groups(), form, loaded.name, dimensions or loaded.dimensions)


def _print(groups: Iterator[NDArray[np.float32]], form: str, name: str, width: int) -> None:
    if form == "jsonl":
        index = 0
        for group in groups:
            for vector in group.tolist():
                echo_json({"index": index, "embedding": vector})
                index += 1
        return
    import numpy as np

    vectors = np.concatenate([np.empty((0, width), np.float32), *groups])
    if form == "npy":
        np.save(sys.stdout.buffer, vectors)
        return
    echo_json({"model": name, "dimensions": width, "embeddings": vectors.tolist()})
