"""What reading 30 hits of 300 tokens again costs, with rerankers of true shape and random weights.

    scripts/bench rerank FOLDER... [--pairs 30] [--tokens 300] [--weights int8,float32] [--repeats 5]

FOLDER is what `scripts/bench shapes FOLDER --shape qwen3-reranker-0.6b` (or `ms-marco-minilm-l6-reranker`) wrote, or
any reranker's. Documents are code of Python's own library, cut so that each input has that many tokens, special tokens
and prompt included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sysconfig
import time
from pathlib import Path

from turboprop import Reranker
from turboprop.machine import usable_cores

RESULTS = Path(__file__).parent / "results" / "rerank.json"
QUERY = "where is the connection to the server closed after an error"


def documents(reranker: Reranker, count: int, tokens: int) -> list[str]:
    """Pieces of code whose inputs have `tokens` tokens, give or take one that a cut splits."""
    library = Path(sysconfig.get_paths()["stdlib"])
    text = "\n".join(path.read_text("utf-8", "replace") for path in sorted(library.glob("[a-h]*.py")))
    found, start = [], 0
    while len(found) < count:
        low, high = 1, 40 * tokens
        while low < high:
            middle = (low + high) // 2
            (one,) = reranker.inputs(QUERY, [text[start : start + middle]])
            low, high = (middle + 1, high) if len(one.ids) < tokens else (low, middle)
        found.append(text[start : start + low])
        start += low
    return found


def measure(folder: Path, weights: str, options: argparse.Namespace) -> dict:
    started = time.perf_counter()
    with Reranker.load(str(folder), weights=weights) as reranker:  # type: ignore[arg-type]
        loaded = time.perf_counter() - started
        texts = documents(reranker, options.pairs, options.tokens)
        lengths = [len(one.ids) for one in reranker.inputs(QUERY, texts)]
        reranker.scores(QUERY, texts)
        seconds, processor = [], []
        for _ in range(options.repeats):
            started, used = time.perf_counter(), time.process_time()
            reranker.scores(QUERY, texts)
            seconds.append(time.perf_counter() - started)
            processor.append(time.process_time() - used)
    median = statistics.median(seconds)
    return {
        "model": folder.name,
        "weights": weights,
        "pairs": options.pairs,
        "tokens": [min(lengths), max(lengths)],
        "load_s": round(loaded, 2),
        "median_ms": round(median * 1000, 1),
        "fastest_ms": round(min(seconds) * 1000, 1),
        # Of all threads together; on a machine that others use, too, it says more than the clock.
        "processor_ms": round(statistics.median(processor) * 1000, 1),
        "tokens_per_s": round(sum(lengths) / median),
        "threads": usable_cores(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--weights", default="int8,float32")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rows = []
    for folder in options.folders:
        for weights in options.weights.split(","):
            rows.append(measure(folder, weights, options))
            print(json.dumps(rows[-1]), flush=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
