"""`tp embed`, `tp tokenize`, `tp model inspect` and `tp model check` as a user runs them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from best_engine import BEST
from reference import reference
from rerank.tiny_rerankers import RERANKERS


def tp(*arguments: str | Path, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "turboprop", *map(str, arguments)],
        capture_output=True,
        input=stdin,
        env={**os.environ, **environment},
        check=False,
    )


def test_three_formats_hold_the_same_vectors() -> None:
    whole = json.loads(tp("embed", "hello world", "x").stdout)
    assert (whole["model"], whole["dimensions"]) == ("sentence-transformers/all-MiniLM-L6-v2", 384)
    vectors = np.array(whole["embeddings"], np.float32)
    lines = [json.loads(line) for line in tp("embed", "hello world", "x", "--format", "jsonl").stdout.splitlines()]
    assert [line["index"] for line in lines] == [0, 1]
    np.testing.assert_array_equal(np.array([line["embedding"] for line in lines], np.float32), vectors)
    array = np.load(io.BytesIO(tp("embed", "hello world", "x", "--format", "npy").stdout))
    assert (array.dtype, array.shape) == (np.float32, (2, 384))
    np.testing.assert_array_equal(array, vectors)


def test_lines_of_standard_input_are_texts_the_empty_one_too() -> None:
    done = tp("embed", "--format", "npy", stdin="first\r\n\nthird ünd\xe9".encode() + b"\n\xff bad\n")
    assert done.returncode == 0, done.stderr
    array = np.load(io.BytesIO(done.stdout))
    assert array.shape == (4, 384)
    first = np.load(io.BytesIO(tp("embed", "first", "--format", "npy").stdout))
    np.testing.assert_allclose(array[0], first[0], atol=2e-2)


def test_more_lines_than_one_group_keep_their_order() -> None:
    lines = [f"number {number}" for number in range(600)]
    done = tp("embed", "--format", "jsonl", stdin="\n".join(lines).encode())
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry["index"] for entry in found] == list(range(600))
    alone = json.loads(tp("embed", "number 599").stdout)["embeddings"][0]
    assert np.dot(found[599]["embedding"], alone) > 0.999


def test_no_lines_at_all() -> None:
    assert json.loads(tp("embed").stdout)["embeddings"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["embed", "x", "--dimensions", "64"], "valid: 384"),
        (["embed", "x", "--query", "--instruction", "find"], "takes no instruction"),
        (["embed", "x", "--stretch", "2"], "no form for longer inputs"),
        (["embed", "x", "--weights", "float32", "--memory", "1mb", "--model", "COPY"], "needs"),
        (["embed", "word " * 400], "limit of"),
        (["embed", "x", "--model", "nobody/nothing"], "nobody/nothing"),
        (["tokenize", "x", "--model", "nobody/nothing"], "nobody/nothing"),
        (["model", "inspect", "nobody/nothing"], "nobody/nothing"),
        (["model", "check", "nobody/nothing"], "nobody/nothing"),
    ],
)
def test_what_cannot_be(arguments: list[str], said: str, minilm_folder: Path, tmp_path: Path) -> None:
    arguments = [str(minilm_folder) if word == "COPY" else word for word in arguments]
    done = tp(*arguments, TP_CACHE=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, b"")
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_truncation_is_asked_for() -> None:
    assert tp("embed", "word " * 400, "--truncate").returncode == 0
    assert tp("embed", "word " * 400, "--truncate", "--max-length", "8").returncode == 0


def test_verbose_names_the_engine() -> None:
    assert f"runs in {BEST}, weights".encode() in tp("embed", "x", "--verbose").stderr


def test_tokens() -> None:
    shown = tp("tokenize", "hello", "world").stdout.decode()
    assert shown.splitlines() == [" 101  [CLS]", "7592  hello", "2088  world", " 102  [SEP]"]
    bare = json.loads(tp("tokenize", "--no-special", "--json", stdin=b"hello\nworld").stdout)
    assert bare == {"count": 2, "ids": [7592, 2088], "tokens": ["hello", "world"]}


def test_tokens_of_a_vocabulary_file() -> None:
    done = tp("tokenize", "for i in", "--model", reference("tokenizers/ggml-vocab-qwen2.gguf"), "--json")
    assert json.loads(done.stdout)["tokens"] == ["for", "Ġi", "Ġin"]


def test_inspect_and_check() -> None:
    seen = json.loads(tp("model", "inspect", "minilm", "--json").stdout)
    assert (seen["engine"], seen["runs"], seen["context"]) == (BEST, True, 256)
    assert b"WordPiece" in tp("model", "inspect", "minilm").stdout
    done = tp("model", "check", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"] is True
    assert b"golden values" in tp("model", "check", "minilm").stdout


def test_inspect_and_check_of_a_reranker(tmp_path: Path) -> None:
    folder = RERANKERS["xlm-roberta"].save(tmp_path / "xlm-roberta")
    assert json.loads(tp("model", "inspect", folder, "--json").stdout)["kind"] == "reranker"
    done = tp("model", "check", folder, "--json")
    checks = {check["name"]: check["ok"] for check in json.loads(done.stdout)["checks"]}
    assert list(checks) == ["input", "difference", "order", "padding", "long input"]
    assert done.returncode == (0 if all(checks.values()) else 1)
    assert tp("tokenize", "a", "--model", folder).stdout.split()[-1] == b"</s>"


def test_inspect_gives_one_line_for_a_bad_file() -> None:
    bad = reference("gguf-malformed/bad-KV_BAD_TYPE-seed1.gguf")
    done = tp("model", "inspect", bad)
    assert (done.returncode, done.stdout) == (2, b"")
    assert len(done.stderr.strip().splitlines()) == 1
    assert tp("model", "inspect", reference("gguf-malformed/ok-DATA_SUCCESS-seed1.gguf")).returncode == 0


def test_convert(tmp_path: Path) -> None:
    out = tmp_path / "minilm.gguf"
    done = tp("model", "convert", "minilm", out, "--type", "q8_0", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["path"], said["type"], said["size"]) == (str(out), "Q8_0", out.stat().st_size)
    refused = tp("model", "convert", "minilm", out)
    assert refused.returncode == 2
    assert b"--force" in refused.stderr
    one = np.array(json.loads(tp("embed", "hello", "--model", out).stdout)["embeddings"][0])
    other = np.array(json.loads(tp("embed", "hello").stdout)["embeddings"][0])
    assert one @ other > 0.99
