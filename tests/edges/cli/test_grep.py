"""`tp grep` as a user runs it, and searches that a pattern narrows."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from turboprop import Index

FILES = {
    "app/server.py": "def start_server(port):\n    '''Listen on a port.'''\n    return bind(port)\n\n\nSERVER = 1\n",
    "app/client.go": "package app\n\nfunc Dial(server string) error {\n\treturn nil\n}\n",
    "tests/test_server.py": "def test_server():\n    start_server(1)\n",
    "README.md": "# Demo\n\nStart the server, then dial it.\n",
}


@pytest.fixture
def repo(write_files: Callable[[dict[str, str]], Path]) -> Path:
    root = write_files(FILES)
    Index.create(root).close()
    return root


def tp(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "turboprop", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
    )


def lines(*arguments: str, cwd: Path) -> list[str]:
    done = tp("grep", *arguments, cwd=cwd)
    assert (done.returncode, done.stderr) == (0 if done.stdout else 1, ""), done.stderr
    return done.stdout.splitlines()


def test_lines_in_the_order_of_a_search(repo: Path) -> None:
    assert lines("start_server", cwd=repo) == [
        "app/server.py:1:def start_server(port):",
        "tests/test_server.py:2:    start_server(1)",
    ]
    found = lines("-i", "server", cwd=repo)
    assert [line.split(":")[0] for line in found] == [
        *["app/server.py"] * 2,
        "app/client.go",
        "README.md",
        *["tests/test_server.py"] * 2,
    ]
    assert lines("--sort", "path", "-l", "-i", "server", cwd=repo) == sorted(FILES)
    assert lines("nothing like this", cwd=repo) == []


def test_conventions_of_ripgrep(repo: Path) -> None:
    assert lines("-c", "server", "app", cwd=repo) == ["app/server.py:1", "app/client.go:1"]
    assert lines("--count-matches", "port", cwd=repo) == ["app/server.py:3"]
    assert lines("-w", "server", "-g", "*.go", cwd=repo) == ["app/client.go:3:func Dial(server string) error {"]
    assert lines("-o", "-N", "[Ss]tart_?", "app", cwd=repo) == ["app/server.py:start_"]
    assert lines("-F", "Dial(", cwd=repo) == ["app/client.go:3:func Dial(server string) error {"]
    assert lines("-e", "Dial", "-e", "Demo", "-l", cwd=repo) == ["app/client.go", "README.md"]
    assert lines("-S", "demo", "-l", cwd=repo) == ["README.md"]
    assert lines("-t", "markdown", "-m", "1", "-i", "the|demo", cwd=repo) == ["README.md:1:# Demo"]
    assert lines("-x", "SERVER = 1", cwd=repo) == ["app/server.py:6:SERVER = 1"]
    assert lines("-v", "e", "README.md", cwd=repo) == ["README.md:2:"]
    assert lines("--vimgrep", "port", cwd=repo) == [
        "app/server.py:1:18:def start_server(port):",
        "app/server.py:2:20:    '''Listen on a port.'''",
        "app/server.py:3:17:    return bind(port)",
    ]
    assert lines("--heading", "Dial", cwd=repo) == ["app/client.go", "3:func Dial(server string) error {"]
    assert lines("--vimgrep", "^D?", "README.md", cwd=repo) == [
        "README.md:1:1:# Demo",
        "README.md:2:1:",
        "README.md:3:1:Start the server, then dial it.",
    ]
    assert lines("--count-matches", "^D?", "README.md", cwd=repo) == ["README.md:3"]
    assert lines("-o", "^S?", "README.md", cwd=repo) == ["README.md:3:S"]
    assert lines("-v", "--vimgrep", "e", "README.md", cwd=repo) == ["README.md:2:1:"]
    assert lines("-v", "-o", "D", "README.md", cwd=repo) == [
        "README.md:2:",
        "README.md:3:Start the server, then dial it.",
    ]
    assert lines("-v", "--count-matches", "D", "README.md", cwd=repo) == ["README.md:2"]
    quiet = tp("grep", "-q", "Dial", cwd=repo)
    assert (quiet.returncode, quiet.stdout) == (0, "")


def test_context(repo: Path) -> None:
    assert lines("-C", "1", "Listen|SERVER", cwd=repo) == [
        "app/server.py-1-def start_server(port):",
        "app/server.py:2:    '''Listen on a port.'''",
        "app/server.py-3-    return bind(port)",
        "--",
        "app/server.py-5-",
        "app/server.py:6:SERVER = 1",
    ]
    assert lines("-A1", "-N", "Demo|def test", cwd=repo) == [
        "README.md:# Demo",
        "README.md-",
        "--",
        "tests/test_server.py:def test_server():",
        "tests/test_server.py-    start_server(1)",
    ]


def test_json(repo: Path) -> None:
    answer = json.loads(tp("grep", "bind", "--json", cwd=repo).stdout)
    assert answer == {
        "pattern": "bind",
        "files": [
            {
                "path": "app/server.py",
                "language": "python",
                "lines": [{"line": 3, "text": "    return bind(port)", "matches": [[11, 15]]}],
            }
        ],
    }


def test_places(repo: Path) -> None:
    assert lines("Dial", cwd=repo / "app") == ["client.go:3:func Dial(server string) error {"]
    assert lines("Demo", "..", cwd=repo / "app") == ["../README.md:1:# Demo"]
    assert lines("Dial", str(repo / "app"), cwd=repo.parent) == ["app/client.go:3:func Dial(server string) error {"]
    (repo / "new.py").write_text("brand_new = 1\n")
    (repo / "README.md").write_text("# Changed\n")
    assert lines("brand_new|Changed", cwd=repo) == ["new.py:1:brand_new = 1", "README.md:1:# Changed"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["("], "no regular expression"),
        (["a(?=b)"], "look-around"),
        (["x", "nowhere"], "there is no file or folder nowhere"),
        (["x", "app", "/"], "lies outside of"),
        ([], "there is no pattern"),
        (["--lang", "cobol", "-A", "-1", "x"], "-1"),
    ],
)
def test_errors_end_with_2(repo: Path, arguments: list[str], said: str) -> None:
    done = tp("grep", *arguments, cwd=repo)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_gets_headings_marks_and_no_orders(repo: Path) -> None:
    (repo / "evil.py").write_text("x = '\u202etitle\u2069' + " + "'a' * 1 + " * 60 + "needle\n" + "y = 1\n" * 40)
    leader, follower = pty.openpty()
    known = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-m", "turboprop", "grep", "title|needle"],
        stdout=follower,
        cwd=repo,
        env={**known, "TERM": "xterm-kitty"},
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
    text = shown.decode()
    assert "\u202e" not in text
    assert "\\u202e\x1b[31m\x1b[1mtitle\x1b[0m\\u2069" in text
    assert text.startswith("\x1b]8;;file://") and "evil.py\x1b\\" in text
    assert "more characters]" in text


def test_a_search_may_be_narrowed(repo: Path) -> None:
    def paths(*arguments: str) -> list[str]:
        return tp("search", "server", "--mode", "lexical", "--output", "paths", *arguments, cwd=repo).stdout.split()

    assert len(paths()) == 4
    assert paths("--regex", r"^func \w+\(") == ["app/client.go"]
    assert set(paths("--regex", r"START_server\(|(?i)dial it")) == {"README.md"}
    assert paths("--regex", "it's not there") == []
    assert len(paths("--regex", "e")) == 4
    for pattern in (
        r"error {",
        "n{,3}",
        r"\163erver",
        r"[^a-z]package",
        r"port\):[^x]*Listen",
        r"t[[&&~]",
        "",
        r"^$",
        r"\w{9}",
    ):
        assert set(paths("--regex", pattern)) == set(lines("-l", pattern, cwd=repo)), pattern
    for pattern in ("(", r"\C", "a(?!b)", r"\w{1000}{9}"):
        done = tp("search", "server", "--regex", pattern, cwd=repo)
        assert (done.returncode, done.stdout) == (2, "")
        assert "pattern" in done.stderr


def test_options_that_meet(write_files: Callable[[dict[str, str]], Path]) -> None:
    root = write_files({"a.py": "Foo\nfoo bar foo\nfooo\n", "b.py": "bar\r\nbaz\r\n", "names": "baz\nooo\n"})
    Index.create(root, "none").close()

    def found(*arguments: str) -> list[str]:
        return lines("--sort", "path", *arguments, "a.py", "b.py", cwd=root)

    # The last one of the three holds.
    assert found("-i", "-s", "Foo") == ["a.py:1:Foo"]
    assert len(found("-s", "-i", "FOO")) == 3
    assert found("-i", "-S", "Foo") == ["a.py:1:Foo"]
    assert found("-c", "-o", "foo") == ["a.py:3"]
    assert found("--files-without-match", "-e", "foo") == ["b.py"]
    assert found("-f", "names") == ["a.py:3:fooo", "b.py:2:baz"]
    assert found("ba[rz]$") == ["b.py:1:bar", "b.py:2:baz"]
    assert found("^fo{,2}$") == []
    assert found("-i", "^fo{,2}$") == ["a.py:1:Foo"]
    for arguments, said in ((("-t", "nosuch", "foo"), "no language 'nosuch'"), ((r"\<foo\>",), "write \\b")):
        done = tp("grep", *arguments, cwd=root)
        assert done.returncode == 2
        assert said in done.stderr
