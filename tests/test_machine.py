"""What the process may use: memory and cores."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from turboprop.machine import (
    _ratio,
    available_bytes,
    memory_bytes,
    peak_resident_bytes,
    resident_bytes,
    usable_cores,
)


def test_at_least_one_and_no_more_than_the_machine_has() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_is_respected() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from turboprop.machine import usable_cores; print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize(("text", "cpus"), [("150000 100000", 1.5), ("max 100000", None), ("", None), ("-1 5", None)])
def test_cgroup_quota(tmp_path, text: str, cpus: float | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(text)
    assert _ratio(file, None) == cpus
    assert _ratio(tmp_path / "absent", None) is None


def test_memory() -> None:
    total, free = memory_bytes(), available_bytes()
    assert total is None or total > 100_000_000
    assert free is None or (total is not None and 0 < free <= total)
    taken, peak = resident_bytes(), peak_resident_bytes()
    assert taken is None or (peak is not None and 1_000_000 < taken <= peak * 1.05)
