"""An index through `tp serve` as a remote endpoint beside the same index made in one process, by turns.

    scripts/bench remote [--files N] [--rounds 3] [--weights float32]

The repository is this project's own sources. Server and client share the machine, so what the client does beside
embedding (walking, chunking, writing) and what HTTP costs both count against the remote. No vector is kept between
runs. `difference` is the largest between a component of the two indexes' vectors, `vectors` the same of what the two
give before an index rounds them to 16 bits. `processor_time` compares what both took, client and server together.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "remote.json"
SOURCES = Path(__file__).parent.parent / "src" / "turboprop"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
RUN = """
import json, sys, time, resource
from turboprop import Index
repo, folder, model, limit = sys.argv[1:]
began = time.perf_counter()
with Index.create(repo, model, index_dir=folder, limit=int(limit), rebuild=True) as index:
    done = index.summary
cpu = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
print(json.dumps({"chunks": done.chunks, "seconds": done.seconds, "whole": time.perf_counter() - began, "cpu": cpu}))
"""
COMPARE = """
import json, sys
import numpy as np
from turboprop import EmbeddingModel, Index
repo, first, second, local, remote, weights = sys.argv[1:]
rows = []
for folder in (first, second):
    with Index.open(repo, index_dir=folder) as index:
        place = ["path", "start_line", "end_line", "symbol"]
        found = {tuple(r[name] for name in place): r for r in index.reader.rows_where("true", [*place, "text"])}
        keys = sorted(found)
        vectors = index.reader.vectors([found[key]["_rowid"] for key in keys])
        rows.append((keys, vectors, [found[key]["text"] for key in keys]))
assert rows[0][0] == rows[1][0], "other chunks"
texts = rows[0][2][:400]
vectors = []
for name, form in ((local, weights), (remote, "auto")):
    with EmbeddingModel.load(name, weights=form) as model:
        vectors.append(model.embed_documents(texts, overlong="average"))
away = [float(np.abs(np.asarray(a, np.float32) - np.asarray(b, np.float32)).max()) for a, b in (
    (rows[0][1], rows[1][1]), vectors)]
print(json.dumps({"rows": len(rows[0][0]), "difference": away[0], "vectors": away[1]}))
"""


def python(code: str, *arguments: object, **variables: str) -> dict[str, float]:
    """Run in a process of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | variables, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def processor_seconds(process: int) -> float:
    """What a process has taken so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--threads", type=int, help="of each process; on a busy machine threads wait for each other")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        shutil.copytree(SOURCES, place / "repo" / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        variables = {"TP_EMBEDDING_CACHE": "0"}
        if given.threads:
            variables["TP_THREADS"] = str(given.threads)
        # The weights are those of the server; a client has none to choose.
        weights = {"TP_WEIGHTS": given.weights}
        serve = [sys.executable, "-m", "turboprop", "serve", str(place / "repo"), "--port", "0", "--model", MODEL]
        with (
            subprocess.Popen(serve, env=os.environ | variables | weights, stderr=subprocess.PIPE, text=True) as server,
            ExitStack() as ends,
        ):
            ends.callback(server.terminate)
            assert server.stderr is not None
            address = ""
            for line in server.stderr:
                address = address or (line.split(" at ")[1].split(";")[0] if "serving at" in line else "")
                if "ready" in line:
                    break
            models = {"local": MODEL, "remote": f"{address}/v1#{MODEL}"}
            rounds: dict[str, list[dict[str, float]]] = {"local": [], "remote": []}
            for number in range(given.rounds):
                for name in ("local", "remote") if number % 2 == 0 else ("remote", "local"):
                    before = processor_seconds(server.pid)
                    own = variables | weights if name == "local" else variables
                    told = python(RUN, place / "repo", place / name, models[name], given.files, **own)
                    told["cpu"] += processor_seconds(server.pid) - before
                    rounds[name].append(told)
                    print(name, json.dumps(told), file=sys.stderr, flush=True)
                    time.sleep(1)
            places = [place / each for each in ("repo", "local", "remote")]
            alike = python(COMPARE, *places, *models.values(), given.weights, **variables)
    rates = {name: [each["chunks"] / each["seconds"] for each in done] for name, done in rounds.items()}
    pairs = [far / near for far, near in zip(rates["remote"], rates["local"], strict=True)]
    result = {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "weights": given.weights,
        "threads": given.threads,
        "chunks": alike["rows"],
        "chunks_per_second": {name: [round(rate, 1) for rate in found] for name, found in rates.items()},
        "best_of_each": round(max(rates["remote"]) / max(rates["local"]), 3),
        "median_of_pairs": round(statistics.median(pairs), 3),
        "processor_time": round(min(e["cpu"] for e in rounds["local"]) / min(e["cpu"] for e in rounds["remote"]), 3),
        "difference": alike["difference"],
        "vectors": alike["vectors"],
    }
    print(json.dumps(result, indent=1))
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps({**kept, given.weights: result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
