"""The first hour of somebody new, on a terminal: `tp` alone, a search without an index, bars, what lies where."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from one_process import tp_each
from turboprop import Index

Write = Callable[[dict[str, str]], Path]
FILES = {
    "app/server.py": "def start_server(port):\n    '''Listen on a port.'''\n    return bind(port)\n",
    "README.md": "# Demo\n\nStart the server, then dial it.\n",
}
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")


@pytest.fixture
def work_tree(write_files: Write) -> Path:
    root = write_files(FILES)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


def on_terminal(
    *words: str, cwd: Path, columns: int = 80, typed: str = "", too_early: str = "", **environment: str
) -> tuple[int, str]:
    """The exit code and all that a command of `tp` prints on a terminal, without styles: `typed` answers its question,
    `too_early` is typed before that comes."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "turboprop", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "xterm", **environment},
    )
    os.close(theirs)
    os.write(ours, too_early.encode())
    printed = b""
    with contextlib.suppress(OSError):  # the end of a terminal
        while piece := os.read(ours, 65536):
            printed += piece
            if typed and b"[Y/n]" in printed:
                os.write(ours, typed.encode())
                typed = ""
    os.close(ours)
    return process.wait(), re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.decode()).replace("\r\n", "\n")


def test_tp_alone_says_how_things_stand(work_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    def said() -> str:
        code, shown = on_terminal(cwd=work_tree)
        assert code == 0
        return shown

    before = said()
    assert "index   none yet; 2 files would be indexed" in before
    assert re.search(r"^next    tp index ", before, re.MULTILINE)
    assert re.search(r"tp model download \S+ +[\d.]+ GB, writes answers", before), "no language model is here"
    Index.create(work_tree).close()
    indexed = said()
    assert "index   2 files, 2 chunks, by sentence-transformers/all-MiniLM-L6-v2" in indexed
    assert "state   up to date" in indexed
    (work_tree / "new.py").write_text("x = 1\n")
    assert "state   1 file changed since" in said()
    code, outside = on_terminal(cwd=tmp_path_factory.mktemp("bare"), columns=50)
    assert code == 0
    assert "no repository and no index" in " ".join(outside.split())


def test_a_search_without_an_index_asks_and_goes_on(work_tree: Path) -> None:
    question = re.compile(r"No index in .*\. Index 2 files now \(about \d+ s\)\? \[Y/n\]")
    code, refused = on_terminal(
        "search", "listen on a port", cwd=work_tree / "app", typed="n\n", too_early="y\n", columns=200
    )
    assert code == 2
    assert question.search(refused)
    assert "there is no index" in refused
    assert not (work_tree / ".turboprop").exists()
    code, shown = on_terminal("search", "listen on a port", cwd=work_tree / "app", typed="\n", columns=200)
    assert code == 0, shown
    assert question.search(shown)
    assert (work_tree / ".turboprop").is_dir(), "the work tree is indexed, not the folder in it"
    assert "server.py:1-3  start_server" in shown


def test_nobody_is_asked_who_cannot_answer(work_tree: Path) -> None:
    for words in (["search", "port"], ["search", "port", "--json"], ["ask", "port"]):
        done = subprocess.run(
            [sys.executable, "-m", "turboprop", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=work_tree,
            check=False,
        )
        assert done.returncode == 2
        assert "there is no index" in done.stdout + done.stderr
    assert on_terminal("search", "port", "--json", cwd=work_tree)[0] == 2


def test_a_question_without_a_language_model_shows_code_and_the_way_to_one(work_tree: Path) -> None:
    Index.create(work_tree).close()
    (done,) = tp_each("ask how does the server listen", cwd=work_tree)
    assert done.returncode == 2
    assert "app/server.py:1-3  start_server" in done.stdout
    assert "Listen on a port." in done.stdout
    assert re.search(r"`tp model download \S+` \([\d.]+ .B\) brings one that fits this machine", done.stderr)


@pytest.mark.parametrize("columns", [50, 80, 200])
def test_the_bar_fits_tells_the_file_and_vanishes(write_files: Write, columns: int) -> None:
    name = "a_folder_with_a_long_name/and_another_one_in_it/" + "x" * 40
    root = write_files({f"{name}_{n}.py": f"def function_{n}(a):\n    return a + {n}\n" * 9 for n in range(40)})
    code, shown = on_terminal("index", cwd=root, columns=columns)
    assert code == 0, shown
    drawn = [line for part in shown.split("\n") for line in part.split("\r") if "indexing" in line or "xx_" in line]
    assert any(re.search(r"indexing .* +\d+% ", line) for line in drawn), shown
    assert any(re.search(r"x_\d+\.py", line) for line in drawn), shown
    assert all(len(line) <= columns for line in drawn), shown
    assert shown.rstrip().split("\n")[-2].split("\r")[-1].startswith("40 files, ")


def test_a_question_shows_how_much_of_it_is_read(write_files: Write, smollm2_file: Path) -> None:
    lines = "".join(f'    """Step {number} of the flight of the kumquat."""\n' for number in range(60))
    root = write_files({f"kumquat{number}.py": f"def fly_kumquat_{number}():\n{lines}" for number in range(2)})
    Index.create(root).close()
    words = ("ask", "how does the kumquat fly?", "--model", str(smollm2_file), "--max-tokens", "4")
    code, shown = on_terminal(*words, cwd=root)
    assert code == 0
    told = [int(each.replace(",", "")) for each in re.findall(r"reading ([\d,]+) of [\d,]+ tokens", shown)]
    assert told == sorted(told)
    assert len(set(told)) >= 3
    assert set(re.findall(r"of ([\d,]+) tokens", shown)) == {f"{told[-1]:,}"}


def test_a_dumb_terminal_gets_no_bar(work_tree: Path) -> None:
    code, shown = on_terminal("index", cwd=work_tree, TERM="dumb")
    assert code == 0
    assert shown.startswith("2 files, 2 chunks indexed with ")


def test_a_folder_that_comes_first_is_noticed(work_tree: Path) -> None:
    Index.create(work_tree).close()
    done, quiet = tp_each("search ./app listen on a port", "search app listen", cwd=work_tree)
    assert done.stderr.startswith("tp: ./app is taken for a word of the query; a folder to search in comes last\n")
    assert "taken for" not in quiet.stderr


def test_nothing_to_do_is_said_first(work_tree: Path) -> None:
    first, again, gone = tp_each("index", "index", "index --rebuild", cwd=work_tree)
    assert first.stdout.startswith("2 files, 2 chunks indexed with ")
    assert again.stdout.startswith("up to date: 2 files, 2 chunks, with ")
    assert gone.stdout.startswith("2 files, 2 chunks indexed with ")


def test_clean_shows_what_lies_where_and_removes_what_is_named(work_tree: Path) -> None:
    Index.create(work_tree).close()
    shown, asks, removed, again = tp_each(
        "clean --json", "clean index", "clean index --yes", "clean index --yes", cwd=work_tree
    )
    sizes = {each["name"]: each["size"] for each in json.loads(shown.stdout)}
    assert list(sizes) == ["index", "vectors", "converted", "downloads", "models", "your data", "settings"]
    assert sizes["index"] > 0
    assert (asks.returncode, asks.stdout) == (2, "")
    assert "needs --yes" in asks.stderr
    assert removed.stdout.startswith("freed ")
    assert not (work_tree / ".turboprop").exists()
    assert (work_tree / "app/server.py").exists()
    assert again.stderr == "nothing to remove: there is no index\n"
    mine = work_tree / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("no index of ours")
    (left,) = tp_each("clean index --yes --index mine", cwd=work_tree)
    assert left.returncode == 2
    assert (mine / "letter.txt").exists()


def test_help_fits_a_narrow_terminal(work_tree: Path) -> None:
    code, shown = on_terminal("--help", cwd=work_tree, columns=50)
    assert code == 0
    assert all(len(line) <= 50 for line in shown.split("\n"))
    for title in ("Examples", "Search", "Answers", "Models", "Agents and servers", "Upkeep"):
        assert f"\n{title}:\n" in shown
