"""What the machine gives this process: memory and cores, within the bounds of a container."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import sys
from pathlib import Path

SHARE = 0.75
"""Of the memory that is free, what models and conversions may take where no budget is given."""
_CPU = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_LIMITS = (_CGROUP / "memory.max", _CGROUP / "memory" / "memory.limit_in_bytes")


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
            value = int(limit.read_text("ascii"))
            total = value if total is None else min(total, value)
    return total


def available_bytes() -> int | None:
    """Memory that this process could still take without pushing others out; None if the system does not tell."""
    free: int | None = None
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    with contextlib.suppress(OSError, ValueError, StopIteration):
        left = int((_CGROUP / "memory.max").read_text("ascii")) - int((_CGROUP / "memory.current").read_text("ascii"))
        # Pages of files that were read are counted as used, and given back when asked for.
        lines = (_CGROUP / "memory.stat").read_text("ascii").splitlines()
        left += next(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))
        free = left if free is None else min(free, left)
    total = memory_bytes()
    # Where the system names no free memory, half of the whole is a cautious guess.
    return free if free is not None or total is None else total // 2


def share_of_free(share: float = SHARE) -> int | None:
    """Bytes of the memory that is free now; None if the system does not tell."""
    free = available_bytes()
    return None if free is None else int(free * share)


def resident_bytes() -> int | None:
    """The memory that this process has now; None where the system does not tell (other than Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * mmap.PAGESIZE


def peak_resident_bytes() -> int | None:
    """The most memory that this process has had; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def usable_cores() -> int:
    """Physical cores in the process's affinity, cut to the cgroup's CPU quota; at least 1.

    Two hardware threads of one core share its matrix units, so counting both only adds switching.
    """
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # macOS and Windows have no affinity call
        return os.cpu_count() or 1
    cores = {_siblings(cpu) for cpu in allowed}
    quota = _cgroup_quota()
    return max(1, min(len(cores), math.ceil(quota)) if quota else len(cores))


def _siblings(cpu: int) -> str:
    try:
        return (_CPU / f"cpu{cpu}/topology/thread_siblings_list").read_text("ascii").strip()
    except OSError:
        return str(cpu)


def _cgroup_quota() -> float | None:
    """CPUs that the tightest cgroup above this process allows (v2 `cpu.max`, v1 `cpu.cfs_quota_us`)."""
    limits = []
    try:
        groups = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return None
    for group in groups:
        _, controllers, place = group.split(":", 2)
        if controllers == "":
            folder = _CGROUP / place.lstrip("/")
            while folder.is_relative_to(_CGROUP):
                limits.append(_ratio(folder / "cpu.max", None))
                folder = folder.parent
        elif "cpu" in controllers.split(","):
            folder = _CGROUP / "cpu" / place.lstrip("/")
            limits.append(_ratio(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"))
    return min((limit for limit in limits if limit), default=None)


def _ratio(quota_file: Path, period_file: Path | None) -> float | None:
    try:
        words = quota_file.read_text("ascii").split()
        if period_file is not None:
            words += period_file.read_text("ascii").split()
        return float(words[0]) / float(words[1]) if float(words[0]) > 0 else None
    except (OSError, ValueError, IndexError):  # "max", or no such controller
        return None
