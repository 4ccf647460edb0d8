"""Embedding in our llama.cpp child beside the package xllamacpp, driven directly with the best of several settings.

    scripts/bench llamacpp [--texts 32] [--rounds 5] [--threads N]

all-MiniLM-L6-v2 as a float32 GGUF file, made by `tp model convert`; the texts are definitions of this project's own
sources. Each contender is a process of its own with the model loaded, and they take turns on the same ids (one round:
each once), because the speed of a shared machine drifts: what counts is the ratio within a round. All wait without
spinning (`OMP_WAIT_POLICY=passive`), as ours does. Each leads a session of its own, since Linux shares a busy machine
out between sessions and our child has one. `processor_time` compares what each took of it, our child's included, which
what runs beside changes little. `difference` is the largest between a component of two vectors.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results" / "llamacpp.json"
SOURCES = Path(__file__).parent.parent / "src" / "turboprop"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SETTINGS = {
    # Inputs computed together, tokens of a batch, flash attention.
    "one": (1, 512, "DISABLED"),
    "one, flash attention": (1, 512, "ENABLED"),
    "four": (4, 2048, "DISABLED"),
    "four, flash attention": (4, 2048, "ENABLED"),
    "sixteen, flash attention": (16, 8192, "ENABLED"),
}


def ours(path: str, threads: int) -> tuple[Any, int]:
    """A function from inputs of ids to vectors, and the process that computes them beside this one."""
    import numpy as np

    from turboprop.engines.contract import EngineOptions
    from turboprop.engines.llamacpp import load_encoder
    from turboprop.models.checkpoint.gguf import open_gguf
    from turboprop.types import TokenBatch

    encoder = load_encoder(open_gguf(Path(path)), EngineOptions(threads=threads))

    def run(inputs: list[list[int]]) -> Any:
        flat = np.array([number for each in inputs for number in each], np.int32)
        return encoder.encode(TokenBatch(flat, np.array([len(each) for each in inputs], np.int32)))

    assert encoder.worker_pid is not None
    return run, encoder.worker_pid


def direct(path: str, threads: int, parallel: int, batch: int, flash: str) -> tuple[Any, int]:
    """The same without anything of ours."""
    import numpy as np
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.embedding = True
    params.embd_normalize = -1
    params.n_parallel = parallel
    params.n_ctx = parallel * 512
    params.n_batch = params.n_ubatch = batch
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.flash_attn_type = getattr(xllamacpp.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{flash}")
    server = xllamacpp.Server(params)

    def run(inputs: list[list[int]]) -> Any:
        answer = server.handle_embeddings({"input": inputs, "embd_normalize": -1})
        rows = sorted(answer["data"], key=lambda row: row["index"])
        return np.array([row["embedding"] for row in rows], np.float32)

    return run, 0


def processor_seconds(beside: int) -> float:
    """What this process and the one beside it have taken so far."""
    if not beside:
        return time.process_time()
    fields = Path(f"/proc/{beside}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve(name: str, path: str, threads: int) -> None:
    """A contender's process: a line of inputs in, a line of seconds and vectors out."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # llama.cpp's log
    run, beside = ours(path, threads) if name == "ours" else direct(path, threads, *SETTINGS[name])
    for line in sys.stdin:
        inputs = json.loads(line)
        began, before = time.perf_counter(), processor_seconds(beside)
        vectors = run(inputs).tolist()
        seconds, processor = time.perf_counter() - began, processor_seconds(beside) - before
        out.write(json.dumps({"seconds": seconds, "processor": processor, "vectors": vectors}) + "\n")
        out.flush()


def definitions(count: int) -> list[str]:
    """Functions and classes of our sources, from all over them."""
    found = []
    for file in sorted(SOURCES.rglob("*.py")):
        text = file.read_text("utf-8")
        parts = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        found += [ast.get_source_segment(text, part) or "" for part in parts]
    return found[:: max(1, len(found) // count)][:count]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--serve", nargs=2)
    given = parser.parse_args()
    if given.serve:
        serve(*given.serve, given.threads)
        return
    import numpy as np

    from turboprop import load_tokenizer

    ids = [each.ids[:256] for each in load_tokenizer(MODEL).encode_batch(definitions(given.texts))]
    with tempfile.TemporaryDirectory() as scratch:
        path = f"{scratch}/model.gguf"
        command = [sys.executable, "-m", "turboprop", "model", "convert", MODEL, path, "--type", "f32"]
        subprocess.run(command, check=True)
        contenders = {}
        for name in ("ours", *SETTINGS):
            command = [sys.executable, __file__, "--threads", str(given.threads), "--serve", name, path]
            contenders[name] = subprocess.Popen(
                command,
                env=os.environ | {"OMP_WAIT_POLICY": "passive"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        rounds: list[dict[str, float]] = []
        work: list[dict[str, float]] = []
        vectors: dict[str, Any] = {}
        try:
            for number in range(given.rounds + 1):
                told, took = {}, {}
                order = [*contenders] if number % 2 else [*reversed(contenders)]
                for name in order:
                    process = contenders[name]
                    assert process.stdin is not None
                    assert process.stdout is not None
                    process.stdin.write(json.dumps(ids) + "\n")
                    process.stdin.flush()
                    answer = json.loads(process.stdout.readline())
                    told[name], took[name] = answer["seconds"], answer["processor"]
                    vectors[name] = np.array(answer["vectors"], np.float32)
                shown = {name: (round(told[name], 2), round(took[name], 2)) for name in told}
                print(shown, file=sys.stderr, flush=True)
                rounds.append(told)
                work.append(took)
        finally:
            for process in contenders.values():
                process.terminate()
                process.wait()
    del rounds[0], work[0]  # the first of each is slower
    ratios = {name: [each[name] / each["ours"] for each in rounds] for name in SETTINGS}
    result = {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "threads": given.threads,
        "texts": len(ids),
        "tokens": sum(map(len, ids)),
        "seconds": {name: [round(each[name], 3) for each in rounds] for name in contenders},
        "ours_beside": {name: round(statistics.median(found), 3) for name, found in ratios.items()},
        "ours_beside_the_best_of_each_round": round(
            statistics.median(min(each[name] for name in SETTINGS) / each["ours"] for each in rounds), 3
        ),
        "best_of_each": round(min(e[n] for e in rounds for n in SETTINGS) / min(e["ours"] for e in rounds), 3),
        "processor_time": {
            name: round(statistics.median(each[name] / each["ours"] for each in work), 3) for name in SETTINGS
        },
        "difference": {name: float(np.abs(vectors[name] - vectors["ours"]).max()) for name in SETTINGS},
    }
    print(json.dumps(result, indent=1))
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
