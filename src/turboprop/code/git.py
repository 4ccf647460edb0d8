"""The one way in which Git is asked: nothing of the repository's own runs, and nothing in it holds us for ever.

A repository is untrusted, and one that came as an archive brings its own `.git`: settings that name programs (file
monitors, hooks, signature checkers, transports), and files that cannot be read to an end (pipes, devices). So

- only the commands of `Command` are run. None of them runs filters, text converters, merge drivers, aliases or what
  else a repository can name under names of its choice; everything that has a fixed name is switched off below.
- nothing is fetched: every transport is forbidden, also those of a partial clone.
- `git` is looked for in the absolute folders of PATH, so never in the repository that happens to be the current folder.
- the repository is looked at first (`gitfolder`), and once more where Git takes longer than a second.
- Git is stopped with all that it started: after ten seconds in which none of its threads ran, after ten minutes in any
  case, and by the system when it takes more than a gibibyte.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from functools import lru_cache
from pathlib import Path
from typing import Literal

from turboprop.code.gitfolder import find_git_folder, problems_below
from turboprop.errors import TurboPropError

if os.name == "posix":
    import resource

Command = Literal["ls-files", "check-ignore", "log"]

LONGEST_SECONDS = 600.0
"""The first look at a tree of 450,000 files in 40,000 folders takes 400 s on a cold disk that seeks in 10 ms."""
STUCK_SECONDS = 10.0
"""A program that waits for a slow disk is not asleep for Linux; asleep for so long, it waits for what nobody sends."""
_LOOK_AFTER = 1.0
"""Git lists 5,000 files in 10 ms and 100,000 in 0.3 s: nearly every repository is listed by then."""
_SLICE = 0.2
_MOST_MEMORY = 1 << 30
"""Of its own data, in bytes; an index of five million files takes less. Files that it maps do not count."""
MOST_OUTPUT = 256 << 20

# Variables that a Git hook or wrapper sets for its own repository; `GIT_CONFIG_*` stays, since that
# is how users and continuous integration mark a folder as safe.
_LOCAL_VARIABLES = frozenset(
    [
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_NAMESPACE"),
        *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_IMPLICIT_WORK_TREE"),
        *("GIT_GRAFT_FILE", "GIT_SHALLOW_FILE", "GIT_REPLACE_REF_BASE", "GIT_INTERNAL_SUPER_PREFIX"),
        *("GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"),
    ]
)
_NO_PROGRAM = os.devnull  # it exists and cannot be started
_PROGRAM_SETTINGS = (
    *("core.hooksPath", "core.askPass", "core.sshCommand", "core.gitProxy", "core.alternateRefsCommand"),
    *("gpg.program", "gpg.openpgp.program", "gpg.x509.program", "gpg.ssh.program", "gpg.ssh.defaultKeyCommand"),
)
_SETTINGS = (
    "core.fsmonitor=false",
    *(f"{name}={_NO_PROGRAM}" for name in _PROGRAM_SETTINGS),
    "credential.helper=",
    "log.showSignature=false",
    "submodule.recurse=false",
    "protocol.allow=never",
    # Rules from elsewhere, which may be a pipe.
    f"core.attributesFile={os.devnull}",
    # A folder inside a clone can pose as a bare repository with a configuration of its own.
    "safe.bareRepository=explicit",
    "core.quotePath=false",
)


class GitError(TurboPropError):
    """Git was not asked or gave no answer; the message says why. `stopped`: it had begun."""

    def __init__(self, message: str, *, stopped: bool = False) -> None:
        super().__init__(message)
        self.stopped = stopped


def ask_git(
    folder: str,
    command: Command,
    *arguments: str,
    given: bytes | None = None,
    longest: float | None = None,
    most: int = MOST_OUTPUT,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command of Git in `folder`, with `given` as its input, and wait for its end, whatever its exit code. It may
    take `longest` seconds (None: `LONGEST_SECONDS`) and tell `most` bytes.

    Raises `GitError` where Git must not be asked or does not come to an end, and `OSError` where it cannot be started.
    """
    found = find_git_folder(folder)
    if found.problem:
        raise GitError(found.problem)
    line = [_program(os.environ.get("PATH", os.defpath)), "--no-pager", "-C", folder]
    for setting in _SETTINGS:
        line += ["-c", setting]
    if found.names_work_tree:
        line.append(f"--work-tree={found.top or '/'}")
    process = subprocess.Popen(
        [*line, command, *arguments],
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        start_new_session=True,  # a group of its own to end, and no terminal that a setting could make it read
    )
    try:
        _limit_memory(process.pid)
        out, err = _finished(process, folder, given, LONGEST_SECONDS if longest is None else longest, most)
    except BaseException:
        _end(process)
        raise
    if len(out) > most:
        raise _told_too_much(folder, most)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in _LOCAL_VARIABLES}
    environment.update(
        PATH=os.pathsep.join(_program_folders(os.environ.get("PATH", os.defpath))),
        GIT_OPTIONAL_LOCKS="0",
        GIT_TERMINAL_PROMPT="0",
        # A partial clone would fetch a missing .gitignore through a command from its configuration.
        GIT_NO_LAZY_FETCH="1",
        GIT_ALLOW_PROTOCOL="none",
        LC_ALL="C",
    )
    return environment


# Of a warm search's 13 ms these two were one.
@lru_cache(1)
def _program_folders(variable: str) -> tuple[str, ...]:
    return tuple(folder for folder in variable.split(os.pathsep) if Path(folder).is_absolute())


@lru_cache(1)
def _program(variable: str) -> str:
    name = "git.exe" if os.name == "nt" else "git"
    for folder in _program_folders(variable):
        path = Path(folder, name)
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    raise FileNotFoundError("git is in no folder of PATH")


def _limit_memory(process: int) -> None:
    """On Linux. An ignore file of a terabyte of nothing takes no room in an archive, and Git reads it whole."""
    if os.name == "posix" and hasattr(resource, "prlimit"):
        with contextlib.suppress(OSError, ValueError):
            resource.prlimit(process, resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))


def _told_too_much(folder: str, most: int) -> GitError:
    return GitError(f"Git told more than {most:,} bytes about {folder}.", stopped=True)


def _finished(
    process: subprocess.Popen[bytes], folder: str, given: bytes | None, longest: float, most: int
) -> tuple[bytes, bytes]:
    """What the process wrote. Raises `GitError` where it does not come to an end."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.communicate(given, timeout=_LOOK_AFTER)
    started = stirred = time.monotonic()
    sign = b""
    looks = problems_below(folder)
    while True:
        until = time.monotonic() + _SLICE
        for problem in looks:
            if problem:
                raise GitError(problem.replace("not asked", "stopped", 1), stopped=True)
            if time.monotonic() > until:
                break
        try:
            return process.communicate(timeout=_SLICE)
        except subprocess.TimeoutExpired as late:  # what came so far is kept for the next call, and shown here
            if len(late.output or b"") > most:
                raise _told_too_much(folder, most) from None
        now, last = time.monotonic(), sign
        sign = _sign_of_life(process.pid)
        if sign != last or not sign:
            stirred = now
        if now - stirred > STUCK_SECONDS:
            raise GitError(
                f"Git was stopped in {folder}, since it waited {STUCK_SECONDS:.0f} s for something that did not come: "
                "a pipe among its files, or a disk that does not answer.",
                stopped=True,
            )
        if now - started > longest:
            raise GitError(f"Git was stopped in {folder}: it took more than {longest:.0f} s.", stopped=True)


def _sign_of_life(process: int) -> bytes:
    """What stays the same while all threads of a process sleep; b'' where one works, or the system does not tell."""
    signs: list[bytes] = []
    try:
        for thread in sorted(Path(f"/proc/{process}/task").iterdir()):
            state = (thread / "stat").read_bytes().rpartition(b")")[2].split()[0]
            if state != b"S":
                return b""
            signs.append((thread / "schedstat").read_bytes())  # its third number counts how often it ran
    except (OSError, IndexError):
        return b""
    return b"".join(signs)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it started."""
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):  # what was not written yet cannot be any more
                stream.close()
    # One that waits for a dead disk ends when that answers; it is not waited for.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_LOOK_AFTER)
