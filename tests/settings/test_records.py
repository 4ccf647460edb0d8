"""A record is what was written, or it is told that it is not."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turboprop.files import NotRegularFileError
from turboprop.settings.records import RecordError, examine_record, read_record, write_record

VALUES = {"/a/model.gguf": [90_000_000, 1_700_000_000_123, 7, "0f" * 32], "name": "o/m", "none": None, "part": 0.5}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(values=st.dictionaries(st.text().filter(lambda name: name != "check"), json_values))
def test_what_was_written_is_read(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("record") / "a.json"
    write_record(path, "a", values)
    assert read_record(path, "a") == values
    assert examine_record(path, "a", "") == []
    if values:
        with pytest.raises(RecordError):
            read_record(path, "b")


def test_any_bit_that_flips_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_record(path, "a", VALUES)
    sound = path.read_bytes()
    harmless = 0
    for place in range(8 * len(sound)):
        data = bytearray(sound)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            found = read_record(path, "a")
        except RecordError:
            continue
        stray = [name for name in found if name not in VALUES]
        assert {name: found[name] for name in VALUES} == VALUES
        assert len(stray) <= 1, "the name of the check itself"
        harmless += 1
    assert harmless < 100


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{", b"\xff", b"[" * 100_000, b" " * 17_000_000])
def test_what_is_no_record_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(RecordError):
        read_record(path, "a")
    (fault,) = examine_record(path, "a", "nothing counts")
    assert (fault.subject, fault.problem, fault.path) == ("a", "a.json is damaged; nothing counts", path)


def test_links_and_pipes_are_not_read_and_are_replaced(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a.json"
    write_record(victim, "a", VALUES)
    before = victim.read_bytes()
    for make in (lambda: path.symlink_to(victim), lambda: os.mkfifo(path)):
        make()
        with pytest.raises(NotRegularFileError):
            read_record(path, "a")
        assert "cannot be read" in examine_record(path, "a", "")[0].problem
        write_record(path, "a", VALUES, mode=0o600)
        assert read_record(path, "a") == VALUES
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert victim.read_bytes() == before
        path.unlink()


def test_a_record_of_an_older_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(VALUES))
    assert read_record(tmp_path / "a.json", "a") == VALUES
    assert examine_record(tmp_path / "none.json", "a", "") == []
