from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from turboprop import Index
from turboprop.errors import IndexNotFoundError, UsageError
from turboprop.workspace.location import Location, repository_here, root_around

Write = Callable[[dict[str, str]], Path]
FILES = {"src/app/queue.py": "def enqueue(job):\n    jobs.append(job)\n", "docs/guide.md": "# A queue of jobs\n"}


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def root(write_files: Write) -> Path:
    root = write_files(FILES)
    Index.create(root).close()
    return root


def test_the_index_is_looked_for_upward(root: Path) -> None:
    found = Location.around(root / "src/app")
    assert (found.root, found.below) == (root, "src/app")
    assert found.directory == root / ".turboprop"
    assert Location.around(root).below == ""
    with Index.open(root / "src/app") as index:
        assert index.search("enqueue a job", 1)[0].path == "src/app/queue.py"
    assert Location.at(root / "src/app").root == root / "src/app"


def test_an_index_that_the_settings_put_elsewhere_is_found(write_files: Write) -> None:
    root = write_files({**FILES, ".turboprop.toml": 'index = "made/index"\n'})
    Index.create(root).close()
    assert Location.around(root / "src").directory == root / "made/index"


def test_of_two_indexed_folders_the_inner_one_counts(root: Path) -> None:
    Index.create(root / "src").close()
    assert root_around(root / "src/app") == root / "src"
    assert root_around(root / "docs") == root


def test_a_repository_inside_another_is_none_of_its_files(root: Path) -> None:
    inner = root / "vendor/inner"
    (inner / "lib").mkdir(parents=True)
    git(inner, "init", "-q")
    assert root_around(inner / "lib") == inner / "lib"
    with pytest.raises(IndexNotFoundError):
        Index.open(inner / "lib")


def test_a_submodule_belongs_to_the_repository_around_it(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "part.py").write_text("def part():\n    return 1\n")
    for folder in (other, root):
        git(folder, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-qm", "one")
    git(root, "submodule", "add", str(other), "part")
    assert root_around(root / "part") == root
    with Index.create(root) as index:
        assert "part/part.py" in index.reader.manifest().files


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("name", [".turboprop", ".turboprop.toml"])
def test_what_another_user_put_around_a_folder_is_passed_over(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.mkdir() if name == ".turboprop" else place.write_text("index = [")
    os.chown(place, 12_345, 12_345)
    (tmp_path / "mine").mkdir()
    assert root_around(tmp_path / "mine") == tmp_path / "mine"


def test_a_broken_settings_file_around_a_folder_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / ".turboprop.toml").write_text("index = [")
    (tmp_path / "mine").mkdir()
    assert root_around(tmp_path / "mine") == tmp_path / "mine"


@pytest.mark.parametrize("wrong", ["nowhere", "file.txt", "a\0b"])
def test_what_is_no_folder_is_said(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "file.txt").write_text("x\n")
    with pytest.raises(UsageError):
        Location.around(tmp_path / wrong)


def test_a_server_without_a_repository_takes_that_of_the_current_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root / "src")
    assert repository_here() == root
    plain, tree = tmp_path / "plain", tmp_path / "tree"
    for folder in (plain, tree / "sub"):
        folder.mkdir(parents=True)
    git(tree, "init", "-q")
    monkeypatch.chdir(tree / "sub")
    assert repository_here() == tree
    for store in (".jj", ".hg"):
        (tmp_path / store[1:] / store).mkdir(parents=True)
        (tmp_path / store[1:] / "sub").mkdir()
        monkeypatch.chdir(tmp_path / store[1:] / "sub")
        assert repository_here() == tmp_path / store[1:]
    monkeypatch.chdir(plain)
    assert repository_here() is None


def test_a_root_that_vanishes_under_an_open_index_is_said(root: Path) -> None:
    with Index.open(root) as index:
        root.rename(root.parent / "moved")
        with pytest.raises(IndexNotFoundError, match="is gone: its folder was moved or removed"):
            index.search("enqueue a job", 1)
        assert index.last_refresh.failed
        with pytest.raises(UsageError, match=r"Cannot open the folder .*repo: No such file"):
            index.update()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root writes everywhere")
def test_an_index_that_may_not_be_written_is_searched_as_it_is(root: Path) -> None:
    (root / ".turboprop").chmod(0o500)
    try:
        (root / "new.py").write_text("def new():\n    return 1\n")
        with Index.open(root) as index:
            assert index.search("enqueue a job", 1)[0].path == "src/app/queue.py"
            assert index.last_refresh.left == "the index may not be written"
    finally:
        (root / ".turboprop").chmod(0o700)


def test_an_index_elsewhere_is_of_the_repository_that_it_was_made_from(root: Path, tmp_path: Path) -> None:
    """A search from another folder would else replace what it holds by the files of that folder."""
    place = tmp_path / "place"
    Index.create(root, index_dir=place).close()
    other = tmp_path / "other"
    other.mkdir()
    (other / "fox.py").write_text("def fox():\n    return 'red'\n")
    for folder in (root / "src", other):
        with Index.open(folder, index_dir=place) as index:
            assert (index.repo, index.search("enqueue a job", 1)[0].path) == (root, "src/app/queue.py")
    for folder in (other, root / "src"):
        with pytest.raises(UsageError, match=r"is of .*repo, not of .*--rebuild"):
            Index.create(folder, index_dir=place)
        with Index.open(Location.at(folder, place)) as index:
            assert index.search("enqueue a job", 1)[0].path == "src/app/queue.py"
            assert "is of" in index.last_refresh.left
    with pytest.raises(UsageError, match=r"is of .*repo/src, not of"):
        Index.create(root / "src").close()
        Index.create(root, index_dir=root / "src/.turboprop")
    with Index.create(other, index_dir=place, rebuild=True) as index:
        assert index.search("fox", 1)[0].path == "fox.py"


def test_an_index_inside_of_its_repository_moves_with_it(root: Path) -> None:
    moved = root.rename(root.parent / "moved")
    (moved / "src/app/fox.py").write_text("def peel_a_pomegranate():\n    return 'red'\n")
    with Index.open(moved) as index:
        assert index.search("peel a pomegranate", 1)[0].path == "src/app/fox.py"
