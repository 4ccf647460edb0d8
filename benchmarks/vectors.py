"""100,000 chunks of 768 dimensions in an index: recall, latency, insertion, size.

    scripts/bench vectors [--rows 100000] [--dimensions 768] [--keep FOLDER]

Vectors are seeded and clustered: every one is a centre (one in 200 rows) plus a spread around it, both in
a latent space of 48 dimensions with a spectrum that falls as in text embeddings, plus noise in all
dimensions. Queries are new draws around the same centres, none a copy of a row. Texts are
Python's standard library. All goes through the index's own writer and reader.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turboprop.code.terms import hashed_terms
from turboprop.index.lance_table import load_lance, row_batch
from turboprop.index.read import IndexReader
from turboprop.index.schema import VECTOR, IndexSpec, bytes_on_disk, table_folder, text_digest
from turboprop.index.write import TableWriter
from turboprop.search.search import search
from turboprop.types import Chunk, IndexedFile, Prompts, SearchFilter

RESULTS = Path(__file__).parent / "results" / "vectors.json"
LATENT, ROWS_PER_CENTRE, ROWS_PER_FILE = 48, 200, 20
QUERIES = 200
SMALL_ROWS = 2_000


class Space:
    """The distribution that rows and queries are drawn from."""

    def __init__(self, rows: int, dimensions: int) -> None:
        draws = np.random.default_rng(20260)
        spectrum = 1.0 / np.sqrt(np.arange(1, LATENT + 1))
        self.basis = (draws.standard_normal((LATENT, dimensions)) * spectrum[:, None]).astype(np.float32)
        self.centres = draws.standard_normal((max(rows // ROWS_PER_CENTRE, 1), LATENT)).astype(np.float32)
        self.dimensions = dimensions

    def draw(self, count: int, seed: int) -> NDArray[np.float32]:
        draws = np.random.default_rng(seed)
        latent = self.centres[draws.integers(0, len(self.centres), count)]
        latent = latent + 0.6 * draws.standard_normal((count, LATENT), np.float32)
        vectors = latent @ self.basis + 0.3 * draws.standard_normal((count, self.dimensions), np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Texts:
    """Runs of 20 lines of Python's standard library, overlapping where it is too small."""

    def __init__(self, rows: int) -> None:
        sources = []
        for file in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
            if "site-packages" not in file.parts and file.stat().st_size < 300_000:
                sources.append(file.read_text("utf-8", "replace").splitlines(keepends=True))
        step = max(min(20, sum(map(len, sources)) // (rows + 1_000)), 1)
        runs = ["".join(lines[at : at + 20]) for lines in sources for at in range(0, len(lines), step)]
        self.runs = [run for run in runs if run.strip()]
        random.Random(3).shuffle(self.runs)

    def texts(self, count: int, begin: int = 0) -> list[str]:
        if begin + count > len(self.runs):
            raise SystemExit(f"this Python's library has {len(self.runs)} texts; ask for fewer rows")
        return self.runs[begin : begin + count]

    def queries(self, count: int) -> list[str]:
        """Six different words each, from one text: as common as the words of code are."""
        draw = random.Random(4)
        asked: list[str] = []
        while len(asked) < count:
            words = sorted(set(re.findall(r"[A-Za-z_]{3,}", draw.choice(self.runs))))
            if len(words) >= 6:
                asked.append(" ".join(draw.sample(words, 6)))
        return asked


def fill(directory: Path, spec: IndexSpec, vectors: NDArray[np.float32], texts: list[str]) -> tuple[float, float]:
    """Seconds of writing and of indexing."""
    with TableWriter.open(directory, spec) as writer:
        started = time.perf_counter()
        for begin in range(0, len(texts), ROWS_PER_FILE):
            path = f"src/package{begin % 97}/module{begin // ROWS_PER_FILE}.py"
            end = min(begin + ROWS_PER_FILE, len(texts))
            writer.begin_file(path)
            chunks = [chunk(path, line, text) for line, text in enumerate(texts[begin:end])]
            writer.add(chunks, [text_digest(item.text) for item in chunks], vectors[begin:end])
            writer.end_file(IndexedFile(path, 14_000, 1, begin, f"{begin:032x}", len(chunks), "python"))
        writer.publish()
        written = time.perf_counter() - started
        writer.maintain()
        return written, time.perf_counter() - started - written


def chunk(path: str, line: int, text: str) -> Chunk:
    return Chunk(path, "python", "function", f"name{line}", 20 * line + 1, 20 * line + 20, text)


def exact(vectors: NDArray[np.float32], queries: NDArray[np.float32], count: int) -> list[list[int]]:
    return [np.argsort(-(vectors @ query), kind="stable")[:count].tolist() for query in queries]


def timed(call: Callable[[int], object], rounds: int = QUERIES) -> dict[str, float]:
    """Milliseconds, after a round that warms up."""
    for number in range(min(10, rounds)):
        call(number)
    times = []
    for number in range(rounds):
        started = time.perf_counter()
        call(number)
        times.append((time.perf_counter() - started) * 1000)
    times.sort()
    return {"p50_ms": round(statistics.median(times), 2), "p95_ms": round(times[int(0.95 * len(times))], 2)}


def recall(reader: IndexReader, vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> float:
    """Share of the ten exact neighbours (float32) that the index gives."""
    found = 0
    for query, truth in zip(queries, exact(vectors, queries, 10), strict=True):
        rows = reader.fetch([hit.row_id for hit in reader.vector_search(query, 10)], ["path", "start_line"])
        numbers = {
            int(row["path"].rpartition("module")[2][:-3]) * ROWS_PER_FILE + row["start_line"] // 20 for row in rows
        }
        found += len(numbers & set(truth))
    return found / (10 * len(queries))


def half_precision_recall(vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> float:
    """Share of the ten exact neighbours that survive rounding the rows to float16."""
    rounded = vectors.astype(np.float16).astype(np.float32)
    pairs = zip(exact(vectors, queries, 10), exact(rounded, queries, 10), strict=True)
    return sum(len(set(truth) & set(found)) for truth, found in pairs) / (10 * len(queries))


def latencies(reader: IndexReader, queries: NDArray[np.float32], asked: list[str]) -> dict[str, dict[str, float]]:
    dataset = reader._dataset
    filters = SearchFilter(globs=("src/package1*/**", "!module7*"))
    ids = [[hit.row_id for hit in reader.vector_search(query, 50)] for query in queries]

    def whole(number: int) -> object:
        return search(reader, asked[number], queries[number])

    def filtered(number: int) -> object:
        return search(reader, asked[number], queries[number], filters=filters)

    def scan(number: int) -> object:
        nearest = {"column": VECTOR, "q": queries[number], "k": 10, "metric": "cosine", "use_index": False}
        return dataset.scanner(nearest=nearest, columns=["_distance"]).to_table()

    return {
        "vector_search_10": timed(lambda number: reader.vector_search(queries[number], 10)),
        "vector_search_50": timed(lambda number: reader.vector_search(queries[number], 50)),
        "exact_scan_10": timed(scan, 10),
        "scores_of_words": timed(lambda number: reader.lexicon.scores(dict.fromkeys(hashed_terms(asked[number]), 1.0))),
        "fetch_10_rows": timed(lambda number: reader.fetch(ids[number][:10])),
        "fetch_50_rows": timed(lambda number: reader.fetch(ids[number])),
        "hybrid_query": timed(whole),
        "hybrid_query_with_globs": timed(filtered, 50),
    }


def insertion(directory: Path, spec: IndexSpec, space: Space, texts: list[str]) -> dict[str, object]:
    """One row more: handed to Lance alone, and published (its file's old row deleted, all on the disk)."""
    vectors = space.draw(len(texts), 99)
    with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
        copy = Path(scratch, "table.lance")
        with IndexReader.open(directory) as reader:
            shutil.copytree(table_folder(directory, reader.header.table), copy)
        lance = load_lance()
        dataset = lance.dataset(str(copy))

        def append(number: int) -> None:
            nonlocal dataset
            vector = vectors[number : number + 1].astype(np.float16)
            batch = row_batch([chunk("new.py", 1, texts[number])], [b"0" * 16], vector, spec.dimensions)
            dataset = lance.write_dataset(batch, dataset, mode="append")

        appended = timed(append, 100)
    with TableWriter.open(directory, spec) as writer:

        def publish(number: int) -> None:
            path = f"inserted/module{number}.py"
            writer.begin_file(path)
            writer.add([chunk(path, 1, texts[number])], [text_digest(texts[number])], vectors[number : number + 1])
            writer.end_file(IndexedFile(path, 700, 1, 1, "0" * 32, 1, "python"))
            writer.publish()

        published = timed(publish, 50)
        replaced = timed(publish, 50)
        started = time.perf_counter()
        writer.maintain()
        maintained = time.perf_counter() - started
        files = len(writer.files)
    with IndexReader.open(directory) as reader:
        hits = [reader.vector_search(vectors[number], 1)[0].row_id for number in range(50)]
        rows = reader.fetch(hits, ["path"])
        there = sum(row["path"] == f"inserted/module{number}.py" for number, row in enumerate(rows))
    return {
        "append": appended,
        "append_and_publish": published,
        "replace_and_publish": replaced,
        "files_in_manifest": files,
        "maintain_after_110_updates_s": round(maintained, 2),
        "inserted_rows_found_first": f"{there}/50",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=768)
    parser.add_argument("--keep", type=Path, help="Keep the index in this folder.")
    options = parser.parse_args()
    spec = IndexSpec("synthetic", "synthetic", options.dimensions, Prompts(), "synthetic")
    space, texts = Space(options.rows, options.dimensions), Texts(options.rows)
    queries, asked = space.draw(QUERIES, 5), texts.queries(QUERIES)
    result: dict[str, object] = {"rows": options.rows, "dimensions": options.dimensions, "queries": QUERIES}
    with tempfile.TemporaryDirectory() as scratch:
        directory = (options.keep or Path(scratch)) / "index"
        shutil.rmtree(directory, ignore_errors=True)
        vectors = space.draw(options.rows, 1)
        written, indexed = fill(directory, spec, vectors, texts.texts(options.rows))
        result["write_s"], result["index_s"] = round(written, 2), round(indexed, 2)
        result["bytes_on_disk"] = bytes_on_disk(directory)
        result["raw_vector_bytes"] = options.rows * options.dimensions * 2
        with IndexReader.open(directory) as reader:
            result["recall_at_10"] = round(recall(reader, vectors, queries), 4)
            result["recall_at_10_of_float16_alone"] = round(half_precision_recall(vectors, queries), 4)
            result["latency"] = latencies(reader, queries, asked)
        result["insertion"] = insertion(directory, spec, space, texts.texts(100, options.rows))
        with IndexReader.open(directory) as reader:
            result["vector_search_10_after_updates"] = timed(lambda number: reader.vector_search(queries[number], 10))
        small = Path(scratch, "small")
        fill(small, spec, vectors[:SMALL_ROWS], texts.texts(SMALL_ROWS))
        with IndexReader.open(small) as reader:
            result[f"latency_{SMALL_ROWS}_rows"] = latencies(reader, queries, asked)
    json.dump(result, sys.stdout, indent=1)
    print()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
