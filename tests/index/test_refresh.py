from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from turboprop.index.refresh import BUDGET_SECONDS, CHECK_FILE, expected_seconds, note_seconds


def test_without_a_record_the_number_of_files_tells(tmp_path: Path) -> None:
    assert expected_seconds(tmp_path, 100) < BUDGET_SECONDS < expected_seconds(tmp_path, 50_000)


def test_one_slow_look_is_no_rule_and_two_are(tmp_path: Path) -> None:
    note_seconds(tmp_path, 5_000, 0.06)
    note_seconds(tmp_path, 5_000, 0.5)
    assert expected_seconds(tmp_path, 5_000) == 0.06
    note_seconds(tmp_path, 5_000, 0.5)
    assert expected_seconds(tmp_path, 5_000) == 0.5
    note_seconds(tmp_path, 5_000, 0.06)
    assert expected_seconds(tmp_path, 5_000) == 0.06


def test_looks_that_were_too_slow_are_tried_again_later(tmp_path: Path) -> None:
    for _ in range(2):
        note_seconds(tmp_path, 5_000, 0.5)
        earlier = time.time() - 400
        os.utime(tmp_path / CHECK_FILE, (earlier, earlier))
        assert expected_seconds(tmp_path, 5_000) < BUDGET_SECONDS
    note_seconds(tmp_path, 5_000, 0.5)
    assert expected_seconds(tmp_path, 5_000) == 0.5, "it was tried a moment ago"
    assert expected_seconds(tmp_path, 500) < BUDGET_SECONDS, "the record is of another number of files"


def test_a_time_like_the_last_ones_is_not_written_again(tmp_path: Path) -> None:
    note_seconds(tmp_path, 5_000, 0.06)
    written = (tmp_path / CHECK_FILE).read_bytes()
    note_seconds(tmp_path, 5_000, 0.065)
    assert (tmp_path / CHECK_FILE).read_bytes() == written


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        json.dumps({"files": 5_000, "seconds": 9.0}).encode(),
        json.dumps({"files": "5000", "seconds": 9.0, "before": 9.0}).encode(),
        json.dumps({"files": 5_000, "seconds": "9", "before": 9.0}).encode(),
        json.dumps({"files": 5_000, "seconds": 9.0, "before": -1}).encode(),
    ],
)
def test_a_record_that_is_none_is_passed_over(tmp_path: Path, record: bytes) -> None:
    (tmp_path / CHECK_FILE).write_bytes(record)
    assert expected_seconds(tmp_path, 5_000) < BUDGET_SECONDS
    note_seconds(tmp_path, 5_000, 0.06)
    assert expected_seconds(tmp_path, 5_000) == 0.06


def test_a_small_repository_is_looked_at_however_busy_the_machine_was(tmp_path: Path) -> None:
    for _ in range(2):
        note_seconds(tmp_path, 200, 9.0)
    assert expected_seconds(tmp_path, 200) < BUDGET_SECONDS
