"""How long a query takes beside its embedding, in indexes of 2,000 and 100,000 chunks.

    scripts/bench latency --corpus FOLDER [--sizes 2000,100000] [--width 384]

Chunks are those of the corpus, again under other paths until there are enough; vectors are random, as what they say
does not change what comparing them costs. Everything else is the product's: postings, filters, ranking, rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from turboprop.code.chunk import chunk_text
from turboprop.code.read import SourceText, read_source
from turboprop.code.walk import walk
from turboprop.index.read import IndexReader
from turboprop.index.schema import IndexSpec, embedded_text, text_digest
from turboprop.index.write import TableWriter
from turboprop.search.search import search
from turboprop.types import Chunk, IndexedFile, Prompts, SearchFilter

RESULTS = Path(__file__).parent / "results" / "latency.json"
QUERIES = (
    "how are the options of the command line parsed",
    "open a file and read it line by line",
    "where is the connection to the server closed after an error",
    "parse_args",
    "ConnectionPool",
    "ValueError: invalid literal for int() with base 10",
    "retry with exponential backoff",
    "the of and in to is",
    "encode json",
    "what happens when a thread is interrupted while it waits for a lock",
)


def chunks_of(folder: Path) -> list[list[Chunk]]:
    files = []
    for file in walk(folder).files:
        source = read_source(file)
        if isinstance(source, SourceText):
            files.append(chunk_text(source.path, source.text, source.language, max_chars=1_500))
    return [chunks for chunks in files if chunks]


def enough(files: list[list[Chunk]], size: int) -> Iterator[list[Chunk]]:
    made = 0
    for turn in count():
        for chunks in files:
            copies = [replace(chunk, path=f"copy{turn}/{chunk.path}") if turn else chunk for chunk in chunks]
            yield copies[: size - made]
            made += len(copies)
            if made >= size:
                return


def build(directory: Path, files: list[list[Chunk]], size: int, width: int) -> float:
    random = np.random.default_rng(0)
    started = time.perf_counter()
    with TableWriter.open(directory, IndexSpec("random", "random", width, Prompts(), "bench")) as writer:
        for chunks in enough(files, size):
            path = chunks[0].path
            vectors = random.standard_normal((len(chunks), width)).astype(np.float32)
            writer.begin_file(path)
            writer.add(chunks, [text_digest(embedded_text(chunk)) for chunk in chunks], vectors)
            writer.end_file(IndexedFile(path, 1, 1, 1, "0" * 32, len(chunks), chunks[0].language))
        writer.publish()
        writer.maintain()
    return time.perf_counter() - started


def measure(directory: Path, width: int, rounds: int = 5) -> dict[str, dict[str, float]]:
    random = np.random.default_rng(1)
    kinds = {
        "hybrid": ("hybrid", None),
        "lexical": ("lexical", None),
        "semantic": ("semantic", None),
        "hybrid, filtered": ("hybrid", SearchFilter(globs=("**/*.py", "!**/test*/**"))),
    }
    result = {}
    with IndexReader.open(directory) as reader:
        started = time.perf_counter()
        search(reader, QUERIES[0], random.standard_normal(width).astype(np.float32))
        first = (time.perf_counter() - started) * 1e3
        for name, (mode, filters) in kinds.items():
            times = []
            for _ in range(rounds):
                for query in QUERIES:
                    vector = random.standard_normal(width).astype(np.float32)
                    started = time.perf_counter()
                    search(reader, query, vector, mode=mode, filters=filters)
                    times.append((time.perf_counter() - started) * 1e3)
            result[name] = {
                "p50_ms": round(statistics.median(times), 1),
                "p95_ms": round(float(np.quantile(times, 0.95)), 1),
            }
    return {**result, "first query": {"ms": round(first, 1)}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--sizes", default="2000,100000")
    parser.add_argument("--width", type=int, default=384)
    options = parser.parse_args()
    files = chunks_of(options.corpus)
    result: dict[str, object] = {"width": options.width}
    for size in map(int, options.sizes.split(",")):
        with tempfile.TemporaryDirectory() as scratch:
            seconds = build(Path(scratch), files, size, options.width)
            lexicon = sum(file.stat().st_size for file in Path(scratch).glob("*.lexicon"))
            result[f"{size} chunks"] = {
                "write_seconds": round(seconds, 1),
                "lexicon_mb": round(lexicon / 1e6, 1),
                **measure(Path(scratch), options.width),
            }
    print(json.dumps(result, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
