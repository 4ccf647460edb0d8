"""Code in a process of its own that gets no more than some memory and time."""

from __future__ import annotations

import subprocess
import sys

_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({room}, {room}))
from turboprop.errors import TurboPropError
try:
{code}
except TurboPropError as error:
    print(type(error).__name__, error)
"""


def run_bounded(code: str, *arguments: str, megabytes: int = 900) -> str:
    """What the code prints, a `TurboPropError` by its name and words. It must end by itself, without a panic.

    `megabytes` are of address space, of which the interpreter, numpy and the library take 300.
    """
    indented = "\n".join(f"    {line}" for line in code.strip().splitlines())
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED.format(room=megabytes << 20, code=indented), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "RAYON_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "panicked" not in done.stderr, done.stderr[-2000:]
    return done.stdout
