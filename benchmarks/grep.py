"""`tp grep` through the warm server beside ripgrep: the same lines, and how long each takes, by turns.

    scripts/bench grep --repo FOLDER [--model NAME] [--rounds 15]

The folder should be a work tree of some 30 MB; it is indexed with a static model (which takes seconds), into a folder
of its own. Lines are compared for the files that both look at: ripgrep leaves out what is hidden, an index what is not
text. Ratios are medians over pairs of runs, one after the other.
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

RESULTS = Path(__file__).parent / "results" / "grep.json"
MOST = 3.0
PATTERNS = (
    r"def \w+_matrix",
    r"class \w+\(Expr\)",
    r"\bPolynomialRing\b",
    "finite_diff_weights",
    r"time\.sleep",
    r"^\s*raise \w+Error\(",
    r"(a+)+$",
)
LAUNCHER = "import sys\nfrom turboprop.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.update(TP_OFFLINE="1", TP_SERVER="1", XDG_RUNTIME_DIR=scratch)
        os.environ.pop("TP_CACHE", None)
        (launcher := Path(scratch) / "tp").write_text(LAUNCHER)
        tp = [sys.executable, str(launcher)]
        index = ["--repo", str(options.repo), "--index", f"{scratch}/index"]
        chosen = ["--model", options.model] if options.model else []
        made = json.loads(output([*tp, "index", *index, *chosen, "--json"]))
        subprocess.run([*tp, "grep", "x", *index], stdout=subprocess.DEVNULL)
        while subprocess.run([*tp, "daemon", "status"], stdout=subprocess.DEVNULL).returncode:
            time.sleep(0.1)
        try:
            rows = {pattern: measure(tp, index, options.repo, pattern, options.rounds) for pattern in PATTERNS}
        finally:
            subprocess.run([*tp, "daemon", "stop"], check=True)
    result = {
        "files": made["files"],
        "chunks": made["chunks"],
        "allowed": MOST,
        "median_ratio": round(statistics.median(row["ratio"] for row in rows.values()), 2),
        "patterns": rows,
    }
    print(json.dumps(result, indent=1))
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


def output(command: list[str], **options: object) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, **options).stdout  # type: ignore[call-overload]


def measure(tp: list[str], index: list[str], repo: Path, pattern: str, rounds: int) -> dict[str, object]:
    ours = [*tp, "grep", "-e", pattern, *index]
    theirs = ["rg", "-n", "--no-heading", "-e", pattern, "."]
    bare = [sys.executable, "-c", "import json, socket"]
    seconds: dict[str, list[float]] = {"tp": [], "rg": [], "python": []}
    for number in range(rounds + 1):
        for name, command in (("tp", ours), ("rg", theirs), ("python", bare)):
            started = time.perf_counter()
            subprocess.run(command, cwd=repo, stdout=subprocess.DEVNULL)
            if number:  # the first round fills the file cache
                seconds[name].append(time.perf_counter() - started)
    mine = {tuple(line.split(":", 2)[:2]) for line in output(ours, cwd=repo).splitlines()}
    other = {tuple(line.removeprefix("./").split(":", 2)[:2]) for line in output(theirs, cwd=repo).splitlines()}
    names = {path for path, _ in mine | other if not any(part.startswith(".") for part in path.split("/"))}
    known = set(output([*tp, "grep", "-l", "-e", "", *index], cwd=repo).splitlines())
    compared = names & known
    return {
        "lines": len(mine),
        "only_tp": sum(line[0] in compared for line in mine - other),
        "only_rg": sum(line[0] in compared for line in other - mine),
        "not_indexed": sorted(names - known)[:5],
        "ms": {name: round(statistics.median(times) * 1000, 1) for name, times in seconds.items()},
        "ratio": round(statistics.median(a / b for a, b in zip(seconds["tp"], seconds["rg"], strict=True)), 2),
    }


if __name__ == "__main__":
    main()
