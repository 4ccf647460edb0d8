"""The self-test sees a sound reranker as sound, and what is wrong with the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from best_engine import BEST
from rerank.tiny_rerankers import RERANKERS
from turboprop import Reranker
from turboprop.embed.inspect import inspect_model
from turboprop.models.checkpoint.reranker import is_reranker
from turboprop.models.resolve import resolve
from turboprop.models.tokenizer.named import tokenizer_of
from turboprop.rerank.check import check_reranker
from turboprop.settings import load_settings

# Which text fits is not known to random weights.
_KNOWN = {"input", "difference", "padding", "long input"}


@pytest.mark.parametrize("name", RERANKERS)
def test_sound_rerankers(tmp_path: Path, name: str) -> None:
    with Reranker.load(str(RERANKERS[name].save(tmp_path / name))) as loaded:
        checks = {check.name: check for check in check_reranker(loaded)}
    assert [checks[name] for name in _KNOWN if not checks[name].ok] == []
    assert "order" in checks


def test_a_head_that_is_zero(tmp_path: Path) -> None:
    folder = RERANKERS["bert"].save(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"] = np.zeros_like(weights["classifier.weight"])
    save_file(weights, folder / "model.safetensors")
    with Reranker.load(str(folder)) as loaded:
        assert {check.name for check in check_reranker(loaded) if not check.ok} == {"difference", "order"}


@pytest.mark.parametrize("name", ["bert", "xlm-roberta", "modernbert", "qwen3-reranker"])
def test_rerankers_are_known_by_their_files(tmp_path: Path, name: str) -> None:
    local = resolve(str(RERANKERS[name].save(tmp_path / name)), load_settings())
    assert is_reranker(local)
    report = inspect_model(local)
    assert (report.kind, report.runs, report.engine) == ("reranker", True, BEST)
    assert tokenizer_of(local).encode("a").ids


def test_what_is_none(tmp_path: Path, minilm_folder: Path) -> None:
    chat = RERANKERS["qwen3-reranker"].save(tmp_path / "qwen3-chat")
    assert not any(is_reranker(resolve(str(path), load_settings())) for path in (minilm_folder, chat))
    assert inspect_model(resolve("minilm", load_settings())).kind == "embedding"
