"""Every command that prints names or text of a repository, on a hostile one: in a pipe and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from hostile_text import NAMES, acting, hostile_files, write_hostile
from one_process import command_line, pieces
from reference import reference
from turboprop import Index
from turboprop.answer import UNCITED
from turboprop.printable import printable_name

TP = [sys.executable, "-m", "turboprop"]
HUMAN = [
    ("search", "point the telescope", "--limit", "20"),
    ("search", "point the telescope", "--limit", "20", "--full", "--explain"),
    ("search", "point the telescope", "--limit", "20", "--output", "vimgrep"),
    ("search", "telescope", "--by", "file", "--no-refresh"),
    ("similar", "README.md:1"),
    ("similar", f"{NAMES[0]}:1"),
    ("why", NAMES[0]),
    ("why", NAMES[1]),
    ("why", "no\x1b[66;66Hwhere\ntp: all is well.py"),
    ("index", "--dry-run"),
    ("index",),
    ("status",),
    ("doctor",),
    ("ask", "how is the telescope pointed at a mirror?"),
    ("config", "show"),
    ("search", "x", "--model", "./no\x1b[66;66H\u202esuch.gguf"),
    ("no\x1b[66;66H\u202esuch",),
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_hostile(tmp_path_factory.mktemp("hostile") / "re\u202epo")
    (root / ".turboprop.toml").write_text('exclude = ["no\\u001b[66;66H\\u202esuch"]\n')
    Index.create(root).close()
    return root


def run(root: Path, *arguments: str) -> tuple[str, str]:
    done = subprocess.run([*TP, *arguments], cwd=root, capture_output=True, check=False)
    assert b"defect of TurboProp" not in done.stderr, done.stderr
    return done.stdout.decode(), done.stderr.decode()


@pytest.fixture(scope="module")
def piped(hostile: Path) -> dict[tuple[str, ...], tuple[str, str]]:
    """What each command writes to its output and its error: all in one process, which starts and loads a model once."""
    done = subprocess.run(command_line(HUMAN), cwd=hostile, capture_output=True, check=True)
    assert b"defect of TurboProp" not in done.stderr, done.stderr
    both = zip(pieces(done.stdout.decode()), pieces(done.stderr.decode()), strict=True)
    return {command: (out, err) for command, ((out, _), (err, _)) in zip(HUMAN, both, strict=True)}


@pytest.fixture(scope="module")
def shown(hostile: Path) -> dict[tuple[str, ...], str]:
    """What each command writes where standard input, output and error are a terminal, all in one process."""
    control, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160"}
    process = subprocess.Popen(
        command_line(HUMAN),
        cwd=hostile,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment,
    )
    os.close(terminal)
    written = b""
    while True:
        ready, _, _ = select.select([control], [], [], 0.2)
        if ready:
            try:
                piece = os.read(control, 1 << 16)
            except OSError:
                break
            if not piece:
                break
            written += piece
        elif process.poll() is not None:
            break
    assert process.wait() == 0, written
    os.close(control)
    screens = [text for text, _ in pieces(written.decode())][::2]  # after each command both streams end here
    return dict(zip(HUMAN, screens, strict=True))


def forged(text: str) -> list[str]:
    """Lines that a file's name or text wrote as if they were the program's."""
    return [
        line for line in text.split("\n") if re.match(r"README\.md:1-3  forged|1\| forged line|tp: all is well", line)
    ]


@pytest.mark.parametrize("arguments", HUMAN, ids=lambda given: " ".join(given[:2]).encode("ascii", "replace").decode())
def test_in_a_pipe(piped: dict[tuple[str, ...], tuple[str, str]], arguments: tuple[str, ...]) -> None:
    out, err = piped[arguments]
    assert out or err
    assert acting(out) == []
    assert acting(err) == []
    assert forged(out + err) == []


@pytest.mark.parametrize("arguments", HUMAN, ids=lambda given: " ".join(given[:2]).encode("ascii", "replace").decode())
def test_on_a_terminal(shown: dict[tuple[str, ...], str], arguments: tuple[str, ...]) -> None:
    written = shown[arguments]
    assert written
    # What rich and click write themselves: colours, the cursor's visibility, lines taken away again.
    plain = re.sub(r"\x1b\[(?:[0-9;]*m|\?25[lh]|2K|1?A|0?K)", "", written).replace("\r\n", "\n").replace("\r", "\n")
    assert acting(plain) == []
    assert forged(plain) == []


def test_a_warm_server_prints_the_same(hostile: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TP_SERVER", "1")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    try:
        first = run(hostile, "search", "point the telescope", "--limit", "20", "--no-refresh")
        for _ in range(100):
            if run(hostile, "daemon", "status")[0].startswith("server"):
                break
        second = run(hostile, "search", "point the telescope", "--limit", "20", "--no-refresh")
        status = run(hostile, "daemon", "status")[0]
    finally:
        run(hostile, "daemon", "stop")
    assert "searches answered" in status
    assert acting(status) == []
    assert acting(second[0]) == []
    assert second == first


def test_what_programs_read_is_exact(hostile: Path) -> None:
    out, _ = run(hostile, "search", "point the telescope", "--limit", "50", "--json")
    assert out.isascii()
    assert acting(out) == []
    hits = [hit for hit in json.loads(out)["hits"] if not hit["path"].startswith(".")]
    files = hostile_files()
    assert {hit["path"] for hit in hits} >= set(NAMES)
    assert all(hit["text"].rstrip("\n") in files[hit["path"]].replace("\r\n", "\n") for hit in hits)
    paths, _ = run(hostile, "search", "point the telescope", "--limit", "50", "--output", "paths")
    # A name with a newline would be two; the others are as they are.
    assert set(paths.removesuffix("\n").split("\n")) >= {
        printable_name(name) if "\n" in name else name for name in NAMES
    }


def test_a_place_that_an_editor_jumps_to_is_the_file_s_own(hostile: Path) -> None:
    out, _ = run(hostile, "search", "point the telescope", "--limit", "50", "--output", "vimgrep")
    places = [re.match(r"(.*?):(\d+):(\d+):", line) for line in out.removesuffix("\n").split("\n")]
    assert all(places)
    assert "main.py" not in {place[1] for place in places if place}
    assert "main.py\\x3a1\\x3a1:forged.py" in {place[1] for place in places if place}


def test_an_answer(hostile: Path) -> None:
    model = str(reference("gguf/stories260K.gguf"))
    question = "how is the telescope pointed, and what does it exclude?"
    out, err = run(
        hostile, "ask", question, "--model", model, "--max-tokens", "12", "--seed", "1",
        "--source-tokens", "300", "--show-context", "--stats",
    )  # fmt: skip
    assert "Sources:" in out
    assert acting(out) == acting(err) == []
    assert UNCITED in out
