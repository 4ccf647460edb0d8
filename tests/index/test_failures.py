from __future__ import annotations

import errno
from pathlib import Path

import pytest

from turboprop.errors import IndexDamagedError, StorageError, UsageError
from turboprop.index.failures import error_number, translated

HERE = Path("/some/.turboprop")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError("LanceError(IO): No space left on device (os error 28), writer.rs:190:9"), StorageError, "no room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), StorageError, "no room"),
        (OSError(errno.EFBIG, "File too large"), StorageError, "no room"),
        (PermissionError(errno.EACCES, "Permission denied"), StorageError, "may not be written"),
        (OSError("Read-only file system (os error 30)"), StorageError, "may not be written"),
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


def test_the_number_is_found_in_the_text() -> None:
    assert error_number(OSError("x (os error 122), y")) == 122
    assert error_number(OSError(5, "x")) == 5
    assert error_number(ValueError("x")) is None
