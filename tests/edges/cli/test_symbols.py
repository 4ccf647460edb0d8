"""`tp symbols`, `tp callers`, and what a hit shows on a screen, in a pipe and for an editor."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from turboprop import Index

BODY = "".join(f"    step_{number} = number * {number}\n" for number in range(40))
FILES = {
    "app/server.py": f"def start_server(number):\n{BODY}    return bind_socket(number)\n",
    "app/main.py": "from server import *\n\nclass Main(Base):\n    def run(self):\n        start_server(1)\n",
    "README.md": "# Demo\n\nStart the server, then dial it.\n",
}


@pytest.fixture
def repo(write_files: Callable[[dict[str, str]], Path]) -> Path:
    root = write_files(FILES)
    Index.create(root).close()
    return root


def tp(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "turboprop", *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def on_a_terminal(*arguments: str, cwd: Path, **environment: str) -> str:
    leader, follower = pty.openpty()
    known = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-m", "turboprop", *arguments], stdout=follower, cwd=cwd, env={**known, **environment}
    ) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:
                break
            shown += part
    assert process.returncode == 0
    return shown.decode()


def test_symbols_and_callers(repo: Path) -> None:
    done = tp("symbols", "start", "server", cwd=repo)
    assert done.stdout == "app/server.py:1  function start_server  def start_server(number):\n"
    assert tp("callers", "start_server", cwd=repo).stdout == "app/main.py:5  Main.run  start_server(1)\n"
    assert tp("callers", "start_server", cwd=repo / "app").stdout == "main.py:5  Main.run  start_server(1)\n"
    assert tp("symbols", "Base", "--implementations", cwd=repo).stdout == "app/main.py:3  Main  class Main(Base):\n"
    (place,) = json.loads(tp("callers", "bind_socket", "--json", cwd=repo).stdout)["places"]
    assert place == {
        "path": "app/server.py",
        "first_line": 42,
        "last_line": 42,
        "name": "bind_socket",
        "kind": "call",
        "inside": "start_server",
        "language": "python",
        "text": "return bind_socket(number)",
    }
    nothing = tp("callers", "nobody", cwd=repo)
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert tp("symbols", "", cwd=repo).returncode == 2
    assert tp("callers", "start_server", "--lang", "go", cwd=repo).returncode == 1


def test_a_question_says_what_its_answer_is(repo: Path) -> None:
    shown = tp("search", "what calls start_server", "--mode", "lexical", cwd=repo).stdout
    assert shown.splitlines()[1] == "    = calls start_server in Main.run (line 5)"
    hits = json.loads(tp("search", "where is Main defined", "--mode", "lexical", "--json", cwd=repo).stdout)["hits"]
    assert hits[0]["why"] == "defines class Main (line 3)"
    assert not any("why" in hit for hit in hits[1:])


def test_the_lines_that_match_are_shown_and_cuts_marked(repo: Path) -> None:
    shown = tp("search", "bind_socket", "-n", "1", "--mode", "lexical", cwd=repo).stdout.splitlines()
    assert "    ... 1 line above" in shown or re.fullmatch(r"    \.\.\. \d+ lines above", shown[1])
    assert "        return bind_socket(number)" in shown
    assert len(shown) <= 16
    whole = tp("search", "bind_socket", "-n", "1", "--mode", "lexical", "--full", cwd=repo).stdout
    assert "above" not in whole
    assert "step_1 " in whole
    place = tp("search", "bind_socket", "-n", "1", "--mode", "lexical", "--output", "vimgrep", cwd=repo).stdout
    assert place == "app/server.py:42:12:return bind_socket(number)\n"
    semantic = tp("search", "launch a daemon", "-n", "1", "--mode", "semantic", "--output", "vimgrep", cwd=repo).stdout
    assert re.fullmatch(r"[\w/.]+:\d+:1:.*\n", semantic)


def test_links_where_the_terminal_takes_them(repo: Path) -> None:
    search = ("search", "bind_socket", "-n", "1", "--mode", "lexical")
    with_links = on_a_terminal(*search, cwd=repo, TERM="xterm-kitty")
    assert f"{repo.as_uri()}/app/server.py#L" in with_links
    assert "\x1b]8;" in with_links
    assert re.search(r"\x1b\[[0-9;]*1;4[0-9;]*mbind_socket", with_links), "what matches is marked"
    assert "\x1b]8;" not in on_a_terminal(*search, cwd=repo, TERM="xterm-256color")
    assert "\x1b]8;" not in on_a_terminal(*search, cwd=repo, TERM="xterm-kitty", FORCE_HYPERLINK="0")
    assert "\x1b]8;" in on_a_terminal("callers", "bind_socket", cwd=repo, TERM="vt100", FORCE_HYPERLINK="1")
    assert "\x1b" not in tp(*search, cwd=repo).stdout
