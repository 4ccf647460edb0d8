"""A GGUF file, or a split of several, as an embedding model.

The hyperparameters stay the metadata as they stand; the architectures read their keys `<family>.*`. What
the file leaves open is answered by family: decoders are read at their last token, encoders are averaged.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from turboprop.errors import ModelUnsupportedError
from turboprop.models.checkpoint.tensors import WithParts
from turboprop.models.checkpoint.view import Checkpoint, PoolingMode, check_chain, read_dense
from turboprop.models.families import END_TOKENS
from turboprop.models.gguf.file import GGUFFile, GGUFFormatError, GGUFMetadata
from turboprop.models.gguf.metadata import shown
from turboprop.types import Prompts

# llama.cpp's numbers; 0 (none: every token's state) leaves the choice to the family, and `RANK` is a reranker.
_POOLING: dict[int, PoolingMode | None] = {0: None, 1: "mean", 2: "cls", 3: "last"}
RANK = 4
# What the head of a reranker reads; encoders that are not listed are read at their first token.
_RANKED: dict[str, PoolingMode] = {"qwen2": "last", "qwen3": "last", "modern-bert": "mean"}
_ENCODERS = {"bert", "nomic-bert", "modern-bert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3"}
_DENSE = ("dense_2", "dense_3")  # EmbeddingGemma's head, linear and without bias
_NAMES = ("general.name", "general.basename", "general.finetune")


def open_gguf(path: Path, *, reranker: bool = False) -> Checkpoint:
    """Open a file, or any file of a split together with the others; a reranker only where one is asked for.

    Raises `ModelFormatError` for a damaged file and one without weights, `ModelUnsupportedError` for a
    model of the other kind, `ModelNotFoundError` where a file of the split is missing. An architecture that
    is not known is no error here: another engine may run it.
    """
    file = GGUFFile.open(path)
    metadata, family = file.metadata, file.architecture
    if not file.tensors or not file.has_data:
        file.close()
        raise GGUFFormatError(path, "it holds a vocabulary and no weights", advice="get the whole model file")
    dense = tuple(
        read_dense(path, file.tensors, stem, "identity") for stem in _DENSE if f"{stem}.weight" in file.tensors
    )
    check_chain(path, dense)
    return Checkpoint(
        name=str(path),
        origin="gguf",
        family=family,
        config=metadata,
        tensors=WithParts(file.tensors),
        tokenizer_path=path,
        weight_files=file.paths,
        pooling=(_ranked(file, family) if reranker else _pooling(file, family),),
        max_tokens=min(
            metadata.integer(f"{family}.context_length", 512),
            metadata.integer("turboprop.max_tokens", 1 << 30),
            # Beyond it a model with these factors would have to turn the keys again that it kept.
            *(
                (metadata.integer(f"{family}.rope.scaling.original_context_length", 1 << 30),)
                if "rope_factors_short.weight" in file.tensors
                else ()
            ),
        ),
        dense=dense,
        end_token=END_TOKENS.get(family, ""),
        prompts=Prompts(*(_text(metadata, f"turboprop.prompt.{side}") for side in ("query", "document"))),
        known_as=tuple(cast("str", metadata[key]) for key in _NAMES if isinstance(metadata.get(key), str)),
    )


def _text(metadata: GGUFMetadata, key: str) -> str:
    """What `tp model convert` wrote; no other program states prompts in a GGUF file."""
    value = metadata.get(key)
    return value if isinstance(value, str) else ""


def _ranked(file: GGUFFile, family: str) -> PoolingMode:
    if file.metadata.integer(f"{family}.pooling_type", 0) != RANK:
        raise ModelUnsupportedError(
            f"{file.path} is no reranker: its {family}.pooling_type is not {RANK}; `tp model list` shows rerankers"
        )
    return _RANKED.get(family, "cls")


def _pooling(file: GGUFFile, family: str) -> PoolingMode:
    number = file.metadata.integer(f"{family}.pooling_type", 0)
    if number == RANK:
        raise ModelUnsupportedError(
            f"{file.path} is a reranker (pooling_type 4), which scores pairs of texts; choose an embedding model"
        )
    if number not in _POOLING:
        raise GGUFFormatError(file.path, f"{family}.pooling_type is {shown(number)}", advice="known are 0 to 4")
    # An encoder says so of itself; the names are those of files from before it did.
    encoder = family in _ENCODERS or file.metadata.get(f"{family}.attention.causal") is False
    return _POOLING[number] or ("mean" if encoder else "last")
