"""Two machines whose locks do not reach each other: one writes, the other is refused or stopped, nothing is torn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from index.other_machine import SPEC, write
from turboprop.errors import IndexBusyError
from turboprop.index import holder
from turboprop.index.holder import HOLDER_FILE, Claim, Holder, read_holder
from turboprop.index.lock import WriterLock
from turboprop.index.read import IndexReader
from turboprop.index.write import TableWriter


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"BEAT_SECONDS": 0.1, "SILENT_SECONDS": 0.5, "SETTLE_SECONDS": 0.2}.items():
        monkeypatch.setattr(holder, name, seconds)


def machine(directory: Path, host: str, files: int, seconds: float = 0.0) -> subprocess.Popen[str]:
    script = Path(__file__).with_name("other_machine.py")
    command = [sys.executable, str(script), str(directory), host, str(files), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def files_of(directory: Path) -> dict[str, int]:
    """Rows by file, once they were found to be what the manifest says."""
    with IndexReader.open(directory) as reader:
        manifest = reader.manifest()
        rows: dict[str, int] = {}
        for row in reader.rows_where("start_line > 0", ["path", "text", "start_line"]):
            rows[row["path"]] = rows.get(row["path"], 0) + 1
            host, number = row["path"].removesuffix(".py").split("/")
            assert row["text"] == f"{host} {number} {row['start_line'] - 1}\n"
        assert rows == {path: file.chunks for path, file in manifest.files.items()}
    return rows


def test_a_second_machine_is_refused_while_the_first_writes(tmp_path: Path) -> None:
    with machine(tmp_path, "first", 30, 0.1) as first:
        assert line_of(first) == "writing"
        with machine(tmp_path, "second", 1) as second:
            assert f"is being written by process {first.pid} on first since" in line_of(second)
            assert second.wait() == 3
        assert first.communicate()[0].endswith("done\n")
    assert files_of(tmp_path) == {f"first/{n}.py": 5 for n in range(30)}
    assert not (tmp_path / HOLDER_FILE).exists()


def test_a_machine_that_slept_publishes_nothing_over_another(tmp_path: Path) -> None:
    with machine(tmp_path, "sleeper", 1000) as sleeper:
        while line_of(sleeper) != "3":
            pass
        sleeper.send_signal(signal.SIGSTOP)
        try:
            with machine(tmp_path, "other", 4) as other:
                assert other.communicate()[0].endswith("done\n")
            published = files_of(tmp_path)
            assert {f"other/{n}.py" for n in range(4)} < set(published)
        finally:
            sleeper.send_signal(signal.SIGCONT)
        out = sleeper.communicate()[0]
        assert sleeper.returncode == 3, out
        assert "so this run has stopped" in out
    assert files_of(tmp_path) == published
    with machine(tmp_path, "third", 2) as third:  # and what the sleeper left hinders nobody
        assert third.communicate()[0].endswith("done\n")
    assert files_of(tmp_path) == published | {"third/0.py": 5, "third/1.py": 5}


def test_machines_that_begin_at_once(tmp_path: Path) -> None:
    for turn in range(3):
        machines = [machine(tmp_path, f"{name}{turn}", 6) for name in "ab"]
        ends = [process.communicate()[0] for process in machines]
        codes = [process.returncode for process in machines]
        assert set(codes) <= {0, 3}, ends
        assert 0 in codes
        files = files_of(tmp_path)
        for name, code in zip("ab", codes, strict=True):
            if code == 0:
                assert {f"{name}{turn}/{n}.py" for n in range(6)} <= set(files)


def test_a_machine_that_was_killed_blocks_nobody_for_long(tmp_path: Path) -> None:
    with machine(tmp_path, "dead", 1000) as dead:
        while line_of(dead) != "2":
            pass
        dead.kill()
    assert read_holder(tmp_path / HOLDER_FILE) is not None
    with machine(tmp_path, "next", 1) as process:
        assert process.communicate()[0].endswith("done\n")
    assert "next/0.py" in files_of(tmp_path)


def test_a_writer_stops_before_it_publishes_over_another(tmp_path: Path) -> None:
    with TableWriter.open(tmp_path, SPEC) as writer:
        write(writer, "a/0.py", ["a 0 0\n"])
        writer.publish()
        before = {path.name: path.read_bytes() for path in tmp_path.glob("*.manifest.json")}
        write(writer, "a/1.py", ["a 1 0\n"])
        theirs = replace(Holder.of_this_process(), host="elsewhere", pid=7)
        (tmp_path / HOLDER_FILE).write_text(json.dumps(asdict(theirs)))
        with pytest.raises(IndexBusyError, match=r"process 7 on elsewhere since .* has taken over"):
            writer.publish()
        versions = sorted(path.name for path in tmp_path.glob("*.lance/_versions/*"))
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.manifest.json")} == before
    assert sorted(path.name for path in tmp_path.glob("*.lance/_versions/*")) == versions, "it went back over another"
    assert read_holder(tmp_path / HOLDER_FILE) == theirs, "the other's file is left alone"


def test_a_file_that_is_gone_is_another_writers(tmp_path: Path) -> None:
    with WriterLock(tmp_path) as lock:
        lock.check()
        (tmp_path / HOLDER_FILE).unlink()
        with pytest.raises(IndexBusyError, match="another process has taken over"):
            lock.check()


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder", "empty", "rubbish", "nested"])
@pytest.mark.usefixtures("quick")
def test_what_lies_in_the_way_is_replaced_and_never_followed(tmp_path: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    index = tmp_path / "index"
    index.mkdir()
    path = index / HOLDER_FILE
    match kind:
        case "link":
            path.symlink_to(victim)
        case "dangling link":
            path.symlink_to(tmp_path / "not there")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
            (path / "link").symlink_to(victim)
        case "empty":
            path.write_bytes(b"")
        case "rubbish":
            path.write_bytes(b"\xff{")
        case "nested":
            path.write_bytes(b"[" * 9_000)
    with WriterLock(index) as lock:
        lock.check()
        assert not path.is_symlink()
        assert json.loads(path.read_bytes())["pid"] == os.getpid()
    assert victim.read_text() == "precious"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["index", "victim"]


@pytest.mark.parametrize(
    "values", [{"host": "a\x1b[2Jb"}, {"host": "a b"}, {"pid": -1}, {"pid": 0}, {"pid": 2**70}, {"since": 1e300}]
)
def test_a_holder_that_came_with_a_repository_is_not_printed(tmp_path: Path, values: dict[str, object]) -> None:
    (tmp_path / HOLDER_FILE).write_text(json.dumps(asdict(Holder.of_this_process()) | values))
    assert read_holder(tmp_path / HOLDER_FILE) is None


@pytest.mark.usefixtures("quick")
def test_the_last_of_two_that_take_over_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / HOLDER_FILE
    path.write_text("of nobody")
    theirs = json.dumps(asdict(replace(Holder.of_this_process(), host="elsewhere")))

    def settle(seconds: float) -> None:
        if seconds == holder.SETTLE_SECONDS:
            path.write_text(theirs)

    monkeypatch.setattr(holder.time, "sleep", settle)
    with pytest.raises(IndexBusyError, match="elsewhere"):
        Claim.take(path)
    assert path.read_text() == theirs
