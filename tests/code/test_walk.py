"""The walk against real Git work trees and real folders, with everything odd that a disk can hold."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from turboprop.code.walk import Walk, walk
from turboprop.errors import UsageError


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", *identity, "-C", str(root), *arguments], check=True, capture_output=True)


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def paths(found: Walk) -> list[str]:
    return [file.path for file in found.files]


def reasons(found: Walk) -> dict[str, str]:
    return {item.path: str(item.reason) for item in found.skipped}


@pytest.fixture(params=["git", "folder"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same files in a Git work tree and in a plain folder."""
    root = tmp_path / "tree"
    root.mkdir()
    if request.param == "git":
        git(root, "init", "-q")
    return root


def test_ignore_rules_nested_and_negated(tree: Path) -> None:
    write(
        tree,
        {
            ".gitignore": "*.log\n/build/\n!keep.log\n",
            "a.py": "",
            "b.log": "",
            "keep.log": "",
            "build/x.py": "",
            "src/build/y.py": "",
            "src/.gitignore": "secret*\n",
            "src/secret.py": "",
            "src/open.py": "",
        },
    )
    assert paths(walk(tree)) == [".gitignore", "a.py", "keep.log", "src/.gitignore", "src/build/y.py", "src/open.py"]


def test_tpignore_excludes_on_top(tree: Path) -> None:
    write(
        tree,
        {
            ".tpignore": "docs/\n*.sql\n",
            "docs/a.md": "",
            "x/b.sql": "",
            "x/.tpignore": "c.py\n",
            "x/c.py": "",
            "d.py": "",
        },
    )
    found = walk(tree)
    assert [path for path in paths(found) if not path.endswith("ignore")] == ["d.py"]
    assert reasons(found)["x/b.sql"] == reasons(found)["x/c.py"] == ".tpignore"


def test_reasons_by_name_and_size(tree: Path) -> None:
    write(tree, {"a.png": "x", "uv.lock": "x", "b.pyc": "x", "big.py": "x" * 2001, "ok.py": "x" * 2000})
    found = walk(tree, max_filesize=2000)
    assert paths(found) == ["ok.py"]
    assert reasons(found) == {
        "a.png": "binary",
        "big.py": "too large",
        "b.pyc": "binary",
        "uv.lock": "lock file",
    }


def test_links_are_never_followed(tree: Path, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"secret.py": "x"})
    write(tree, {"real.py": "x"})
    (tree / "out.py").symlink_to(outside / "secret.py")
    (tree / "outdir").symlink_to(outside)
    (tree / "inner.py").symlink_to("real.py")
    (tree / "loop").symlink_to(".")
    (tree / "dangling").symlink_to("nowhere")
    found = walk(tree)
    assert paths(found) == ["real.py"]
    assert set(reasons(found).values()) <= {"symbolic link"}
    details = {item.path: item.detail for item in found.skipped}
    assert details["out.py"] == "leads out of the repository"
    assert details["inner.py"] == "points to real.py"


def test_special_files_are_not_opened(tree: Path) -> None:
    write(tree, {"a.py": "x"})
    os.mkfifo(tree / "pipe.py")
    found = walk(tree)  # opening the pipe would block for ever
    assert paths(found) == ["a.py"]


def test_names_that_are_not_utf8(tree: Path) -> None:
    write(tree, {"naïve ünïcode.py": "x"})
    odd = os.fsencode(tree) + b"/caf\xe9.py"
    with open(odd, "w") as file:
        file.write("x = 1\n")
    with open(os.fsencode(tree) + b"/new\nline.py", "w") as file:
        file.write("x = 1\n")
    found = walk(tree)
    assert "caf\\xe9.py" in paths(found)
    assert "naïve ünïcode.py" in paths(found)
    assert "new\nline.py" in paths(found)
    for file in found.files:
        assert Path(file.location).read_text()
        file.path.encode("utf-8")


def test_the_index_folder_is_never_entered(tree: Path) -> None:
    write(tree, {".turboprop/a.py": "", "sub/.turboprop/b.py": "", "c.py": ""})
    assert paths(walk(tree)) == ["c.py"]


def test_git_sees_tracked_and_untracked_but_not_deleted(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, {"tracked.py": "1", "gone.py": "2", "forced.log": "3", ".gitignore": "*.log\n"})
    git(tmp_path, "add", "-f", ".")
    git(tmp_path, "commit", "-qm", "start")
    (tmp_path / "gone.py").unlink()
    write(tmp_path, {"untracked.py": "4", "other.log": "5"})
    found = walk(tmp_path)
    assert found.from_git
    assert paths(found) == [".gitignore", "forced.log", "tracked.py", "untracked.py"]


def test_a_folder_inside_a_work_tree_lists_itself_alone(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, {".gitignore": "skip.py\n", "a.py": "", "sub/b.py": "", "sub/skip.py": ""})
    assert paths(walk(tmp_path / "sub")) == ["b.py"]


def test_global_excludes_are_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "tree"
    write(root, {"a.py": "", "b.swp": ""})
    git(root, "init", "-q")
    (tmp_path / "excludes").write_text("*.swp\n")
    (tmp_path / "gitconfig").write_text(f"[core]\n\texcludesFile = {tmp_path / 'excludes'}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert paths(walk(root)) == ["a.py"]


def test_submodules_are_listed_and_nested_repositories_are_not(tmp_path: Path) -> None:
    module = write(tmp_path / "module", {"m.py": "x"})
    git(module, "init", "-q")
    git(module, "add", ".")
    git(module, "commit", "-qm", "m")
    root = write(tmp_path / "root", {"a.py": "x"})
    git(root, "init", "-q")
    git(root, "submodule", "add", "-q", str(module), "vendor/module")
    stray = write(root / "stray", {"s.py": "x"})
    git(stray, "init", "-q")
    found = walk(root)
    assert "vendor/module/m.py" in paths(found)
    assert "stray/s.py" not in paths(found)
    assert "nested repository" in reasons(found).values()


def test_a_repository_cannot_make_git_run_anything(tmp_path: Path) -> None:
    root = write(tmp_path / "root", {"a.py": "x"})
    git(root, "init", "-q")
    trap = tmp_path / "trap"
    script = tmp_path / "run.sh"
    script.write_text(f"#!/bin/sh\ntouch {trap}\n")
    script.chmod(0o755)
    git(root, "config", "core.fsmonitor", str(script))
    git(root, "config", "core.pager", str(script))
    assert paths(walk(root)) == ["a.py"]
    assert not trap.exists()


def test_without_git_the_rules_hold_and_installed_packages_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": "", "node_modules/x/i.js": "", ".venv/lib/y.py": "", "pkg/__pycache__/z.py": ""})
    found = walk(tmp_path)
    assert not found.from_git
    assert paths(found) == ["a.py"]


@pytest.mark.parametrize("name", ["missing", "file"])
def test_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError):
        walk(tmp_path / name)


def test_order_is_stable(tree: Path) -> None:
    write(tree, {f"{name}.py": "" for name in ["zebra", "apple", "Mango", "b/c", "b-d"]})
    assert paths(walk(tree)) == sorted(paths(walk(tree)))
    assert walk(tree).files == walk(tree).files


def test_facts_of_a_file(tree: Path) -> None:
    write(tree, {"pkg/mod.py": "x = 1\n"})
    (file,) = walk(tree).files
    status = (tree / "pkg/mod.py").stat()
    assert (file.path, file.size, file.language) == ("pkg/mod.py", 6, "python")
    assert (file.mtime_ns, file.inode) == (status.st_mtime_ns, status.st_ino)
