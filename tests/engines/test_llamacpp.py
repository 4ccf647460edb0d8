"""llama.cpp in its child process: equal to the reference, and whatever happens to it happens to it alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from engines.llama_programs import PROGRAM, PROGRAMS
from engines.processes import private_folders, processes_of_session, wait_until_gone
from reference import reference
from turboprop.engines.contract import EngineOptions
from turboprop.engines.llamacpp import load_encoder
from turboprop.engines.llamacpp_child import ADDRESSES_BESIDE
from turboprop.engines.llamacpp_encoder import LlamaCppEncoder
from turboprop.engines.llamacpp_server import LlamaServer
from turboprop.engines.registry import choose
from turboprop.errors import EngineError, ModelFormatError, ModelUnsupportedError, TurboPropError
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings
from turboprop.types import TokenBatch

if not PROGRAMS:
    pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc")

FILES = {"tiny-bert": "tiny-bert-mean.gguf", "tiny-nomic-bert": "tiny-nomic-bert.gguf", "tiny-qwen2": "tiny-qwen2.gguf"}
ONE = EngineOptions(threads=1, programs=PROGRAMS)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    before = len(private_folders())
    yield
    assert len(private_folders()) <= before  # a model of several tests may have started its child anew


def opened(model: str) -> Checkpoint:
    return open_gguf(reference(f"golden/synthetic-arch/{FILES[model]}"))


def packed(inputs: list[list[int]]) -> TokenBatch:
    ids = [number for each in inputs for number in each]
    return TokenBatch(np.array(ids, np.int32), np.array([len(ids) for ids in inputs], np.int32))


def expected(model: str, pooling: str) -> tuple[list[list[int]], np.ndarray]:
    stem = f"golden/synthetic-arch/{model}.{pooling}"
    cases = json.loads(reference(f"{stem}.json").read_text("utf-8"))
    values = np.fromfile(reference(f"{stem}.f32"), np.float32).reshape(-1, cases["n_embd"])
    return [case["ids"] for case in cases["cases"]], values


def loaded(path: Path) -> LlamaCppEncoder:
    """By the way that a user's file takes."""
    return load_encoder(open_checkpoint(resolve(str(path), load_settings())), ONE)


@pytest.fixture(scope="module")
def bert() -> Iterator[LlamaCppEncoder]:
    encoder = load_encoder(opened("tiny-bert"), ONE)
    yield encoder
    encoder.close()


@pytest.mark.parametrize(
    ("model", "pooling"),
    [
        ("tiny-bert", "mean"),
        ("tiny-bert", "cls"),
        ("tiny-nomic-bert", "mean"),
        ("tiny-nomic-bert", "cls"),
        ("tiny-qwen2", "mean"),
        ("tiny-qwen2", "last"),
    ],
)
def test_vectors_equal_the_reference_and_our_own_engine(model: str, pooling: str) -> None:
    from turboprop.engines.native.encoder import load_encoder as load_native

    ids, values = expected(model, pooling)
    checkpoint = replace(opened(model), pooling=(pooling,))
    encoder = load_encoder(checkpoint, ONE)
    own = load_native(checkpoint, EngineOptions("float32", threads=1))
    found, ours = encoder.encode(packed(ids)), own.encode(packed(ids))
    encoder.close()
    own.close()
    # A build for the machine sums in another order than the package: 1.5e-5 seen.
    np.testing.assert_allclose(found, values, atol=5e-5 if PROGRAM else 1e-5)
    cosines = (found * ours).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(ours, axis=1)
    assert cosines.min() >= 0.99999


def test_longer_inputs_than_the_worker_was_started_for() -> None:
    encoder = load_encoder(opened("tiny-nomic-bert"), ONE)
    pid = encoder.worker_pid
    long, short = [5] * 1500, [101, 7, 102]
    together = encoder.encode(packed([short, long]))
    assert encoder.worker_pid != pid
    np.testing.assert_allclose(encoder.encode(packed([short]))[0], together[0], atol=1e-6)
    with pytest.raises(EngineError, match="takes 2048 tokens, not 2049"):
        encoder.encode(packed([[5] * 2049]))
    encoder.close()


def test_a_decoder_reads_a_long_input_in_batches() -> None:
    from turboprop.engines.native.encoder import load_encoder as load_native

    ids = [3 + number * number % 250 for number in range(1000)]
    encoder = load_encoder(opened("tiny-qwen2"), ONE)
    own = load_native(opened("tiny-qwen2"), EngineOptions("float32", threads=1))
    np.testing.assert_allclose(encoder.encode(packed([ids])), own.encode(packed([ids])), atol=1e-3)
    encoder.close()
    own.close()


def test_an_architecture_without_a_file_of_ours(tmp_path: Path) -> None:
    """GPT-2's graph is not here: the model is found, chosen for, and runs by name."""
    from turboprop import EmbeddingModel

    path = write_gpt2(tmp_path / "tiny-gpt2.gguf")
    with EmbeddingModel.load(str(path)) as model:
        assert model.engine == "llamacpp"
        assert "gpt2" in model.engine_reason
        assert model.dimensions == 32
        assert model.max_tokens == 64
        vectors = model.embed_documents(["one", "two", "one"])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)
        assert abs(vectors[0] - vectors[1]).max() > 1e-3


@pytest.mark.parametrize("pre", [None, "superbpe"])
def test_a_pre_tokenizer_that_is_not_known_here(tmp_path: Path, pre: str | None) -> None:
    """llama.cpp tokenizes by itself; nothing else runs the file, and says why."""
    from turboprop import EmbeddingModel

    path = write_gpt2(tmp_path / "tiny-gpt2.gguf", pre)
    named = "does not name its pre-tokenizer" if pre is None else "has the pre-tokenizer 'superbpe'"
    with pytest.raises(ModelUnsupportedError, match=f"cannot cut texts into tokens: the file {named}"):
        EmbeddingModel.load(str(path), engine="native")
    with EmbeddingModel.load(str(path), settings=replace(load_settings(), llama_server=PROGRAM)) as model:
        assert model.engine == "llamacpp"
        assert named in model.engine_reason
        assert model.count_tokens(["two one", ""]) == [4, 0]  # two, the space, on, e


def test_a_pre_tokenizer_that_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"cannot load the model.*unknown pre-tokenizer type: 'of-tomorrow'"):
        loaded(write_gpt2(tmp_path / "tiny-gpt2.gguf", "of-tomorrow"))


def test_a_worker_killed_in_the_middle_of_a_request(bert: LlamaCppEncoder) -> None:
    pid = bert.worker_pid
    assert pid is not None
    inputs = packed([[101, *range(1000, 1400), 102]] * 3000)
    threading.Timer(0.5, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(EngineError, match=r"was ended by SIGKILL while embedding 6432 tokens"):
        bert.encode(inputs)
    wait_until_gone(pid)
    ids, values = expected("tiny-bert", "mean")
    np.testing.assert_allclose(bert.encode(packed(ids)), values, atol=1e-5)
    assert bert.worker_pid != pid


def test_a_worker_that_died_between_two_requests(bert: LlamaCppEncoder) -> None:
    ids, values = expected("tiny-bert", "mean")
    bert.encode(packed(ids))
    pid = bert.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    np.testing.assert_allclose(bert.encode(packed(ids)), values, atol=1e-5)


def test_a_worker_that_hangs_is_ended(bert: LlamaCppEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, values = expected("tiny-bert", "mean")
    bert.encode(packed(ids))
    pid = bert.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr("turboprop.engines.llamacpp_encoder.REPLY_SECONDS", 0.2)
    monkeypatch.setattr("turboprop.engines.llamacpp_encoder.TOKEN_SECONDS", 0.0)
    with pytest.raises(EngineError, match="did not answer"):
        bert.encode(packed(ids))
    wait_until_gone(pid)
    monkeypatch.undo()
    np.testing.assert_allclose(bert.encode(packed(ids)), values, atol=1e-5)


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_nothing_outlives_the_process_that_loaded_it(how: str) -> None:
    script = f"""
import sys, time
from pathlib import Path
from turboprop.engines.contract import EngineOptions
from turboprop.engines.llamacpp import load_encoder
from turboprop.models.checkpoint.gguf import open_gguf
checkpoint = open_gguf(Path({str(reference("golden/synthetic-arch/tiny-bert-mean.gguf"))!r}))
encoder = load_encoder(checkpoint, EngineOptions(threads=1))
print(encoder.worker_pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    session = int(parent.stdout.readline())
    assert processes_of_session(session)
    parent.send_signal(signal.SIGKILL if how == "kill" else signal.SIGINT)
    parent.communicate()
    wait_until_gone(session)


HANGING = (
    *("--embeddings", "--pooling", "mean", "--ctx-size", "64", "--batch-size", "64", "--ubatch-size", "64"),
    *("--threads", "1", "--threads-batch", "1", "--parallel", "1", "--no-warmup", "--gpu-layers", "0"),
)
"""How to load, but for the model. llama.cpp opens a pipe and waits for ever, with the interpreter's lock held."""


def test_loading_that_hangs_is_ended(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(EngineError, match="did not answer for 2 seconds and was ended while loading"):
        LlamaServer(["--model", str(tmp_path / "pipe.gguf"), *HANGING], PROGRAM, memory=None, load_seconds=2)


def test_the_parent_is_killed_while_the_child_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    script = f"""
import subprocess
from pathlib import Path
from turboprop.engines import llamacpp_server
started = subprocess.Popen
def start(command, **options):
    process = started(command, **options)
    if str(command[0]) != {str(PROGRAM)!r}:
        print(process.pid, command[4], flush=True)
    return process
llamacpp_server.subprocess.Popen = start
options = ["--model", {str(tmp_path / "pipe.gguf")!r}, *{HANGING!r}]
program = {PROGRAM and str(PROGRAM)!r}
llamacpp_server.LlamaServer(options, program and Path(program), memory=None, load_seconds=600)
"""
    command = [sys.executable, "-c", script]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert parent.stdout is not None
    number, folder = parent.stdout.readline().split()
    with (tmp_path / "pipe.gguf").open("wb"):  # opens when llama.cpp has opened the other end
        parent.kill()
        parent.communicate()
        wait_until_gone(int(number), Path(folder))


def test_an_error_of_loading_says_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    data = reference("golden/synthetic-arch/tiny-qwen2.gguf").read_bytes()
    path.write_bytes(data.replace(b"qwen2", b"gpt09"))
    with pytest.raises(EngineError, match=r"cannot load the model.*unknown model architecture: 'gpt09'"):
        loaded(path)
    path.write_bytes(data.replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_xx.weight"))
    with pytest.raises(EngineError, match=r"tensor 'blk\.1\.ffn_up\.weight' not found"):
        load_encoder(open_gguf(path), ONE)


def test_no_port_is_open_and_a_stranger_is_refused(bert: LlamaCppEncoder) -> None:
    bert.encode(packed([[101, 102]]))
    pid = bert.worker_pid
    held = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    sockets = {name.removeprefix("socket:[").removesuffix("]") for name in held if name.startswith("socket:")}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        assert not sockets & {line.split()[9] for line in lines}
    server = bert.running()
    assert server._folder.stat().st_mode & 0o077 == 0
    server._key = "guessed"
    try:
        with pytest.raises(EngineError, match="Invalid API Key"):
            bert.encode(packed([[101, 102]]))
    finally:
        bert.running().close()


def test_secrets_do_not_reach_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("LLAMA_ARG_PORT", "8080")
    encoder = load_encoder(opened("tiny-bert"), ONE)
    environment = Path(f"/proc/{encoder.worker_pid}/environ").read_bytes()
    encoder.close()
    assert b"hf_secret" not in environment
    assert b"LLAMA_ARG_PORT" not in environment
    assert b"GGML_NO_BACKTRACE=1" in environment


def test_modules_of_the_current_folder_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise SystemExit('taken over')", "utf-8")
    (tmp_path / "json.py").write_text("raise SystemExit('taken over')", "utf-8")
    monkeypatch.chdir(tmp_path)
    load_encoder(opened("tiny-bert"), ONE).close()


def test_a_closed_model_says_so() -> None:
    encoder = load_encoder(opened("tiny-bert"), ONE)
    encoder.close()
    encoder.close()
    with pytest.raises(EngineError, match="closed"):
        encoder.encode(packed([[101, 102]]))


def test_memory_that_does_not_suffice(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="--memory"):
        load_encoder(opened("tiny-bert"), replace(ONE, memory=1000))


def test_a_child_keeps_its_memory_limit() -> None:
    options = ["--model", str(reference("golden/synthetic-arch/tiny-bert-mean.gguf")), *HANGING]
    LlamaServer(options, PROGRAM, memory=1 << 28, load_seconds=60).close()
    with pytest.raises(EngineError, match=r"exit code|SIG"):
        LlamaServer(options, PROGRAM, memory=(1 << 26) - ADDRESSES_BESIDE, load_seconds=60)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling": ("mean", "cls")}, "mean \\+ cls"),
        ({"pooling": ("max",)}, "not by max"),
        ({"pool_prompt": False}, "without the prompt"),
        ({"pairs": True}, "two texts of a pair"),
    ],
)
def test_what_it_cannot_do_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelUnsupportedError, match=message):
        choose(replace(opened("tiny-bert"), **change), "embedding", replace(ONE, engine="llamacpp"))
    folder = open_checkpoint(resolve(str(reference("golden/synthetic-arch/tiny-bert-mean")), load_settings()))
    with pytest.raises(ModelUnsupportedError, match="reads a GGUF file, and this is a safetensors folder"):
        choose(folder, "embedding", replace(ONE, engine="llamacpp"))
    with pytest.raises(ModelUnsupportedError, match="no weights in int8"):
        choose(opened("tiny-bert"), "embedding", EngineOptions("int8", engine="llamacpp"))


def test_the_tokenizer_of_another_model(bert: LlamaCppEncoder) -> None:
    with pytest.raises(EngineError, match="tokenizer of another model"):
        bert.encode(packed([[101, 10_000_000]]))


def refused(path: Path) -> TurboPropError | None:
    """The error of loading and running a file, or None where it runs."""
    try:
        encoder = loaded(path)
        try:
            encoder.encode(packed([[1, 2, 3]]))
        finally:
            encoder.close()
    except TurboPropError as error:
        assert str(error)
        return error
    return None


def test_malformed_and_old_files() -> None:
    files = sorted(reference("gguf-malformed").glob("*.gguf")) + sorted(reference("gguf-old").glob("*.gguf"))
    assert len(files) >= 32
    for path in files:  # none of them is an embedding model
        assert refused(path) is not None, path.name


def test_a_pipe_as_path(tmp_path: Path) -> None:
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    with pytest.raises(TurboPropError):
        loaded(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("qwen2.block_count", np.uint32(0)),
        ("qwen2.embedding_length", np.uint32(0)),
        ("qwen2.attention.layer_norm_rms_epsilon", np.float32(np.nan)),
        ("qwen2.rope.freq_base", np.float32(np.inf)),
    ],
)
def test_metadata_that_would_crash_it(tmp_path: Path, key: str, value: np.generic) -> None:
    path = tmp_path / "changed.gguf"
    shutil.copy(reference("golden/synthetic-arch/tiny-qwen2.gguf"), path)
    reader = gguf.GGUFReader(path, "r+")
    reader.fields[key].parts[-1][0] = value
    reader.data.flush()
    del reader
    with pytest.raises(ModelFormatError, match=key):
        loaded(path)


def test_a_token_that_is_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "twice.gguf"
    data = bytearray(reference("golden/synthetic-arch/tiny-qwen2.gguf").read_bytes())
    tokens = gguf.GGUFReader(reference("golden/synthetic-arch/tiny-qwen2.gguf")).fields["tokenizer.ggml.tokens"]
    texts = [bytes(tokens.parts[index]) for index in tokens.data]
    first, second = next(
        (a, b) for a in texts[10:] for b in texts[10:] if a != b and len(a) == len(b) and data.count(b) == 1
    )
    place = data.index(second)
    data[place : place + len(second)] = first
    path.write_bytes(data)
    with pytest.raises(ModelFormatError, match="two ids"):
        loaded(path)


def test_random_mutations(tmp_path: Path) -> None:
    """Each of 50 damaged files runs or gives a typed error; this process lives, and no worker does."""
    good = reference("golden/synthetic-arch/tiny-qwen2.gguf").read_bytes()
    reader = gguf.GGUFReader(reference("golden/synthetic-arch/tiny-qwen2.gguf"))
    header = int(reader.data_offset)
    choose = random.Random(20240607)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    before = set(children.read_text().split())
    outcomes = []
    for number in range(50):
        data = bytearray(good)
        for _ in range(choose.choice((1, 1, 3, 20))):
            # The metadata before and after the vocabulary, and the table of tensors.
            place = choose.choice((choose.randrange(700), choose.randrange(header - 3000, header)))
            data[place] = choose.choice((0, 1, 0x7F, 0xFF, choose.randrange(256)))
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(data)
        outcomes.append(refused(path))
    assert any(outcomes)
    assert set(children.read_text().split()) <= before


def write_gpt2(path: Path, pre: str | None = "gpt-2") -> Path:
    """A tiny GPT-2 with seeded weights and a byte vocabulary."""
    width, layers, tokens = 32, 2, 260
    values = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(4 * width)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    # GPT-2's characters for the 256 bytes: the printable ones are themselves.
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(number) for number in plain] + [chr(256 + number) for number in range(256 - len(plain))]
    vocabulary = [*letters, "on", "tw", "two", "<|endoftext|>"]
    writer.add_token_list(vocabulary)
    writer.add_token_types([1] * 259 + [3])
    writer.add_token_merges(["o n", "t w", "tw o"])
    writer.add_bos_token_id(259)
    writer.add_eos_token_id(259)

    def add(name: str, *shape: int) -> None:
        scale = np.full(shape, 1, np.float32) if name.endswith("norm.weight") else 0
        writer.add_tensor(name, (scale + values.normal(0, 0.3, shape)).astype(np.float32))

    add("token_embd.weight", tokens, width)
    add("position_embd.weight", 64, width)
    for name in (
        "output_norm",
        *(f"blk.{layer}.{norm}" for layer in range(layers) for norm in ("attn_norm", "ffn_norm")),
    ):
        add(f"{name}.weight", width)
        add(f"{name}.bias", width)
    for layer in range(layers):
        for name, out, into in (
            ("attn_qkv", 3 * width, width),
            ("attn_output", width, width),
            ("ffn_up", 4 * width, width),
            ("ffn_down", width, 4 * width),
        ):
            add(f"blk.{layer}.{name}.weight", out, into)
            add(f"blk.{layer}.{name}.bias", out)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
