"""What an embedding model in GGUF says of itself, and what its family says where it is silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from architectures.tiny_gguf import write_gguf
from architectures.tiny_models import MODELS, TinyModel
from reference import reference
from turboprop import EmbeddingModel
from turboprop.errors import EngineError, ModelFormatError, ModelUnsupportedError, UsageError
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings
from turboprop.types import Prompts

END = "<|endoftext|>"
QWEN3 = MODELS["qwen3"]


def byte_tokens() -> list[str]:
    """GPT-2's 256 characters for bytes, as its vocabularies spell them."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    letters = {byte: chr(byte) for byte in kept} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def with_tokenizer(model: TinyModel, path: Path, *, end: bool | None = None, **metadata: Any) -> Path:
    """A model of 258 tokens: every byte, the end token and a merge."""
    large = TinyModel({**model.config, "vocab_size": 260}, model.shapes, model.gguf_family)
    return write_gguf(large, path, tokenizer=lambda writer: add_tokenizer(writer, end), **metadata)


def add_tokenizer(writer: gguf.GGUFWriter, end: bool | None) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*byte_tokens(), END, "ab"])
    writer.add_token_types([gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.CONTROL, gguf.TokenType.NORMAL])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(256)
    if end is not None:
        writer.add_add_eos_token(end)


def opened(path: Path) -> Checkpoint:
    return open_checkpoint(resolve(str(path), load_settings(), download=False))


@pytest.mark.parametrize(
    ("model", "stated", "pooling"),
    [
        ("bert", None, "mean"),
        ("modernbert", None, "mean"),
        ("gemma3", None, "mean"),
        ("qwen2", None, "last"),
        ("llama-linear", None, "last"),
        ("qwen3", gguf.PoolingType.NONE, "last"),
        ("bert", gguf.PoolingType.CLS, "cls"),
        ("qwen2", gguf.PoolingType.MEAN, "mean"),
    ],
)
def test_pooling(tmp_path: Path, model: str, stated: gguf.PoolingType | None, pooling: str) -> None:
    checkpoint = open_gguf(write_gguf(MODELS[model], tmp_path / "m.gguf", pooling=stated))
    assert checkpoint.pooling == (pooling,)
    assert checkpoint.normalize
    assert checkpoint.max_tokens == MODELS[model].config["max_position_embeddings"]


def test_a_reranker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupportedError, match="reranker"):
        open_gguf(write_gguf(MODELS["bert"], tmp_path / "m.gguf", pooling=gguf.PoolingType.RANK))


def test_a_vocabulary_is_no_model() -> None:
    with pytest.raises(ModelFormatError, match="no weights"):
        open_gguf(reference("tokenizers/ggml-vocab-bert-bge.gguf"))


@pytest.mark.parametrize("end", [None, False, True])
def test_qwen3_embedding_ends_every_input_once(tmp_path: Path, end: bool | None) -> None:
    path = with_tokenizer(QWEN3, tmp_path / "m.gguf", end=end, general__name="Qwen3 Embedding 0.6B")
    tokenizer = opened(path).tokenizer()
    ids = tokenizer.encode("abc").ids
    assert ids[-1] == tokenizer.token_to_id(END)
    assert ids.count(256) == 1
    assert tokenizer.encode("abc", add_special_tokens=False).ids == ids[:-1]


def test_qwen2_ends_an_input_only_if_the_file_says_so(tmp_path: Path) -> None:
    for end in (False, True):
        path = with_tokenizer(MODELS["qwen2"], tmp_path / f"{end}.gguf", end=end)
        assert (opened(path).tokenizer().encode("abc").ids[-1] == 256) is end


def test_qwen3_embedding_as_a_model(tmp_path: Path) -> None:
    path = with_tokenizer(QWEN3, tmp_path / "m.gguf", general__name="Qwen3-Embedding-0.6B")
    with EmbeddingModel.load(str(path), weights="float32") as model:
        assert model.prompts.query.startswith("Instruct: ")
        assert model.prompts.query.endswith("\nQuery:")
        assert model.prompts.document == ""
        short, long = model.embed_documents(["a", "a much longer text"])
        np.testing.assert_allclose(model.embed_documents(["a"])[0], short, atol=1e-5)
        assert abs(float(np.linalg.norm(long)) - 1) < 1e-5
        with pytest.raises(UsageError, match="valid"):
            EmbeddingModel.load(str(path), dimensions=31)


@pytest.mark.parametrize(
    ("model", "name", "prompts", "widths"),
    [
        ("qwen2", "Nomic Embed Code", "Represent this query for searching relevant code: ", ()),
        ("gemma3", "Embeddinggemma 300M", "task: code retrieval | query: ", (128, 256, 512)),
        ("qwen2", "Some Chat Model", "", ()),
    ],
)
def test_facts_by_name(tmp_path: Path, model: str, name: str, prompts: str, widths: tuple[int, ...]) -> None:
    checkpoint = opened(write_gguf(MODELS[model], tmp_path / "m.gguf", general__name=name))
    assert checkpoint.prompts.query == prompts
    assert checkpoint.widths == widths


def test_nomic_embed_text_is_known_by_its_file_name(tmp_path: Path) -> None:
    plain = opened(reference("golden/synthetic-arch/tiny-nomic-bert.gguf"))
    assert plain.prompts == Prompts()
    assert not plain.layer_norm_before_cut
    path = tmp_path / "nomic-embed-text-v1.5.Q8_0.gguf"
    path.symlink_to(reference("golden/synthetic-arch/tiny-nomic-bert.gguf"))
    checkpoint = opened(path)
    assert checkpoint.prompts == Prompts("search_query: ", "search_document: ")
    assert checkpoint.widths == (64, 128, 256, 512)
    assert checkpoint.layer_norm_before_cut
    with EmbeddingModel.load(str(path)) as model:
        assert model.max_tokens == 2048


def test_the_head_of_embeddinggemma(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    up = random.standard_normal((64, 32)).astype(np.float32)
    down = random.standard_normal((32, 64)).astype(np.float32)
    path = write_gguf(MODELS["gemma3"], tmp_path / "m.gguf", tensors={"dense_2.weight": up, "dense_3.weight": down})
    checkpoint = open_gguf(path)
    assert [layer.activation for layer in checkpoint.dense] == ["identity", "identity"]
    assert checkpoint.full_width == 32
    np.testing.assert_array_equal(checkpoint.dense[0].weight, up)
    np.testing.assert_array_equal(checkpoint.dense[1].weight, down)


def test_the_tokenizer_of_another_model_is_found_out(tmp_path: Path) -> None:
    path = write_gguf(QWEN3, tmp_path / "m.gguf", tokenizer=lambda writer: add_tokenizer(writer, None))
    with pytest.raises(EngineError, match="another model"):
        EmbeddingModel.load(str(path))


def test_missing_tensors_are_all_named(tmp_path: Path) -> None:
    model = MODELS["bert"]
    kept = TinyModel(
        model.config,
        lambda c: {k: v for k, v in model.shapes(c).items() if "layer.1.output.dense" not in k},
        "bert",
    )
    from engines.loading import load_encoder
    from turboprop.engines.contract import EngineOptions

    with pytest.raises(ModelFormatError, match=r"2 tensors.*blk\.1\.ffn_down\.bias, blk\.1\.ffn_down\.weight"):
        load_encoder(open_gguf(write_gguf(kept, tmp_path / "m.gguf")), "auto", EngineOptions())


def test_an_unknown_architecture_opens_and_names_what_is_known(tmp_path: Path) -> None:
    from engines.loading import load_encoder
    from turboprop.engines.contract import EngineOptions

    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "mamba")
    writer.add_tensor("x", np.zeros((2, 2), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelUnsupportedError, match=r"'mamba'.*qwen3"):
        load_encoder(open_gguf(tmp_path / "m.gguf"), "native", EngineOptions())
