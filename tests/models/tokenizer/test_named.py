"""`turboprop.load_tokenizer`: by name, file and folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import turboprop
from reference import reference
from turboprop.errors import ModelNotFoundError


def test_by_name_folder_and_file(minilm_folder: Path) -> None:
    for name in (None, "minilm", str(minilm_folder), str(minilm_folder / "tokenizer.json")):
        tokenizer = turboprop.load_tokenizer(name)
        assert tokenizer.encode("hello world").ids == [101, 7592, 2088, 102]
        assert tokenizer.padding is None
        assert tokenizer.truncation is None


@pytest.mark.parametrize("name", ["bert-bge", "gpt-2", "llama-spm", "phi-3", "qwen2", "starcoder"])
def test_vocabularies_alone(name: str) -> None:
    tokenizer = turboprop.load_tokenizer(str(reference(f"tokenizers/ggml-vocab-{name}.gguf")))
    ids = tokenizer.encode("Hello world", add_special_tokens=False).ids
    assert tokenizer.decode(ids).strip().lower() == "hello world"


def test_a_language_model_gets_no_end_token() -> None:
    tokenizer = turboprop.load_tokenizer(str(reference("gguf/stories260K.gguf")))
    assert tokenizer.encode("Once").tokens[0] == "<s>"
    assert tokenizer.encode("Once").tokens[-1] != "</s>"


def test_unknown() -> None:
    with pytest.raises(ModelNotFoundError):
        turboprop.load_tokenizer("nobody/has-this")
