"""Commands with a server beside them, in places of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from turboprop import Index

FILES = {
    "app/server.py": "def start_server(port):\n    '''Listen on a port.'''\n    return bind(port)\n",
    "app/client.go": "package app\n\nfunc Dial(host string) error {\n\treturn nil\n}\n",
    "README.md": "# Demo\n\nStart the server, then dial it.\n",
}
Tp = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def repo(write_files: Callable[[dict[str, str]], Path]) -> Path:
    root = write_files(FILES)
    Index.create(root).close()
    return root


@pytest.fixture
def environment(
    own_places: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Variables of a user whose server is allowed; it is stopped at the end."""
    cache = tmp_path_factory.mktemp("c")
    for folder in shared_cache.iterdir():  # converted graphs are the same: no test converts them again
        if folder.name != "server":
            (cache / folder.name).symlink_to(folder)
    variables = {**os.environ, "TP_SERVER": "1", "TP_CACHE": str(cache)}
    yield variables
    subprocess.run([sys.executable, "-m", "turboprop", "daemon", "stop"], env=variables, capture_output=True)
    for process in servers_in(cache):  # one that had not come up to be told
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def servers_in(cache: Path) -> list[int]:
    """Processes of servers whose cache is this one, as Linux tells them; also those that are starting."""
    mark = f"TP_CACHE={cache}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_server = (process / "cmdline").read_bytes().split(b"\0")[-3:-1] == [b"daemon", b"run"]
            if is_server and mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


@pytest.fixture
def servers(environment: dict[str, str]) -> Callable[[], list[int]]:
    return lambda: servers_in(Path(environment["TP_CACHE"]))


@pytest.fixture
def tp(environment: dict[str, str]) -> Tp:
    def run(*arguments: str | Path, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "turboprop", *map(str, arguments)],
            capture_output=True,
            cwd=cwd,
            env={**environment, **variables},
            check=False,
        )

    return run


@pytest.fixture
def status(tp: Tp) -> Callable[[], dict[str, Any]]:
    def ask() -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(tp("daemon", "status", "--json").stdout)
        return answer

    return ask


@pytest.fixture
def wait_for(status: Callable[[], dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Wait until a server runs or none does, whose process is not `but`."""

    def wait(*, running: bool = True, but: int | None = None) -> dict[str, Any]:
        until = time.monotonic() + 300
        while time.monotonic() < until:
            state = status()
            if state["running"] == running and (not running or state["pid"] != but):
                return state
            time.sleep(0.1)
        raise AssertionError(f"no change in five minutes: {status()}")

    return wait


@pytest.fixture
def warm(tp: Tp, repo: Path, wait_for: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Search once and wait until the server that this starts is there."""

    def start(**variables: str) -> dict[str, Any]:
        done = tp("search", "listen on a port", cwd=repo, **variables)
        assert done.returncode == 0, done.stderr
        return wait_for()

    return start
