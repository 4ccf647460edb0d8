"""Peak resident memory of indexing a large repository, sampled from the process itself.

    scripts/bench memory (--repo FOLDER | --small-files N) [--memory SIZE ...] [--minutes N] [--model NAME]

Runs `tp index` into a temporary index, once without a bound and once within each SIZE, and reads its VmHWM (the
high-water mark of resident memory) twice a second. --small-files makes a folder of N modules of a few lines. With
--minutes a run is interrupted then, and how far it came is reported. Nothing is taken from kept vectors. Each case
replaces its own entry of the results.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from turboprop.code.preview import preview
from turboprop.code.walk import walk

RESULTS = Path(__file__).parent / "results" / "memory.json"


def high_water(pid: int) -> int:
    """Bytes."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def small_files(folder: Path, count: int) -> None:
    """Modules of two functions, each with words of its own, a hundred in a folder."""
    for number in range(count):
        package = folder / f"package_{number // 10_000}" / f"part_{number // 100}"
        package.mkdir(parents=True, exist_ok=True)
        (package / f"module_{number}.py").write_text(
            f'"""Module {number}."""\n\n\ndef read_{number}(path):\n    return open(path).read()[{number}:]\n\n\n'
            f"def total_{number}(values):\n    return sum(values) + {number}\n"
        )


def run(repo: Path, memory: str | None, options: argparse.Namespace) -> dict[str, object]:
    """One run of `tp index` in a process of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "turboprop", "index", "--repo", str(repo), "--index", scratch, "--json"]
        command += ["--model", options.model] if options.model else []
        command += ["--memory", memory] if memory else []
        environment = {**os.environ, "TP_OFFLINE": "1", "TP_EMBEDDING_CACHE": "0"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        started, peak, interrupted, curve = time.monotonic(), 0, False, []
        while process.poll() is None:
            peak = max(peak, high_water(process.pid))
            passed = time.monotonic() - started
            if passed >= 30 * len(curve):
                curve.append(round(peak / 1e6))
            if options.minutes and passed > options.minutes * 60 and not interrupted:
                process.send_signal(signal.SIGINT)
                interrupted = True
            time.sleep(0.5)
        output, errors = process.communicate()
        status = subprocess.run(
            [sys.executable, "-m", "turboprop", "status", "--repo", str(repo), "--index", scratch, "--json"],
            capture_output=True,
            check=False,
        )
    return {
        "memory": memory,
        "peak_resident_mb": round(peak / 1e6),
        "peak_every_30_seconds_mb": curve,
        "interrupted": interrupted,
        "exit_code": process.returncode,
        "error": errors.strip()[-400:] if process.returncode else "",
        "seconds": round(time.monotonic() - started),
        "summary": json.loads(output) if output.strip() else None,
        "status": {
            name: value
            for name, value in (json.loads(status.stdout) if status.stdout.strip() else {}).items()
            if name in ("files", "chunks", "complete")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--repo", type=Path)
    what.add_argument("--small-files", type=int)
    parser.add_argument("--memory", nargs="*", default=[])
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        repo = options.repo or Path(scratch)
        if options.small_files:
            small_files(repo, options.small_files)
        plan = preview(walk(repo))
        name = f"{options.small_files:,} small files" if options.small_files else options.repo.name
        case = {
            "repository_bytes": plan.bytes,
            "repository_files": plan.files,
            "runs": [run(repo, memory, options) for memory in [None, *options.memory]],
        }
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    cases = {**known.get("cases", {}), name: case}
    RESULTS.write_text(json.dumps({"cases": cases}, indent=1) + "\n")
    print(json.dumps({name: case}, indent=1))


if __name__ == "__main__":
    main()
