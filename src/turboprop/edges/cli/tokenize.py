"""`tp tokenize`: what a model sees of a text."""

from __future__ import annotations

import click

from turboprop.edges.cli import options
from turboprop.edges.cli.input import text_or_input
from turboprop.printable import echo, echo_json


@click.command()
@click.argument("text", nargs=-1)
@options.model
@click.option("--no-special", is_flag=True, help="Without the special tokens that are put around a text.")
@options.as_json
def tokenize(text: tuple[str, ...], model: str | None, no_special: bool, as_json: bool) -> None:
    """Print the tokens of a text, one a line: id and token. Without TEXT, of standard input as one text."""
    whole = text_or_input(text)
    from turboprop.models.tokenizer.load import encode_texts
    from turboprop.models.tokenizer.named import load_tokenizer

    tokenizer = load_tokenizer(model)
    ids = encode_texts(tokenizer, [whole], add_special_tokens=not no_special)[0]
    tokens = [str(tokenizer.id_to_token(number)) for number in ids]
    if as_json:
        echo_json({"count": len(ids), "ids": ids, "tokens": tokens})
        return
    width = max((len(str(number)) for number in ids), default=0)
    for number, token in zip(ids, tokens, strict=True):
        echo(f"{number:>{width}}  {token if token.isprintable() else ascii(token)}")
