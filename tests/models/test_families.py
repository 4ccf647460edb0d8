"""Facts of model families, by family and name."""

from __future__ import annotations

import pytest

from turboprop.models.families import ModelFacts, model_facts


@pytest.mark.parametrize(
    "name",
    ["Qwen/Qwen3-Embedding-0.6B", "Qwen3 Embedding 4B", "qwen3-embedding-8b-q4_k_m.gguf", "Qwen3 0.6B Embedding"],
)
def test_qwen3_embedding_has_every_width_from_32(name: str) -> None:
    facts = model_facts("qwen3", ["x", name])
    assert list(facts.all_widths(1024)) == list(range(32, 1024))
    assert facts.prompts.query.startswith("Instruct: ")


@pytest.mark.parametrize(
    ("family", "name"),
    [("qwen3", "Qwen3-0.6B-Instruct"), ("llama", "nomic-embed-code"), ("nomic-bert", "arctic"), ("bert", "all-MiniLM")],
)
def test_other_models_have_no_facts(family: str, name: str) -> None:
    assert model_facts(family, [name]) == ModelFacts()


def test_version_1_of_nomic_embed_text_cannot_be_cut() -> None:
    first, later = (model_facts("nomic_bert", [f"nomic-ai/nomic-embed-text-v1{end}"]) for end in ("", ".5"))
    assert first.prompts == later.prompts
    assert first.widths == ()
    assert later.widths == (64, 128, 256, 512)
    assert later.layer_norm_before_cut
    assert not first.layer_norm_before_cut


@pytest.mark.parametrize(("name", "prompted"), [("bge-small-en-v1.5", True), ("bge-small-zh-v1.5", False)])
def test_only_the_english_bge_models_take_the_english_prompt(name: str, prompted: bool) -> None:
    assert bool(model_facts("bert", [name]).prompts.query) is prompted
