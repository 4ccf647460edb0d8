"""Every kind of reranker against what the reference implementations computed for the same tiny weights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.tiny_rerankers import DOCUMENTS, LONG_QUERY, QUERY, RERANKERS, with_config
from turboprop import EmbeddingModel, Reranker
from turboprop.errors import EngineError, ModelFormatError, ModelUnsupportedError, UsageError

GOLDEN = Path(__file__).parent / "golden"
INT8 = 0.15
"""What int8 weights move a logit by at most: 0.13 for the tiny Qwen3, whose scores are near -8, else 0.02."""


def golden(name: str, key: str) -> np.ndarray:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return file[key]


@pytest.fixture(scope="module", params=RERANKERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return RERANKERS[request.param].save(tmp_path_factory.mktemp("rerankers") / request.param)


@pytest.fixture(scope="module")
def reranker(folder: Path) -> Iterator[Reranker]:
    with Reranker.load(str(folder), weights="float32") as loaded:
        yield loaded


@pytest.mark.parametrize(("key", "query"), [("short", QUERY), ("long", LONG_QUERY)])
def test_scores(folder: Path, reranker: Reranker, key: str, query: str) -> None:
    found = reranker.scores(query, DOCUMENTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, golden(folder.name, key), rtol=1e-5)


def test_int8_stays_close(folder: Path) -> None:
    with Reranker.load(str(folder), weights="int8") as rounded:
        assert rounded.weights == "int8"
        for key, query in (("short", QUERY), ("long", LONG_QUERY)):
            np.testing.assert_allclose(rounded.scores(query, DOCUMENTS), golden(folder.name, key), atol=INT8)


def test_a_batch_equals_its_single_runs(reranker: Reranker) -> None:
    @settings(max_examples=8, deadline=None)
    @given(st.text(max_size=40), st.lists(st.text(max_size=120), min_size=1, max_size=6))
    def check(query: str, documents: list[str]) -> None:
        together = reranker.scores(query, documents)
        alone = np.concatenate([reranker.scores(query, [document]) for document in documents])
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)

    check()


def test_scores_follow_their_documents(reranker: Reranker) -> None:
    forward = reranker.scores(QUERY, DOCUMENTS)
    np.testing.assert_allclose(reranker.scores(QUERY, DOCUMENTS[::-1]), forward[::-1], rtol=1e-5, atol=1e-6)
    assert reranker.scores(QUERY, []).shape == (0,)


def test_no_input_is_longer_than_the_limit(reranker: Reranker) -> None:
    texts = ["x" * 300_000, "word " * 3000, "\ud800", ""]
    before = reranker.tokens_scored
    assert np.isfinite(reranker.scores("why " * 1000, texts)).all()
    lengths = [len(one.ids) for one in reranker.inputs("why " * 1000, texts)]
    assert max(lengths) <= reranker.max_tokens
    assert reranker.tokens_scored - before == sum(lengths)


def test_wrong_calls(folder: Path) -> None:
    loaded = Reranker.load(str(folder))
    with pytest.raises(UsageError, match="list of texts"):
        loaded.scores(QUERY, "a text")  # type: ignore[arg-type]
    if not loaded.takes_instruction:
        with pytest.raises(UsageError, match="takes no instruction"):
            loaded.scores(QUERY, ["a"], instruction="Find code")
    loaded.close()
    loaded.close()
    with pytest.raises(EngineError, match="closed"):
        loaded.scores(QUERY, ["a"])


def test_the_second_text_has_a_type_of_its_own(tmp_path: Path) -> None:
    """A BERT that is told nothing of the second text gives other scores: 0.55 where the reference has 0.74."""
    from architectures.running import run
    from turboprop.models.checkpoint.reranker import open_reranker
    from turboprop.models.resolve import resolve
    from turboprop.rerank.head import score
    from turboprop.settings import load_settings

    opened = open_reranker(resolve(str(RERANKERS["bert"].save(tmp_path / "bert")), load_settings()))
    assert opened.checkpoint.pairs
    with Reranker.load(str(tmp_path / "bert"), weights="float32") as loaded:
        inputs = [one.ids for one in loaded.inputs(QUERY, DOCUMENTS)]
    untold = score(run(opened.checkpoint, inputs), opened.head, "bert")
    assert np.abs(untold - golden("bert", "short")).min() > 0.01


def test_an_instruction_reaches_the_model(tmp_path: Path) -> None:
    folder = RERANKERS["qwen3-reranker"].save(tmp_path / "qwen3-reranker")
    with Reranker.load(str(folder), weights="float32") as loaded:
        other = loaded.scores(QUERY, DOCUMENTS, instruction="Find code")
        assert np.abs(other - golden("qwen3-reranker", "short")).max() > 1e-3


def test_a_language_model_by_another_name_is_refused(tmp_path: Path) -> None:
    folder = RERANKERS["qwen3-reranker"].save(tmp_path / "qwen3-chat")
    with pytest.raises(ModelUnsupportedError, match="is a language model"):
        Reranker.load(str(folder))


def test_a_language_model_with_a_score_row(tmp_path: Path) -> None:
    """Qwen3-Reranker turned into a sequence classifier: the row is the difference that is made otherwise."""
    from safetensors.numpy import load_file, save_file

    tiny = RERANKERS["qwen3-reranker"]
    folder = with_config(tiny, architectures=["Qwen3ForSequenceClassification"]).save(tmp_path / "seq-cls")
    weights = load_file(folder / "model.safetensors")
    rows = weights["model.embed_tokens.weight"]
    yes, no = (tiny.tokenizer().token_to_id(word) for word in ("yes", "no"))
    weights["score.weight"] = rows[[yes]] - rows[[no]]
    save_file(weights, folder / "model.safetensors")
    with Reranker.load(str(folder), weights="float32") as loaded:
        np.testing.assert_allclose(loaded.scores(QUERY, DOCUMENTS), golden("qwen3-reranker", "short"), rtol=1e-5)


def test_what_is_no_reranker(tmp_path: Path, minilm_folder: Path) -> None:
    with pytest.raises(ModelUnsupportedError, match="kind embedding"):
        Reranker.load("minilm")
    with pytest.raises(ModelUnsupportedError, match="Pooling"):
        Reranker.load(str(minilm_folder))
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copy(minilm_folder / file, tmp_path / file)
    with pytest.raises(ModelFormatError, match=r"lacks classifier\.weight"):
        Reranker.load(str(tmp_path))
    with pytest.raises(ModelUnsupportedError, match=r"cannot run|tell the two texts"):
        Reranker.load(str(RERANKERS["bert"].save(tmp_path / "bert")), engine="llamacpp")


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        ("missing", ModelFormatError, r"lacks pooler\.dense\.weight"),
        ("not finite", ModelFormatError, "not finite"),
        ("misshapen", ModelFormatError, "does not fit"),
        ("three classes", ModelUnsupportedError, "3 classes"),
    ],
)
def test_damaged_heads(tmp_path: Path, damage: str, error: type[Exception], said: str) -> None:
    from safetensors.numpy import load_file, save_file

    folder = RERANKERS["bert"].save(tmp_path / "bert")
    weights = load_file(folder / "model.safetensors")
    match damage:
        case "missing":
            del weights["bert.pooler.dense.weight"]
        case "not finite":
            weights["classifier.weight"][0, 3] = np.nan
        case "misshapen":
            weights["bert.pooler.dense.weight"] = weights["bert.pooler.dense.weight"][:, :16].copy()
        case _:
            weights["classifier.weight"] = np.ones((3, 32), np.float32)
            weights["classifier.bias"] = np.zeros(3, np.float32)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(error, match=said):
        Reranker.load(str(folder))


def test_a_reranker_does_not_embed(tmp_path: Path) -> None:
    folder = RERANKERS["bert"].save(tmp_path / "bert")
    (folder / "config_sentence_transformers.json").write_text('{"model_type": "CrossEncoder"}')
    with pytest.raises(ModelUnsupportedError, match="is a reranker"):
        EmbeddingModel.load(str(folder))


@pytest.mark.parametrize("engine", ["native", "numpy"])
def test_an_adapter_is_in_the_layers_and_in_the_head(engine: str, tmp_path: Path) -> None:
    """As a sequence classifier is fine-tuned: LoRA for its layers, and a new classifier."""
    import json

    from safetensors.numpy import load_file, save_file

    folder = RERANKERS["bert"].save(tmp_path / "bert")
    weights, random = load_file(folder / "model.safetensors"), np.random.default_rng(0)
    adapter, merged = {}, dict(weights)
    for name in [name for name in weights if name.endswith("query.weight")]:
        outputs, inputs = weights[name].shape
        a, b = random.standard_normal((4, inputs)), random.standard_normal((outputs, 4))
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        adapter |= {f"{stem}.lora_A.weight": a.astype(np.float32), f"{stem}.lora_B.weight": b.astype(np.float32)}
        merged[name] = (weights[name] + 0.5 * b @ a).astype(np.float32)
    for part in ("weight", "bias"):
        name = f"classifier.{part}"
        merged[name] = adapter[f"base_model.model.{name}"] = weights[name] + np.float32(0.25)
    place = tmp_path / "a reranker's adapter"
    place.mkdir()
    save_file(adapter, place / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 2,
        "target_modules": ["query"],
        "modules_to_save": ["classifier"],
    }
    (place / "adapter_config.json").write_text(json.dumps(config))
    with Reranker.load(str(folder), adapter=place, engine=engine, weights="float32") as loaded:
        found = loaded.scores(QUERY, DOCUMENTS)
    save_file(merged, folder / "model.safetensors")
    with Reranker.load(str(folder), engine=engine, weights="float32") as loaded:
        np.testing.assert_allclose(found, loaded.scores(QUERY, DOCUMENTS), rtol=1e-4, atol=1e-5)
    assert np.abs(found - golden("bert", "short")).max() > 0.01
