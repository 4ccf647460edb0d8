"""Models and indexes in other processes and in event loops: what is pickled is how to load them."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from turboprop import EmbeddingModel, Index
from turboprop.errors import UsageError


def _vectors(model: EmbeddingModel, texts: list[str]) -> Any:
    return model.embed_documents(texts)


def _paths(index: Index, query: str) -> list[str]:
    return [hit.path for hit in index.search(query, mode="lexical")]


def test_a_model_goes_to_a_spawned_process(shared_cache: Path) -> None:
    texts = ["where are sessions signed", "def sign(): ..."]
    with EmbeddingModel.load("minilm", weights="int8", max_tokens=64) as model:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            there = pool.apply(_vectors, (model, texts))
        np.testing.assert_array_equal(there, model.embed_documents(texts))
        with pickle.loads(pickle.dumps(model)) as again:
            assert (again.fingerprint, again.weights, again.max_tokens) == (model.fingerprint, "int8", 64)


def test_a_model_of_a_path_is_found_from_another_folder(
    minilm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(minilm_folder.parent)
    with EmbeddingModel.load(minilm_folder.name) as model:
        pickled = pickle.dumps(model)
        monkeypatch.chdir(tmp_path)
        with pickle.loads(pickled) as again:
            assert again.fingerprint == model.fingerprint


def test_an_index_goes_to_a_spawned_process(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "session.py").write_text("def sign_session(token):\n    return hmac(token)\n")
    with Index.create(tmp_path, "none") as index:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(_paths, (index, "sign session")) == ["session.py"]
        with pickle.loads(pickle.dumps(index)) as again:
            assert (again.repo, again.model_name) == (index.repo, index.model_name)
        assert asyncio.run(index.asearch("sign session", 3, "lexical")) == index.search("sign session", 3, "lexical")


def test_an_index_of_a_model_of_a_path_is_found_from_another_folder(
    minilm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "session.py").write_text("def sign_session(token):\n    return hmac(token)\n")
    monkeypatch.chdir(minilm_folder.parent)
    with Index.create(tmp_path, minilm_folder.name) as index:
        pickled = pickle.dumps(index)
        monkeypatch.chdir("/")
        with pickle.loads(pickled) as again:
            assert again.search("sign", mode="semantic")[0].path == "session.py"


def test_an_index_that_is_gone_has_a_repr(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "a.py").write_text("x = 1\n")
    with Index.create(tmp_path, "none") as index:
        assert "1 chunks of 1 files" in repr(index)
        pickled = pickle.dumps(index)
    (tmp_path / ".turboprop").rename(tmp_path / "elsewhere")
    from turboprop.errors import IndexNotFoundError

    with pytest.raises(IndexNotFoundError):
        pickle.loads(pickled)


def test_the_loop_goes_on_while_a_model_runs(shared_cache: Path) -> None:
    async def both(model: EmbeddingModel) -> tuple[Any, Any, int]:
        turns = 0
        documents = asyncio.create_task(model.aembed(["some text " * 40] * 3 + [f"text {n}" for n in range(200)]))
        while not documents.done():
            turns += 1
            await asyncio.sleep(0)
        return await documents, await model.aembed(["a query"], side="query"), turns

    with EmbeddingModel.load("minilm") as model:
        documents, queries, turns = asyncio.run(both(model))
        assert documents.shape == (203, 384)
        np.testing.assert_array_equal(queries, model.embed_queries(["a query"]))
        assert turns > 1


@pytest.mark.parametrize("given", [None, b"x", float("nan"), ["a"]], ids=repr)
def test_a_query_that_is_no_text_is_refused(shared_cache: Path, given: Any) -> None:
    with EmbeddingModel.load("minilm") as model, pytest.raises(UsageError, match="takes one text, not"):
        model.embed_query(given)
