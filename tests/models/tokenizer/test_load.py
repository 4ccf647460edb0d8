"""Tokenizers from files and folders, and texts that would upset them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from reference import reference
from turboprop.errors import (
    InputTooLongError,
    ModelFormatError,
    ModelNotFoundError,
    ModelUnsupportedError,
    UsageError,
)
from turboprop.models.tokenizer.load import clean_text, encode_texts, tokenizer_from_path
from turboprop.models.tokenizer.rules import MAX_TEXT_CHARACTERS

VOCABULARY = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n##s\nhe\n\u2028\ncafé\ncafe\nHello\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_bytes(VOCABULARY.encode())
    return tmp_path


def test_a_folder_with_a_tokenizer_file(minilm_folder: Path) -> None:
    raw = Tokenizer.from_file(str(minilm_folder / "tokenizer.json"))
    assert raw.truncation is not None  # the file has both; an index must not be cut by it
    assert raw.padding is not None
    for path in (minilm_folder, minilm_folder / "tokenizer.json"):
        tokenizer = tokenizer_from_path(path)
        assert tokenizer.truncation is None
        assert tokenizer.padding is None
        assert len(tokenizer.encode("word " * 1000).ids) == 1002


def test_a_folder_with_a_vocabulary(folder: Path) -> None:
    tokenizer = tokenizer_from_path(folder)
    assert tokenizer.encode("Hellos [MASK] café").ids == [2, 5, 6, 4, 10, 3]
    assert tokenizer.encode("[CLS]zzz", add_special_tokens=False).ids == [2, 1]
    assert tokenizer.decode([5, 6]) == "hellos"


def test_the_settings_of_a_vocabulary(folder: Path) -> None:
    config = folder / "tokenizer_config.json"
    config.write_text('{"do_lower_case": false, "cls_token": {"content": "[MASK]"}, "sep_token": "hello"}')
    assert tokenizer_from_path(folder).encode("Hello café").ids == [4, 11, 9, 5]
    config.write_text('{"strip_accents": false}')
    assert tokenizer_from_path(folder).encode("CAFÉ").ids == [2, 9, 3]


def test_windows_line_ends(folder: Path) -> None:
    (folder / "vocab.txt").write_bytes(VOCABULARY.replace("\n", "\r\n").encode())
    assert tokenizer_from_path(folder).encode("hello").ids == [2, 5, 3]


def test_an_older_sentence_transformers_folder(tmp_path: Path) -> None:
    (tmp_path / "0_Transformer").mkdir()
    (tmp_path / "0_Transformer/vocab.txt").write_bytes(VOCABULARY.encode())
    assert tokenizer_from_path(tmp_path).encode("hello").ids == [2, 5, 3]


def test_a_gguf_file_without_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "blob").symlink_to(reference("tokenizers/ggml-vocab-bert-bge.gguf"))
    assert tokenizer_from_path(tmp_path / "blob").encode("hi").ids == [101, 7632, 102]


@pytest.mark.parametrize(
    ("name", "text", "error", "words"),
    [
        ("vocab.txt", "hello\n", ModelFormatError, r"lacks \[UNK\], \[CLS\], \[SEP\]"),
        ("tokenizer_config.json", "{", ModelFormatError, "is not valid JSON"),
        ("tokenizer_config.json", "[" * 200_000, ModelFormatError, "is not valid JSON"),
        ("tokenizer_config.json", "[]", ModelFormatError, "no JSON object"),
        ("tokenizer_config.json", '{"tokenizer_class": "T5Tokenizer"}', ModelUnsupportedError, "T5Tokenizer"),
        ("tokenizer_config.json", '{"tokenizer_class": [1]}', ModelUnsupportedError, "class"),
        ("tokenizer.json", "{}", ModelFormatError, "cannot be built"),
        ("tokenizer.json", "", ModelFormatError, "cannot be built"),
        ("tokenizer.json", '{"version":"1.0","model":{"type":"BPE"}}', ModelFormatError, "cannot be built"),
        ("tokenizer.json", "version https://git-lfs.github.com/spec/v1\n", ModelFormatError, "git lfs pull"),
        ("tokenizer.json", "[" * 200_000, ModelFormatError, "cannot be built"),
    ],
)
def test_damaged_folders(folder: Path, name: str, text: str, error: type[Exception], words: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(error, match=words):
        tokenizer_from_path(folder)


def test_a_vocabulary_that_is_not_text(folder: Path) -> None:
    (folder / "vocab.txt").write_bytes(b"[UNK]\n\xff\n")
    with pytest.raises(ModelFormatError, match="not UTF-8"):
        tokenizer_from_path(folder)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"neither tokenizer\.json nor vocab\.txt"):
        tokenizer_from_path(tmp_path)
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        tokenizer_from_path(tmp_path / "tokenizer.json")
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        tokenizer_from_path(tmp_path / "model.gguf")
    (tmp_path / "tokenizer.model").write_bytes(b"")
    with pytest.raises(ModelUnsupportedError, match="save_pretrained"):
        tokenizer_from_path(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(ModelFormatError, match="no regular file"):
        tokenizer_from_path(tmp_path)
    with pytest.raises(ModelFormatError, match="no regular file"):
        tokenizer_from_path(tmp_path / "tokenizer.json")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(ModelFormatError, match="more than 67108864 bytes"):
        tokenizer_from_path(path)


@given(text=st.text(st.characters(categories=("Cs",)) | st.characters(), max_size=30))
def test_clean_text_leaves_no_surrogate(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode("utf-8")
    assert clean_text(cleaned) == cleaned
    sound = [char for char in text if not "\ud800" <= char <= "\udfff"]
    kept = iter(cleaned)
    assert all(char in kept for char in sound)  # in their order; pairs of surrogates add to them


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é 漢 😀", "plain é 漢 😀"),
        ("a\ud800b", "a\ufffdb"),
        ("\udc80", "\ufffd"),
        ("end\ud800", "end\ufffd"),
        ("\ud800\ud800x", "\ufffd\ufffdx"),
        ("\ud83d\ude00", "😀"),
        ("😀\udfff", "😀\ufffd"),
    ],
)
def test_clean_text_by_example(text: str, expected: str) -> None:
    assert clean_text(text) == expected


def test_encode_texts(minilm_folder: Path) -> None:
    tokenizer = tokenizer_from_path(minilm_folder)
    assert encode_texts(tokenizer, ["hello", "", "a\ud800"]) == [[101, 7592, 102], [101, 102], [101, 1037, 102]]
    assert encode_texts(tokenizer, ["hello"], add_special_tokens=False) == [[7592]]
    assert encode_texts(tokenizer, []) == []
    with pytest.raises(InputTooLongError, match="text 1 has 10485760 characters"):
        encode_texts(tokenizer, ["short", "x" * (10 << 20)])


@pytest.mark.parametrize("letter", ["a", " ", "\n", "1", "!", "e\u0301", "漢", "'"])
@pytest.mark.parametrize("name", ["bert-bge", "llama-spm", "qwen2"])
def test_the_longest_line_of_one_letter(name: str, letter: str, heavy: dict[str, Tokenizer]) -> None:
    if name not in heavy:
        heavy[name] = tokenizer_from_path(reference(f"tokenizers/ggml-vocab-{name}.gguf"))
    text = letter * (MAX_TEXT_CHARACTERS // len(letter))
    (ids,) = encode_texts(heavy[name], [text], add_special_tokens=False)
    if name != "bert-bge":  # which reads a long word as one unknown token
        assert heavy[name].decode(ids) == (text if letter != "e\u0301" or name != "qwen2" else "é" * (len(text) // 2))


@pytest.fixture(scope="module")
def heavy() -> dict[str, Tokenizer]:
    return {}


def test_a_tokenizer_that_gives_up() -> None:
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(a+)+[bc]"), "isolated")
    with pytest.raises(UsageError, match="gave up on a text"):
        encode_texts(tokenizer, ["a" * 60])


@pytest.mark.parametrize("inside", ["x", '"', "\\", '\\"', "é", "\n"])
def test_a_string_that_would_overflow_the_stack(tmp_path: Path, inside: str) -> None:
    path = tmp_path / "tokenizer.json"
    body = {"added_tokens": [], "normalizer": {"type": "Sequence", "normalizers": []}, "version": "1.0"}

    def write(token: str) -> None:
        model = {"type": "Unigram", "unk_id": 0, "vocab": [["\\", 0], ['\\"', 0], [token, -1], ['"', 0]]}
        path.write_text(json.dumps({**body, "model": model}))

    write(inside * 1000)
    assert tokenizer_from_path(path).get_vocab_size() == 4
    write(inside * (1 << 20))
    with pytest.raises(ModelFormatError, match="has a string of"):
        tokenizer_from_path(path)


def test_a_character_map_may_be_long(tmp_path: Path) -> None:
    text = '{"normalizer": {"type": "Precompiled", "precompiled_charsmap" : "' + "A" * 40_000 + '"}}'
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ModelFormatError, match="cannot be built"):  # by the library, not for its length
        tokenizer_from_path(tmp_path)


def test_a_tokenizer_file_keeps_its_own_rules(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.enable_padding(length=9)
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert json.loads((tmp_path / "tokenizer.json").read_text())["padding"]
    assert tokenizer_from_path(tmp_path).encode("a").ids == [0]
