"""Compiled graphs on disk, beside the graph that they were compiled from.

Compiling all-MiniLM-L6-v2 takes 0.16 s and reading its compiled form 0.055 s; a Qwen3-0.6B shape 1.2 and
0.3 s. OpenVINO writes the form (`CACHE_DIR`) but reads it back without looking whether it is whole, so it
is written into a folder of its own, listed with checksums, and moved into place by one rename.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import openvino as ov

from turboprop.engines.graph_cache import (
    COMPILED,
    COMPILED_LIST,
    cache_key,
    compiled_problem,
    compiled_record,
    digest,
    put_in_place,
)
from turboprop.settings.records import write_record

LARGEST = 2_000_000_000
"""Bytes of weights above which nothing is kept: the compiled form takes as much again, and compiling a graph
of 28 layers takes the same second whatever their width."""


def compile_graph(core: ov.Core, graph: Path, config: Mapping[str, Any]) -> Any:
    """Compile for the CPU, or take the compiled form of an earlier start with the same `config`.

    Raises RuntimeError as OpenVINO does. A folder that cannot be written costs the time, nothing else.
    """
    if graph.with_suffix(".bin").stat().st_size > LARGEST:
        return core.compile_model(str(graph), "CPU", dict(config))
    place = graph.parent / f"{COMPILED}{cache_key({'openvino': ov.__version__, **config})[:16]}"
    if not compiled_problem(place):
        with suppress(RuntimeError):
            return core.compile_model(str(graph), "CPU", {**config, "CACHE_DIR": str(place)})
    try:
        fresh = Path(tempfile.mkdtemp(prefix=f".{COMPILED}", dir=graph.parent))
    except OSError:
        return core.compile_model(str(graph), "CPU", dict(config))
    try:
        compiled = core.compile_model(str(graph), "CPU", {**config, "CACHE_DIR": str(fresh)})
        with suppress(OSError):
            digests = {file.name: digest(file) for file in sorted(fresh.iterdir())}
            write_record(fresh / COMPILED_LIST, compiled_record(place), {"xxh3": digests})
            put_in_place(fresh, place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return compiled
