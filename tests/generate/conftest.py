"""Small models that generate: the reference's stories, and a tiny one with a chat template of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from architectures.tiny_models import MODELS, TinyModel
from reference import reference
from turboprop import LanguageModel

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content|trim + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="session")
def stories_file() -> Path:
    return reference("gguf/stories260K.gguf")


@pytest.fixture(scope="module")
def stories(stories_file: Path) -> Iterator[LanguageModel]:
    with LanguageModel.load(str(stories_file), weights="float32") as model:
        yield model


@pytest.fixture
def chat_folder(tmp_path: Path) -> Callable[..., Path]:
    """A Hugging Face folder of a tiny Qwen2 with a byte-level tokenizer: `chat_folder(template)`."""

    def make(template: str | None = CHATML) -> Path:
        import json

        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        tokenizer = Tokenizer(models.BPE({letter: n for n, letter in enumerate(letters)}, []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in specials])
        config: dict[str, Any] = {**MODELS["qwen2"].config, "vocab_size": tokenizer.get_vocab_size()}
        config |= {"tie_word_embeddings": True, "eos_token_id": tokenizer.token_to_id("<|endoftext|>")}
        model = TinyModel({**config, "max_position_embeddings": 512}, MODELS["qwen2"].shapes)
        folder = model.save(tmp_path / "chat")
        tokenizer.save(str(folder / "tokenizer.json"))
        stated = {"chat_template": template} if template is not None else {}
        (folder / "tokenizer_config.json").write_text(json.dumps({**stated, "eos_token": "<|im_end|>"}))
        assert np.isfinite(model.weights()["embed_tokens.weight"]).all()
        return folder

    return make
