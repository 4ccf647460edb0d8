from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from turboprop.errors import IndexDamagedError, StorageError, UsageError
from turboprop.index.failures import error_number, translated
from turboprop.index.schema import IndexSpec
from turboprop.index.write import TableWriter

HERE = Path(tempfile.gettempdir())


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError("LanceError(IO): No space left on device (os error 28), writer.rs:190:9"), StorageError, "no room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), StorageError, "no room"),
        (OSError(errno.EFBIG, "File too large"), StorageError, "no room"),
        (PermissionError(errno.EACCES, "Permission denied"), StorageError, "may not be written"),
        (OSError("Read-only file system (os error 30)"), StorageError, "may not be written"),
        (
            OSError("LanceError(IO): Generic LocalFileSystem error: Too many open files (os error 24)"),
            StorageError,
            "ulimit",
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), StorageError, "--memory SIZE"),
        (MemoryError(), StorageError, "--memory SIZE"),
        (pa.ArrowMemoryError("malloc of size 64 failed"), StorageError, "--memory SIZE"),
        (OSError("LanceError(IO): Input/output error (os error 5), x.rs:1"), StorageError, "the system's log"),
        (OSError(errno.EIO, "Input/output error"), StorageError, "on another disk"),
        (OSError("Stale file handle (os error 116)"), StorageError, "on this machine"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), StorageError, "on this machine"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links"), StorageError, "Its path cannot be used"),
        (OSError(errno.ENAMETOOLONG, "File name too long"), StorageError, "Its path cannot be used"),
        (OSError(errno.EINVAL, "Invalid argument"), StorageError, "Invalid argument.*Run again"),
        (FileNotFoundError(errno.ENOENT, "No such file"), IndexDamagedError, "--rebuild"),
        (OSError("LanceError(IO): Is a directory (os error 21)"), IndexDamagedError, "--rebuild"),
        (ValueError("Dataset at path x was not found"), IndexDamagedError, "--rebuild"),
        (RuntimeError("decode"), IndexDamagedError, "--rebuild"),
        (OSError("LanceError(IO): failed to fill whole buffer"), IndexDamagedError, "--rebuild"),
    ],
)
def test_failures_become_ours(error: Exception, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as caught, translated(HERE, "do it"):
        raise error
    assert str(caught.value).startswith("cannot do it")
    assert str(HERE) in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(2), TypeError("a bug"), UsageError("ours")])
def test_what_is_no_failure_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, translated(HERE, "do it"):
        raise error
    assert caught.value is error


OUT_OF_FILES = """
import os, resource, sys
from pathlib import Path
from turboprop.errors import StorageError
from turboprop.index.read import IndexReader
with IndexReader.open(Path(sys.argv[1])) as reader:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, most))
    try:
        reader.rows_where("start_line > 0")
    except StorageError as error:
        print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux tells them")
def test_a_process_out_of_files_is_told_so(tmp_path: Path, spec: IndexSpec, put: Callable[..., None]) -> None:
    with TableWriter.open(tmp_path, spec) as writer:
        put(writer, "a.py", "text\n")
        writer.publish()
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_FILES, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert "Too many open files" in done.stdout, done.stderr
    assert "ulimit -n" in done.stdout


def test_the_number_is_found_in_the_text() -> None:
    assert error_number(OSError("x (os error 122), y")) == 122
    assert error_number(OSError(5, "x")) == 5
    assert error_number(ValueError("x")) is None
