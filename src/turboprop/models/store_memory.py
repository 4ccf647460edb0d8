"""How much memory this process may use, to say beforehand which models are too large for the machine."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path

# Beside its weights a model needs activations and, for a language model, a cache of keys and values;
# a fifth on top and 500 MB for the rest of the program is what a short context takes.
_FACTOR = 1.2
_REST_BYTES = 500_000_000
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(b|k|kb|kib|m|mb|mib|g|gb|gib)?", re.IGNORECASE)
_UNITS = {
    "": 1,
    "b": 1,
    "k": 10**3,
    "kb": 10**3,
    "kib": 2**10,
    "m": 10**6,
    "mb": 10**6,
    "mib": 2**20,
    "g": 10**9,
    "gb": 10**9,
    "gib": 2**30,
}
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_bytes() -> int | None:
    """Physical memory, or the container's limit where that is lower; None if the system does not tell."""
    total: int | None = None
    if sys.platform == "win32":
        import ctypes

        wide = ("total", "free", "page_total", "page_free", "virtual", "virtual_free", "extended")

        class Status(ctypes.Structure):
            _fields_ = (
                ("length", ctypes.c_ulong),
                ("load", ctypes.c_ulong),
                *((name, ctypes.c_ulonglong) for name in wide),
            )

        status = Status(length=ctypes.sizeof(Status))
        if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            total = int(status.total)
    else:
        with contextlib.suppress(OSError, ValueError):
            total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            value = int(Path(limit).read_text("ascii"))
            total = value if total is None else min(total, value)
    return total


def available_bytes() -> int | None:
    """Memory that this process could still take without pushing others out; None if the system does not tell."""
    free: int | None = None
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    with contextlib.suppress(OSError, ValueError, StopIteration):
        group = Path("/sys/fs/cgroup")
        left = int((group / "memory.max").read_text("ascii")) - int((group / "memory.current").read_text("ascii"))
        # Pages of files that were read are counted as used, and given back when asked for.
        lines = (group / "memory.stat").read_text("ascii").splitlines()
        left += next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        free = left if free is None else min(free, left)
    total = memory_bytes()
    # Where the system names no free memory, half of the whole is a cautious guess.
    return free if free is not None or total is None else total // 2


def fits(model_bytes: int, memory: int | None) -> bool:
    """Whether a model of that size can run here; True where the memory is unknown."""
    return memory is None or model_bytes * _FACTOR + _REST_BYTES <= memory


def parse_size(text: str) -> int | None:
    """Bytes, with a unit or without: 500000, 2mb, 1.5MiB; None for what is no size of at least one byte."""
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * _UNITS[(match[2] or "").lower()]) if match else 0
    return size if size >= 1 else None
