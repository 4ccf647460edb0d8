"""Tokenizers from what lies on disk, and texts made fit for them."""

from __future__ import annotations

import json
import re
import stat
from typing import TYPE_CHECKING, Any

from turboprop.errors import (
    InputTooLongError,
    ModelFormatError,
    ModelNotFoundError,
    ModelUnsupportedError,
    UsageError,
)
from turboprop.models.tokenizer_parts import add_special_tokens, guarded, set_ends, word_piece

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

# The largest vocabularies in use (256,000 tokens) have a tokenizer.json of 35 MB.
_MAX_FILE_BYTES = 1 << 28
# Ten million characters of one line took up to 60 s and 5 GB, and made the regular expressions of Qwen
# and Llama 3 give up; a million take a tenth of that. No model reads as much.
MAX_TEXT_CHARACTERS = 1 << 20
# The library frees a unigram vocabulary by recursion, one level a byte: a token of 16,000 bytes overflowed
# a stack of 512 KiB, one of 8,000 did not. Tokens have up to 512 characters, regular expressions 2,000.
_MAX_STRING_BYTES = 8000
_CHARSMAP = re.compile(rb'"precompiled_charsmap"\s*:\s*\Z')  # the one long string of a sound file
_BERT_CLASSES = {"BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "DistilBertTokenizerFast"}
_BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


def tokenizer_from_path(path: Path) -> Tokenizer:
    """The tokenizer of a GGUF file (or any file of a split), a tokenizer.json or a Hugging Face folder.

    A folder holds a tokenizer.json, or a BERT vocab.txt with its tokenizer_config.json; older
    sentence-transformers folders keep them in `0_Transformer`. Padding and truncation are off.

    Raises `ModelNotFoundError` where there is nothing to read, `ModelFormatError` where it is damaged
    and `ModelUnsupportedError` where it is of a kind that is not read.
    """
    if path.is_dir():
        tokenizer = _from_folder(path)
    elif _begins_with_magic(path) or path.suffix.lower() == ".gguf":
        from turboprop.models.gguf import GGUFFile
        from turboprop.models.tokenizer_gguf import tokenizer_from_gguf

        with GGUFFile.open(path) as gguf:
            tokenizer = tokenizer_from_gguf(gguf)
    else:
        tokenizer = _from_json(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def clean_text(text: str) -> str:
    """The text with surrogate pairs joined and every lone surrogate replaced by U+FFFD.

    The tokenizers refuse a Python string that has no UTF-8 form; file names and JSON can bring one in.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str], *, add_special_tokens: bool = True) -> list[list[int]]:
    """Token ids of every text, cleaned first.

    Raises `InputTooLongError` for a text of more than `MAX_TEXT_CHARACTERS` characters, before it is
    tokenized, and `UsageError` where the tokenizer gives up on a text.
    """
    for number, text in enumerate(texts):
        if len(text) > MAX_TEXT_CHARACTERS:
            raise InputTooLongError(
                f"text {number} has {len(text)} characters, at most {MAX_TEXT_CHARACTERS} are tokenized at "
                "once: split it"
            )
    cleaned = [clean_text(text) for text in texts]
    try:
        encodings = tokenizer.encode_batch_fast(cleaned, add_special_tokens=add_special_tokens)
    except BaseException as error:
        # A panic of the library's Rust code is a BaseException; Ctrl-C is not ours to catch.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise UsageError(f"the tokenizer gave up on a text ({error}): split it or leave it out") from None
    return [encoding.ids for encoding in encodings]


def _from_folder(folder: Path) -> Tokenizer:
    for place in (folder, folder / "0_Transformer"):
        if (place / "tokenizer.json").exists():
            return _from_json(place / "tokenizer.json")
        if (place / "vocab.txt").exists():
            return _from_vocabulary(place)
    for name in ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json"):
        if (folder / name).exists():
            raise ModelUnsupportedError(
                f"{folder} has {name} but no tokenizer.json: save it with the model's fast tokenizer "
                "(tokenizer.save_pretrained), or get the tokenizer.json from its repository"
            )
    raise ModelNotFoundError(f"{folder} has neither tokenizer.json nor vocab.txt: get them from its repository")


def _from_json(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    data = _read(path)
    if data.startswith(b"version https://git-lfs"):
        raise ModelFormatError(f"{path} is a Git LFS pointer: run `git lfs pull` in its repository")
    _refuse_long_strings(path, data)
    return guarded(path, lambda: Tokenizer.from_buffer(data))


def _refuse_long_strings(path: Path, data: bytes) -> None:
    """Raise `ModelFormatError` for a JSON string that would end the process: 9 ms for 2 MB."""
    import numpy as np

    view = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(view == ord('"'))
    # A quote after an odd number of backslashes is part of its string; the others open and close in turn.
    slashes = np.flatnonzero(view == ord("\\"))
    if len(slashes):
        run_starts = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)
        place = np.searchsorted(slashes, quotes - 1)
        behind = slashes[np.minimum(place, len(slashes) - 1)] == quotes - 1
        run = run_starts[np.searchsorted(run_starts, place, "right") - 1]
        quotes = quotes[~behind | ((place - run + 1) % 2 == 0)]
    pairs = quotes[: len(quotes) // 2 * 2].reshape(-1, 2)
    for begin, end in pairs[pairs[:, 1] - pairs[:, 0] > _MAX_STRING_BYTES].tolist():
        if not _CHARSMAP.search(data, max(0, begin - 100), begin):
            raise ModelFormatError(
                f"{path} has a string of {end - begin} bytes (byte {begin}), which no tokenizer needs: get it again"
            )


def _from_vocabulary(folder: Path) -> Tokenizer:
    path = folder / "vocab.txt"
    try:
        text = _read(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{path} is not UTF-8 (byte {error.start}): get it again") from None
    # Not splitlines: vocabularies have tokens such as U+2028.
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    ids = {token: number for number, token in enumerate(lines)}
    settings = _settings(folder / "tokenizer_config.json")
    kind = settings.get("tokenizer_class", "BertTokenizer")
    if not isinstance(kind, str) or kind not in _BERT_CLASSES:
        raise ModelUnsupportedError(
            f"{folder} has a tokenizer of class {kind!r} and no tokenizer.json: get the tokenizer.json from its "
            "repository"
        )
    names = {key: _token_text(settings.get(key), default) for key, default in _BERT_TOKENS.items()}
    missing = [names[key] for key in ("unk_token", "cls_token", "sep_token") if names[key] not in ids]
    if missing:
        raise ModelFormatError(f"{path} lacks {', '.join(missing)}: it is not the vocabulary of this model")
    lowercase = bool(settings.get("do_lower_case", True))
    accents = settings.get("strip_accents")
    tokenizer = guarded(
        path,
        lambda: word_piece(
            ids,
            names["unk_token"],
            lowercase=lowercase,
            strip_accents=lowercase if accents is None else bool(accents),
            chinese=bool(settings.get("tokenize_chinese_chars", True)),
        ),
    )
    add_special_tokens(tokenizer, (token for token in names.values() if token in ids))
    begin, end = names["cls_token"], names["sep_token"]
    set_ends(tokenizer, (begin, ids[begin]), (end, ids[end]))
    return tokenizer


def _settings(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        settings = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path} is not JSON ({error}): get it again") from None
    if not isinstance(settings, dict):
        raise ModelFormatError(f"{path} holds no JSON object: get it again")
    return settings


def _token_text(entry: object, default: str) -> str:
    """A token is written as its text or as an object with the text under `content`."""
    if isinstance(entry, dict):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else default


def _begins_with_magic(path: Path) -> bool:
    """Files of a download cache have no suffix."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except (OSError, ValueError):
        return False


def _read(path: Path) -> bytes:
    """All of a regular file of at most `_MAX_FILE_BYTES`."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelFormatError(f"{path} is no regular file: give the path of a tokenizer.json")
        if status.st_size > _MAX_FILE_BYTES:
            raise ModelFormatError(f"{path} has {status.st_size} bytes: no tokenizer is that large")
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelNotFoundError(f"{path} does not exist: check the path") from None
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(f"{path} cannot be read ({error}): check the path and its rights") from None


def token_text(tokenizer: Tokenizer, number: int) -> str:
    """What one token stands for within a text; decoded alone, SentencePiece's tokens lose their space."""
    text = str(tokenizer.decode([number], skip_special_tokens=False))
    name = tokenizer.id_to_token(number) or ""
    return " " + text if name.startswith("\u2581") and not text.startswith(" ") else text
