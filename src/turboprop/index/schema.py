"""What lies in an index folder. Read this first.

    .turboprop/
        .gitignore                    `*`: the folder ignores itself
        chunks_<key>.lance/           a Lance table, one row a chunk; one table per model fingerprint
        chunks_<key>.manifest.json    what the table holds, and which version of it counts
        chunks_<key>.<n>.lexicon      postings of version n, made from the table; see `turboprop.index.lexicon`
        chunks_<key>.adapter          what `tp tune` learnt for its queries; see `turboprop.index.adapter`
        history.json                  what the commits say; see `turboprop.index.history`
        writer.lock, writer.json      the one writer's lock, and who holds it (a lock of its own, see holder)

Lance writes a new version of a table with every append and every delete. A commit of ours is several
of them, so the manifest names the one version that readers open; it is replaced by a rename. What a
killed writer left behind is a version that no manifest names, and the next writer goes back to the
named one. `turboprop.index.manifest` describes the file.

Importing this module loads neither lance nor pyarrow.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from turboprop.types import Chunk, Prompts

if TYPE_CHECKING:
    import pyarrow as pa

HISTORY = "history.json"
"""The file of an index folder that keeps what the commits say."""
SCHEMA_VERSION = 4
"""Raised by every change of columns, of their meaning, or of how texts are split into terms."""

_MOST_PREFIX = 200
"""Characters of a path and of a symbol that are embedded: deeper ones must leave room for the text."""

INDEX_FOLDER = ".turboprop"

WORDS = "words"
"""What an index of words alone has in the place of a model's fingerprint."""

PATH, LANGUAGE, KIND, SYMBOL, SIGNATURE, SYMBOLS = "path", "language", "kind", "symbol", "signature", "symbols"
START_LINE, END_LINE, TEXT, TERMS, WEIGHTS, LENGTH, DIGEST, VECTOR = (
    "start_line",
    "end_line",
    "text",
    "terms",
    "weights",
    "length",
    "digest",
    "vector",
)


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """What an index was made with; a reader or writer that brings another one is refused.

    `fingerprint` identifies the weights, pooling and precision class of the model (an opaque string),
    `chunker` the rules that cut files and compose the embedded text. An index of words alone has no `dimensions`.
    """

    model: str
    fingerprint: str
    dimensions: int
    prompts: Prompts
    chunker: str


def table_name(fingerprint: str) -> str:
    """The table of one model fingerprint, a name that Lance and every file system accept."""
    return f"chunks_{xxhash.xxh3_64_hexdigest(fingerprint.encode())}"


def table_folder(directory: Path, table: str) -> Path:
    """The folder that `lancedb.connect(directory).open_table(table)` opens."""
    return directory / f"{table}.lance"


def manifest_file(directory: Path, table: str) -> Path:
    """Where the manifest of one table lies."""
    return directory / f"{table}.manifest.json"


def lexicon_file(directory: Path, table: str, version: int) -> Path:
    """Where the lexicon of one version lies."""
    return directory / f"{table}.{version}.lexicon"


def adapter_file(directory: Path, table: str) -> Path:
    """Where the adapter of one table lies, if it has one."""
    return directory / f"{table}.adapter"


def bytes_on_disk(directory: Path) -> int:
    """The size of everything in an index folder."""
    total = 0
    for file in directory.rglob("*"):
        with contextlib.suppress(OSError):  # a writer may remove it meanwhile
            total += file.stat().st_size if file.is_file() else 0
    return total


def embedded_text(chunk: Chunk) -> str:
    """What is embedded of a chunk: its path and qualified symbol stand before its text.

    Dense search alone gains 0.05 NDCG@10 by it (docs/decisions/0003-ranking.md).
    """
    return text_to_embed(chunk.path, chunk.symbol, chunk.text)


def text_to_embed(path: str, symbol: str, text: str) -> str:
    """The same of the columns of a row."""
    path, symbol = path[-_MOST_PREFIX:], symbol[:_MOST_PREFIX]
    return f"{path}\n{symbol}\n{text}" if symbol else f"{path}\n{text}"


def text_digest(text: str) -> bytes:
    """The xxh3-128 of an embedded text (16 bytes): equal texts share one vector."""
    return xxhash.xxh3_128_digest(text.encode("utf-8", "replace"))


def arrow_schema(dimensions: int) -> pa.Schema:
    """The columns of a table. `symbols` are records as `turboprop.code.symbols` has them.

    `terms`, `weights` and `length` are what words are searched by, see `terms_column`.

    Vectors are float16: half the disk of float32, and no neighbour lost (see `benchmarks/vectors.py`). A row that waits
    for its vector has null there, which a search by vectors passes over; a table of 0 dimensions has no such column.
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(PATH, pa.string(), nullable=False),
            pa.field(LANGUAGE, pa.string(), nullable=False),
            pa.field(KIND, pa.string(), nullable=False),
            pa.field(SYMBOL, pa.string(), nullable=False),
            pa.field(SIGNATURE, pa.string(), nullable=False),
            pa.field(SYMBOLS, pa.string(), nullable=False),
            pa.field(START_LINE, pa.int32(), nullable=False),
            pa.field(END_LINE, pa.int32(), nullable=False),
            pa.field(TEXT, pa.string(), nullable=False),
            pa.field(TERMS, pa.list_(pa.field("item", pa.uint32(), nullable=False)), nullable=False),
            pa.field(WEIGHTS, pa.list_(pa.field("item", pa.uint16(), nullable=False)), nullable=False),
            pa.field(LENGTH, pa.int32(), nullable=False),
            pa.field(DIGEST, pa.binary(16), nullable=False),
            *([pa.field(VECTOR, pa.list_(pa.float16(), dimensions))] if dimensions else []),
        ]
    )
