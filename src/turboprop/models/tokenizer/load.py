"""Tokenizers from what lies on disk, and texts made fit for them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from turboprop.errors import (
    InputTooLongError,
    ModelError,
    ModelFormatError,
    ModelNotFoundError,
    ModelUnsupportedError,
    UsageError,
)
from turboprop.files import open_regular
from turboprop.models.json_file import read_model_file, read_object
from turboprop.models.tokenizer.json_file import MAX_FILE_BYTES, check_tokenizer_json
from turboprop.models.tokenizer.parts import add_special_tokens, guarded, set_ends, word_piece
from turboprop.models.tokenizer.rules import TokenizerLimits, check_rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

_MEASURED = 1 << 20
"""Bytes that a text, or a batch of them, may become without a measurement. A piece of one byte takes 300 more."""
_MOST_NORMALIZED = 1 << 24
_MOST_PIECES = 1 << 21
"""What a text may become: 300 MB, and 600 MB where all pieces are short. A million ideographs are as many pieces."""
_MOST_DECODED = 1 << 26
"""Bytes of the tokens that are decoded at once."""
_known_limits: WeakKeyDictionary[Tokenizer, TokenizerLimits] = WeakKeyDictionary()
_BYTE_NAME = re.compile("<0x([0-9A-F]{2})>")
_PRINTED = [*range(33, 127), *range(161, 173), *range(174, 256)]
_BYTE_LETTERS = {chr(byte): byte for byte in _PRINTED} | {
    chr(256 + place): byte for place, byte in enumerate(sorted({*range(256)} - {*_PRINTED}))
}
"""What byte-level vocabularies write for each byte (GPT-2's `bytes_to_unicode`)."""
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
        from turboprop.models.gguf.file import GGUFFile
        from turboprop.models.tokenizer.gguf import tokenizer_from_gguf

        with GGUFFile.open(path) as gguf:
            tokenizer = tokenizer_from_gguf(gguf)
    else:
        tokenizer = _from_json(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if tokenizer not in _known_limits:
        _known_limits[tokenizer] = _limits_of_parts(path, tokenizer)
    guarded(path, lambda: tokenizer.encode("a"))  # some rules fail on any text: pieces of no length
    return tokenizer


def longest_text(tokenizer: Tokenizer) -> int:
    """Characters of a text that `encode_texts` takes at most."""
    return _known_limits.get(tokenizer, TokenizerLimits()).characters


def _limits_of_parts(path: Path, tokenizer: Tokenizer) -> TokenizerLimits:
    """For a tokenizer that was made here; what GGUF metadata bring in is a map of characters."""
    parts = {}
    for key in ("normalizer", "pre_tokenizer"):
        part = getattr(tokenizer, key)
        parts[key] = None if part is None else json.loads(part.__getstate__())
    try:
        return check_rules(parts, {})
    except ModelError as error:
        raise type(error)(f"{path}: {error}; get the model again") from None


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

    Raises `InputTooLongError` for a text of more than `longest_text(tokenizer)` characters, or one of which the
    tokenizer's rules make too much, before it is tokenized, and `UsageError` where the tokenizer gives up on a text.
    """
    limits = _known_limits.get(tokenizer, TokenizerLimits())
    for number, text in enumerate(texts):
        if len(text) > limits.characters:
            raise InputTooLongError(
                f"text {number} has {len(text)} characters, at most {limits.characters} are tokenized at once: split it"
            )
    cleaned = [clean_text(text) for text in texts]
    ids: list[list[int]] = []
    try:
        for batch in _batches(tokenizer, cleaned, limits.growth):
            encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=add_special_tokens)
            ids += [encoding.ids for encoding in encodings]
    except InputTooLongError:
        raise
    except BaseException as error:
        # A panic of the library's Rust code is a BaseException; Ctrl-C is not ours to catch.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise UsageError(f"the tokenizer gave up on a text ({error}): split it or leave it out") from None
    return ids


def _batches(tokenizer: Tokenizer, texts: list[str], growth: float) -> Iterator[list[str]]:
    """The texts in their order, so many at a time that the library makes some hundred megabytes of them at most."""
    batch: list[str] = []
    room = float(_MEASURED)
    for text in texts:
        # Up to 4 bytes a character; most texts are so short that they need not be counted.
        size = growth * (4 * len(text) if 4 * len(text) * growth <= _MEASURED else len(text.encode()))
        if size > _MEASURED:
            _refuse_what_grows(tokenizer, text, growth)
        if batch and size > room:
            yield batch
            batch, room = [], float(_MEASURED)
        batch.append(text)
        room -= size
    if batch:
        yield batch


def _refuse_what_grows(tokenizer: Tokenizer, text: str, growth: float) -> None:
    """Raise `InputTooLongError` where the rules make too much of a text, told from parts of it one by one."""
    step = max(64, int(_MEASURED / (16 * growth)))
    size = pieces = 0
    normalizer, pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    for start in range(0, len(text), step):
        part = text[start : start + step]
        if normalizer is not None:
            part = normalizer.normalize_str(part)
        found = [part] if pre_tokenizer is None else [piece for piece, _ in pre_tokenizer.pre_tokenize_str(part)]
        size += sum(len(piece.encode()) for piece in found)
        pieces += len(found)
        if size > _MOST_NORMALIZED or pieces > _MOST_PIECES:
            raise InputTooLongError(
                f"the tokenizer's rules make more than {_MOST_NORMALIZED >> 20} MB or {_MOST_PIECES >> 20} million "
                f"pieces of a text of {len(text)} characters: split it"
            )


def token_bytes(tokenizer: Tokenizer, number: int) -> bytes:
    """The bytes of one token, which may be a part of a character; those of its text where the tokenizer has no way
    to write bytes."""
    text = token_text(tokenizer, number)
    if "\N{REPLACEMENT CHARACTER}" not in text:
        return text.encode("utf-8")
    name = tokenizer.id_to_token(number) or ""
    if byte := _BYTE_NAME.fullmatch(name):  # SentencePiece
        return bytes([int(byte[1], 16)])
    if all(letter in _BYTE_LETTERS for letter in name):
        return bytes(_BYTE_LETTERS[letter] for letter in name)
    return text.encode("utf-8")


def decode_ids(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text of token ids, special ones too. Raises `UsageError` where the tokenizer gives up on them."""
    # A token has 8,000 bytes at most; few ids need not be looked up.
    if len(ids) > 1000 and sum(len(tokenizer.id_to_token(number) or "") for number in ids) > _MOST_DECODED:
        raise UsageError(f"the text of {len(ids)} ids has more than {_MOST_DECODED >> 20} MB: decode fewer")
    try:
        return str(tokenizer.decode(ids, skip_special_tokens=False))
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise UsageError(f"the tokenizer gave up on {len(ids)} ids ({error}): its decoder is damaged") from None


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
    limits = check_tokenizer_json(path, data)
    tokenizer = guarded(path, lambda: Tokenizer.from_buffer(data))
    _known_limits[tokenizer] = limits
    return tokenizer


def _from_vocabulary(folder: Path) -> Tokenizer:
    path = folder / "vocab.txt"
    try:
        text = _read(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{path} is not UTF-8 (byte {error.start}): get it again") from None
    # Not splitlines: vocabularies have tokens such as U+2028.
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    ids = {token: number for number, token in enumerate(lines)}
    settings = read_object(folder / "tokenizer_config.json")
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


def _token_text(entry: object, default: str) -> str:
    """A token is written as its text or as an object with the text under `content`."""
    if isinstance(entry, dict):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else default


def _begins_with_magic(path: Path) -> bool:
    """Files of a download cache have no suffix."""
    try:
        with open_regular(path, follow=True) as file:
            return file.read(4) == b"GGUF"
    except (OSError, ValueError):
        return False


def _read(path: Path) -> bytes:
    """All of a regular file of at most `MAX_FILE_BYTES`."""
    try:
        return read_model_file(path, MAX_FILE_BYTES)
    except FileNotFoundError:
        raise ModelNotFoundError(f"{path} does not exist: check the path") from None
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(f"{path} cannot be read ({error}): check the path and its rights") from None


def token_text(tokenizer: Tokenizer, number: int) -> str:
    """What one token stands for within a text; decoded alone, SentencePiece's tokens lose their space."""
    text = decode_ids(tokenizer, [number])
    name = tokenizer.id_to_token(number) or ""
    return " " + text if name.startswith("\u2581") and not text.startswith(" ") else text
