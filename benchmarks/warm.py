"""Wall time of `tp search` through the warm server, against a bare start of Python that imports json and socket.

    scripts/bench warm [--repo FOLDER] [--rounds 40]

Every run is a new process with another query, so no vector of a query is remembered; the contenders take turns. The
index is made first and is not timed. The server's share is the round trip of a request, taken in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "warm.json"
MOST = 2.5
# What pip writes as the `tp` of an installation.
LAUNCHER = "import sys\nfrom turboprop.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
WORDS = ("file", "chunk", "token", "model", "index", "vector", "option", "error", "cache", "query", "path", "weight")


def queries() -> list[str]:
    return [f"how is the {one} of a {other} read" for one in WORDS for other in WORDS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    python = sys.executable
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.update(TP_OFFLINE="1", TP_SERVER="1", XDG_RUNTIME_DIR=scratch)
        os.environ.pop("TP_CACHE", None)
        (launcher := Path(scratch) / "tp").write_text(LAUNCHER)
        index = ["--repo", str(options.repo), "--index", f"{scratch}/index"]
        made = subprocess.run(
            [python, "-m", "turboprop", "index", *index, "--json"], check=True, stdout=subprocess.PIPE
        )
        tp = [python, str(launcher)]
        server(tp, ["search", "x", *index])
        try:
            result = {"chunks": json.loads(made.stdout)["chunks"], **measure(tp, index, options.rounds)}
        finally:
            subprocess.run([*tp, "daemon", "stop"], check=True)
    print(json.dumps(result, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


def server(tp: list[str], search: list[str]) -> None:
    subprocess.run([*tp, *search], check=True, stdout=subprocess.DEVNULL)
    while subprocess.run([*tp, "daemon", "status"], stdout=subprocess.DEVNULL).returncode:
        time.sleep(0.1)


def measure(tp: list[str], index: list[str], rounds: int) -> dict[str, object]:
    unused = iter(queries())
    contenders = {
        "import json, socket": lambda: [sys.executable, "-c", "import json, socket"],
        "tp search (hybrid)": lambda: [*tp, "search", next(unused), *index],
        "tp search (lexical)": lambda: [*tp, "search", next(unused), "--mode", "lexical", *index],
        "tp search --no-server": lambda: [*tp, "search", "how is a chunk read", "--no-server", *index],
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(rounds + 1):
        for name, command in contenders.items():
            if name.endswith("--no-server") and round_number > 5:
                continue
            arguments = command()
            started = time.perf_counter()
            subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)
            if round_number:  # the first round fills the file cache
                seconds[name].append(time.perf_counter() - started)
    trips = round_trips(unused, index, rounds)
    wall = {name: statistics.median(times) for name, times in seconds.items()}
    over = statistics.median(
        ours / bare for ours, bare in zip(seconds["tp search (hybrid)"], seconds["import json, socket"], strict=True)
    )
    return {
        "median_ms": {name: round(time * 1000, 1) for name, time in wall.items()},
        "least_ms": {name: round(min(times) * 1000, 1) for name, times in seconds.items()},
        "search_over_bare_start": round(over, 2),
        "allowed": MOST,
        "round_trip_ms": round(trips * 1000, 1),
        "server_share": round(trips / wall["tp search (hybrid)"], 2),
    }


def round_trips(unused: object, index: list[str], rounds: int) -> float:
    from turboprop.edges.warm.client import ask, request

    times = []
    for _ in range(rounds):
        asked = request(["search", next(unused), *index])  # type: ignore[call-overload]
        started = time.perf_counter()
        ask("search", **asked)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


if __name__ == "__main__":
    main()
