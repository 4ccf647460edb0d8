"""Wall time of `tp search` from cold, against importing sentence-transformers and other bare starts.

    scripts/bench startup [--repo FOLDER] [--rounds 7]

Every run is a new process; the contenders take turns. The index is made first and is not timed.
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

RESULTS = Path(__file__).parent / "results" / "startup.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, default=Path(__file__).parent.parent / "src")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    python = sys.executable
    with tempfile.TemporaryDirectory() as scratch:
        tp = [python, "-m", "turboprop"]
        where = ["--repo", str(options.repo), "--index", scratch]
        environment = {**os.environ, "TP_OFFLINE": "1", "TP_SERVER": "0"}
        subprocess.run([*tp, "index", *where], check=True, env=environment, stdout=subprocess.DEVNULL)
        commands = {
            "tp search (hybrid)": [*tp, "search", "split a file into chunks", *where],
            "tp search (lexical)": [*tp, "search", "split a file into chunks", "--mode", "lexical", *where],
            "tp --help": [*tp, "--help"],
            "python -c pass": [python, "-c", "pass"],
            "import sentence_transformers": [python, "-c", "import sentence_transformers"],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for round_number in range(options.rounds + 1):
            for name, command in commands.items():
                started = time.perf_counter()
                subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
                if round_number:  # the first round fills the file cache
                    seconds[name].append(time.perf_counter() - started)
    result = {
        "median_seconds": {name: round(statistics.median(times), 3) for name, times in seconds.items()},
        "search_over_import": round(
            statistics.median(
                ours / theirs
                for ours, theirs in zip(
                    seconds["tp search (hybrid)"], seconds["import sentence_transformers"], strict=True
                )
            ),
            3,
        ),
    }
    print(json.dumps(result, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
