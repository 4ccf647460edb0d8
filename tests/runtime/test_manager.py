from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from best_engine import BEST
from reference import reference
from turboprop import GenerationOptions
from turboprop.embed.model import EmbeddingModel
from turboprop.errors import BusyError, EngineError, ModelLoadingError, ModelUnsupportedError, UsageError
from turboprop.models.kind import kind_of
from turboprop.models.resolve import resolve
from turboprop.runtime.leases import LoadOptions
from turboprop.runtime.manager import DEFAULT_MANAGER, ModelManager
from turboprop.runtime.memory import estimated_need
from turboprop.settings import load_settings


@pytest.fixture
def two_models(minilm_folder: Path, tmp_path: Path) -> tuple[str, str]:
    """Two models of one size, by path."""
    return tuple(str(shutil.copytree(minilm_folder, tmp_path / name)) for name in ("one", "two"))


def need(name: str) -> int:
    settings = load_settings()
    local = resolve(name, settings, download=False)
    return estimated_need(local, kind_of(local), settings, None, None)[1]


def test_many_leases_load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    load = EmbeddingModel.load.__func__

    def counted(cls: type[EmbeddingModel], name: str | None = None, **wishes: object) -> EmbeddingModel:
        loads.append(str(name))
        return load(cls, name, **wishes)

    monkeypatch.setattr(EmbeddingModel, "load", classmethod(counted))
    with ModelManager() as manager:

        def use(number: int) -> tuple[int, ...]:
            with manager.embedding() as lease:
                return lease.submit(lease.model.prepare([f"text {number}"], "document")).result().shape

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(use, range(24))) == {(1, 384)}
        (told,) = manager.status()
        assert told.in_use == 0
        assert told.engine == BEST
        assert told.reason
        assert manager.reserved == {"cpu": told.reserved}
        assert told.reserved > 0
    assert len(loads) == 1


def test_the_unused_goes_and_the_used_stays(two_models: tuple[str, str]) -> None:
    one, two = two_models
    with ModelManager(budgets={"cpu": int(need(one) * 1.5)}) as manager:
        with manager.embedding(one), pytest.raises(BusyError, match="in use"):
            manager.embedding(two)
        with manager.embedding(two) as lease:
            assert lease.model.dimensions == 384
        assert [told.name for told in manager.status()] == [two]
        with manager.embedding(one):
            assert [told.name for told in manager.status()] == [one]


def test_least_recently_used_goes_first(two_models: tuple[str, str], minilm_copy: Path) -> None:
    one, two = two_models
    with ModelManager(budgets={"cpu": int(need(one) * 2.5)}) as manager:
        manager.load(one)
        manager.load(two)
        manager.embedding(one).close()
        manager.load(str(minilm_copy))
        assert [told.name for told in manager.status()] == [str(minilm_copy), one]


def test_a_model_over_the_budget_is_refused() -> None:
    tiny = ModelManager(budgets={"cpu": 1_000_000})
    with tiny as manager, pytest.raises(EngineError, match=r"budget for models is 0\.0 GB"):
        manager.embedding()


def test_idle_models_go_after_their_keep_alive(two_models: tuple[str, str]) -> None:
    one, two = two_models
    with ModelManager(keep_alive=0.2) as manager:
        manager.load(one, keep=True)
        manager.load(two)
        while len(manager.status()) > 1:
            time.sleep(0.02)
        assert [told.name for told in manager.status()] == [one]
        manager.unload(one)
        assert manager.status() == []
        assert manager.reserved == {"cpu": 0}
        with pytest.raises(UsageError, match="not loaded"):
            manager.unload(one)


def test_a_model_in_use_is_not_unloaded() -> None:
    with ModelManager() as manager:
        with manager.embedding() as lease:
            with pytest.raises(BusyError, match="in use"):
                manager.unload(lease.model.name)
            assert lease.submit(lease.model.prepare(["still here"], "query")).result().shape == (1, 384)
        manager.unload(manager.status()[0].name)


def test_waiting_for_a_load_can_end(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    load = EmbeddingModel.load.__func__

    def slow(cls: type[EmbeddingModel], name: str | None = None, **wishes: object) -> EmbeddingModel:
        go.wait()
        return load(cls, name, **wishes)

    monkeypatch.setattr(EmbeddingModel, "load", classmethod(slow))
    with ModelManager() as manager:
        with pytest.raises(ModelLoadingError, match="ask again"):
            manager.embedding(wait=0.05)
        assert manager.status()[0].state == "loading"
        go.set()
        with manager.embedding() as lease:
            assert lease.model.dimensions == 384


def test_a_failed_load_says_why_and_may_be_tried_again(minilm_copy: Path) -> None:
    weights = minilm_copy / "model.safetensors"
    sound = weights.read_bytes()
    weights.write_bytes(sound[: len(sound) // 2])
    with ModelManager() as manager:
        with pytest.raises(Exception, match=r"safetensors|damaged|cut|header|bytes"):
            manager.embedding(str(minilm_copy))
        assert manager.status() == []
        weights.write_bytes(sound)
        with manager.embedding(str(minilm_copy)) as lease:
            assert lease.model.dimensions == 384


def test_both_kinds_at_once() -> None:
    stories = str(reference("gguf/stories260K.gguf"))
    with ModelManager() as manager:
        with manager.language(stories) as writer, manager.embedding() as embedder:
            text = writer.model.generate("Once upon a time", GenerationOptions(temperature=0, max_tokens=4)).text
            assert text == ", there was a"
            assert embedder.model.dimensions == 384
        assert {told.kind for told in manager.status()} == {"language", "embedding"}
        with pytest.raises(ModelUnsupportedError, match="is a language model, and an embedding model"):
            manager.embedding(stories)
        with pytest.raises(ModelUnsupportedError, match="is an embedding model, and a language model"):
            manager.language("minilm")


def test_a_draft_is_loaded_with_a_language_model_and_counted() -> None:
    stories = str(reference("gguf/stories260K.gguf"))
    asked = GenerationOptions(temperature=0, max_tokens=30)
    with ModelManager() as plain, plain.language(stories) as writer:
        expected, alone = writer.model.generate("Once upon a time", asked).text, sum(plain.reserved.values())
    with ModelManager(draft=stories) as manager, manager.language(stories) as writer, manager.embedding():
        assert writer.model.generate("Once upon a time", asked).text == expected
        assert writer.model._generator._loop.draft.kept  # type: ignore[union-attr]
        assert sum(told.reserved for told in manager.status() if told.kind == "language") == 2 * alone
    with ModelManager(draft="minilm") as manager, pytest.raises(ModelUnsupportedError, match="cannot draft"):
        manager.language(stories)


def test_a_query_of_many_is_what_it_is_alone() -> None:
    with ModelManager() as manager, manager.embedding() as lease:
        queries = [f"where is the port {number} opened" for number in range(32)]
        with ThreadPoolExecutor(8) as pool:
            together = np.stack(list(pool.map(lease.embed_query, queries)))
        with EmbeddingModel.load() as alone:
            np.testing.assert_allclose(together, alone.embed_queries(queries), atol=0.01)


def test_a_model_whose_files_changed_is_loaded_anew(minilm_copy: Path) -> None:
    name = str(minilm_copy)
    with ModelManager(keep_alive=None) as manager:
        manager.load(name)
        (minilm_copy / "README.md").write_text("nothing that is read")
        with manager.embedding(name) as old:
            assert len(manager.status()) == 1
            config = minilm_copy / "1_Pooling/config.json"
            config.write_text(config.read_text() + "\n")
            with manager.embedding(name) as new, manager.embedding(name) as same:
                assert new.model is same.model is not old.model
                assert old.embed_query("still here").shape == (384,)
                assert [told.in_use for told in manager.status()] == [2, 1]
        assert [told.in_use for told in manager.status()] == [0]  # the old one went with its last lease
    with ModelManager(budgets={"cpu": int(need(name) * 1.5)}) as manager:
        manager.load(name)
        config.write_text(config.read_text() + "\n")
        with manager.embedding(name):  # the old one holds no room, as nobody uses it
            assert [told.in_use for told in manager.status()] == [1]


def test_models_that_run_otherwise_are_others() -> None:
    with ModelManager() as manager:
        exact = LoadOptions(weights="float32")
        with manager.embedding() as one, manager.embedding(options=exact) as other:
            assert one.model is not other.model
            assert (other.model.weights, len(manager.status())) == ("float32", 2)
            with manager.embedding(options=exact) as same:
                assert same.model is other.model
        manager.unload("minilm")
        assert manager.status() == []


def test_without_keep_alive_a_model_goes_with_its_last_lease() -> None:
    one = DEFAULT_MANAGER.embedding()
    other = one.again()
    one.close()
    one.close()
    assert [told.in_use for told in DEFAULT_MANAGER.status()] == [1]
    assert other.embed_query("still here").shape == (384,)
    del other  # nobody closed it
    assert DEFAULT_MANAGER.status() == []


def test_after_an_interrupt_whoever_waits_loads_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()
    threads: list[int] = []
    load = EmbeddingModel.load.__func__

    def interrupted(cls: type[EmbeddingModel], name: str | None = None, **wishes: object) -> EmbeddingModel:
        threads.append(threading.get_ident())
        if len(threads) == 1:
            begun.set()
            go.wait()
            raise KeyboardInterrupt
        return load(cls, name, **wishes)

    monkeypatch.setattr(EmbeddingModel, "load", classmethod(interrupted))
    with ModelManager() as manager, ThreadPoolExecutor(2) as pool:
        first = pool.submit(manager.embedding)
        begun.wait()
        second = pool.submit(manager.embedding)
        go.set()
        with pytest.raises(KeyboardInterrupt):
            first.result()
        with second.result() as lease:
            assert lease.model.dimensions == 384
        assert len(set(threads)) == 2  # each in the thread of its caller
