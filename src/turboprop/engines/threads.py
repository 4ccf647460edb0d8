"""How many threads a computation should use: the physical cores that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CPU = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")


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
