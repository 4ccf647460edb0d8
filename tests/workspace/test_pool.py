"""Indexes that stay open, and what makes them be opened anew: real files, the real small model."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from turboprop import EmbeddingModel, Index
from turboprop.errors import IndexMismatchError, IndexNotFoundError, ModelNotFoundError, UsageError
from turboprop.runtime.manager import ModelManager
from turboprop.workspace.location import Location
from turboprop.workspace.pool import IndexPool

FILES = {
    "port.py": "def open_port(port):\n    '''Listen on a port.'''\n    return listen(port)\n",
    "dial.go": "package app\n\nfunc Dial(host string) error {\n\treturn nil\n}\n",
}


@pytest.fixture
def repo(write_files: Callable[[dict[str, str]], Path]) -> Path:
    root = write_files(FILES)
    Index.create(root).close()
    return root


@pytest.fixture
def models() -> Iterator[ModelManager]:
    with ModelManager(keep_alive=None) as models:
        yield models


@pytest.fixture
def pool(models: ModelManager) -> Iterator[IndexPool]:
    pool = IndexPool(models)
    yield pool
    pool.clear()


def model_of(index: Index) -> EmbeddingModel:
    with index.embedding() as lease:
        return lease.model


def test_what_is_the_same_is_used_again(repo: Path, pool: IndexPool) -> None:
    with pool.open(Location.at(repo)) as first:
        assert first.search("listen on a port", 1)[0].path == "port.py"
        model = model_of(first)
    with pool.open(Location.at(repo)) as second:
        assert second is first
        assert model_of(second) is model
    assert [(index["chunks"], index["model_loaded"]) for index in pool.describe()] == [(2, True)]


def test_a_new_version_is_opened_with_the_same_model(repo: Path, pool: IndexPool) -> None:
    with pool.open(Location.at(repo)) as first:
        model = model_of(first)
        (repo / "tuner.py").write_text("def tune_radio(frequency):\n    return frequency\n")
        assert pool.update(Location.at(repo)).embedded_chunks == 1
        assert "tuner.py" not in {
            hit.path for hit in first.search("tune radio", freshness="none")
        }  # its user sees one version
        with pool.open(Location.at(repo)) as second:
            assert second is not first
            assert second.search("tune radio", 1)[0].path == "tuner.py"
            assert model_of(second) is model
    with pytest.raises(UsageError, match="closed"):
        first.search("tune radio", freshness="none")


def test_errors_are_those_of_an_index(repo: Path, pool: IndexPool, tmp_path: Path) -> None:
    with pool.open(Location.at(repo)):
        pass
    with pytest.raises(ModelNotFoundError), pool.open(Location.at(repo), "nobody/nothing"):
        pass
    with pytest.raises(UsageError, match="does not exist"), pool.open(Location.at(tmp_path / "nowhere")):
        pass
    shutil.rmtree(repo / ".turboprop")
    with pytest.raises(IndexNotFoundError), pool.open(Location.at(repo)):
        pass


def test_a_model_whose_files_changed_is_loaded_anew(
    repo: Path, pool: IndexPool, minilm_copy: Path, tmp_path: Path
) -> None:
    place = tmp_path / "index"
    Index.create(repo, str(minilm_copy), index_dir=place).close()
    with pool.open(Location.at(repo, place)) as index:
        index.search("port")
    config = minilm_copy / "1_Pooling/config.json"
    text = config.read_text()
    config.write_text(
        text.replace('"pooling_mode_mean_tokens": true', '"pooling_mode_mean_tokens": false').replace(
            '"pooling_mode_cls_token": false', '"pooling_mode_cls_token": true'
        )
    )
    assert config.read_text() != text
    with pool.open(Location.at(repo, place)) as index, pytest.raises(IndexMismatchError):
        index.search("another port")


def test_a_model_is_given_back_after_each_use(repo: Path, pool: IndexPool, models: ModelManager) -> None:
    with pool.open(Location.at(repo)) as index:
        before = index.search("listen on a port", 2)
        (told,) = models.status()
        assert told.in_use == 0
        models.unload(told.name)
        assert [each["model_loaded"] for each in pool.describe()] == [False]
        assert index.search("listen on a port", 2) == before
    (repo / "tuner.py").write_text("def tune_radio(frequency):\n    return frequency\n")
    assert pool.update(Location.at(repo)).embedded_chunks == 1
    assert [told.in_use for told in models.status()] == [0]


def test_the_one_used_longest_ago_is_closed(repo: Path, models: ModelManager, tmp_path: Path) -> None:
    pool = IndexPool(models, most=1)
    other = tmp_path / "other"
    shutil.copytree(repo, other)
    with pool.open(Location.at(repo)) as first:
        model = model_of(first)
        with pool.open(Location.at(other)) as second:
            assert model_of(second) is model
            assert first.search("port")  # in use
    assert len(pool.describe()) == 1
    pool.clear()
    assert pool.describe() == []


def test_an_outdated_index_is_let_go(repo: Path, pool: IndexPool) -> None:
    with pool.open(Location.at(repo)) as index:
        (repo / "tuner.py").write_text("def tune_radio(frequency):\n    return frequency\n")
        pool.update(Location.at(repo))
        pool.let_go_of_outdated()
        assert index.search("port", freshness="none")  # in use
    pool.let_go_of_outdated()
    assert pool.describe() == []
    with pool.open(Location.at(repo)):
        pass
    pool.let_go_of_outdated()
    assert [index["chunks"] for index in pool.describe()] == [3]
    shutil.rmtree(repo / ".turboprop")
    pool.let_go_of_outdated()
    assert pool.describe() == []


def test_many_threads(repo: Path, pool: IndexPool) -> None:
    failures: list[BaseException] = []

    def search(number: int) -> None:
        try:
            for turn in range(10):
                with pool.open(Location.at(repo)) as index:
                    assert index.search(f"listen on port {number} {turn}", 1)[0].path == "port.py"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=search, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for number in range(5):
        (repo / f"extra{number}.py").write_text(f"def extra{number}():\n    return {number}\n")
        pool.update(Location.at(repo))
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(pool.describe()) == 1


def test_an_update_keeps_what_was_included(write_files: Callable[[dict[str, str]], Path], pool: IndexPool) -> None:
    root = write_files({**FILES, ".gitignore": "build/\n", "build/made.py": "def made_here():\n    return 1\n"})
    Index.create(root, include=["build/*.py"]).close()
    (root / "port.py").write_text(FILES["port.py"] + "\n\ndef close_port():\n    pass\n")
    location = Location.around(root)
    pool.update(location)
    with pool.open(location) as index:
        assert index.search("made_here", limit=1)[0].path == "build/made.py"
        assert index.search("close_port", limit=1)[0].path == "port.py"
