"""An index that follows its repository: real files, real events of the system, a real model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from turboprop import Index
from turboprop.index.lock import WriterLock
from turboprop.types import IndexSummary
from turboprop.workspace.watch import Watched, matters, watch

Write = Callable[[dict[str, str]], Path]
FILES = {"a.py": "def first():\n    return 1\n", "b.py": "def second():\n    return 2\n"}


class Watcher:
    """A watch in a thread, its events in a list that can be waited on."""

    def __init__(self, root: Path, *, polling: bool = False) -> None:
        self.index = Index.create(root)
        self.stop = threading.Event()
        self.events: list[Watched] = []
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._run, args=(polling,))
        self._thread.start()

    def _run(self, polling: bool) -> None:
        for event in watch(self.index, self.stop, force_polling=polling):
            with self._news:
                self.events.append(event)
                self._news.notify_all()

    def wait(self, wanted: Callable[[IndexSummary], bool]) -> None:
        with self._news:
            done = self._news.wait_for(lambda: any(e.summary and wanted(e.summary) for e in self.events), 120)
        assert done, self.events

    def close(self) -> None:
        self.stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self.index.close()


@pytest.fixture
def watcher(write_files: Write) -> Iterator[Watcher]:
    made = Watcher(write_files(FILES))
    yield made
    made.close()


def test_files_that_change_are_brought_in(watcher: Watcher) -> None:
    root = watcher.index.repo
    (root / "c.py").write_text("def third():\n    return 3\n")
    watcher.wait(lambda summary: summary.files == 3)
    (root / "a.py").unlink()
    (root / "b.py").rename(root / "d.py")
    watcher.wait(lambda summary: summary.files == 2)
    (root / ".tpignore").write_text("d.py\n")
    watcher.wait(lambda summary: summary.skipped.get(".tpignore") == 1)
    with Index.open(root) as index:
        assert set(index.reader.manifest().files) == {"c.py", ".tpignore"}


def test_a_branch_switch_is_one_change(write_files: Write) -> None:
    root = write_files(FILES)

    def git(*arguments: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", root, *arguments],
            check=True,
            capture_output=True,
        )

    git("init", "-b", "main")
    (root / ".gitignore").write_text(".turboprop\n")
    git("add", "--all")
    git("commit", "-m", "one")
    git("switch", "-c", "other")
    for number in range(300):
        (root / f"n{number}.py").write_text(f"VALUE_{number} = {number}\n")
    git("add", "--all")
    git("commit", "-m", "two")
    git("switch", "main")
    watcher = Watcher(root)
    try:
        assert watcher.index.summary is not None
        assert watcher.index.summary.files == 3
        git("switch", "other")
        watcher.wait(lambda summary: summary.files == 303)
        git("switch", "main")
        watcher.wait(lambda summary: summary.removed_files > 0 and summary.files == 3)
    finally:
        watcher.close()


def test_polling_where_the_system_watches_no_more(write_files: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    import watchfiles

    real = watchfiles.watch

    def limited(*paths: object, force_polling: bool = False, **options: object) -> object:
        if not force_polling:
            raise OSError("OS file watch limit reached")
        return real(*paths, force_polling=True, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(watchfiles, "watch", limited)
    monkeypatch.setattr("turboprop.workspace.watch.POLL_MS", 100)
    watcher = Watcher(write_files(FILES))
    try:
        (watcher.index.repo / "c.py").write_text("def third():\n    return 3\n")
        watcher.wait(lambda summary: summary.files == 3)
        assert "limit reached" in watcher.events[0].note
    finally:
        watcher.close()


def test_a_busy_index_is_tried_again(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turboprop.workspace.watch._BUSY_SECONDS", 0.05)
    root = watcher.index.repo
    with WriterLock(root / ".turboprop"):
        (root / "c.py").write_text("def third():\n    return 3\n")
        assert not watcher.stop.wait(1.5)
        assert not any(event.summary and event.summary.files == 3 for event in watcher.events)
    watcher.wait(lambda summary: summary.files == 3)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("src/a.py", True),
        (".gitignore", True),
        (".turboprop/x.lance/data", False),
        (".git/HEAD", True),
        (".git/info/exclude", True),
        (".git/objects/ab/cd", False),
        (".git/index.lock", False),
        ("sub/.git/HEAD", True),
        ("web/node_modules/x/index.js", False),
    ],
)
def test_what_matters(path: str, expected: bool) -> None:
    assert matters(path.replace("/", os.sep)) is expected


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to another process")
def test_the_command_watches_until_an_interrupt(write_files: Write) -> None:
    root = write_files(FILES)
    process = subprocess.Popen(
        [sys.executable, "-m", "turboprop", "index", "--repo", str(root), "--watch"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert "2 files" in process.stdout.readline()
    assert "watching" in process.stderr.readline()
    (root / "c.py").write_text("def third():\n    return 3\n")
    while "3 files" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 0
    assert "no longer watching" in said
