"""Greedy ids of tiny seeded models in float32 against llama.cpp, which runs the same files."""

from __future__ import annotations

import string
import sys
from pathlib import Path

import gguf
import pytest

from architectures.tiny_gguf import write_gguf
from architectures.tiny_models import INPUTS, MODELS, VOCABULARY
from engines.llama_programs import PROGRAMS
from engines.loading import load_generator
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import TokenRequest
from turboprop.engines.llamacpp import load_generator as load_llamacpp
from turboprop.models.checkpoint.gguf import open_gguf

if not PROGRAMS:
    pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="its child is asked over a Unix socket")

FAMILIES = (
    *("gemma2", "phi3", "phi3-longrope", "smollm3", "granite", "olmo2"),
    *("qwen3_moe", "qwen2_moe", "olmoe", "mixtral", "granitemoe"),
)
NEED_A_HEAD = ("olmo2", "olmoe", "qwen2_moe")
"""llama.cpp takes no embedding matrix for the head of these."""


def add_vocabulary(writer: gguf.GGUFWriter) -> None:
    """A letter an id, so that ids can be told from text."""
    letters = (string.ascii_letters + string.digits)[: VOCABULARY - 3]
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", *letters])
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types([2, 3, 3, *[1] * len(letters)])


@pytest.mark.parametrize("name", FAMILIES)
def test_greedy_ids(tmp_path: Path, name: str) -> None:
    head = {"output.weight": MODELS[name].weights()["embed_tokens.weight"]} if name in NEED_A_HEAD else {}
    path = write_gguf(MODELS[name], tmp_path / "m.gguf", tokenizer=add_vocabulary, tensors=head)
    checkpoint = open_gguf(path)
    found = []
    for load in (
        lambda: load_generator(checkpoint, "auto", EngineOptions("float32", threads=1)),
        lambda: load_llamacpp(checkpoint, EngineOptions(threads=1, programs=PROGRAMS)),
    ):
        generator = load()
        prompts = [tuple(ids) for ids in INPUTS]
        found.append([[token.id for token in generator.start(TokenRequest(ids, 10))] for ids in prompts])
        generator.close()
    ours, theirs = found
    assert ours == theirs
    assert max(map(len, ours)) == 10
