from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from turboprop import Index
from turboprop.errors import IndexNotFoundError, UsageError
from turboprop.runtime.manager import ModelManager
from turboprop.workspace.jobs import Job
from turboprop.workspace.pool import IndexPool
from turboprop.workspace.repositories import Repositories

Write = Callable[[dict[str, str]], Path]
FILES = {
    "src/retry.py": "def retry(work):\n    return work()\n",
    "src/cache.py": "class Cache:\n    def get(self, key):\n        return self.entries[key]\n",
}


@pytest.fixture
def manager() -> Iterator[ModelManager]:
    with ModelManager() as made:
        yield made


@pytest.fixture
def indexes(manager: ModelManager) -> Iterator[IndexPool]:
    pool = IndexPool(models=manager)
    yield pool
    pool.clear()


@pytest.fixture
def repo(write_files: Write) -> Path:
    root = write_files(FILES)
    Index.create(root).close()
    return root


def test_searches_equal_those_of_an_index(indexes: IndexPool, manager: ModelManager, repo: Path) -> None:
    repositories = Repositories(indexes, [repo])
    repository = repositories.get(None)
    with Index.open(repo) as index:
        for mode in ("hybrid", "semantic", "lexical"):
            expected = index.search("get what was kept", 5, mode)
            assert repository.search("get what was kept", 5, mode) == expected
        assert repository.similar("src/cache.py", 1, 5) == index.similar("src/cache.py", 1, 5)
    (told,) = manager.status()
    assert told.in_use == 0


def test_a_newer_version_is_seen_and_an_old_one_stays_for_who_uses_it(indexes: IndexPool, repo: Path) -> None:
    repository = Repositories(indexes, [repo]).get("repo")
    with repository.opened() as before:
        (repo / "src/lemon.py").write_text("def lemon():\n    return 'sour'\n")
        with Index.open(repo) as index:
            index.update()
        assert repository.search("lemon", 1, "lexical")[0].path == "src/lemon.py"
        assert before.search("lemon", 1, "lexical") == []
    with repository.opened() as after:
        assert after is not before


def test_an_index_that_was_removed_and_made_again(indexes: IndexPool, manager: ModelManager, repo: Path) -> None:
    repository = Repositories(indexes, [repo]).get(None)
    assert repository.search("retry", 1)
    shutil.rmtree(repo / ".turboprop")
    with pytest.raises(IndexNotFoundError):
        repository.search("anything")
    job = Job("index", "repo")
    job.run(repository.update)
    assert job.status.state == "done"
    assert (job.status.done, job.status.total) == (2, 2)
    assert repository.search("retry", 1)[0].path == "src/retry.py"
    assert len(manager.status()) == 1


def test_a_cancelled_update_leaves_a_sound_index(indexes: IndexPool, repo: Path) -> None:
    repository = Repositories(indexes, [repo]).get(None)
    (repo / "src/new.py").write_text("def new():\n    pass\n")
    job = Job("index", "repo")
    job.cancel()
    job.run(repository.update)
    assert job.status.state == "cancelled"
    assert repository.search("retry", 1)[0].path == "src/retry.py"


def test_sources_are_those_of_indexed_files(indexes: IndexPool, repo: Path, tmp_path: Path) -> None:
    repository = Repositories(indexes, [repo]).get(None)
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


def test_the_map_has_a_point_for_each_chunk(indexes: IndexPool, repo: Path) -> None:
    repository = Repositories(indexes, [repo]).get(None)
    points = repository.map()
    assert {point.path for point in points} == set(FILES)
    assert repository.map() is points
    assert repository.languages() == {"python": 2}


def test_names(indexes: IndexPool, tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "same", tmp_path / "b" / "same"
    for folder in (one, other):
        folder.mkdir(parents=True)
    repositories = Repositories(indexes, [one, other, one])
    assert len(repositories) == 2
    assert repositories.get(str(one)).root == one
    for wrong in (None, "same", str(tmp_path), "../same"):
        with pytest.raises(UsageError):
            repositories.get(wrong)
    with pytest.raises(UsageError, match="without a repository"):
        Repositories(indexes, []).get(None)
    with pytest.raises(UsageError):
        Repositories(indexes, [tmp_path / "nothing"])
