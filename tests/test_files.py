"""What is written takes its place in one step, and what lies in the way is replaced and never followed."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from turboprop.files import NotRegularFileError, open_regular, replace_file, replacing


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    replace_file(file, b"one", durable=True)
    replace_file(file, b"two")
    assert file.read_bytes() == b"two"
    assert names(tmp_path) == ["a.json"]


def test_a_link_is_replaced_and_what_it_names_is_untouched(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = tmp_path / "a.json"
    link.symlink_to(victim)
    replace_file(link, b"new")
    assert victim.read_text() == "precious"
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"


def test_a_name_that_is_taken_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr("turboprop.files.os.urandom", lambda count: b"\0" * count)  # an attacker who guessed it
    (tmp_path / f".new-{'00' * 8}").symlink_to(victim)
    with pytest.raises(FileExistsError):
        replace_file(tmp_path / "a.json", b"new")
    assert victim.read_text() == "precious"


def test_an_error_leaves_the_old_content_and_no_remains(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b"old")

    def fail() -> None:
        with replacing(file) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


def test_permissions_are_those_asked_for_less_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "shared", b"")
        replace_file(tmp_path / "private", b"", mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600


def test_only_files_are_opened(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"here")
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")  # opened as usual it would wait for a writer for ever
    with open_regular(file) as stream:
        assert stream.read() == b"here"
    with open_regular(tmp_path / "link", follow=True) as stream:
        assert stream.read() == b"here"
    for name in ("link", "loop", "pipe", "."):
        with pytest.raises(NotRegularFileError):
            open_regular(tmp_path / name)
    with pytest.raises(NotRegularFileError):
        open_regular(tmp_path / "pipe", follow=True)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no timer of that kind")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_while_a_file_is_opened_stays_one(tmp_path: Path) -> None:
    class InterruptError(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise InterruptError

    path = tmp_path / "file"
    path.write_bytes(b"text")
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(3000):  # with two owners of the descriptor, one of some hundred was lost
            with pytest.raises(InterruptError):
                signal.setitimer(signal.ITIMER_REAL, (number % 97 + 1) * 1e-6)
                while True:
                    with open_regular(path) as stream:
                        assert stream.read() == b"text"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
