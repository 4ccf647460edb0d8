"""What a server may touch, by itself: names, refreshing in the background, and its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from turboprop import Index
from turboprop.edges.mcp.repositories import Repositories
from turboprop.errors import IndexBusyError, IndexNotFoundError, UsageError
from turboprop.workspace.pool import IndexPool

Write = Callable[[dict[str, str]], Path]


def test_names(tmp_path: Path) -> None:
    for place in ("a/app", "b/app", "lib"):
        (tmp_path / place).mkdir(parents=True)
    repositories = Repositories([tmp_path / "a/app", tmp_path / "b/app", tmp_path / "lib", tmp_path / "lib/../lib"])
    assert [each.name for each in repositories.all] == [str(tmp_path / "a/app"), str(tmp_path / "b/app"), "lib"]
    assert repositories.named("lib").root == tmp_path / "lib"
    for name in (None, "", "app", "LIB", str(tmp_path)):
        with pytest.raises(UsageError, match="lib"):
            repositories.named(name)
    with pytest.raises(UsageError, match="at least one"):
        Repositories([])
    with pytest.raises(UsageError, match="does not exist"):
        Repositories([tmp_path / "nowhere"])


def test_closing_ends_a_refresh(write_files: Write) -> None:
    body = "def f{0}(x):\n    '''Number {0} of many functions that fill this file.'''\n    return x * {0}\n\n\n"
    root = write_files({f"m{n}.py": "".join(body.format(n * 100 + k) for k in range(40)) for n in range(20)})
    repositories = Repositories([root])
    repository = repositories.all[0]
    assert repositories.start_refresh(repository)
    assert not repositories.start_refresh(repository)
    while repository.refresh.progress is None:
        assert repository.refresh.busy
        time.sleep(0.01)
    with pytest.raises(IndexNotFoundError, match="being made"), repositories.open(repository):
        pass
    repositories.close()
    assert not repositories.start_refresh(repository)
    while True:
        try:
            made = Index.create(root, limit=1)
        except IndexBusyError:  # it ends where it next tells of its progress
            time.sleep(0.05)
            continue
        break
    with made as index:
        assert index.search("number 7", mode="lexical")


def test_a_failed_refresh_is_told(write_files: Write) -> None:
    root = write_files({"a.py": "x = 1\n"})
    repositories = Repositories([root], model="nobody/nothing")
    repository = repositories.all[0]
    repositories.start_refresh(repository)
    while repository.refresh.busy:
        time.sleep(0.01)
    assert "nobody/nothing" in repository.refresh.error
    repositories.close()


def test_a_pool_of_others_stays_open(write_files: Write) -> None:
    root = write_files({"a.py": "def port():\n    return 1\n"})
    Index.create(root).close()
    pool = IndexPool(offline=True)
    repositories = Repositories([root], refresh=False, pool=pool)
    with repositories.index(repositories.all[0]) as index:
        assert index.search("port")
    repositories.close()
    assert len(pool.describe()) == 1
    pool.clear()
