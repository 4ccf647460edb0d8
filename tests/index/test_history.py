"""What an index keeps of its repository's commits, from real repositories of every odd shape."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from turboprop.code.git import GitError
from turboprop.code.terms import counted_terms, term_hash
from turboprop.index import history
from turboprop.index.history import History, PastCommit, keep_history
from turboprop.index.schema import HISTORY
from turboprop.settings.trust import key_file

MESSAGES = ("Add both", "The timeout of a socket was wrong", "Say which user it is")


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(["git", *identity, "-C", root, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(root: Path, message: str, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with (root / name).open("a") as stream:
            stream.write(f"{message}\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", message)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "r"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    commit(root, MESSAGES[0], "net.py", "user.py")
    commit(root, MESSAGES[1], "net.py")
    commit(root, MESSAGES[2], "user.py")
    return root


def spoken_for(directory: Path, query: str, *paths: str) -> list[float]:
    found = History.read(directory, paths).of_alike_messages(dict.fromkeys(counted_terms(query), 1.0))
    return [round(float(one), 3) for one in found]


def kept(directory: Path) -> list[PastCommit]:
    return history._read(directory)


def test_alike_messages_speak_for_the_files_that_they_changed(root: Path, tmp_path: Path) -> None:
    keep_history(tmp_path, root)
    assert spoken_for(tmp_path, "the socket has a timeout", "net.py", "user.py", "other.py") == [1.0, 0.0, 0.0]
    assert spoken_for(tmp_path, "which user", "net.py", "user.py", "other.py") == [0.0, 1.0, 0.0]
    assert spoken_for(tmp_path, "quite unknown words", "net.py") == [0.0]
    assert spoken_for(tmp_path, "", "net.py") == [0.0]


def test_only_new_commits_are_read(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_history(tmp_path, root)
    stamp = (tmp_path / HISTORY).stat().st_ino
    keep_history(tmp_path, root)
    assert (tmp_path / HISTORY).stat().st_ino == stamp, "nothing came, so nothing is written"
    asked: list[int] = []
    real = history.commits

    def counted(top: str, most: int):
        asked.append(most)
        return real(top, most)

    monkeypatch.setattr(history, "commits", counted)
    commit(root, "One more", "net.py")
    keep_history(tmp_path, root)
    assert asked == [1]
    assert len(kept(tmp_path)) == 4


def test_what_was_pushed_away_is_forgotten(root: Path, tmp_path: Path) -> None:
    keep_history(tmp_path, root)
    git(root, "reset", "-q", "--hard", "HEAD~2")
    commit(root, "Another way", "user.py")
    keep_history(tmp_path, root)
    assert [one.hash for one in kept(tmp_path)] == git(root, "log", "--format=%H").split()
    assert spoken_for(tmp_path, "timeout of a socket", "net.py", "user.py") == [0.0, 0.0]


def test_files_are_known_by_the_names_that_they_have_today(root: Path, tmp_path: Path) -> None:
    keep_history(tmp_path, root)
    for old, new in (("net.py", "src/net.py"), ("src/net.py", "src/socket.py")):
        (root / new).parent.mkdir(exist_ok=True)
        git(root, "mv", old, new)
        commit(root, f"Move to {new}")
        keep_history(tmp_path, root)
    assert spoken_for(tmp_path, "the timeout", "src/socket.py", "net.py") == [1.0, 0.0]


def test_one_commit_says_nothing(tmp_path: Path) -> None:
    root = tmp_path / "r"
    root.mkdir()
    git(root, "init", "-q")
    keep_history(tmp_path, root)
    assert not (tmp_path / HISTORY).exists()
    commit(root, "Everything at once", "net.py")
    keep_history(tmp_path, root)
    assert History.read(tmp_path, ["net.py"]).commits == 0


def test_a_shallow_clone_says_what_it_has(root: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--depth", "2", root.as_uri(), "shallow")
    keep_history(tmp_path, tmp_path / "shallow")
    assert [len(one.files) for one in kept(tmp_path)] == [1, 0], "the oldest seems to add every file"
    assert spoken_for(tmp_path, "which user is it", "net.py", "user.py") == [0.0, 1.0]


def test_a_history_that_git_tells_too_slowly_is_tried_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> object:
        asked.append(1)
        raise GitError("it took more than 20 s", stopped=True)

    asked: list[int] = []
    with monkeypatch.context() as slow:
        slow.setattr("turboprop.index.history.commits", stopped)
        with pytest.raises(GitError, match="20 s"):
            keep_history(tmp_path, root)
        keep_history(tmp_path, root)
    assert len(asked) == 1
    assert all(not one.files for one in kept(tmp_path))
    commit(root, "Later", "a.py")
    keep_history(tmp_path, root)
    assert kept(tmp_path)[0].files == ("a.py",)


def test_a_commit_of_very_many_files_speaks_for_none(root: Path, tmp_path: Path) -> None:
    for number in range(10_000):
        (root / f"f{number}.py").write_text(f"{number}\n")
    commit(root, "A formatter of sockets ran")
    for number in range(10_000):
        (root / f"f{number}.py").rename(root / f"g{number}.py")
    commit(root, "Moved")
    keep_history(tmp_path, root)
    assert [len(one.files) for one in kept(tmp_path)] == [0, 0, 1, 1, 0]
    assert spoken_for(tmp_path, "sockets", "g1.py", "net.py") == [0.0, 1.0]


def test_messages_in_any_encoding(root: Path, tmp_path: Path) -> None:
    for number, content in enumerate(
        ["Größe".encode("latin-1"), b"\xff\xfeZ", "超时 错误".encode("gb18030"), b"\x01" * 9]
    ):
        (root / "net.py").write_text(f"{number}\n")
        (tmp_path / "message").write_bytes(content + b"\n")
        git(root, "commit", "-qaF", str(tmp_path / "message"), "--cleanup=verbatim")
    keep_history(tmp_path, root)
    assert len(kept(tmp_path)) == 7
    assert spoken_for(tmp_path, "socket timeout", "net.py") == [1.0]


def test_without_git_there_is_none(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plain").mkdir()
    keep_history(tmp_path, tmp_path / "plain")
    assert not (tmp_path / HISTORY).exists()
    monkeypatch.setenv("PATH", ".")
    with pytest.raises(GitError, match="could not be started"):
        keep_history(tmp_path, root)


@pytest.mark.parametrize("change", ["cut", "changed", "empty", "no json", "other key", "a list"])
def test_a_history_that_is_damaged_or_not_ours_is_not_read(
    root: Path, tmp_path: Path, change: str, own_places: Path
) -> None:
    keep_history(tmp_path, root)
    file = tmp_path / HISTORY
    content = file.read_bytes()
    if change == "other key":
        key_file(own_places / "data").unlink()
        (tmp_path / "elsewhere").mkdir()
        keep_history(tmp_path / "elsewhere", root)  # which makes another key
    else:
        other = content.replace(b'"net.py"', b'"bad.py"')
        file.write_bytes(
            {"cut": content[:-9], "changed": other, "empty": b"", "no json": b"x\ny", "a list": b"[]\n[]"}[change]
        )
    assert kept(tmp_path) == []
    keep_history(tmp_path, root)
    assert len(kept(tmp_path)) == 3, "the next run makes it again"


def test_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    keep_history(tmp_path / "elsewhere", root)
    (tmp_path / HISTORY).symlink_to(tmp_path / "elsewhere" / HISTORY)
    assert kept(tmp_path) == []


def test_a_commit_that_touches_more_says_less_of_each() -> None:
    terms = tuple(counted_terms("a socket"))
    commits = [PastCommit("a", 0, terms, ("a.py",)), PastCommit("b", 0, terms, ("b.py", "c.py", "d.py", "e.py"))]
    found = History(commits, ["a.py", "b.py", "c.py", "d.py", "e.py"]).of_alike_messages({term_hash("socket"): 1.0})
    assert np.allclose(found, [1.0, 0.5, 0.5, 0.5, 0.5])


def test_files_know_when_a_commit_last_changed_them(root: Path, tmp_path: Path) -> None:
    commit(root, "Name it after what it does", "net.py")
    git(root, "mv", "net.py", "socket.py")
    git(root, "commit", "-qm", "Move it")
    keep_history(tmp_path, root)
    changes = history.last_changes(tmp_path)
    assert changes["socket.py"] == int(git(root, "log", "-1", "--format=%ct"))
    assert set(changes) >= {"socket.py", "user.py"}
    assert history.last_changes(tmp_path / "elsewhere") == {}
