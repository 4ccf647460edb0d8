"""All caches together: random faults are found and mended, and processes that are killed leave nothing wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from embed import stress_faults, stress_kill
from turboprop.embed.caches import examine_caches, mend_caches
from turboprop.settings import Settings, load_settings


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return replace(load_settings(), data_home=tmp_path / "data", cache_home=tmp_path / "cache")


def test_random_faults_are_found_and_mended(tmp_path: Path) -> None:
    ends = stress_faults.run(rounds=20, seed=77, folder=tmp_path)
    assert ends["found"] > 10


def test_kills_leave_nothing_wrong() -> None:
    command = [sys.executable, stress_kill.__file__, "--rounds", "6", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kills = json.loads(done.stdout)
    assert sum(kills[task] for task in set(stress_kill.TASKS) & kills.keys()) >= 6


def test_what_is_not_there_has_no_fault_and_is_not_made(here: Settings, tmp_path: Path) -> None:
    assert examine_caches(here) == []
    mend_caches(here)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_found_after_a_day(here: Settings) -> None:
    places = [here.cache_home, here.data_home, here.models_dir / ".hub", here.cache_home / "graphs"]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
        (place / ".new-0123").write_bytes(b"half")
        (place / ".new-4567").write_bytes(b"half")
        os.utime(place / ".new-4567", (time.time() - 90_000,) * 2)
    assert sorted(fault.path for fault in examine_caches(here)) == sorted(place / ".new-4567" for place in places)
    mend_caches(here)
    assert examine_caches(here) == []
    assert all((place / ".new-0123").exists() for place in places), "somebody may be at it"
