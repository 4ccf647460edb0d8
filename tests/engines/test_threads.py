"""Threads follow what the process may use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from turboprop.engines.threads import _ratio, usable_cores


def test_at_least_one_and_no_more_than_the_machine_has() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_is_respected() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from turboprop.engines.threads import usable_cores; print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize(("text", "cpus"), [("150000 100000", 1.5), ("max 100000", None), ("", None), ("-1 5", None)])
def test_cgroup_quota(tmp_path, text: str, cpus: float | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(text)
    assert _ratio(file, None) == cpus
    assert _ratio(tmp_path / "absent", None) is None
