"""Loading a model tells nobody: no telemetry module, no forked sender, no files in the user's home."""

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
        "print(forks, sorted(name for name in sys.modules if 'telemetry' in name and sys.modules[name]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True)
    forks, _, modules = done.stdout.partition(" ")
    assert forks == "[]"
    assert "openvino_telemetry" not in modules
    assert not (own_places / "intel").exists()
