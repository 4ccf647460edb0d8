"""`tp model convert`: a model as a GGUF file."""

from __future__ import annotations

from pathlib import Path

import click

from turboprop.edges.cli import options
from turboprop.printable import echo, echo_json, human_size

_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1")


@click.command()
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--to", "form", type=click.Choice(["gguf"]), default="gguf", show_default=True, help="The format.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(_TYPES, case_sensitive=False),
    default="Q8_0",
    show_default=True,
    help="How matrices are stored; vectors and norms stay F32.",
)
@click.option("--force", is_flag=True, help="Replace OUT where it exists.")
@options.as_json
def convert(source: str, out: Path, form: str, kind: str, force: bool, as_json: bool) -> None:  # noqa: ARG001
    """Write a Hugging Face model, or a GGUF file in another type, as the GGUF file OUT.

    SOURCE is a name, a folder or a .gguf file. Tokenizer, pooling and prompts go into the file.
    """
    from turboprop.convert.to_gguf import convert as write
    from turboprop.edges.cli.download import transfer_progress
    from turboprop.models.resolve import resolve
    from turboprop.settings import load_settings

    local = resolve(source, load_settings(), progress=transfer_progress())
    local.check_has_files()
    path = write(local, out, kind, force=force, progress=transfer_progress())
    size = path.stat().st_size
    if as_json:
        echo_json({"model": local.name, "path": str(path), "type": kind, "size": size})
    else:
        echo(f"{path}  {human_size(size)}")
