"""What a folder says of itself: CrossEncoder folders, labels, and the modules that compare two tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rerank.tiny_rerankers import RERANKERS, with_config
from turboprop.errors import ModelFormatError, ModelUnsupportedError
from turboprop.models.catalog import load_catalog
from turboprop.models.checkpoint.reranker import RerankerCheckpoint, is_cross_encoder, is_reranker, open_reranker
from turboprop.models.local import LocalModel
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings

TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}


def opened(folder: Path) -> RerankerCheckpoint:
    return open_reranker(resolve(str(folder), load_settings()))


def as_cross_encoder(folder: Path, **tokens: int) -> Path:
    """Add what sentence-transformers writes; `tokens` are those of a module LogitScore."""
    modules = [TRANSFORMER]
    if tokens:
        kind = "sentence_transformers.cross_encoder.modules.logit_score.LogitScore"
        modules.append({"idx": 1, "name": "1", "path": "1_LogitScore", "type": kind})
        (folder / "1_LogitScore").mkdir()
        (folder / "1_LogitScore" / "config.json").write_text(json.dumps(tokens))
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"model_type": "CrossEncoder"}))
    return folder


def test_a_folder_of_sentence_transformers(tmp_path: Path) -> None:
    folder = as_cross_encoder(RERANKERS["xlm-roberta"].save(tmp_path))
    assert is_cross_encoder(folder) and is_reranker(resolve(str(folder), load_settings()))
    assert opened(folder).form == "pair"


def test_tokens_that_are_compared(tmp_path: Path) -> None:
    tiny = RERANKERS["qwen3-reranker"]
    yes, no = (tiny.tokenizer().token_to_id(word) for word in ("yes", "no"))
    folder = as_cross_encoder(tiny.save(tmp_path / "a"), true_token_id=yes, false_token_id=no)
    rows = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    (layer,) = opened(folder).head
    np.testing.assert_array_equal(layer.weight, rows[[yes]] - rows[[no]])
    with pytest.raises(ModelUnsupportedError, match="its prompt is not known"):
        opened(as_cross_encoder(tiny.save(tmp_path / "b"), true_token_id=no, false_token_id=yes))


@pytest.mark.parametrize(
    ("labels", "relevant"),
    [({"0": "LABEL_0", "1": "LABEL_1"}, 1), ({"0": "Relevant", "1": "Irrelevant"}, 0), ({"1": "yes", "0": "no"}, 1)],
)
def test_of_two_labels_the_relevant_one_counts(tmp_path: Path, labels: dict[str, str], relevant: int) -> None:
    folder = with_config(RERANKERS["bert-two-labels"], id2label=labels).save(tmp_path)
    stored = load_file(folder / "model.safetensors")
    layer = opened(folder).head[-1]
    rows, biases = stored["classifier.weight"], stored["classifier.bias"]
    np.testing.assert_array_equal(layer.weight[0], rows[relevant] - rows[1 - relevant])
    np.testing.assert_array_equal(layer.bias, biases[[relevant]] - biases[[1 - relevant]])


def test_a_catalogue_row_counts_before_a_name(tmp_path: Path) -> None:
    folder = RERANKERS["qwen3-reranker"].save(tmp_path / "snapshot")
    row = load_catalog().find("qwen3-reranker-0.6b")
    assert row is not None
    local = LocalModel(row.canonical, folder, "hub cache", row)
    assert is_reranker(local)
    assert open_reranker(local).checkpoint.max_tokens == 512
    embedder = load_catalog().find("qwen3-embedding-0.6b")
    assert not is_reranker(LocalModel("a-reranker", folder, "hub cache", embedder))


def test_only_its_own_name_counts(tmp_path: Path) -> None:
    chat = RERANKERS["qwen3-reranker"].save(tmp_path / "reranker-experiments" / "qwen3-chat")
    assert not is_reranker(resolve(str(chat), load_settings()))


def test_what_cannot_be_read(tmp_path: Path) -> None:
    folder = with_config(RERANKERS["modernbert"], classifier_activation="snake").save(tmp_path / "a")
    with pytest.raises(ModelUnsupportedError, match="snake"):
        opened(folder)
    folder = with_config(RERANKERS["modernbert"], norm_eps="tiny").save(tmp_path / "n")
    with pytest.raises(ModelFormatError, match="norm_eps is tiny"):
        opened(folder)
    folder = with_config(RERANKERS["bert"], model_type="distilbert").save(tmp_path / "b")
    with pytest.raises(ModelUnsupportedError, match="known are those of bert"):
        opened(folder)
    folder = RERANKERS["qwen3-reranker"].save(tmp_path / "c-reranker")
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:100].copy()
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelFormatError, match="no row"):
        opened(folder)
