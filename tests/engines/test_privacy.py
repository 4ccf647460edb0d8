"""Loading a model tells nobody: no forked sender, no files in the user's home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_no_telemetry(own_places: Path) -> None:
    code = (
        "import os, sys\n"
        "forks = []\n"
        "os.register_at_fork(before=lambda: forks.append(1))\n"
        "from turboprop import EmbeddingModel\n"
        "EmbeddingModel.load().embed_query('hello')\n"
        "print(forks)"
    )
    before = sorted(own_places.rglob("*"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout.strip() == "[]"
    assert sorted(own_places.rglob("*")) == before
