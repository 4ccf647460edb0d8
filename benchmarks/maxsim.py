"""What late interaction costs and what rounding its vectors loses.

    python benchmarks/maxsim.py

A query of 32 tokens against 100 chunks of 300 tokens of 128 dimensions: the time from packed vectors to scores, the
best and the median of 30 runs. Loss of order over 20 queries: the share of pairs of chunks that 4 and 8 bits put in
another order than float32, and how many of the first ten stay among them; of random unit vectors, and of
all-MiniLM-L6-v2's own token vectors of 100 chunks of this project's source.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from turboprop import EmbeddingModel
from turboprop.engines.native.maxsim import Bits, MaxSim, packed, token_bytes
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings

QUERIES, TOKENS, CHUNKS, WIDTH = 32, 300, 100, 128
BITS: tuple[Bits, ...] = (8, 4)


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def timed(queries: np.ndarray, chunks: list[np.ndarray]) -> None:
    for bits in BITS:
        stored, took = [packed(chunk, bits) for chunk in chunks], []
        for _ in range(30):
            begin = time.perf_counter()
            maxsim = MaxSim(queries)
            [maxsim.score(chunk) for chunk in stored]
            took.append(1000 * (time.perf_counter() - begin))
        size = token_bytes(WIDTH, bits) * TOKENS
        print(f"{bits} bits: {min(took):.1f} ms, median {statistics.median(took):.1f} ms; {size:,} bytes a chunk")


def ordered(name: str, queries: list[np.ndarray], chunks: list[np.ndarray]) -> None:
    """Print what is lost."""
    stored = {bits: [packed(chunk, bits) for chunk in chunks] for bits in BITS}
    swapped: dict[int, list[float]] = {bits: [] for bits in BITS}
    first: dict[int, list[float]] = {bits: [] for bits in BITS}
    for query in queries:
        exact = np.array([(query @ chunk.T).max(1).sum() for chunk in chunks])
        maxsim = MaxSim(query)
        for bits in BITS:
            found = np.array([maxsim.score(chunk) for chunk in stored[bits]])
            above = np.triu_indices(len(chunks), 1)
            differ = np.sign(exact[:, None] - exact)[above] != np.sign(found[:, None] - found)[above]
            swapped[bits].append(float(differ.mean()))
            first[bits].append(len(set(np.argsort(-exact)[:10]) & set(np.argsort(-found)[:10])))
    for bits in BITS:
        lost, kept = np.mean(swapped[bits]), np.mean(first[bits])
        print(f"{name}, {bits} bits: {100 * lost:.2f}% of pairs swapped, {kept:.1f} of the first ten stay")


def of_minilm(folder: Path) -> Path:
    """all-MiniLM-L6-v2 as a late-interaction model without a projection: its own token vectors."""
    source = resolve("minilm", load_settings()).path
    for file in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / file).symlink_to(source / file)
    (folder / "modules.json").write_text(json.dumps([{"path": "", "type": "sentence_transformers.models.Transformer"}]))
    stated = {"model_type": "ColBERT", "query_prefix": "", "document_prefix": "", "document_length": 256}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(stated))
    return folder


def main() -> None:
    random = np.random.default_rng(0)
    made = [unit(random.standard_normal((TOKENS, WIDTH))) for _ in range(CHUNKS)]
    asked = [unit(random.standard_normal((QUERIES, WIDTH))) for _ in range(20)]
    timed(asked[0], made)
    ordered("random", asked, made)
    source = sorted((Path(__file__).parent.parent / "src" / "turboprop").rglob("*.py"))[:CHUNKS]
    texts = [path.read_text("utf-8")[:1500] for path in source]
    with tempfile.TemporaryDirectory() as folder, EmbeddingModel.load(str(of_minilm(Path(folder)))) as model:
        documents = model.embed_tokens(texts)
        questions = [text.partition("\n")[0].strip('"') or "errors" for text in texts[:20]]
        print(
            f"MiniLM: {np.mean([len(each) for each in documents]):.0f} tokens a chunk of {model.dimensions} dimensions"
        )
        ordered("MiniLM", model.embed_tokens(questions, "query"), documents)


if __name__ == "__main__":
    main()
