"""The warm server with real processes: it answers as the command does, and is replaced without a word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Warm = Callable[..., dict[str, Any]]
Status = Callable[[], dict[str, Any]]


@pytest.mark.parametrize(
    "arguments",
    [
        ["listen on a port"],
        ["listen", "on", "a", "port", "--explain"],
        ["start_server", "--output", "paths"],
        ["start_server", "--output", "vimgrep", "--limit", "1"],
        ["server", "--verbose", "--lang", "python"],
        ["zzzyqx", "--mode", "lexical"],
        ["zzzyqx", "--mode", "lexical", "--json"],
        ["dial", "--full", "--context", "2", "--mode", "lexical"],
        ["dial", "--filter", "!**/*.go", "--threshold", "0.5"],
    ],
    ids=" ".join,
)
def test_the_same_bytes(tp: Any, repo: Path, warm: Warm, status: Status, arguments: list[str]) -> None:
    answered = warm()["answered"]
    cold = tp("search", *arguments, "--no-server", cwd=repo)
    ours = tp("search", *arguments, cwd=repo)
    if "--json" in arguments:
        for done in (cold, ours):
            done.stdout = json.dumps({**json.loads(done.stdout), "took_ms": 0}).encode()
    assert (ours.returncode, ours.stdout, ours.stderr) == (cold.returncode, cold.stdout, cold.stderr)
    assert status()["answered"] == answered + 1
