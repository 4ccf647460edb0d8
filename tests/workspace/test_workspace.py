from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from turboprop import Hit, Index
from turboprop.code.inside import read_each
from turboprop.errors import IndexNotFoundError, UsageError
from turboprop.limits import Mode
from turboprop.runtime.manager import ModelManager
from turboprop.search.patterns import Pattern
from turboprop.workspace.jobs import Job
from turboprop.workspace.pool import IndexPool
from turboprop.workspace.workspace import Freshness, Repository, Workspace

Write = Callable[[dict[str, str]], Path]
FILES = {
    "src/retry.py": "def retry(work):\n    return work()\n",
    "src/cache.py": "class Cache:\n    def get(self, key):\n        return self.entries[key]\n",
}


def searched(
    repository: Repository, query: str, limit: int = 10, mode: Mode = "hybrid", freshness: Freshness = "quick"
) -> list[Hit]:
    with repository.opened(freshness) as index:
        return index.search(query, limit, mode, freshness="none")


@pytest.fixture
def manager() -> Iterator[ModelManager]:
    with ModelManager() as made:
        yield made


@pytest.fixture
def indexes(manager: ModelManager) -> Iterator[IndexPool]:
    pool = IndexPool(manager)
    yield pool
    pool.clear()


@pytest.fixture
def repo(write_files: Write) -> Path:
    root = write_files(FILES)
    Index.create(root).close()
    return root


def test_searches_equal_those_of_an_index(indexes: IndexPool, manager: ModelManager, repo: Path) -> None:
    workspace = Workspace(indexes, [repo])
    repository = workspace.get(None)
    with Index.open(repo) as index:
        for mode in ("hybrid", "semantic", "lexical"):
            expected = index.search("get what was kept", 5, mode)
            assert searched(repository, "get what was kept", 5, mode) == expected
        assert repository.similar("src/cache.py", 1, 5) == index.similar("src/cache.py", 1, 5)
    (told,) = manager.status()
    assert told.in_use == 0


def test_a_newer_version_is_seen_and_an_old_one_stays_for_who_uses_it(indexes: IndexPool, repo: Path) -> None:
    repository = Workspace(indexes, [repo]).get("repo")
    with repository.opened() as before:
        (repo / "src/lemon.py").write_text("def lemon():\n    return 'sour'\n")
        with Index.open(repo) as index:
            index.update()
        assert searched(repository, "lemon", 1, "lexical")[0].path == "src/lemon.py"
        assert before.search("lemon", 1, "lexical", freshness="none") == []
    with repository.opened() as after:
        assert after is not before


def test_an_index_that_was_removed_and_made_again(indexes: IndexPool, manager: ModelManager, repo: Path) -> None:
    repository = Workspace(indexes, [repo]).get(None)
    assert searched(repository, "retry", 1)
    shutil.rmtree(repo / ".turboprop")
    with pytest.raises(IndexNotFoundError):
        searched(repository, "anything")
    job = Job("index", "repo")
    job.run(repository.update)
    assert job.status.state == "done"
    assert (job.status.done, job.status.total) == (2, 2)
    assert searched(repository, "retry", 1)[0].path == "src/retry.py"
    assert len(manager.status()) == 1


def test_a_cancelled_update_leaves_a_sound_index(indexes: IndexPool, repo: Path) -> None:
    repository = Workspace(indexes, [repo]).get(None)
    (repo / "src/new.py").write_text("def new():\n    pass\n")
    job = Job("index", "repo")
    job.cancel()
    job.run(repository.update)
    assert job.status.state == "cancelled"
    assert searched(repository, "retry", 1)[0].path == "src/retry.py"


def test_sources_are_those_of_indexed_files(indexes: IndexPool, repo: Path, tmp_path: Path) -> None:
    repository = Workspace(indexes, [repo]).get(None)
    found = repository.source("src/cache.py", 2, 99)
    assert (found.start_line, found.end_line, found.total_lines) == (2, 3, 3)
    assert found.text == "    def get(self, key):\n        return self.entries[key]\n"
    (repo / "secret.env").write_text("KEY=1\n")
    (tmp_path / "outside.py").write_text("KEY = 1\n")
    (repo / "src/retry.py").unlink()
    (repo / "src/retry.py").symlink_to(tmp_path / "outside.py")
    for path in ("secret.env", "../outside.py", "/etc/passwd", str(repo / "src/cache.py"), "src/retry.py", "", "src"):
        with pytest.raises(IndexNotFoundError):
            repository.source(path)
    with pytest.raises(UsageError):
        repository.source("src/cache.py", 3, 2)


def test_the_map_has_every_file(indexes: IndexPool, write_files: Write) -> None:
    began = time.time() - 1
    repo = write_files(FILES)
    Index.create(repo).close()
    repository = Workspace(indexes, [repo]).get(None)
    files = repository.map()
    assert {file.path for file in files} == set(FILES)
    # Without commits it is when a file was written, also where that was just before it was indexed.
    assert [file for file in files if not began <= (file.changed or 0) <= time.time()] == []
    assert repository.map() is files
    assert repository.languages() == {"python": 2}


def test_names(indexes: IndexPool, tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "same", tmp_path / "b" / "same"
    for folder in (one, other):
        folder.mkdir(parents=True)
    workspace = Workspace(indexes, [one, other, one])
    assert len(workspace) == 2
    assert workspace.get(str(one)).root == one
    for wrong in (None, "same", str(tmp_path), "../same"):
        with pytest.raises(UsageError):
            workspace.get(wrong)
    with pytest.raises(UsageError, match="without a repository"):
        Workspace(indexes, []).get(None)
    with pytest.raises(UsageError):
        Workspace(indexes, [tmp_path / "nothing"])


def test_work_in_the_background_is_one_at_a_time_and_ends_with_the_workspace(
    indexes: IndexPool, write_files: Write
) -> None:
    body = "def f{0}(x):\n    '''Number {0} of many functions that fill this file.'''\n    return x * {0}\n\n\n"
    root = write_files({f"m{n}.py": "".join(body.format(n * 100 + k) for k in range(40)) for n in range(20)})
    workspace = Workspace(indexes, [root])
    repository = workspace.get(None)
    with pytest.raises(IndexNotFoundError, match="make one with `tp index`"), repository.opened("background"):
        pass
    assert repository.job is None
    with pytest.raises(IndexNotFoundError, match="being made"), repository.opened("background", create=True):
        pass
    job = repository.job
    assert job is not None
    assert repository.start_update() is job
    while not job.status.total:
        assert not job.status.ended
        time.sleep(0.01)
    workspace.close()
    assert job.status.state == "cancelled"
    with Index.create(root, limit=1) as index:
        assert index.search("number 7", mode="lexical")


def test_what_a_search_may_not_wait_for_is_brought_in_beside_it(indexes: IndexPool, repo: Path) -> None:
    for number in range(60):
        (repo / f"new_{number}.py").write_text(f"def pomegranate_{number}():\n    return {number}\n")
    with Workspace(indexes, [repo]) as workspace:
        repository = workspace.get(None)
        assert all("new_" not in hit.path for hit in searched(repository, "pomegranate"))
        assert workspace.search("pomegranate").stale == {"repo": 60}
        assert repository.job is None
        assert all("new_" not in hit.path for hit in searched(repository, "pomegranate", freshness="background"))
        assert repository.job is not None
        while not repository.job.status.ended:
            time.sleep(0.01)
        assert "new_" in searched(repository, "pomegranate", 1, freshness="none")[0].path


def test_a_failed_update_is_told(indexes: IndexPool, write_files: Write) -> None:
    with Workspace(indexes, [write_files({"a.py": "x = 1\n"})], model="nobody/nothing") as workspace:
        repository = workspace.get(None)
        job = repository.start_update()
        while not job.status.ended:
            time.sleep(0.01)
        assert "nobody/nothing" in job.status.error


def test_files_are_those_of_the_scope(indexes: IndexPool, write_files: Write) -> None:
    root = write_files({**FILES, "docs/guide.md": "# Guide\n", ".turboprop.toml": 'exclude = ["docs/"]\n'})
    (root / "gen.go").write_text("// Code generated by a tool. DO NOT EDIT.\npackage a\n")
    with Workspace(indexes, [root]) as workspace:
        repository = workspace.get(None)
        told = {row.path: (row.state, row.reason) for row in repository.files()}
        assert told["src/cache.py"] == ("changed", "not indexed yet")
        Index.create(root).close()
        (root / "src/retry.py").unlink()
        (root / "src/cache.py").write_text("x = 1\n")
        told = {row.path: (row.state, row.reason) for row in repository.files()}
        assert told["src/retry.py"] == ("changed", "gone")
        assert told["src/cache.py"] == ("changed", "changed since")
        assert told["docs/guide.md"][0] == "left out"
        assert told["gen.go"] == ("left out", "generated")
        assert told[".turboprop.toml"] == ("indexed", "")


def test_a_status_without_a_look_is_what_was_last_seen(indexes: IndexPool, repo: Path) -> None:
    with Workspace(indexes, [repo]) as workspace:
        repository = workspace.get(None)
        (repo / "src/new.py").write_text("x = 1\n")
        assert repository.status(look=False).stale == ()
        assert repository.status().stale == ("src/new.py",)
        assert repository.status(look=False).stale == ("src/new.py",)
        (repo / "src/newer.py").write_text("y = 1\n")
        changed = [row.path for row in repository.files(look=False) if row.state == "changed"]
        assert changed == ["src/new.py"]
        repository.update()
        assert repository.status(look=False).stale == ()
        assert {row.state for row in repository.files(look=False)} == {"indexed"}


def test_one_without_an_index_does_not_hide_the_others(indexes: IndexPool, repo: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with Workspace(indexes, [repo, tmp_path / "empty"]) as workspace:
        found = workspace.search("get what was kept")
        assert {one.repo for one in found.hits} == {"repo"}
        assert found.not_indexed == ("empty",)
    with Workspace(indexes, [tmp_path / "empty"]) as workspace, pytest.raises(IndexNotFoundError):
        workspace.search("anything")


@pytest.mark.parametrize("freshness", ["quick", "background"])
def test_files_that_did_not_change_are_read_once_for_all_patterns(
    indexes: IndexPool, repo: Path, freshness: Freshness, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def recorded(root: Path, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for path, content in read_each(root, paths):
            read.append(path)
            yield path, content

    monkeypatch.setattr("turboprop.search.grep.read_each", recorded)
    workspace = Workspace(indexes, [repo])

    def lines(pattern: str) -> list[str]:
        found = workspace.grep(Pattern((pattern,)), 10, freshness=freshness)
        return [text for _, each in found.files for text in each.texts]

    assert lines("def re.*") == ["def retry(work):"]
    assert sorted(read) == sorted(FILES)
    read.clear()
    assert lines("class .*") == ["class Cache:"]
    assert read == []
    (repo / "src/cache.py").write_text("class Store:\n    pass\n")
    assert lines("class .*") == ["class Store:"]
    assert "src/cache.py" in read
