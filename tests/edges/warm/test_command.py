"""`tp logs`."""

from __future__ import annotations

from pathlib import Path

import pytest

from turboprop.edges.warm import command, place


def test_the_last_lines_of_a_long_file_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(place, "folder", lambda: str(tmp_path))
    count = 1_000_000
    text = "".join(f"line {number}\n" for number in range(count))
    assert len(text) > command._MOST_LOG
    (tmp_path / place.LOG_FILE).write_text(text, "utf-8")
    command.logs.main(["-n", "2"], standalone_mode=False)
    assert capsys.readouterr().out == f"line {count - 2}\nline {count - 1}\n"
