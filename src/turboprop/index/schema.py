"""What lies in an index folder. Read this first.

    .turboprop/
        .gitignore                    `*`: the folder ignores itself
        chunks_<key>.lance/           a Lance table, one row a chunk; one table per model fingerprint
        chunks_<key>.manifest.json    what the table holds, and which version of it counts
        writer.lock, writer.json      the one writer's lock, and who holds it

Lance writes a new version of a table with every append and every delete. A commit of ours is several
of them, so the manifest names the one version that readers open; it is replaced by a rename. What a
killed writer left behind is a version that no manifest names, and the next writer goes back to the
named one. `turboprop.index.manifest` describes the file.

Importing this module loads neither lance nor pyarrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash

from turboprop.types import Prompts

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
"""Raised by every change of columns, of their meaning, or of how the full-text indexes split words."""

INDEX_FOLDER = ".turboprop"

PATH, LANGUAGE, KIND, SYMBOL, SIGNATURE = "path", "language", "kind", "symbol", "signature"
START_LINE, END_LINE, TEXT, CONTEXT, DIGEST, VECTOR = (
    "start_line",
    "end_line",
    "text",
    "context",
    "digest",
    "vector",
)

# Identifiers are kept whole and in parts (`getUserName`: getusername, get, user, name), without stems
# and stop words: `this`, `is` and `for` are words of code.
FULL_TEXT_OPTIONS = {
    "analyzer": "code",
    "split_identifiers": True,
    "with_position": False,
    "max_token_length": 64,
}
FULL_TEXT_COLUMNS = (TEXT, CONTEXT)


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """What an index was made with; a reader or writer that brings another one is refused.

    `fingerprint` identifies the weights, pooling and precision class of the model (an opaque string),
    `chunker` the rules that cut files and compose the embedded text.
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


def text_digest(text: str) -> bytes:
    """The xxh3-128 of an embedded text (16 bytes): equal texts share one vector."""
    return xxhash.xxh3_128_digest(text.encode("utf-8", "replace"))


def arrow_schema(dimensions: int) -> pa.Schema:
    """The columns of a table. `context` holds the words of the path and of the symbol.

    Vectors are float16: half the disk of float32, and no neighbour lost (see `benchmarks/vectors.py`).
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(PATH, pa.string(), nullable=False),
            pa.field(LANGUAGE, pa.string(), nullable=False),
            pa.field(KIND, pa.string(), nullable=False),
            pa.field(SYMBOL, pa.string(), nullable=False),
            pa.field(SIGNATURE, pa.string(), nullable=False),
            pa.field(START_LINE, pa.int32(), nullable=False),
            pa.field(END_LINE, pa.int32(), nullable=False),
            pa.field(TEXT, pa.string(), nullable=False),
            pa.field(CONTEXT, pa.string(), nullable=False),
            pa.field(DIGEST, pa.binary(16), nullable=False),
            pa.field(VECTOR, pa.list_(pa.float16(), dimensions), nullable=False),
        ]
    )
