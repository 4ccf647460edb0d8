"""GGUF files that we write, read back by us, by the reference's reader and by llama.cpp."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from architectures.running import run
from architectures.tiny_models import INPUTS, MODELS
from reference import reference
from rerank.tiny_rerankers import RERANKERS
from turboprop import EmbeddingModel
from turboprop.convert.gguf_tensors import TYPES
from turboprop.convert.to_gguf import convert
from turboprop.errors import ModelFormatError, ModelUnsupportedError, StorageError, UsageError
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.gguf.file import GGUFFile
from turboprop.models.local import LocalModel
from turboprop.models.resolve import resolve
from turboprop.progress import ModelProgress
from turboprop.settings import load_settings

TEXTS = ["def add(a, b):\n    return a + b", "Größe der Datei lesen", "getUserName 日本語 😀", "x"]

LLAMA = """
import json, sys
import xllamacpp as xlc
params = xlc.CommonParams()
params.model.path = sys.argv[1]
params.embedding = True
params.n_ctx, params.n_batch, params.n_ubatch, params.n_parallel, params.warmup = 512, 512, 512, 1, False
params.cpuparams.n_threads = 1
server = xlc.Server(params)
answer = server.handle_embeddings({"input": json.loads(sys.argv[2])})
print("VECTORS" + json.dumps([item["embedding"] for item in answer["data"]]))
"""


def find(name: str | Path) -> LocalModel:
    return resolve(str(name), load_settings())


def embed(name: str | Path) -> np.ndarray:
    with EmbeddingModel.load(str(name), weights="float32") as model:
        return model.embed_documents(TEXTS)


@pytest.fixture(scope="module")
def minilm_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(find("minilm"), tmp_path_factory.mktemp("convert") / "minilm.gguf", "F32")


def cosines(one: np.ndarray, other: np.ndarray) -> float:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(1) / norms).min())


def test_float32_equals_its_source(minilm_gguf: Path) -> None:
    np.testing.assert_allclose(embed(minilm_gguf), embed("minilm"), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "least"),
    [("F16", 0.99999), ("BF16", 0.9995), ("Q8_0", 0.999), ("Q5_1", 0.98), ("Q5_0", 0.98), ("Q4_1", 0.9), ("Q4_0", 0.9)],
)
def test_other_types_are_near(minilm_gguf: Path, tmp_path: Path, kind: str, least: float) -> None:
    wanted = embed("minilm")
    assert cosines(embed(convert(find("minilm"), tmp_path / "a.gguf", kind)), wanted) > least
    again = convert(find(minilm_gguf), tmp_path / "b.gguf", kind)
    assert (tmp_path / "a.gguf").stat().st_size == pytest.approx(again.stat().st_size, rel=0.001)
    assert cosines(embed(again), wanted) > least


def test_llama_cpp_reads_it_and_agrees(minilm_gguf: Path) -> None:
    pytest.importorskip("xllamacpp")
    done = subprocess.run(
        [sys.executable, "-c", LLAMA, str(minilm_gguf), json.dumps(TEXTS)], capture_output=True, text=True, check=False
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("VECTORS")), None)
    assert line, done.stderr[-2000:]
    assert cosines(np.array(json.loads(line[7:]), np.float32), embed("minilm")) > 0.9999


def test_llama_cpp_reads_a_decoder(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    given_folder = reference("golden/synthetic-arch/tiny-qwen2")
    source = tmp_path / "tiny-qwen2"
    source.mkdir()
    for file in given_folder.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    write_tokenizer(source, 512)
    out = convert(find(source), tmp_path / "qwen2.gguf", "F32")
    done = subprocess.run(
        [sys.executable, "-c", LLAMA, str(out), json.dumps(INPUTS)], capture_output=True, text=True, check=False
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("VECTORS")), None)
    assert line, done.stderr[-2000:]
    ours = run(open_checkpoint(find(source)), INPUTS)
    assert cosines(np.array(json.loads(line[7:]), np.float32), ours) > 0.9999


TOKENIZED = ["bert", "nomic_bert", "modernbert", "qwen2", "qwen3", "gemma3_text", "llama", "mistral"]


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name].config["model_type"] in TOKENIZED])
def test_every_family_keeps_its_vectors(name: str, tmp_path: Path, minilm_folder: Path) -> None:
    model = MODELS[name]
    if model.config.get("rope_scaling") or model.config.get("rope_parameters"):
        pytest.skip("scaled positions are refused, see below")
    if model.config["model_type"] == "mistral":
        pytest.skip("a sliding window is refused, see below")
    folder = model.save(tmp_path / name)
    write_tokenizer(folder, model.config["vocab_size"])
    source = open_checkpoint(find(folder))
    try:
        out = convert(find(folder), tmp_path / "out.gguf", "F32")
    except ModelUnsupportedError as error:
        pytest.fail(str(error))
    written = open_checkpoint(find(out))
    assert (written.max_tokens, written.pooling) == (source.max_tokens, source.pooling)
    np.testing.assert_allclose(run(written, INPUTS), run(source, INPUTS), atol=2e-5)
    text = "ab ba abba"
    assert written.tokenizer().encode(text).ids == source.tokenizer().encode(text).ids


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name].config["model_type"] in TOKENIZED])
def test_what_gguf_cannot_state_is_refused(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    scaled = model.config.get("rope_scaling") or model.config.get("rope_parameters")
    if not scaled and model.config["model_type"] != "mistral":
        pytest.skip("it can be stated, see above")
    folder = model.save(tmp_path / name)
    write_tokenizer(folder, model.config["vocab_size"])
    with pytest.raises(ModelUnsupportedError, match="scales its rotary positions" if scaled else "attends within 5"):
        convert(find(folder), tmp_path / "out.gguf", "F32")


def write_tokenizer(folder: Path, size: int) -> None:
    """A byte-level BPE of exactly `size` tokens under Qwen's rule; lower ids are letters."""
    from tokenizers import Tokenizer, models, normalizers

    from turboprop.models.tokenizer.pretokenizers import PRE_TOKENIZERS

    vocabulary = {letter: number for number, letter in enumerate("abcdefghij")}
    vocabulary |= {"ab": 10, "Ġ": 11}
    vocabulary |= {f"<{number}>": number for number in range(12, size)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("a", "b")]))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = PRE_TOKENIZERS["qwen2"].build()
    tokenizer.save(str(folder / "tokenizer.json"))


def test_prompts_and_pooling_travel_in_the_file(tmp_path: Path, minilm_copy: Path) -> None:
    (minilm_copy / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "ask: ", "document": "text: "}})
    )
    out = convert(find(minilm_copy), tmp_path / "out.gguf", "Q8_0")
    checkpoint = open_checkpoint(find(out))
    assert (checkpoint.prompts.query, checkpoint.prompts.document) == ("ask: ", "text: ")
    assert checkpoint.pooling == ("mean",)
    again = open_checkpoint(find(convert(find(out), tmp_path / "again.gguf", "F16")))
    assert again.prompts == checkpoint.prompts


def test_requantising_keeps_all_metadata(tmp_path: Path) -> None:
    source = reference("gguf/stories260K.gguf")
    out = convert(find(source), tmp_path / "out.gguf", "BF16")
    with GGUFFile.open(source) as before, GGUFFile.open(out) as after:
        for key in before.metadata:
            if key in ("general.file_type", "general.quantization_version"):
                continue
            assert after.metadata.type_of(key) == before.metadata.type_of(key)
            old, new = before.metadata[key], after.metadata[key]
            assert (list(new) if hasattr(new, "numpy") else new) == (list(old) if hasattr(old, "numpy") else old)
        assert set(after.tensors) == set(before.tensors)
        for name, tensor in before.tensors.items():
            np.testing.assert_allclose(after.tensors[name].dequantize(), tensor.dequantize(), rtol=8e-3)


@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 70), width=st.sampled_from([1, 31, 32, 96, 256]))
@settings(deadline=None, max_examples=25)
def test_what_is_written_both_readers_read_alike(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, width: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(folder / "in.gguf", "llama")
    writer.add_string("some.text", "ä" * (1 + seed % 7))
    writer.add_array("some.numbers", [int(x) for x in random.integers(0, 99, 3)])
    values = {f"t{n}": random.standard_normal((rows, width)).astype(np.float32) for n in range(3)}
    values["vector"] = random.standard_normal(rows).astype(np.float32)
    for name, value in values.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    kind = TYPES[seed % len(TYPES)]
    out = convert(LocalModel("x", folder / "in.gguf", "path"), folder / "out.gguf", kind)
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(out).tensors}
    with GGUFFile.open(out) as ours:
        assert set(ours.tensors) == set(theirs) == set(values)
        for name, tensor in ours.tensors.items():
            there = gguf.quants.dequantize(theirs[name].data, theirs[name].tensor_type).reshape(tensor.shape)
            np.testing.assert_array_equal(tensor.dequantize(), there)
        assert ours.metadata["some.text"] == "ä" * (1 + seed % 7)


def test_what_cannot_be(tmp_path: Path, minilm_folder: Path, minilm_copy: Path) -> None:
    minilm = find(minilm_folder)
    with pytest.raises(UsageError, match="no type 'Q4_K'"):
        convert(minilm, tmp_path / "a.gguf", "Q4_K")
    with pytest.raises(UsageError, match=r"end in \.gguf"):
        convert(minilm, tmp_path / "a.bin", "F32")
    with pytest.raises(UsageError, match="no folder"):
        convert(minilm, tmp_path / "none" / "a.gguf", "F32")
    (tmp_path / "a.gguf").write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        convert(minilm, tmp_path / "a.gguf", "F32")
    assert (tmp_path / "a.gguf").read_text() == "mine"
    convert(minilm, tmp_path / "a.gguf", "Q8_0", force=True)
    reranker = RERANKERS["xlm-roberta"].save(tmp_path / "xlm-roberta")
    with pytest.raises(ModelUnsupportedError, match="whose head would be lost"):
        convert(resolve(str(reranker), load_settings()), tmp_path / "m.gguf", "F32")
    with pytest.raises(ModelUnsupportedError, match="distilbert"):
        convert(
            find(MODELS["distilbert"].save(with_tokenizer(tmp_path / "d", minilm_folder))), tmp_path / "d.gguf", "F32"
        )
    weights = load_file(minilm_copy / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][3] = np.nan
    save_file(weights, minilm_copy / "model.safetensors")
    with pytest.raises(ModelFormatError, match="not finite"):
        convert(find(minilm_copy), tmp_path / "n.gguf", "F32")
    assert {file.name for file in tmp_path.glob("*.gguf*")} == {"a.gguf"}
    assert not list(tmp_path.glob(".*.gguf-*"))


def with_tokenizer(folder: Path, minilm_folder: Path) -> Path:
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes((minilm_folder / "tokenizer.json").read_bytes())
    return folder


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match="GB left"):
        convert(find("minilm"), tmp_path / "a.gguf", "F32")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    reports = 0

    def interrupt(state: ModelProgress) -> None:
        nonlocal reports
        reports += 1
        if reports == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(find("minilm"), tmp_path / "a.gguf", "F32", progress=interrupt)
    assert list(tmp_path.iterdir()) == []
