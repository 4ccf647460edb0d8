"""What this process takes."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


def resident_bytes() -> int:
    """Physical memory of this process now; its peak so far where the system tells no more."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
