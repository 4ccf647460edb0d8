"""Embedding through `tp serve` beside the same texts in one process, and how the server stays answerable meanwhile.

    scripts/bench server [--clients 32] [--texts 2048] [--per-request 16] [--model NAME] [--before FOLDER]

The texts are pieces of this project's own sources. Clients are OpenAI's own, in a process of their own, as on a real
machine: what they take of the cores counts against the server. `health_ms` is asked every 20 ms while the clients
are at work; `in process` is `EmbeddingModel.embed_documents` of all texts at once. `cpu_share` compares the processor
time of the two (the clients' own not counted), which says what the server costs on a machine that is busy otherwise.
With `--before`, the `src` of another checkout, its server is asked in turn with this one; `ratio` is this one's rate by
that one's in each round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from openai import OpenAI

from turboprop import EmbeddingModel

RESULTS = Path(__file__).parent / "results" / "server.json"
SOURCES = Path(__file__).parent.parent / "src"


def pieces(count: int, lines: int = 20) -> list[str]:
    """`count` different pieces of real code."""
    texts: list[str] = []
    for path in sorted(SOURCES.rglob("*.py")):
        whole = path.read_text("utf-8").split("\n")
        texts += ["\n".join(whole[start : start + lines]) for start in range(0, len(whole), lines)]
    texts = [text for text in dict.fromkeys(texts) if text.strip()]
    while len(texts) < count:
        texts += [f"# copy {len(texts)}\n{text}" for text in texts[: count - len(texts)]]
    return texts[:count]


def in_process(model: str, texts: list[str]) -> dict[str, float]:
    """Run in a process of its own, so that nothing of it is left when the server is measured."""
    code = (
        "import json, sys, time\nfrom resource import getrusage\nfrom turboprop import EmbeddingModel\n"
        "texts = json.load(sys.stdin)\n"
        f"model = EmbeddingModel.load({model!r})\nmodel.embed_documents(texts[:64], overlong='truncate')\n"
        "tokens = model.tokens_embedded\nbegan = time.perf_counter()\ncpu = sum(getrusage(0)[:2])\n"
        "model.embed_documents(texts, overlong='truncate')\nseconds = time.perf_counter() - began\n"
        "cpu = sum(getrusage(0)[:2]) - cpu\n"
        "print(json.dumps({'seconds': seconds, 'cpu': cpu, 'tokens': model.tokens_embedded - tokens}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(texts), text=True, capture_output=True, check=True
    )
    return dict(json.loads(done.stdout))


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask_all(url: str, pid: int, model: str, texts: list[str], clients: int, each: int) -> tuple[float, float]:
    """Seconds until every text has its vector, and the server's processor time."""
    groups = [texts[start : start + each] for start in range(0, len(texts), each)]
    client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600)

    def ask(group: list[str]) -> int:
        answer = client.embeddings.create(model=model, input=group, extra_body={"truncate": True})
        return len(answer.data)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, groups[:clients]))  # connections open, every shape met
        began, cpu = time.perf_counter(), cpu_seconds(pid)
        assert sum(pool.map(ask, groups)) == len(texts)
        return time.perf_counter() - began, cpu_seconds(pid) - cpu


def watch_health(url: str, stop: threading.Event, times: list[float]) -> None:
    with httpx.Client(timeout=60) as client:
        while not stop.wait(0.02):
            began = time.perf_counter()
            client.get(f"{url}/health").raise_for_status()
            times.append((time.perf_counter() - began) * 1e3)


def start(model: str, source: str = "") -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "turboprop", "serve", "--port", "0", "--model", model]
    environment = os.environ | ({"PYTHONPATH": source} if source else {})
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    url = ""
    for line in process.stderr:
        if " at http" in line:
            url = "http" + line.partition("http")[2].partition(";")[0].strip()
        if "ready" in line:
            break
    threading.Thread(target=process.stderr.read, daemon=True).start()
    return process, url


def ask_watched(
    process: subprocess.Popen[str], url: str, texts: list[str], options: argparse.Namespace, health: list[float]
) -> tuple[float, float]:
    """As `ask_all`, with `/health` asked meanwhile."""
    stop = threading.Event()
    watcher = threading.Thread(target=watch_health, args=(url, stop, health))
    watcher.start()
    try:
        return ask_all(url, process.pid, options.model, texts, options.clients, options.per_request)
    finally:
        stop.set()
        watcher.join()


def in_milliseconds(health: list[float]) -> dict[str, float]:
    return {
        "asked": len(health),
        "p50": round(float(np.quantile(health, 0.5)), 1),
        "p99": round(float(np.quantile(health, 0.99)), 1),
        "max": round(max(health), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--texts", type=int, default=2048)
    parser.add_argument("--per-request", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--before", metavar="FOLDER")
    options = parser.parse_args()
    texts = pieces(options.texts)
    EmbeddingModel.load(options.model).close()  # converted once
    rounds: list[dict[str, float]] = []
    cpu_shares: list[float] = []
    health: list[float] = []
    health_before: list[float] = []
    process, url = start(options.model)
    other = start(options.model, options.before) if options.before else None
    try:
        for number in range(options.rounds):
            # They take turns, so that whatever else the machine does falls on all.
            alone = in_process(options.model, texts)
            before = 0.0
            if other is not None and number % 2:
                before, _ = ask_watched(*other, texts, options, health_before)
            served, cpu = ask_watched(process, url, texts, options, health)
            if other is not None and not number % 2:
                before, _ = ask_watched(*other, texts, options, health_before)
            row = {"in_process": alone["tokens"] / alone["seconds"], "served": alone["tokens"] / served}
            rounds.append({**row, "before": alone["tokens"] / before} if before else row)
            cpu_shares.append(round(alone["cpu"] / cpu, 3))
    finally:
        process.terminate()
        if other is not None:
            other[0].terminate()
            other[0].wait()
        code = process.wait()
    best = max(rounds, key=lambda each: each["served"] / each["in_process"])
    result: dict[str, object] = {
        "cores": len(os.sched_getaffinity(0)),
        "clients": options.clients,
        "texts": len(texts),
        "texts_per_request": options.per_request,
        "model": options.model,
        "tokens_per_second": [{name: round(value) for name, value in each.items()} for each in rounds],
        "share": [round(each["served"] / each["in_process"], 3) for each in rounds],
        "best_share": round(best["served"] / best["in_process"], 3),
        "cpu_share": cpu_shares,
        "load_average": round(os.getloadavg()[0], 1),
        "health_ms": in_milliseconds(health),
        "exit_code": code,
    }
    if other is not None:
        result["ratio"] = [round(each["served"] / each["before"], 3) for each in rounds]
        result["health_ms_before"] = in_milliseconds(health_before)
    print(json.dumps(result, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
