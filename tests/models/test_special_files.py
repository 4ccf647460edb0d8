"""Folders of models in which a file is a pipe, a device, a folder, without end or not what its name says."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reference import reference
from turboprop import EmbeddingModel
from turboprop.errors import TurboPropError
from turboprop.models.catalog import load_catalog
from turboprop.models.json_file import read_json
from turboprop.models.store.bring import import_model
from turboprop.settings import load_settings

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


def copied(source: Path, target: Path) -> Path:
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    return target


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder_there(path: Path) -> None:
    path.mkdir()


def endless(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def itself(path: Path) -> None:
    path.symlink_to(path)


def ends(folder: Path) -> str:
    """In a process of its own, which must end: the words of the error, empty where there is none."""
    done = subprocess.run(
        [sys.executable, "-m", "turboprop", "embed", "--model", str(folder), "hello world"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "RAYON_NUM_THREADS": "1"},
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "defect" not in done.stderr, done.stderr
    assert "panicked" not in done.stderr, done.stderr
    assert done.returncode in (0, 2), done.stderr
    return done.stderr if done.returncode else ""


FILES = ["config.json", "tokenizer.json", "modules.json", "model.safetensors", "1_Pooling/config.json"]
FILES += ["config_sentence_transformers.json", "sentence_bert_config.json", "tokenizer_config.json"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("put", [pipe, device, folder_there, endless, itself])
def test_what_is_no_file(tmp_path: Path, minilm_folder: Path, name: str, put: Callable[[Path], None]) -> None:
    folder = copied(minilm_folder, tmp_path / "m")
    (folder / name).unlink()
    put(folder / name)
    try:
        EmbeddingModel.load(str(folder), settings=load_settings()).close()
    except TurboPropError as error:
        assert str(folder) in str(error)
    try:
        import_model(folder, load_settings(), load_catalog(), name="somebody/something")
    except TurboPropError as error:
        assert str(folder) in str(error)


def test_a_vocabulary_that_is_a_link(tmp_path: Path, minilm_folder: Path) -> None:
    """It is read as a vocabulary, which another file is not; nothing of it is shown."""
    folder = copied(minilm_folder, tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0:the-secret\n")
    (folder / "vocab.txt").unlink()
    (folder / "vocab.txt").symlink_to(secret)
    words = ends(folder)
    assert "lacks [UNK], [CLS], [SEP]" in words
    assert "the-secret" not in words
    with pytest.raises(TurboPropError, match="link out of its folder"):
        import_model(folder, load_settings(), load_catalog(), name="somebody/something")


def test_a_link_into_the_hubs_cache_is_read(tmp_path: Path) -> None:
    (tmp_path / "blob").write_text('{"a": 1}')
    (tmp_path / "config.json").symlink_to(tmp_path / "blob")
    assert read_json(tmp_path / "config.json") == {"a": 1}


def edited(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        state = json.loads((folder / name).read_text("utf-8"))
        (folder / name).write_text(json.dumps(change(state) or state), "utf-8")

    return edit


def setting(**values: Any) -> Callable[[Path], None]:
    return edited("config.json", lambda config: config.update(values))


def rule(part: str, **values: Any) -> Callable[[Path], None]:
    return edited("tokenizer.json", lambda state: state.update({part: values}))


def replaced(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def offsets(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header[next(name for name in header if "query.weight" in name)]["data_offsets"] = [0, 2**63]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


class _Runs:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "modeling.py").write_text(f"import os; os.mkdir({str(folder / 'RAN')!r})")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Runs(folder / "RAN")))


HOSTILE: dict[str, Callable[[Path], None]] = {
    "no heads": setting(num_attention_heads=0),
    "heads that do not fit": setting(num_attention_heads=7),
    "a huge width": setting(hidden_size=2**40),
    "a thousand million layers": setting(num_hidden_layers=10**9),
    "fewer than no layers": setting(num_hidden_layers=-1),
    "a huge vocabulary": setting(vocab_size=10**12),
    "many positions": setting(max_position_embeddings=10**12),
    "no positions": setting(max_position_embeddings=0),
    "a real as a width": setting(intermediate_size=1e308),
    "no number": setting(layer_norm_eps=float("nan")),
    "a long name": setting(hidden_act="x" * 10**6),
    "lists of lists": setting(architectures=[["x"]]),
    "code": setting(auto_map={"AutoModel": "evil.py"}),
    "nothing": edited("config.json", lambda config: config.clear()),
    "infinite limits": setting(max_position_embeddings=float("inf")),
    "texts as numbers": setting(num_attention_heads="12", hidden_size=[384]),
    "deep JSON": lambda folder: (folder / "config.json").write_text('{"a":' + "[" * 100_000) and None,
    "modules of another folder": lambda folder: (
        (folder / "modules.json").write_text('["../../../etc/passwd"]') and None
    ),
    "modules that are a number": lambda folder: (folder / "modules.json").write_text("7") and None,
    "prompts that are a list": edited("config_sentence_transformers.json", lambda state: state.update(prompts=[1])),
    "widths that are a word": edited(
        "config_sentence_transformers.json", lambda s: s.update(matryoshka_dimensions="x")
    ),
    "lengths that are words": edited("sentence_bert_config.json", lambda state: state.update(max_seq_length="x")),
    "settings that are a list": edited("sentence_bert_config.json", lambda _: [1]),
    "tokenizer settings that are a list": edited("tokenizer_config.json", lambda _: [1]),
    "a tokenizer that is a list": edited("tokenizer.json", lambda _: [1]),
    "ever more ways": rule(
        "pre_tokenizer", type="Split", pattern={"Regex": "(a+)+$"}, behavior="Isolated", invert=False
    ),
    "ever more ways to replace": rule("normalizer", **replaced({"Regex": "(x|x)*y"}, "z" * 100)),
    "a text of 100,000": rule("normalizer", **replaced({"Regex": "(x|x)*y"}, "z" * 100_000)),
    "a hundred times a hundred": rule(
        "normalizer", type="Sequence", normalizers=[replaced({"String": "a"}, "a" * 100)] * 5
    ),
    "an id of a thousand million": rule(
        "post_processor",
        type="TemplateProcessing",
        single=[{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        pair=[],
        special_tokens={"[CLS]": {"id": "[CLS]", "ids": [10**9], "tokens": ["[CLS]"]}},
    ),
    "offsets beyond all": offsets,
    "a header without end": lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 7 + b"\x7f{}") and None,
    "a pickle": pickled,
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_folders(tmp_path: Path, minilm_folder: Path, name: str) -> None:
    folder = copied(minilm_folder, tmp_path / "m")
    HOSTILE[name](folder)
    try:
        with EmbeddingModel.load(str(folder), settings=load_settings()) as model:
            model.embed_documents(["hello world", "a" * 200 + "b", "x" * 200], overlong="truncate")
    except TurboPropError as error:
        assert "defect" not in str(error)
    assert not (folder / "RAN").exists()


def test_a_static_model_with_a_tokenizer_that_is_none(tmp_path: Path) -> None:
    folder = copied(reference("model2vec/test-model-float32"), tmp_path / "m")
    for text in ("[1]", '{"model": 7}', '{"model": {"vocab": []}}', "7", '"x"'):
        (folder / "tokenizer.json").write_text(text)
        assert ends(folder)
