"""The inside of a worker process: its limits, its streams, and the guard that ends it.

A native library can hold the interpreter's lock for ever, so no thread of the worker can be trusted to see
that the process that started it is gone. A second, tiny interpreter (5 MB) watches instead: when the pipe
from the parent closes it kills the worker, and when the worker is gone it deletes the worker's folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

ADDRESSES_BESIDE = 1 << 30
"""Address space that the interpreter, stacks and allocator reserve and do not use: 390 MB seen with a model of
0.2 MB and 12 threads."""

# It polls for a hang-up on the parent's pipe (descriptor 0) without reading from it.
_GUARD = """
import os, select, shutil, signal, sys
worker, folder, alive = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
watch = select.poll()
watch.register(0, 0)
watch.register(alive, 0)
gone = {descriptor for descriptor, _ in watch.poll()}
if alive not in gone:
    try:
        os.kill(worker, signal.SIGKILL)
    except ProcessLookupError:
        pass
shutil.rmtree(folder, ignore_errors=True)
"""


def limit_memory(limit: int | None) -> None:
    """Let this process take at most `limit` bytes, files that are mapped included, and write no core file."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limit is not None:
        total = limit + ADDRESSES_BESIDE
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            total = min(total, hard)
        resource.setrlimit(resource.RLIMIT_AS, (total, hard))


def own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Requests and answers. What the native library prints goes to stderr, and it finds no input."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return requests, answers


def start_guard(requests: BinaryIO, folder: Path) -> None:
    """Start the guard of this process; its end of the pipe that tells it closes with us, however we end."""
    if sys.platform == "win32":
        return
    watched, held = os.pipe()
    os.set_inheritable(held, False)
    # -I and -S: it needs no site-packages, and nothing of the current folder may be imported.
    subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), str(folder), str(watched)],
        stdin=requests.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[watched],
        env={},
    )
    os.close(watched)
