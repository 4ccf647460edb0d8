"""The warm server with real processes: it answers as the command does, and is replaced without a word."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import stat
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from turboprop import Index

Warm = Callable[..., dict[str, Any]]
Status = Callable[[], dict[str, Any]]
WaitFor = Callable[..., dict[str, Any]]
Servers = Callable[[], list[int]]
Tp = Callable[..., subprocess.CompletedProcess[bytes]]

CASES = [
    ["listen on a port"],
    ["listen", "on", "a", "port", "--explain"],
    ["start_server", "--output", "paths"],
    ["start_server", "--output", "vimgrep", "--limit", "1"],
    ["server", "--verbose", "--lang", "python"],
    ["zzzyqx", "--mode", "lexical"],
    ["zzzyqx", "--mode", "lexical", "--json"],
    ["listen on a port", "--json", "--explain"],
    ["dial", "--full", "--context", "2", "--mode", "lexical"],
    ["dial", "--filter", "!**/*.go", "--threshold", "0.5"],
    ["start_server", "--by", "file", "--index", ".turboprop"],
]
ERRORS = [
    ["x", "--repo", "nowhere"],
    ["x", "--index", "nowhere"],
    ["x", "--mode", "psychic"],
    ["x", "--model", "nobody/nothing"],
    ["x", "--nothing"],
    ["  "],
]


def seen(done: subprocess.CompletedProcess[bytes]) -> tuple[int, bytes, bytes]:
    """What a user sees, but for the time that it took."""
    output = done.stdout
    if output.startswith(b'{"query"'):
        output = json.dumps({**json.loads(output), "took_ms": 0}).encode()
    return done.returncode, output, done.stderr


def folder_of(environment: dict[str, str]) -> Path:
    (folder,) = (Path(environment["TP_CACHE"]) / "server").iterdir()
    return folder


def test_the_same_bytes(tp: Any, repo: Path, warm: Warm, status: Status) -> None:
    answered = warm()["answered"]
    for arguments in CASES:
        cold = seen(tp("search", *arguments, "--no-server", cwd=repo))
        assert seen(tp("search", *arguments, cwd=repo)) == cold, arguments
        answered += 1
        assert status()["answered"] == answered, arguments


def test_a_mistyped_variable_is_said_each_time(tp: Any, repo: Path, warm: Warm, status: Status) -> None:
    answered = warm(TP_MODLE="x")["answered"]
    cold = seen(tp("search", "port", "--no-server", cwd=repo, TP_MODLE="x"))
    assert cold[2] == b"tp: nothing reads the variable TP_MODLE; did you mean TP_MODEL?\n"
    for _ in range(2):
        assert seen(tp("search", "port", cwd=repo, TP_MODLE="x")) == cold
    assert status()["answered"] == answered + 2


def test_errors_are_worded_by_the_command(tp: Any, repo: Path, warm: Warm, status: Status, own_places: Path) -> None:
    pid = warm()["pid"]
    for arguments in ERRORS:
        cold = seen(tp("search", *arguments, "--no-server", cwd=repo))
        assert cold[0] == 2
        assert seen(tp("search", *arguments, cwd=repo)) == cold, arguments
    (own_places / "config.toml").write_text("threads = 0\n")
    cold = seen(tp("search", "port", "--no-server", cwd=repo))
    assert (cold[0], b"threads" in cold[2]) == (2, True)
    assert seen(tp("search", "port", cwd=repo)) == cold
    (own_places / "config.toml").unlink()
    state = status()
    assert state["pid"] == pid
    assert [index["model_loaded"] for index in state["indexes"]] == [True]  # nothing that is warm was thrown away


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_the_same_colours_on_a_terminal(
    repo: Path, warm: Warm, status: Status, environment: dict[str, str], term: str
) -> None:
    def on_terminal(*more: str, columns: int = 71, **variables: str) -> bytes:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "turboprop", "search", "listen on a port", "--explain", *more],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=repo,
            env={**environment, "TERM": term, "COLORTERM": "", **variables},
        )
        os.close(theirs)
        printed = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(ours, 65536):
                printed += piece
        os.close(ours)
        assert process.wait() == 0
        return printed

    answered = warm()["answered"]
    assert on_terminal() == on_terminal("--no-server")
    assert (b"\x1b[" in on_terminal()) == (term != "dumb")
    assert on_terminal(columns=33) == on_terminal("--no-server", columns=33)
    assert on_terminal(NO_COLOR="1", COLUMNS="50") == on_terminal("--no-server", NO_COLOR="1", COLUMNS="50")
    assert answered < status()["answered"] <= answered + 4  # on a busy machine one may run in its own process


def test_the_short_way_imports_little(repo: Path, warm: Warm, status: Status, environment: dict[str, str]) -> None:
    warm()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "turboprop", "search", "port"],
        cwd=repo,
        env=environment,
        capture_output=True,
        text=True,
    )
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    ours = {name for name in modules if name.startswith("turboprop")}
    assert ours == {
        "turboprop",
        "turboprop.edges",
        "turboprop.edges.warm",
        "turboprop.edges.warm.client",
        "turboprop.edges.warm.place",
    }
    assert not modules & {"click", "rich", "numpy", "pathlib", "subprocess", "tomllib", "dataclasses", "typing"}
    assert done.stdout.startswith("app/server.py")


def test_a_new_version_of_the_index_is_seen(tp: Any, repo: Path, warm: Warm, status: Status) -> None:
    warm()
    (repo / "tuner.py").write_text("def tune_radio(frequency):\n    return dial.set(frequency)\n")
    assert tp("index", cwd=repo).returncode == 0
    answered = status()["answered"]
    assert tp("search", "tune radio", "--output", "paths", cwd=repo).stdout.startswith(b"tuner.py\n")
    assert tp("index", "--rebuild", cwd=repo).returncode == 0
    assert tp("search", "tune radio", "--output", "paths", cwd=repo).stdout.startswith(b"tuner.py\n")
    assert status()["answered"] == answered + 2
    for file in (repo / ".turboprop").glob("*.manifest.json"):
        file.unlink()
    assert tp("search", "tune radio", cwd=repo).returncode == 2


def test_requests_do_not_leak_into_each_other(tp: Any, repo: Path, warm: Warm, tmp_path: Path) -> None:
    warm()
    other = tmp_path / "other"
    other.mkdir()
    (other / "port.py").write_text("def open_port(port):\n    return listen(port)\n")
    Index.create(other).close()
    assert tp("search", "listen on a port", "--output", "paths", cwd=other).stdout == b"port.py\n"
    forced = tp("search", "listen on a port", cwd=repo, FORCE_COLOR="1", COLUMNS="30", LANG="C")
    assert seen(forced)[0] == 0
    plain = tp("search", "listen on a port", cwd=repo)
    assert seen(plain) == seen(tp("search", "listen on a port", "--no-server", cwd=repo))


def test_a_killed_server_is_replaced(tp: Any, repo: Path, warm: Warm, wait_for: WaitFor) -> None:
    first = warm()["pid"]
    os.kill(first, signal.SIGKILL)
    done = tp("search", "start_server", "--output", "paths", cwd=repo)
    assert (done.returncode, done.stdout.split()[0], done.stderr) == (0, b"app/server.py", b"")
    assert wait_for(but=first)["pid"] != first


@pytest.mark.parametrize("variables", [{}, {"TP_THREADS": "1"}], ids=["same", "other variables"])
def test_a_server_that_hangs_is_replaced(
    tp: Any, repo: Path, warm: Warm, status: Status, environment: dict[str, str], variables: dict[str, str]
) -> None:
    pid = warm()["pid"]
    os.kill(pid, signal.SIGSTOP)
    environment |= variables
    until = time.monotonic() + 300
    while not (now := status())["running"]:  # a search may find too little memory for a server; the next one tries
        done = tp("search", "start_server", "--output", "paths", cwd=repo)
        assert (done.returncode, done.stdout.split()[0], done.stderr) == (0, b"app/server.py", b"")
        assert time.monotonic() < until, [
            (str(log), log.read_text()) for log in Path(environment["TP_CACHE"]).glob("server/*/server.log")
        ]
    assert now["pid"] != pid  # which it can be only when the other was killed and its lock is gone


def waits_for_an_answer(process: int) -> bool:
    """Whether a client has a connection and sleeps: all that it has left to wait for is the server."""
    try:
        links = [str(link.readlink()) for link in Path(f"/proc/{process}/fd").iterdir()]
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state == "S" and any(link.startswith("socket:") for link in links)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_killed_in_the_middle_of_a_request(repo: Path, warm: Warm, environment: dict[str, str]) -> None:
    pid = warm()["pid"]
    os.kill(pid, signal.SIGSTOP)  # it has the request, and does not come to answer it
    client = subprocess.Popen(
        [sys.executable, "-m", "turboprop", "search", "start_server", "--output", "paths"],
        cwd=repo,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while client.poll() is None and not waits_for_an_answer(client.pid):
        pass
    assert client.poll() is None
    os.kill(pid, signal.SIGKILL)
    stdout, stderr = client.communicate()
    assert (client.returncode, stdout.split()[0], stderr) == (0, b"app/server.py", b"")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_two_first_searches_start_one_server(
    repo: Path, environment: dict[str, str], wait_for: WaitFor, servers: Servers
) -> None:
    command = [sys.executable, "-m", "turboprop", "search", "start_server", "--output", "paths"]
    both = [subprocess.Popen(command, cwd=repo, env=environment, stdout=subprocess.PIPE) for _ in range(3)]
    outputs = [process.communicate()[0] for process in both]
    assert len(set(outputs)) == 1
    assert outputs[0].startswith(b"app/server.py\n")
    pid = wait_for()["pid"]
    until = time.monotonic() + 300
    while servers() != [pid]:  # the others see that one is there, and end
        assert time.monotonic() < until, servers()
        time.sleep(0.1)


def test_other_variables_mean_another_server(
    tp: Any, repo: Path, warm: Warm, wait_for: WaitFor, environment: dict[str, str]
) -> None:
    first = warm()["pid"]
    done = tp("search", "start_server", "--output", "paths", cwd=repo, TP_THREADS="1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert wait_for(but=first)["pid"] != first
    environment["TP_THREADS"] = "1"
    answered = wait_for()["answered"]
    assert tp("search", "start_server", cwd=repo).returncode == 0
    assert wait_for()["answered"] == answered + 1


def test_another_version_means_another_server(
    tp: Any, repo: Path, warm: Warm, wait_for: WaitFor, environment: dict[str, str], tmp_path: Path
) -> None:
    first = warm()["pid"]
    state = json.loads((folder_of(environment) / "server.json").read_text())
    # A client of a later version, as the package would be after an upgrade beside this server.
    later = (
        "import turboprop; turboprop.__version__ = '99.0'\n"
        "import sys; sys.argv = ['tp', 'search', 'start_server', '--output', 'paths']\n"
        "from turboprop.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", later], cwd=repo, env=environment, capture_output=True)
    assert (done.returncode, done.stdout.split()[0], done.stderr) == (0, b"app/server.py", b"")
    assert wait_for(but=first)["pid"] != state["pid"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_switched_off(tp: Any, repo: Path, own_places: Path, environment: dict[str, str], servers: Servers) -> None:
    assert tp("search", "port", "--no-server", cwd=repo).returncode == 0
    assert tp("search", "port", cwd=repo, TP_SERVER="0").returncode == 0
    (own_places / "config.toml").write_text("server = false\n")
    del environment["TP_SERVER"]
    assert tp("search", "port", cwd=repo).returncode == 0
    assert servers() == []
    (own_places / "config.toml").unlink()
    assert tp("search", "port", cwd=repo).returncode == 0
    assert len(servers()) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_no_server_for_what_failed(tp: Any, write_files: Any, servers: Servers) -> None:
    root = write_files({"a.py": "x = 1\n"})
    assert tp("search", "port", cwd=root).returncode == 2
    assert servers() == []


def test_it_ends_when_idle(repo: Path, warm: Warm, wait_for: WaitFor, environment: dict[str, str]) -> None:
    environment["TP_SERVER_IDLE"] = "2"
    warm()
    wait_for(running=False)
    until = time.monotonic() + 30
    while (folder_of(environment) / "socket").exists():
        assert time.monotonic() < until


def test_status_and_stop(tp: Any, repo: Path, warm: Warm) -> None:
    assert (tp("daemon", "status").returncode, tp("daemon", "stop").returncode) == (1, 1)
    state = warm()
    assert [(index["repo"], index["chunks"]) for index in state["indexes"]] == [(str(repo), 3)]
    told = tp("daemon", "status").stdout.decode()
    assert f"process {state['pid']}" in told
    assert str(repo) in told
    former = tp("server", "status")
    assert (former.returncode, former.stdout.decode().split("\n")[0]) == (0, told.split("\n")[0])
    assert "`tp server` is called `tp daemon` now" in former.stderr.decode()
    assert tp("daemon", "stop").stdout == b"stopped\n"
    assert tp("daemon", "stop").returncode == 1


def test_only_its_user_can_ask(tp: Any, repo: Path, warm: Warm, status: Status, environment: dict[str, str]) -> None:
    environment["HF_TOKEN"] = "hf_secret"
    answered = warm()["answered"]
    folder = folder_of(environment)
    assert "hf_secret" not in (folder / "server.json").read_text()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in ("server.json", "socket")} == {0o600}
    state = json.loads((folder / "server.json").read_text())
    for key in ("0" * 64, state["key"]):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / "socket"))
            client.sendall(json.dumps({"question": "status", "key": key}).encode() + b"\n")
            assert (client.makefile().readline() == f"yes {state['proof']}\n") == (key == state["key"])
    assert tp("search", "port", cwd=repo).returncode == 0
    assert status()["answered"] == answered + 1
    folder.chmod(0o755)  # others could have put a server there
    assert status()["running"] is False
    assert tp("search", "port", cwd=repo).returncode == 0
    folder.chmod(0o700)
    assert status()["answered"] == answered + 1


@pytest.mark.parametrize("name", ["server.json", "server.json.new"])
def test_a_link_where_its_state_goes_is_not_followed(
    tp: Any, warm: Warm, environment: dict[str, str], tmp_path: Path, name: str
) -> None:
    warm()
    folder = folder_of(environment)
    assert tp("daemon", "stop").returncode == 0
    while (folder / "server.json").exists():
        time.sleep(0.01)
    target = tmp_path / "elsewhere"
    target.write_text("mine")
    (folder / name).symlink_to(target)
    warm()
    assert target.read_text() == "mine"
    assert not (folder / "server.json").is_symlink()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_somebody_else_is_not_served(repo: Path, warm: Warm, status: Status, environment: dict[str, str]) -> None:
    warm()
    folder = folder_of(environment)
    state = json.loads((folder / "server.json").read_text())
    request = json.dumps({"question": "status", "key": state["key"]})
    attempt = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
        "with socket.socket(socket.AF_UNIX) as connection:\n"
        f"    connection.connect({str(folder / 'socket')!r})\n"
        f"    connection.sendall({request!r}.encode() + b'\\n')\n"
        "    print(connection.recv(100))"
    )

    def tries() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", attempt], capture_output=True, text=True)

    assert "PermissionError" in tries().stderr
    # Even where the folder was opened up and the key is known.
    for opened in (folder, *folder.parents[:-2]):
        opened.chmod(0o755)
    (folder / "socket").chmod(0o666)
    said = tries()
    assert said.stdout == "b''\n" or "ConnectionResetError" in said.stderr or "BrokenPipeError" in said.stderr
    folder.chmod(0o700)
    assert status()["running"] is True


def test_closed_streams_are_no_defect(repo: Path, warm: Warm, environment: dict[str, str]) -> None:
    warm()
    for closed in ("<&-", "2>&-", ">&-"):
        command = f"{sys.executable} -m turboprop search start_server --output paths {closed}"
        done = subprocess.run(["bash", "-c", command], cwd=repo, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("app/server.py\n") == (closed != ">&-")


def test_over_loopback(tp: Any, repo: Path, status: Status, wait_for: WaitFor, environment: dict[str, str]) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "turboprop", "daemon", "run", "--loopback"], env=environment, stdin=subprocess.DEVNULL
    )
    try:
        assert wait_for()["answered"] == 0
        assert isinstance(json.loads((folder_of(environment) / "server.json").read_text())["port"], int)
        assert tp("search", "listen on a port", "--output", "paths", cwd=repo).stdout.startswith(b"app/server.py\n")
        assert status()["answered"] == 1
        assert tp("daemon", "stop").returncode == 0
    finally:
        server.kill()
        server.wait()


def test_a_terminated_server_ends_well(repo: Path, warm: Warm, wait_for: WaitFor, environment: dict[str, str]) -> None:
    os.kill(warm()["pid"], signal.SIGTERM)
    wait_for(running=False)
    until = time.monotonic() + 30
    while not {path.name for path in folder_of(environment).iterdir()} <= {"lock", "server.log"}:
        assert time.monotonic() < until
    assert (folder_of(environment) / "server.log").read_text() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
def test_an_output_that_takes_no_more(repo: Path, warm: Warm, status: Status, environment: dict[str, str]) -> None:
    answered = warm()["answered"]
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "turboprop", "search", "server"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=repo, env=environment, text=True)
    assert (done.returncode, done.stderr) == (2, "tp: the output cannot be written: No space left on device\n")
    assert status()["answered"] == answered + 1


def test_a_closed_pipe_is_no_error(repo: Path, warm: Warm, environment: dict[str, str]) -> None:
    warm()
    command = f"{sys.executable} -m turboprop search server | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=repo, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_vectors_of_an_index_are_made_in_the_background(partly_embedded: Path, tp: Tp, status: Status) -> None:
    """By a server that is started for it and answers searches meanwhile."""
    done = tp("index", "--background", cwd=partly_embedded)
    assert done.returncode == 0, done.stderr
    assert b"the vectors follow in the background" in done.stderr
    until = time.monotonic() + 300
    while time.monotonic() < until:
        found = tp("search", "plum_19", "--json", cwd=partly_embedded)
        assert json.loads(found.stdout)["hits"][0]["path"] == "src/plum_19.py"
        if json.loads(found.stdout)["vectors"] == 1.0:
            break
        time.sleep(0.2)
    with Index.open(partly_embedded) as index:
        assert index.vectors_note == ""
    assert status()["running"]


def test_a_background_run_that_no_server_may_take_is_refused(partly_embedded: Path, tp: Tp) -> None:
    done = tp("index", "--background", cwd=partly_embedded, TP_SERVER="0")
    assert (done.returncode, b"which the settings forbid" in done.stderr) == (2, True)
    done = tp("index", "--background", "--watch", cwd=partly_embedded)
    assert (done.returncode, b"give one of them" in done.stderr) == (2, True)


def test_one_that_is_just_starting_is_stopped_as_well(
    tp: Tp, repo: Path, servers: Callable[[], list[int]], wait_for: Callable[..., dict[str, Any]]
) -> None:
    assert tp("search", "listen on a port", cwd=repo).returncode == 0
    stopped = tp("daemon", "stop")
    assert (stopped.returncode, stopped.stdout) == (0, b"stopped\n")
    assert servers() == []
    assert tp("daemon", "stop").returncode == 1
    assert tp("search", "listen on a port", cwd=repo).returncode == 0  # and the next one starts as ever
    wait_for()
