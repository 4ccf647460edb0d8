"""Many processes index, edit and search one repository at once; at the end compare with a fresh index.

    python tests/index/stress_processes.py --repo FOLDER [--processes 8] [--seconds 120] [--seed 0]

FOLDER is copied first. Half of the processes run `tp index` again and again, each after an edit of a file of its
own; the others search for what is in files that nobody edits. Prints one line of JSON and ends with 1 where a process
ended with anything but its answer or the documented "busy", or where a search did not find what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from stress_kill import rows_of, tp

MARK = "def untouched_landmark_{0}(value):\n    return value + {0}\n"


class Worker(threading.Thread):
    """One process after another until the time is over."""

    def __init__(self, root: Path, number: int, seed: int, until: float, environment: dict[str, str]) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._root, self._number, self._until, self._environment = root, number, until, environment
        self._random = random.Random(seed * 100 + number)

    def run(self) -> None:
        turn = 0
        while time.monotonic() < self._until:
            turn += 1
            if self._number % 2:
                self._search()
            else:
                self._index(turn)

    def _run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(tp(*arguments), env=self._environment, capture_output=True, text=True, check=False)

    def _index(self, turn: int) -> None:
        own = self._root / f"own_{self._number}.py"
        own.write_text(f"def own_{self._number}_{turn}(value):\n    return value\n" * self._random.randint(1, 9))
        done = self._run("index", "--repo", self._root)
        if done.returncode == 0:
            self.counts["indexed"] += 1
        elif done.returncode == 2 and "is being written by" in done.stderr:
            self.counts["busy"] += 1
        else:
            self.wrong.append(done.stderr[-500:])

    def _search(self) -> None:
        mark = self._random.randrange(5)
        mode = self._random.choice(["hybrid", "lexical"])
        done = self._run("search", f"untouched_landmark_{mark}", "--repo", self._root, "--json", "--mode", mode)
        hits = json.loads(done.stdout)["hits"] if done.returncode == 0 else []
        if hits and hits[0]["path"] == f"landmark_{mark}.py" and hits[0]["text"] == MARK.format(mark):
            self.counts["found"] += 1
        else:
            self.wrong.append(f"{done.returncode}: {done.stdout[-300:]} {done.stderr[-300:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    environment = {**os.environ, "TP_OFFLINE": "1", "TP_EMBEDDING_CACHE": "0"}
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "repository"
        shutil.copytree(options.repo, root, ignore=shutil.ignore_patterns(".turboprop", ".git"), symlinks=True)
        for mark in range(5):
            (root / f"landmark_{mark}.py").write_text(MARK.format(mark))
        command = tp("index", "--repo", root)
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        until = time.monotonic() + options.seconds
        workers = [Worker(root, number, options.seed, until, environment) for number in range(options.processes)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        fresh = Path(scratch) / "fresh"
        subprocess.run([*command, "--index", str(fresh)], env=environment, check=True, stdout=subprocess.DEVNULL)
        ours, theirs = rows_of(root / ".turboprop"), rows_of(fresh)
    counts = sum((worker.counts for worker in workers), Counter())
    wrong = [text for worker in workers for text in worker.wrong]
    result = {
        "processes": options.processes,
        "seconds": options.seconds,
        **counts,
        "wrong": len(wrong),
        "rows": len(ours),
        "same_chunks_as_a_fresh_index": ours.keys() == theirs.keys(),
    }
    print(json.dumps(result))
    for text in wrong[:5]:
        print(text, file=sys.stderr)
    return 0 if not wrong and ours.keys() == theirs.keys() else 1


if __name__ == "__main__":
    sys.exit(main())
