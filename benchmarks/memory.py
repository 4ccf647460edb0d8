"""Peak resident memory of indexing a large repository, sampled from the process itself.

    scripts/bench memory --repo FOLDER [--minutes N] [--model NAME]

Runs `tp index` into a temporary index and reads its VmHWM (the high-water mark of resident memory) twice a second;
with --minutes the run is interrupted then, and how far it came is reported.
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--model")
    options = parser.parse_args()
    plan = preview(options.repo)
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            "-m",
            "turboprop",
            "index",
            "--repo",
            str(options.repo),
            "--index",
            scratch,
            "--json",
        ]
        if options.model:
            command += ["--model", options.model]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "TP_OFFLINE": "1"})
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
        output = process.stdout.read() if process.stdout else b""
        status = subprocess.run(
            [sys.executable, "-m", "turboprop", "status", "--repo", str(options.repo), "--index", scratch, "--json"],
            capture_output=True,
            check=False,
        )
    result = {
        "repository_bytes": plan.bytes,
        "repository_files": plan.files,
        "peak_resident_mb": round(peak / 1e6),
        "peak_every_30_seconds_mb": curve,
        "seconds": round(time.monotonic() - started),
        "whole_run": not interrupted,
        "summary": json.loads(output) if output.strip() else None,
        "indexed_files": json.loads(status.stdout)["files"] if status.returncode == 0 else None,
    }
    print(json.dumps(result, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
