from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from turboprop.errors import IndexBusyError, StorageError
from turboprop.index.holder import HOLDER_FILE
from turboprop.index.lock import WriterLock, wait_until_free

HOLD = """
import sys
from pathlib import Path
from turboprop.index.lock import WriterLock
with WriterLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(directory: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    with hold(tmp_path) as holder:
        with pytest.raises(IndexBusyError, match=f"process {holder.pid} on ") as caught, WriterLock(tmp_path):
            pass
        assert str(tmp_path) in str(caught.value)
        holder.communicate("")
    with WriterLock(tmp_path):
        assert json.loads((tmp_path / HOLDER_FILE).read_text())["pid"] == os.getpid()
    assert not (tmp_path / HOLDER_FILE).exists()


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    with hold(tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / HOLDER_FILE).exists(), "the side file outlives it and must not matter"
    with WriterLock(tmp_path):
        pass


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    seen: list[BaseException] = []

    def second() -> None:
        try:
            with WriterLock(tmp_path):
                pass
        except IndexBusyError as error:
            seen.append(error)

    with WriterLock(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(seen) == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"pid": "x", "host": 1, "since": null}', b"[1]"])
def test_a_damaged_side_file_does_not_hide_that_it_is_busy(tmp_path: Path, content: bytes) -> None:
    with WriterLock(tmp_path):
        (tmp_path / HOLDER_FILE).write_bytes(content)
        with pytest.raises(IndexBusyError, match="another process"), WriterLock(tmp_path):
            pass


def test_a_file_in_the_folders_place_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot lock"), WriterLock(tmp_path / "file"):
        pass


def test_a_writer_that_soon_ends_is_waited_for(tmp_path: Path) -> None:
    with hold(tmp_path) as holder:
        assert holder.stdin is not None
        release = threading.Timer(0.3, holder.stdin.close)
        release.start()
        wait_until_free(tmp_path, 60)
        with WriterLock(tmp_path):
            assert release.finished.is_set()
        release.join()


def test_a_writer_that_stays_is_not_waited_for_long(tmp_path: Path) -> None:
    with hold(tmp_path) as holder:
        started = time.monotonic()
        wait_until_free(tmp_path, 0.2)
        assert time.monotonic() - started >= 0.2
        with pytest.raises(IndexBusyError), WriterLock(tmp_path):
            pass
        holder.communicate("")


def test_nothing_is_waited_for_and_made_where_nobody_ever_wrote(tmp_path: Path) -> None:
    wait_until_free(tmp_path / "none", 60)
    wait_until_free(tmp_path, 60)
    assert not list(tmp_path.iterdir())
