"""Git is asked in one way, and what holds it is ended with it."""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from turboprop.code import git
from turboprop.code.git import GitError, ask_git
from turboprop.code.gitview import commit_hashes, commits, git_view, ignored_by
from turboprop.code.walk import walk

SOURCE = Path(git.__file__).parents[1]

# What may start a program, and which: Git here, Python for chunks, engines of our own, our own server.
STARTERS = {
    "code/git.py",
    "code/chunk_pool.py",
    "engines/llamacpp_child.py",
    "engines/llamacpp_server.py",
    "edges/warm/start.py",
}
STARTING = {"subprocess", "pty", "multiprocessing", "_posixsubprocess", "pexpect", "sh"}
STARTING_CALLS = ("system", "popen", "exec", "spawn", "posix_spawn", "fork", "startfile", "create_subprocess")


def run(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(["git", *identity, "-C", root, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "r"
    root.mkdir()
    run(root, "init", "-q", "-b", "main")
    (root / "a.py").write_text("x = 1\n")
    run(root, "add", ".")
    run(root, "commit", "-qm", "Begin with a single number")
    return root


def children() -> set[int]:
    return {int(child) for file in Path("/proc/self/task").glob("*/children") for child in file.read_text().split()}


def starts_a_program(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in STARTING]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [alias.name for alias in node.names]
            if node.module.partition(".")[0] in STARTING:
                found.append(node.module)
            elif node.module in ("os", "asyncio"):
                found += [name for name in names if name.startswith(STARTING_CALLS)]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in ("os", "asyncio", "pty", "loop") and node.attr.startswith(STARTING_CALLS):
                found.append(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Constant) and node.value in ("git", "git.exe"):
            found.append("git")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "__import__":
            found.append("__import__")
    return found


def test_nothing_else_starts_a_program() -> None:
    others = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        found = starts_a_program(ast.parse(path.read_text("utf-8")))
        if name not in STARTERS and found:
            others[name] = found
        elif name in STARTERS - {"code/git.py"}:
            assert "git" not in found, f"{name} starts Git"
    assert others == {}


@pytest.mark.parametrize(
    "code",
    [
        "import subprocess",
        "import subprocess as s",
        "from subprocess import run",
        "from os import execvp",
        "import os\nos.popen('x')",
        "import os\nos.posix_spawnp('x')",
        "import asyncio\nasyncio.create_subprocess_exec('x')",
        "import multiprocessing.pool",
        "__import__('subprocess')",
        "x(['git', 'log'])",
    ],
)
def test_each_way_to_start_a_program_is_found(code: str) -> None:
    assert starts_a_program(ast.parse(code))


def held_outside(root: Path, tmp_path: Path) -> None:
    """A pipe where no look goes: in a store of objects that another store names."""
    store = tmp_path / "store/info"
    store.mkdir(parents=True)
    os.mkfifo(store / "alternates")
    (root / ".git/objects/info").mkdir(exist_ok=True)
    (root / ".git/objects/info/alternates").write_text(f"{store.parent}\n")


def test_a_git_that_sleeps_is_stopped_with_its_group(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_outside(root, tmp_path)
    monkeypatch.setattr(git, "STUCK_SECONDS", 1.0)
    before = children()
    with pytest.raises(GitError, match="it waited 1 s for something that did not come"):
        list(commits(str(root), 10))
    assert children() == before
    assert git_view(str(root)).names == ["a.py"]  # which reads no object


def test_a_git_that_never_ends_is_stopped(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held_outside(root, tmp_path)
    monkeypatch.setattr("turboprop.code.gitview.LOG_SECONDS", 1.0)
    before = children()
    with pytest.raises(GitError, match="took more than 1 s"):
        list(commits(str(root), 10))
    assert children() == before


def test_what_git_started_ends_with_it(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for Git that starts a program which outlives it, as none of the real commands does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    os.mkfifo(folder / "told")
    (folder / "git").write_text(f"#!/bin/sh\nexec 9> {folder}/told\n(sleep 30; echo survived >&9) &\nwait\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(git, "STUCK_SECONDS", 0.5)
    told = os.open(folder / "told", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(GitError):
        ask_git(str(root), "ls-files")
    os.set_blocking(told, True)
    with open(told, "rb") as stream:
        assert stream.read() == b""  # which comes once nobody has the pipe any more


def test_a_git_that_works_is_waited_for(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes three times as long as it may sleep, and is busy meanwhile."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(
        "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.25; done\nprintf 'a.py\\0'\n"
    )
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(git, "STUCK_SECONDS", 1.0)
    assert git_view(str(root)).names == ["a.py"]


@pytest.mark.parametrize("name", [".gitignore", ".git/info/exclude", ".git/commondir", ".git/config"])
def test_a_file_of_nothing_that_would_fill_the_memory(root: Path, name: str) -> None:
    with open(root / name, "wb") as file:
        file.truncate(1 << 34)  # 16 GiB, of which none is on the disk
    view = git_view(str(root))
    assert view is not None
    assert "more than 100,000,000 bytes" in view.error
    found = walk(root)
    assert [file.path for file in found.files] == ["a.py"]
    assert "without Git" in found.notes[0]


def test_the_memory_of_git_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for Git that tells what it may take, once it may take less than at its start."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text("#!/bin/sh\nwhile [ $(ulimit -d) = unlimited ]; do sleep 0.1; done\nulimit -d\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert int(ask_git(str(tmp_path), "ls-files").stdout) == 1 << 20  # in KiB


@pytest.mark.parametrize("place", [".gitignore", ".git/info/exclude", "d/.gitignore"])
def test_rules_that_take_git_for_ever(root: Path, place: str) -> None:
    """A clone brings them: Git tries every folder of a path for each `**`."""
    (root / "d").mkdir()
    (root / place).write_text("**/" + "*a**/" * 14 + "b\n*.log\n")
    deep = root / "d" / "/".join(["aaaa"] * 40)
    deep.mkdir(parents=True)
    for name in ("c.py", "c.log"):
        (deep / name).write_text("x = 1\n")
    view = git_view(str(root))
    assert view is not None
    assert "has a rule with 15 times **" in view.error
    found = [file.path.rpartition("/")[2] for file in walk(root).files]
    assert [name for name in found if name.startswith("c.")] == (["c.log", "c.py"] if ".git/" in place else ["c.py"])


def test_no_more_submodules_are_asked_once_one_held_git(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        inner = root / f"sub{number}"
        inner.mkdir()
        run(inner, "init", "-q")
        (inner / "d").mkdir()
        (inner / "d/b.py").write_text("y = 2\n")
        run(inner, "add", ".")
        run(inner, "commit", "-qm", "Begin the inner one")
        os.mkfifo(inner / "d/.gitignore")
    run(root, "-c", "advice.addEmbeddedRepo=false", "add", *(f"sub{number}" for number in range(5)))
    asked: list[str] = []
    ask = git.ask_git
    monkeypatch.setattr("turboprop.code.gitview.ask_git", lambda *a, **b: (asked.append(a[0]), ask(*a, **b))[1])
    found = walk(root)
    assert len(asked) == 2
    assert [file.path for file in found.files] == ["a.py"]
    assert sorted(one.path for one in found.skipped) == [f"sub{number}" for number in range(5)]
    assert all("is a pipe" in one.detail for one in found.skipped)


@pytest.mark.parametrize(
    "name", [b".", b"..", b"./a.py", b"a.py/..", b"d/../a.py", b"/etc/hostname", b"d//b.py", b".git/config"]
)
def test_an_index_with_names_that_no_file_has(root: Path, name: bytes) -> None:
    """Git writes no such index, and reads it."""
    import hashlib
    import struct

    (root / "d").mkdir()
    run(root.parent, "init", "-q")
    (root.parent / "outside.py").write_text("z = 3\n")
    entries = b""
    for entry in sorted([name, b"a.py"]):
        head = struct.pack(">10I", 0, 0, 0, 0, 0, 0, 0o160000 if entry in (b".", b"..") else 0o100644, 0, 0, 0)
        body = head + b"\1" * 20 + struct.pack(">H", len(entry)) + entry
        entries += body + b"\0" * (8 - len(body) % 8)
    content = b"DIRC" + struct.pack(">2I", 2, 2) + entries
    (root / ".git/index").write_bytes(content + hashlib.sha1(content).digest())
    view = git_view(str(root))
    assert view is not None
    assert os.fsdecode(name) in view.names
    assert [file.path for file in walk(root).files] == ["a.py"]


def test_git_is_looked_for_in_absolute_folders_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.environ["PATH"]
    for name in ("git", "bin/git"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(f"#!/bin/sh\ntouch {root}/it-ran\n")
        (root / name).chmod(0o755)
    monkeypatch.chdir(root)
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", "bin", real]))
    assert "a.py" in git_view(str(root)).names
    assert not (root / "it-ran").exists()
    monkeypatch.setenv("PATH", ".")
    assert "git could not be started" in git_view(str(root)).error
    with pytest.raises(GitError, match="could not be started"):
        list(commits(str(root), 10))
    assert ignored_by(str(root), "a.py") is None
    assert git_view(str(root.parent)) is None  # no work tree, so nothing is missed


def test_which_rule_ignores_a_file(root: Path) -> None:
    (root / "d").mkdir()
    (root / ".gitignore").write_text("*.log\n")
    (root / "d/.gitignore").write_text("# of this folder\n/a:b*\n")
    assert ignored_by(str(root), "d/x.log") == ("*.log", ".gitignore:1")
    assert ignored_by(str(root), "d/a:b c\n.txt") == ("/a:b*", "d/.gitignore:2")
    assert ignored_by(str(root), "a.py") is None


def test_commits_and_their_files(root: Path) -> None:
    (root / "d").mkdir()
    (root / "d/ü b.py").write_text("y = 1\n")
    run(root, "mv", "a.py", "d/c.py")
    run(root, "add", ".")
    run(root, "commit", "-qm", "Add a name\n\nand more")
    newest, oldest = commits(str(root), 10)
    assert (newest.message, newest.is_first) == ("Add a name\n\nand more", False)
    assert (newest.files, newest.renamed) == (("d/c.py", "d/ü b.py"), (("a.py", "d/c.py"),))
    assert (oldest.message, oldest.files, oldest.is_first) == ("Begin with a single number", ("a.py",), True)
    assert newest.time >= oldest.time > 1_500_000_000
    assert commit_hashes(str(root), 10) == [newest.hash, oldest.hash]
    assert [one.files for one in commits(str(root / "d"), 1)] == [("c.py", "ü b.py")]
    assert commit_hashes(str(root.parent), 1) == []
    assert list(commits(str(root.parent), 1)) == []


def test_messages_and_names_of_any_kind_begin_no_commit(root: Path) -> None:
    (root / "line\nend.py").write_text("y = 1\n")
    (root / ("f" * 40)).write_text("z = 1\n")
    run(root, "add", ".")
    (root / "message").write_bytes("Grüße \x01 und\n\n".encode("latin-1") + b"0" * 40 + b"\n\xff\xfe\n")
    run(root, "-c", "i18n.commitEncoding=latin-1", "commit", "-qF", "message")
    run(root, "commit", "-q", "--allow-empty", "-m", "Nothing at all")
    empty, odd, first = commits(str(root), 10)
    assert (empty.message, empty.files) == ("Nothing at all", ())
    assert odd.message.startswith("Grüße \x01 und\n\n" + "0" * 40)
    assert set(odd.files) == {"line\nend.py", "f" * 40}
    assert first.files == ("a.py",)


def test_a_repository_without_a_commit_has_no_history(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "new"], check=True)
    assert list(commits(str(tmp_path / "new"), 10)) == commit_hashes(str(tmp_path / "new"), 10) == []


def test_no_settings_of_submodules_are_read(root: Path) -> None:
    run(root, "update-index", "--add", "--cacheinfo", f"160000,{run(root, 'rev-parse', 'HEAD')},sub")
    run(root, "commit", "-qm", "Add a submodule here")
    os.mkfifo(root / ".gitmodules")
    assert [one.files for one in commits(str(root), 10)] == [("sub",), ("a.py",)]


def test_a_user_that_git_does_not_trust_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(GitError, match="another user owns"):
        list(commits(str(root), 1))


Make = Callable[[Path], None]


def set_include(root: Path) -> None:
    run(root, "config", "include.path", "a-settings-file")
    (root / ".git/a-settings-file").write_text("[status]\n\tshort = true\n")


def empty_links(root: Path) -> None:
    """As some tools share a Git directory between checkouts."""
    shared = root.parent / "shared"
    shared.mkdir()
    for name in ("shallow", "packed-refs"):
        (shared / name).write_text("")
        (root / ".git" / name).symlink_to(shared / name)
    (root / ".git/config").rename(shared / "config")
    (root / ".git/config").symlink_to(shared / "config")


def null_rules(root: Path) -> None:
    run(root, "config", "core.excludesFile", os.devnull)


def monitor_socket(root: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listening:
        folder = os.getcwd()
        os.chdir(root / ".git")  # the name of a socket may have 100 bytes
        try:
            listening.bind("fsmonitor--daemon.ipc")
        finally:
            os.chdir(folder)


def pipe_in_the_tree(root: Path) -> None:
    os.mkfifo(root / "pipe")


def own_work_tree(root: Path) -> None:
    run(root, "config", "core.worktree", "..")


def linked_git(root: Path) -> None:
    (root / ".git").rename(root.parent / "data")
    (root / ".git").symlink_to(root.parent / "data")


@pytest.mark.parametrize(
    "make", [set_include, empty_links, null_rules, monitor_socket, pipe_in_the_tree, own_work_tree, linked_git]
)
def test_what_honest_repositories_have_is_no_reason_to_refuse(root: Path, make: Make) -> None:
    make(root)
    found = walk(root)
    assert (found.from_git, [file.path for file in found.files], found.notes) == (True, ["a.py"], [])
    assert len(list(commits(str(root), 10))) == 1


def test_linked_work_trees_and_folders_below(root: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    run(root, "worktree", "add", "-q", str(linked))
    assert walk(linked).from_git
    (root / "d").mkdir()
    (root / "d/b.py").write_text("")
    assert git_view(str(root / "d")).names == ["b.py"]
    os.mkfifo(root / ".git/info/exclude.new")
    assert "is a pipe" in git_view(str(linked)).error  # it is asked for in the shared directory


def test_a_git_that_tells_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only what it told is looked at once it has ended: by then it may hold all memory."""
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec yes 'word word word word word word word word'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(git, "_LOOK_AFTER", 0.05)
    (tmp_path / "work").mkdir()
    with pytest.raises(GitError, match=r"more than 20,000,000 bytes"):
        ask_git(str(tmp_path / "work"), "log", most=20_000_000)
