"""The look at what Git would open, compared with what Git makes of the same files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turboprop.code.gitfolder import find_git_folder, paths_named, problems_below


@pytest.fixture
def root(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", tmp_path / "r"], check=True)
    return tmp_path / "r"


def config(file: Path, *arguments: str) -> list[str]:
    done = subprocess.run(["git", "config", "--file", file, *arguments], capture_output=True, check=False)
    return os.fsdecode(done.stdout).split("\0")[:-1]


VALUES = st.text(st.characters(blacklist_characters="\0\n\r", blacklist_categories=("Cs",)), min_size=1, max_size=20)
WRITTEN = st.text('ab~/. \t"\\#;=[]\n', max_size=25)


@given(VALUES)
@settings(max_examples=40)
def test_values_that_git_wrote(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    file = tmp_path_factory.mktemp("settings") / "config"
    config(file, "include.path", value)
    assert config(file, "--no-includes", "-z", "--get", "include.path") == [value]
    assert paths_named(file.read_bytes())[-1] == ("path", value)


@given(WRITTEN)
@settings(max_examples=300)
def test_values_as_git_reads_them(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    """Where Git takes the file at all: else it says so, and is not held."""
    file = tmp_path_factory.mktemp("settings") / "config"
    file.write_text(f'[includeIf "gitdir:]path=x"] path = {value}\n[core]\nexcludesFile=last\n')
    read = config(file, "--no-includes", "-z", "--get-all", "includeif.gitdir:]path=x.path")
    if read and config(file, "--no-includes", "-z", "--get", "core.excludesfile") == ["last"]:
        named = [one for name, one in paths_named(file.read_bytes()) if name == "path"]
        # Older versions make a blank of a tab, and keep one before the end of a line that goes on.
        assert {one.replace("\t", " ").rstrip() for one in read} <= {one.replace("\t", " ").rstrip() for one in named}


def test_what_leads_from_settings_to_a_pipe(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv("HOME", str(tmp_path))
    own = (root / ".git/config").read_text()
    (root / ".git/deep").write_text("[INCLUDE]Path=deeper\n")
    (root / ".git/deeper").write_text(f'[includeIf "onbranch:x"]\n\tpath = "{tmp_path}/pi\\\npe" ; a comment\n')
    for text in (
        "[include]\npath=../../pipe\n",
        "[include]path=~/pipe # here\n",
        f'[CORE] ExcludesFile = "{tmp_path}/pipe"\n',
        "[core]\nexcludesfile = ../pipe\n",
        "[a]\nb = c # \\\n[include]path = ../../pipe\n",
        "[include]\r\n\tpath = deep\r\n",
    ):
        (root / ".git/config").write_text(own + text)
        assert "pipe is a pipe" in find_git_folder(str(root)).problem, text
    (root / ".git/config").write_text(
        own + "[include]\n#path=../../pipe\npath=nothing\n[core]\nexcludesFile=~nobody-x/a\n"
    )
    assert find_git_folder(str(root)).problem == ""


def test_includes_without_end(root: Path) -> None:
    with open(root / ".git/config", "a") as file:
        file.write("[include]\n" + "path = again\n" * 30)
    (root / ".git/again").write_text("[include]\n" + "path = again\n" * 30)
    assert "without end" in find_git_folder(str(root)).problem


def test_which_repository_git_would_take(root: Path, tmp_path: Path) -> None:
    below = root / "a/b"
    below.mkdir(parents=True)
    assert find_git_folder(str(below)).top == str(root)
    (below / ".git").mkdir()  # none, so Git goes on upward, and reads what is there
    assert find_git_folder(str(below)).top == str(root)
    os.mkfifo(root / ".git/HEAD.lock")
    assert "HEAD.lock is a pipe" in find_git_folder(str(below)).problem
    assert find_git_folder(str(tmp_path)).top == ""


def test_problems_below(root: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    os.mkfifo(root / "a/pipe")  # which Git lists and does not open
    (root / "a/loop").symlink_to("..")
    assert set(problems_below(str(root))) == {""}
    os.mkfifo(root / "a/b/.gitignore")
    (root / ".git/refs/x").symlink_to("/dev/zero")
    found = [problem for problem in problems_below(str(root)) if problem]
    assert sorted("pipe" if "a pipe" in one else "device" for one in found) == ["device", "pipe"]
