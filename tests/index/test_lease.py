from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import lance
import pytest

from turboprop.index import lease
from turboprop.index.lease import Lease, VersionGoneError, unheld
from turboprop.index.read import IndexReader
from turboprop.index.schema import IndexSpec, table_folder, table_name
from turboprop.index.write import TableWriter

Put = Callable[..., None]


def versions(directory: Path, spec: IndexSpec) -> list[int]:
    table = lance.dataset(str(table_folder(directory, table_name(spec.fingerprint))))
    return [reference["version"] for reference in table.version_refs()]


def rewrite(writer: TableWriter, put: Put, text: str) -> None:
    put(writer, "a.py", text)
    writer.publish()
    writer.maintain()


def texts(reader: IndexReader) -> list[str]:
    return [row["text"] for row in reader.rows_where("start_line > 0", ["text"])]


def test_a_version_lives_as_long_as_its_reader_and_no_other_stays(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        rewrite(writer, put, "first\n")
        with IndexReader.open(tmp_path) as first:
            rewrite(writer, put, "second\n")
            with IndexReader.open(tmp_path) as second:
                for number in range(5):
                    rewrite(writer, put, f"later {number}\n")
                assert texts(first) == ["first\n"]
                assert texts(second) == ["second\n"]
                assert versions(tmp_path, spec) == [first.header.version, second.header.version, writer.header.version]
            rewrite(writer, put, "last\n")
            assert versions(tmp_path, spec) == [first.header.version, writer.header.version]
            assert texts(first) == ["first\n"]
        rewrite(writer, put, "end\n")
        assert versions(tmp_path, spec) == [writer.header.version]
        assert len(writer.header.superseded) <= 2, "the list does not grow with the updates"


READ = """
import sys
from pathlib import Path
from turboprop.index.read import IndexReader
reader = IndexReader.open(Path(sys.argv[1]))
print(reader.rows, flush=True)
sys.stdin.readline()
print([row["text"] for row in reader.rows_where("start_line > 0", ["text"])], flush=True)
sys.stdin.readline()
"""


def test_a_reader_of_another_process_counts_until_it_is_killed(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        rewrite(writer, put, "old\n")
        old = writer.header.version
        with subprocess.Popen(
            [sys.executable, "-c", READ, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "1\n"
            for number in range(3):
                rewrite(writer, put, f"new {number}\n")
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "['old\\n']\n"
            assert old in versions(tmp_path, spec)
            process.send_signal(signal.SIGKILL)
            process.wait()
        rewrite(writer, put, "last\n")
        assert versions(tmp_path, spec) == [writer.header.version]


def test_readers_that_come_and_go_never_lose_theirs(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    failures: list[BaseException] = []
    seen: set[int] = set()
    over = threading.Event()

    def read() -> None:
        try:
            while not over.is_set():
                with IndexReader.open(tmp_path) as reader:
                    number = int(texts(reader)[0])
                    assert texts(reader) == [f"{number}\n"] * 3
                    seen.add(number)
        except BaseException as error:
            failures.append(error)

    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", *["0\n"] * 3)
        writer.publish()
        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for number in range(1, 60):
                put(writer, "a.py", *[f"{number}\n"] * 3)
                writer.publish()
                writer.maintain()
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert failures == []
        assert len(seen) > 1
        writer.maintain()
        assert versions(tmp_path, spec) == [writer.header.version]


def test_a_version_that_is_being_removed_is_not_taken(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        rewrite(writer, put, "text\n")
        folder, version = table_folder(tmp_path, writer.header.table), writer.header.version
    with unheld(folder, [version]) as (free, unknown):
        assert (free, unknown) == ([version], [])
        with pytest.raises(VersionGoneError):
            Lease.take(folder, version)
    with Lease.take(folder, version), unheld(folder, [version]) as (free, unknown):
        assert (free, unknown) == ([], [])
    with pytest.raises(VersionGoneError):
        Lease.take(folder, version + 1)


def test_without_locks_versions_stay_for_a_time(
    tmp_path: Path, spec: IndexSpec, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "fcntl", None)
    with TableWriter.open(tmp_path, spec) as writer:
        rewrite(writer, put, "old\n")
        with IndexReader.open(tmp_path) as reader:
            rewrite(writer, put, "new\n")
            assert texts(reader) == ["old\n"]
        assert len(versions(tmp_path, spec)) == 2
    with TableWriter.open(tmp_path, spec, retention_seconds=0.0) as writer:
        rewrite(writer, put, "newer\n")
        assert versions(tmp_path, spec) == [writer.header.version]


def test_a_reader_that_is_forgotten_lets_go(tmp_path: Path, spec: IndexSpec, put: Put) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        rewrite(writer, put, "old\n")
        reader = IndexReader.open(tmp_path)
        rewrite(writer, put, "new\n")
        assert reader.header.version in versions(tmp_path, spec)
        del reader
        rewrite(writer, put, "newer\n")
        assert versions(tmp_path, spec) == [writer.header.version]


@pytest.mark.parametrize(
    ("kind", "shared"),
    [("ext4", False), ("btrfs", False), ("overlay", False), ("nfs4", True), ("cifs", True), ("fuse.sshfs", True)],
)
def test_where_machines_share_a_folder_versions_stay_for_a_time(
    tmp_path: Path, spec: IndexSpec, put: Put, monkeypatch: pytest.MonkeyPatch, kind: str, shared: bool
) -> None:
    """The lock is granted, and says nothing of another machine's readers."""
    device = tmp_path.stat().st_dev
    lines = [
        "22 27 0:9999 / /proc rw - nfs other rw",
        f"36 35 {os.major(device)}:{os.minor(device)} / / rw shared:1 - ",
    ]
    mounts = tmp_path / "mountinfo"
    mounts.write_text("\n".join(lines) + f"{kind} server:/x rw\n")
    monkeypatch.setattr(lease, "_MOUNTS", mounts)
    index = tmp_path / "index"
    with TableWriter.open(index, spec) as writer:
        rewrite(writer, put, "first\n")
        first = writer.header.version
        rewrite(writer, put, "second\n")
        assert (first in versions(index, spec)) is shared
        assert lease.is_shared(index) is shared
    with TableWriter.open(index, spec, retention_seconds=0) as writer:
        rewrite(writer, put, "third\n")
        assert versions(index, spec) == [writer.header.version]


def test_a_system_that_does_not_tell_shares_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_MOUNTS", tmp_path / "none")
    assert not lease.is_shared(tmp_path)
