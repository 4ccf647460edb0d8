"""Rate and memory of a model download against `curl | sha256sum`, from a server on this machine.

    scripts/bench download [--gigabytes 2] [--rounds 3]

The server (`tests/models/hub_server.py`, a process of its own) sends the file with `sendfile`. The contenders take
turns; what counts is the ratio within a round. Ours starts a new process, asks for the list, downloads, checks the
sha256, writes the file into an empty cache and links it; curl only downloads into the pipe of `sha256sum`.
Must hold: at least 0.8 times the rate, at most 300 MB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "download.json"
SERVER = Path(__file__).parent.parent / "tests" / "models" / "hub_server.py"
OURS = """
import resource
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings
resolve("owner/model:model.gguf", load_settings())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def make_file(path: Path, size: int) -> None:
    block = random.Random(0).randbytes(16 << 20)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        while (left := size - file.tell()) > 0:
            file.write(block[:left])


def run_curl(url: str) -> float:
    start = time.perf_counter()
    subprocess.run(["bash", "-c", f"set -o pipefail; curl -fsSL '{url}' | sha256sum >/dev/null"], check=True)
    return time.perf_counter() - start


def run_ours(endpoint: str, home: Path) -> tuple[float, float]:
    """Seconds of the whole process, and its peak memory in MB."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hf"), "TP_HOME": str(home / "data")}
    environment.pop("HF_HUB_CACHE", None)
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", OURS], env=environment, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    shutil.rmtree(home)
    unit = 1e6 if platform.system() == "Darwin" else 1e3  # bytes there, kilobytes elsewhere
    return seconds, int(done.stdout) / unit


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    size = int(arguments.gigabytes * 1e9)
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_file(root / "served" / "owner" / "model" / "model.gguf", size)
        server = subprocess.Popen(
            [sys.executable, str(SERVER), str(root / "served")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            endpoint = server.stdout.readline().strip()
            for number in range(arguments.rounds):
                curl = run_curl(f"{endpoint}/owner/model/resolve/main/model.gguf")
                ours, memory = run_ours(endpoint, root / f"home-{number}")
                rounds.append(
                    {
                        "curl_mb_s": round(size / curl / 1e6),
                        "ours_mb_s": round(size / ours / 1e6),
                        "ratio": round(curl / ours, 2),
                        "peak_memory_mb": round(memory),
                    }
                )
                print(rounds[-1], flush=True)
        finally:
            server.terminate()
            server.communicate()
    ratio = statistics.median(entry["ratio"] for entry in rounds)
    result = {
        "gigabytes": arguments.gigabytes,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "median_ratio": ratio,
        "rounds": rounds,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(f"ours / (curl | sha256sum): {ratio}, peak memory {max(e['peak_memory_mb'] for e in rounds)} MB")


if __name__ == "__main__":
    main()
