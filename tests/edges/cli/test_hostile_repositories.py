"""Repositories that came as an archive, with a `.git` of their own: nothing of them runs, and nothing holds a command.

Each repository is tried with plain Git as well, which must run its program or be held; otherwise the trap is none and
the test would say nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

COMMANDS = (
    ("index", "--dry-run"),
    ("index",),
    ("search", "a.py", "--limit", "1"),
    ("status",),
    ("why", "secret.txt"),
    ("why", "d/secret.txt"),
    ("bench",),
)
RUN_ALL = """
import json, sys
from turboprop.code import git
from turboprop.edges.cli.entry import main
git._LOOK_AFTER = 0.1  # seconds after which the folders below are looked at: once for each command that Git is held in
codes = []
for command in json.loads(sys.argv[1]):
    try:
        main(command)
    except SystemExit as ended:
        codes.append(ended.code or 0)
sys.stdout.flush()
print("CODES", codes)
"""
HELD_AFTER = 1.5
"""Plain Git is held when it has not ended after so many seconds; it needs some milliseconds for these repositories."""
IDENTITY = ("-c", "user.name=x", "-c", "user.email=x@example.org")


@dataclass(frozen=True)
class Place:
    """`program` leaves `mark` when it runs; `marks` is outside of the repository, and `name` is of one trap there."""

    root: Path
    marks: Path
    name: str = "program"

    @property
    def mark(self) -> Path:
        return self.marks / f"{self.name}-ran"

    @property
    def program(self) -> str:
        path = self.marks / f"{self.name}.sh"
        path.write_text(f"#!/bin/sh\ntouch {self.mark}\ncat\n")
        path.chmod(0o755)
        return str(path)

    def git(self, *arguments: str, given: str | None = None, folder: Path | None = None) -> str:
        done = subprocess.run(
            ["git", *IDENTITY, "-C", str(folder or self.root), *arguments],
            check=True,
            capture_output=True,
            text=True,
            input=given,
        )
        return done.stdout.strip()

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self.git("config", name.replace("__", "."), value)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    root, marks = tmp_path / "r", tmp_path / "marks"
    marks.mkdir()
    (root / "d").mkdir(parents=True)
    place = Place(root, marks)
    place.git("init", "-q", "-b", "main", "--template=")  # 14 examples of hooks would be indexed where .git has moved
    (root / "a.py").write_text("def parse_flags(line):\n    return line.split()\n")
    (root / "d/b.py").write_text("def other():\n    return 2\n")
    (root / ".gitignore").write_text("secret.txt\n")
    (root / "secret.txt").write_text("x\n")
    (root / "d/secret.txt").write_text("x\n")
    place.git("add", ".")
    place.git("commit", "-qm", "Parse the flags of a line")
    return place


def tried(
    place: Place, folder: Path | None = None, environment: dict[str, str] | None = None
) -> tuple[list[int], str, str]:
    """All commands, in the repository: their exit codes, and what they wrote."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_ALL, json.dumps(COMMANDS)],
        cwd=folder or place.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {}), "TP_CACHE": os.environ["TP_CACHE"]},
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=300)  # a command that is held fails the test, and does not hold it
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert "Traceback" not in err and "defect" not in err, err
    return json.loads(out.rpartition("CODES ")[2]), out, err


def plain(place: Place, command: Sequence[str], environment: dict[str, str] | None = None) -> bool:
    """Whether Git by itself was held by the repository."""
    process = subprocess.Popen(
        command,
        cwd=place.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        process.wait(HELD_AFTER)
    except subprocess.TimeoutExpired:
        return True
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return False


def signed(place: Place, kind: str) -> None:
    """One more commit, with a signature of some kind, and settings that look at it."""
    place.git("commit", "-qm", f"Sign it with a {kind}", "--allow-empty")
    body = place.git("cat-file", "commit", "HEAD")
    head, _, rest = body.partition("\n\n")
    signature = f"gpgsig -----BEGIN {kind}-----\n \n abc\n -----END {kind}-----"
    commit = place.git("hash-object", "-t", "commit", "-w", "--stdin", given=f"{head}\n{signature}\n\n{rest}\n")
    place.git("update-ref", "HEAD", commit)
    (place.root / "allowed").write_text("x@example.org ssh-ed25519 AAAA\n")
    place.set(log__showSignature="true", gpg__ssh__allowedSignersFile=str(place.root / "allowed"))


def partial_clone(place: Place, url: str) -> None:
    """An ignore file that is not here, and must be fetched to be read."""
    (place.root / "d/.gitignore").write_text("secret.txt\n")
    place.git("add", "-f", "d/.gitignore")
    place.git("commit", "-qm", "Ignore what is secret in a folder")
    blob = place.git("rev-parse", "HEAD:d/.gitignore")
    place.git("update-index", "--skip-worktree", "d/.gitignore")
    (place.root / "d/.gitignore").unlink()
    (place.root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    place.set(
        remote__origin__url=url,
        remote__origin__promisor="true",
        remote__origin__partialclonefilter="blob:none",
        protocol__ext__allow="always",
        core__repositoryformatversion="1",
        extensions__partialClone="origin",
    )


LISTED = ("git", "ls-files", "--others", "--exclude-standard")
LOGGED = ("git", "log", "-p", "--ext-diff")
Trap = Callable[[Place], Sequence[str]]


def file_monitor(place: Place) -> Sequence[str]:
    place.set(core__fsmonitor=place.program)
    return LISTED


def file_monitor_of_this_work_tree(place: Place) -> Sequence[str]:
    place.set(extensions__worktreeConfig="true")
    place.git("config", "--worktree", "core.fsmonitor", place.program)
    return LISTED


def file_monitor_in_an_included_file(place: Place) -> Sequence[str]:
    (place.root / "settings").write_text(f"[core]\n\tfsmonitor = {place.program}\n")
    place.set(include__path="../settings")
    return LISTED


def file_monitor_in_a_file_included_on_a_condition(place: Place) -> Sequence[str]:
    (place.root / "settings").write_text(f"[core]\n\tfsmonitor = {place.program}\n")
    place.git("config", "includeIf.onbranch:main.path", "../settings")
    return LISTED


def git_directory_elsewhere(place: Place) -> Sequence[str]:
    (place.root / ".git").rename(place.root / "data")
    (place.root / ".git").write_text("gitdir: data\n")
    place.set(core__fsmonitor=place.program)
    return LISTED


def work_tree_elsewhere(place: Place) -> Sequence[str]:
    other = place.marks / "elsewhere"
    other.mkdir()
    (other / "private.txt").write_text("x")
    place.set(core__fsmonitor=place.program, core__worktree=str(other))
    return LISTED


def submodule(place: Place) -> Sequence[str]:
    inner = place.root / "d/inner"
    inner.mkdir()
    place.git("init", "-q", folder=inner)
    (inner / "c.py").write_text("def inner():\n    return 3\n")
    place.git("add", ".", folder=inner)
    place.git("commit", "-qm", "The first of the inner ones", folder=inner)
    place.git("-c", "advice.addEmbeddedRepo=false", "add", "d/inner")
    place.git("commit", "-qm", "Add an inner repository here")
    place.git("config", "core.fsmonitor", place.program, folder=inner)
    return ("git", "-C", "d/inner", *LISTED[1:])


def hooks(place: Place) -> Sequence[str]:
    folder = place.root / ".git/hooks"
    folder.mkdir(exist_ok=True)
    for name in ("post-index-change", "fsmonitor-watchman", "query-watchman", "reference-transaction", "pre-auto-gc"):
        (folder / name).write_bytes(Path(place.program).read_bytes())
        (folder / name).chmod(0o755)
    place.set(core__hooksPath=".git/hooks")
    os.utime(place.root / "a.py", (1, 1))
    return ("git", "status")


def openpgp_signature(place: Place) -> Sequence[str]:
    signed(place, "PGP SIGNATURE")
    place.set(gpg__program=place.program, gpg__openpgp__program=place.program)
    return ("git", "log")


def x509_signature(place: Place) -> Sequence[str]:
    signed(place, "SIGNED MESSAGE")
    place.set(gpg__x509__program=place.program, gpg__format="x509")
    return ("git", "log")


def ssh_signature(place: Place) -> Sequence[str]:
    signed(place, "SSH SIGNATURE")
    place.set(gpg__ssh__program=place.program, gpg__format="ssh")
    return ("git", "log")


def external_diff(place: Place) -> Sequence[str]:
    place.set(diff__external=place.program)
    (place.root / "a.py").write_text("changed = 1\n")
    return ("git", "diff")


def text_converter(place: Place) -> Sequence[str]:
    (place.root / ".gitattributes").write_text("* diff=evil\n")
    place.set(diff__evil__textconv=place.program, diff__evil__command=place.program)
    return LOGGED


def filters(place: Place) -> Sequence[str]:
    (place.root / ".gitattributes").write_text("* filter=evil\n")
    place.set(filter__evil__clean=place.program, filter__evil__smudge=place.program, filter__evil__required="true")
    os.utime(place.root / "a.py", (1, 1))
    return ("git", "status")


def filter_process(place: Place) -> Sequence[str]:
    (place.root / ".git/info").mkdir(exist_ok=True)
    (place.root / ".git/info/attributes").write_text("* filter=evil\n")
    place.set(filter__evil__process=place.program)
    os.utime(place.root / "a.py", (1, 1))
    return ("git", "status")


def transport(place: Place) -> Sequence[str]:
    partial_clone(place, f"ext::{place.program}")
    return LISTED


def transport_over_ssh(place: Place) -> Sequence[str]:
    partial_clone(place, "ssh://localhost/x")
    place.set(core__sshCommand=place.program)
    return LISTED


def transport_over_a_proxy(place: Place) -> Sequence[str]:
    partial_clone(place, "git://localhost/x")
    place.set(core__gitProxy=place.program)
    return LISTED


def sender_of_packs(place: Place) -> Sequence[str]:
    partial_clone(place, f"file://{place.root}")
    place.set(remote__origin__uploadpack=place.program)
    return LISTED


def pager(place: Place) -> Sequence[str]:
    for name in ("core.pager", "pager.log", "pager.ls-files", "pager.check-ignore"):
        place.git("config", name, place.program)
    return ("git", "-p", "log")


def aliases(place: Place) -> Sequence[str]:
    for name in ("ls-files", "log", "check-ignore", "other"):
        place.git("config", f"alias.{name}", f"!{place.program}")
    return ("git", "other")


PROGRAMS: list[list[Trap]] = [
    [openpgp_signature, submodule, external_diff, hooks, filters, file_monitor],
    [x509_signature, text_converter, file_monitor_of_this_work_tree],
    [ssh_signature, transport_over_a_proxy, pager, filter_process, file_monitor_in_an_included_file],
    [sender_of_packs, aliases, file_monitor_in_a_file_included_on_a_condition],
    [transport, git_directory_elsewhere],
    [transport_over_ssh],
    [work_tree_elsewhere],
]
"""Each list in one repository: those that commit come first, and none keeps Git from running the program of another."""


@pytest.mark.parametrize("traps", PROGRAMS, ids=lambda traps: "-".join(trap.__name__ for trap in traps))
def test_no_program_of_a_repository_runs(place: Place, traps: list[Trap]) -> None:
    places = [replace(place, name=trap.__name__) for trap in traps]
    commands = [trap(each) for trap, each in zip(traps, places, strict=True)]
    for each in places:
        each.mark.unlink(missing_ok=True)  # a trap was sprung while the next one was laid
    codes, out, err = tried(place)
    assert [each.name for each in places if each.mark.exists()] == []
    assert codes == [0, 0, 0, 0, 1, 1, 2], err
    assert "a.py" in out
    for command, each in zip(commands, places, strict=True):
        # A pager runs where there is a terminal.
        held = plain(place, ("script", "-qec", "git -p log", "/dev/null") if "-p" in command[:2] else command)
        assert each.mark.exists(), (each.name, held)


def test_no_git_of_a_repository_runs(place: Place) -> None:
    for name in ("git", "git-remote-evil", "git-upload-pack"):
        (place.root / name).write_bytes(Path(place.program).read_bytes())
        (place.root / name).chmod(0o755)
    partial_clone(place, "evil::x")
    environment = {"PATH": os.pathsep.join([".", "", "d/..", os.environ["PATH"]])}
    codes, _, err = tried(place, environment=environment)
    assert not place.mark.exists()
    assert codes == [0, 0, 0, 0, 1, 1, 2], err
    plain(place, ("sh", "-c", "git status"), environment)
    assert place.mark.exists()


def test_a_folder_that_poses_as_a_repository(place: Place) -> None:
    bare = place.root / "d/bare"
    bare.mkdir()
    place.git("init", "-q", "--bare", "--template=", folder=bare)
    (bare / "a.py").write_text("def parse_flags():\n    return 1\n")
    place.git("config", "core.fsmonitor", place.program, folder=bare)
    place.git("config", "core.bare", "false", folder=bare)
    place.git("config", "core.worktree", ".", folder=bare)
    codes, _, err = tried(place, bare)
    assert not place.mark.exists()
    assert codes[:4] == [0, 0, 0, 0], err
    plain(place, ("git", "-C", "d/bare", *LISTED[1:]))
    assert place.mark.exists()


def pipe(name: str) -> Trap:
    def made(place: Place) -> Sequence[str]:
        path = place.root / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        return LISTED if name != ".git/refs/heads/main" else ("git", "log")

    made.__name__ = name
    return made


def included_pipe(place: Place) -> Sequence[str]:
    os.mkfifo(place.root / "settings")
    place.set(include__path="../settings")
    return LISTED


def pipe_of_ignore_rules(place: Place) -> Sequence[str]:
    os.mkfifo(place.marks / "rules")
    place.set(core__excludesFile=str(place.marks / "rules"))
    return LISTED


def pipe_of_an_order(place: Place) -> Sequence[str]:
    os.mkfifo(place.marks / "order")
    place.set(diff__orderFile=str(place.marks / "order"))
    return ("git", "log", "--name-only")


def pipe_of_names(place: Place) -> Sequence[str]:
    os.mkfifo(place.marks / "names")
    place.set(mailmap__file=str(place.marks / "names"))
    return ("git", "log")


def pipe_in_a_git_directory_below(place: Place) -> Sequence[str]:
    for name in ("objects", "refs"):
        (place.root / "d/inner/.git" / name).mkdir(parents=True)
    os.mkfifo(place.root / "d/inner/.git/HEAD")
    return LISTED


PIPES: list[Trap] = [
    *map(
        pipe, (".git/index", ".git/config", ".git/HEAD", ".git/info/exclude", ".git/commondir", ".git/refs/heads/main")
    ),
    *map(pipe, (".gitignore", "d/.gitignore", "HEAD")),
    *(included_pipe, pipe_of_ignore_rules, pipe_of_an_order, pipe_of_names, pipe_in_a_git_directory_below),
]


@pytest.mark.parametrize("trap", PIPES, ids=lambda trap: trap.__name__)
def test_no_pipe_holds_a_command(place: Place, trap: Trap) -> None:
    command = trap(place)
    if trap.__name__ == "HEAD":
        (place.root / ".git").rename(place.root / "no-git")
    with ThreadPoolExecutor(1) as beside:
        held = beside.submit(plain, place, command)
        codes, out, err = tried(place)
    ignored = 0 if trap.__name__ == ".gitignore" else 1  # without its rules nothing is ignored
    assert codes == [0, 0, 0, 0, ignored, ignored, 2], err
    assert "a.py" in out
    told = "is a pipe; remove it" in err
    assert told == (trap not in (pipe_of_an_order, pipe_of_names)), err  # these are never opened
    assert held.result()


@pytest.mark.parametrize(
    "names", [(".tpignore", "d/.tpignore", ".gitattributes", ".mailmap"), (".git",), (".git/packed-refs",)]
)
def test_other_pipes(place: Place, names: Sequence[str]) -> None:
    if ".git" in names:
        (place.root / ".git").rename(place.root / "no-git")
    for name in names:
        (place.root / name).unlink(missing_ok=True)
        os.mkfifo(place.root / name)
    codes, _, err = tried(place)
    assert codes[:4] == [0, 0, 0, 0], err


@pytest.mark.parametrize(
    "links",
    [
        *({name: "/dev/zero"} for name in (".git/commondir", ".git/config", ".git/info/exclude", ".gitignore")),
        {".tpignore": "/proc/self/pagemap", ".gitignore": "/dev/tty"},
    ],
    ids=lambda links: "-".join(links),
)
def test_links_to_what_has_no_end(place: Place, links: dict[str, str]) -> None:
    (place.root / ".git/info").mkdir(exist_ok=True)
    for name, target in links.items():
        (place.root / name).unlink(missing_ok=True)
        (place.root / name).symlink_to(target)
    codes, _, err = tried(place)
    assert codes[:4] == [0, 0, 0, 0], err


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path), os.mkdir])
def test_settings_of_a_repository_that_are_no_file(place: Place, make: Callable[[Path], None]) -> None:
    make(place.root / ".turboprop.toml")
    codes, _, err = tried(place)
    assert codes == [2] * len(COMMANDS)
    assert "cannot read" in err
