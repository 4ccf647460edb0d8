"""Converted weights, from the cache of graphs where they are or into it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from turboprop.engines.conversion import FLOATS, ConversionProgress, check_memory, converted_bytes
from turboprop.engines.graph_cache import cached_files
from turboprop.engines.native.library import LAYOUT_VERSION
from turboprop.engines.native.weights import INDEX, STORED, VALUES, Format, MappedWeights, Weights, write_weights
from turboprop.engines.resident import give_back_heap
from turboprop.errors import EngineError
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.progress import DownloadProgress


def kept_weights(
    checkpoint: Checkpoint,
    names: Mapping[str, str],
    weights: Format,
    ask: Callable[[Weights], object],
    cache_home: Path | None,
    memory: int | None,
    progress: DownloadProgress | None,
) -> MappedWeights:
    """The weights that `ask` asks for, in the kernels' layout.

    Where the cache cannot be written they go into a temporary file that ends with the process's use of it.
    """

    def write(folder: Path) -> None:
        kinds: tuple[str, ...] = ("int8", "int4", weights, "float32")
        sizes = {kind: converted_bytes(checkpoint.tensors, names, kind, STORED) for kind in kinds}
        check_memory(checkpoint.name, weights, sizes, memory)
        with ConversionProgress(checkpoint.name, weights, sizes["float32"], progress) as shown:
            write_weights(folder, checkpoint.tensors, names, weights, shown.advance, ask)
        give_back_heap()

    if cache_home is not None:
        parts = {
            "form": "native",
            "layout": LAYOUT_VERSION,
            "weights": checkpoint.weights_hash(cache_home),
            "format": "float32" if weights in FLOATS else weights,
            "family": checkpoint.family,
            "origin": checkpoint.origin,
            "config": checkpoint.config if checkpoint.origin == "hf" else None,
        }
        try:
            return MappedWeights(cached_files(cache_home, parts, (INDEX, VALUES), write))
        except OSError:
            pass  # a full or read-only cache folder costs the conversion at each start, nothing else
    try:
        # The mapping keeps the file until it is let go of.
        with tempfile.TemporaryDirectory(prefix="turboprop-", ignore_cleanup_errors=True) as folder:
            write(Path(folder))
            return MappedWeights(Path(folder))
    except OSError as error:
        raise EngineError(
            f"the converted weights of {checkpoint.name} cannot be written: {error}; make room in the cache folder "
            "or in the folder for temporary files (TMPDIR)"
        ) from error
