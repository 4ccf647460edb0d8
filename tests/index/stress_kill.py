"""Edit a repository, kill `tp index` at a random moment, run it again; at the end compare with a fresh index.

    python tests/index/stress_kill.py --repo FOLDER [--rounds 300] [--seed 0] [--model NAME]

FOLDER is copied first. A round edits, adds, renames and removes files, starts `tp index` and kills it with
SIGKILL; what readers see must then be whole. Every other round, on average, is run again to its end, so that
kills also meet what killed runs left. The vectors that a user keeps are switched off: each index embeds for
itself. Prints one line of JSON and ends with 1 where anything was lost.
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
import time
from pathlib import Path

import numpy as np

from turboprop.errors import IndexNotFoundError
from turboprop.index.read import IndexReader

ENDINGS = (".py", ".md", ".c", ".h", ".rs", ".go", ".js", ".ts", ".java", ".toml", ".txt")
Rows = dict[tuple[str, int, int, str], list[float]]


def tp(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "turboprop", *map(str, arguments)]


def edit(root: Path, source: random.Random, turn: int) -> None:
    """One to six changes to files that are indexed."""
    files = sorted(path for path in root.rglob("*") if path.suffix in ENDINGS and ".turboprop" not in path.parts)
    for number in range(source.randint(1, 6)):
        file = source.choice(files)
        lines = file.read_text("utf-8", "replace").splitlines(keepends=True) if file.exists() else []
        place = source.randrange(len(lines) + 1)
        kind = source.random()
        if kind < 0.6:
            lines[place:place] = [f"def turn_{turn}_{number}(value):\n", f"    return value + {turn}\n", "\n"]
            file.write_text("".join(lines), "utf-8")
        elif kind < 0.7:
            file.write_text("".join(lines[:place] + lines[place + 10 :]), "utf-8")
        elif kind < 0.8 and file.exists():
            file.rename(file.with_name(f"moved_{turn}_{number}{file.suffix}"))
        elif kind < 0.95:
            file.with_name(f"new_{turn}_{number}.py").write_text("".join(lines[:60]) + f"VALUE = {turn}\n", "utf-8")
        else:
            file.unlink(missing_ok=True)


def rows_of(directory: Path) -> Rows:
    with IndexReader.open(directory) as reader:
        columns = ["path", "start_line", "end_line", "text", "vector"]
        table = reader.rows_where("start_line > 0", columns)
    return {(row["path"], row["start_line"], row["end_line"], row["text"]): row["vector"] for row in table}


def check_whole(directory: Path) -> bool:
    """Whether there is an index; raises where rows and manifest differ."""
    try:
        with IndexReader.open(directory) as reader:
            manifest = reader.manifest()
            if manifest.header.version == reader.header.version:
                assert reader.rows == sum(file.chunks for file in manifest.files.values())
        return True
    except IndexNotFoundError:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model")
    options = parser.parse_args()
    source = random.Random(options.seed)
    environment = {**os.environ, "TP_OFFLINE": "1", "TP_EMBEDDING_CACHE": "0"}
    model = ["--model", options.model] if options.model else []
    killed = ended = 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "repository"
        shutil.copytree(options.repo, root, ignore=shutil.ignore_patterns(".turboprop", ".git"), symlinks=True)
        directory = root / ".turboprop"
        command = tp("index", "--repo", root, *model)
        longest = 3.0
        for turn in range(options.rounds):
            edit(root, source, turn)
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            # From the imports to the moment after the last write, whatever the machine.
            time.sleep(source.uniform(0.05, longest * 1.1))
            if process.poll() is None:
                killed += 1
            process.kill()
            errors = process.communicate()[1]
            assert process.returncode in (0, -9), errors.decode()
            ended += process.returncode == 0
            check_whole(directory)
            if source.random() < 0.5:
                begun = time.monotonic()
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stderr
                longest = min(30.0, 0.7 * longest + 0.3 * (time.monotonic() - begun))
                assert check_whole(directory)
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        fresh = Path(scratch) / "fresh"
        subprocess.run([*command, "--index", str(fresh)], env=environment, check=True, stdout=subprocess.DEVNULL)
        ours, theirs = rows_of(directory), rows_of(fresh)
        both = ours.keys() & theirs.keys()
        apart = max((float(np.abs(np.subtract(ours[key], theirs[key])).max()) for key in both), default=0.0)
    result = {
        "rounds": options.rounds,
        "killed": killed,
        "ended_before_the_kill": ended,
        "rows": len(ours),
        "rows_of_a_fresh_index": len(theirs),
        "same_chunks": ours.keys() == theirs.keys(),
        "largest_difference_of_a_vector": apart,
        "seconds": round(time.monotonic() - started),
    }
    print(json.dumps(result))
    return 0 if result["same_chunks"] and apart <= 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
