"""What an edit costs in an index of many files, as ratios to the first index of the same run.

    scripts/bench incremental --corpus FOLDER [--files 5000] [--lines 60] [--updates 1000] [--model NAME]

FOLDER holds source code; runs of lines of its files, under other names until there are enough, are a repository
made for the run. Measured: looking for changes where there are none, one edited file of 300 lines until
it is found (in the process, and by a whole `tp search`), and what many single-file updates leave behind.
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
from dataclasses import replace
from pathlib import Path

from turboprop import Index
from turboprop.code.walk import walk
from turboprop.index.schema import bytes_on_disk
from turboprop.settings import load_settings

RESULTS = Path(__file__).parent / "results" / "incremental.json"
QUERIES = ["parse the arguments", "read a file", "matrix multiplication", "test_raises", "open a connection"]
EDIT_LINES = 300
LAST_UPDATES = 8
"""Updates after each of which queries are timed, in turn with a fresh index."""


def make_repository(corpus: Path, root: Path, files: int, length: int) -> None:
    sources = [file for file in walk(corpus).files if file.language == "python"]
    made = 0
    turn = 0
    while made < files:
        for source in sources:
            lines = Path(source.location).read_text("utf-8", "replace").splitlines(keepends=True)
            part = lines[turn * length : (turn + 1) * length]
            if not part:
                continue
            target = root / f"part{turn}" / source.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("".join(part), "utf-8")
            made += 1
            if made == files:
                break
        turn += 1
    subprocess.run(["git", "init", "--quiet", root], check=True)
    subprocess.run(["git", "-C", root, "add", "--all"], check=True)


def edited(number: int) -> str:
    """A file of 300 lines, different each time."""
    functions = (
        f"def measure_{number}_{k}(value, scale={k}):\n"
        f'    """Weigh run {number} of the zebra counter by {k}."""\n'
        "    if value < scale:\n        raise ValueError(value)\n"
        f"    return value * scale + {number}\n\n"
        for k in range(EDIT_LINES // 6)
    )
    return "".join(functions)


def query_times(index: Index) -> list[float]:
    """Milliseconds of each query."""
    times = []
    for query in QUERIES:
        started = time.perf_counter()
        index.search(query)
        times.append((time.perf_counter() - started) * 1000)
    return times


def apply_update(index: Index, root: Path, files: list[str], number: int) -> float:
    """One file changes and is brought in; returns the seconds that took."""
    path = root / files[(number * 7919) % len(files)]
    path.write_text(f"def changed_{number}(value):\n    return value + {number}\n", "utf-8")
    started = time.perf_counter()
    assert index.update().embedded_chunks == 1  # a refresh leaves it where the machine is too busy to look
    return time.perf_counter() - started


def whole_command(*arguments: str | Path) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "turboprop", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--lines", type=int, default=60)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "repository"
        root.mkdir()
        make_repository(options.corpus, root, options.files, options.lines)
        os.environ["TP_EMBEDDING_CACHE"] = "0"
        os.environ["TP_SERVER"] = "0"  # one that `tp search` left running would look for changes too
        settings = replace(load_settings(), embedding_cache=0)
        started = time.perf_counter()
        Index.create(root, options.model, settings=settings).close()
        first = time.perf_counter() - started
        result: dict[str, object] = {}
        with Index.open(root, settings=settings) as index:
            result["files"], result["chunks"] = index.reader.header.file_count, index.reader.rows
            result["first_index_seconds"] = round(first, 2)
            index.search("warm")
            time.sleep(2.5)  # files written less than two seconds ago are read again
            index.update()
            looks = []
            for _ in range(7):
                started = time.perf_counter()
                assert not index.bring_in().changed
                looks.append(time.perf_counter() - started)
            result["look_ms"] = round(statistics.median(looks) * 1000, 1)
            starts = [whole_command("--version") for _ in range(5)]
            nothing = [whole_command("index", "--repo", root) for _ in range(5)]
            result["tp_index_nothing_changed_ms"] = round(statistics.median(nothing) * 1000)
            result["tp_version_ms"] = round(statistics.median(starts) * 1000)

            edits = []
            for number in range(7):
                (root / "part0" / "edited.py").write_text(edited(number), "utf-8")
                started = time.perf_counter()
                assert index.bring_in().changed == 1
                (hit,) = index.search(f"measure_{number}_7", 1)
                assert hit.path == "part0/edited.py"
                edits.append(time.perf_counter() - started)
            result["edit_until_found_ms"] = round(statistics.median(edits) * 1000)
            result["first_index_over_edit"] = round(first / statistics.median(edits))
            (root / "part0" / "edited.py").write_text(edited(99), "utf-8")
            result["tp_search_after_an_edit_ms"] = round(whole_command("search", "--repo", root, "measure_99_7") * 1000)
            index.update()

            files = [file.path for file in walk(root).files]
            took, most = [], 0
            for number in range(options.updates - LAST_UPDATES):
                took.append(apply_update(index, root, files, number))
                if number % 50 == 0:
                    most = max(most, bytes_on_disk(root / ".turboprop"))
            again = Path(scratch) / "again"
            updated_ms: list[float] = []
            anew_ms: list[float] = []
            with Index.create(root, options.model, index_dir=again, settings=settings) as anew:
                anew.search("warm")
                # What the updates leave behind grows and is merged by turns; the machine is as busy for both.
                for number in range(options.updates - LAST_UPDATES, options.updates):
                    took.append(apply_update(index, root, files, number))
                    index.search("warm")
                    for _ in range(5):
                        updated_ms += query_times(index)
                        anew_ms += query_times(anew)
                anew_bytes = bytes_on_disk(again)
            most = max(most, bytes_on_disk(root / ".turboprop"))
            result["updates"] = options.updates
            result["update_ms_median_most"] = [round(ms * 1000) for ms in (statistics.median(took), max(took))]
            result["disk_over_fresh"] = round(bytes_on_disk(root / ".turboprop") / anew_bytes, 2)
            result["most_disk_over_fresh"] = round(most / anew_bytes, 2)
            updated, fresh = statistics.median(updated_ms), statistics.median(anew_ms)
            result["query_ms_updated_fresh"] = [round(updated, 1), round(fresh, 1)]
            result["query_over_fresh"] = round(updated / fresh, 2)
    print(json.dumps(result, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
