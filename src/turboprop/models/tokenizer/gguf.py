"""A `tokenizers.Tokenizer` from the metadata of a GGUF file.

`tokenizer.ggml.model` names the kind: `bert` (WordPiece), `gpt2` (byte-level BPE, cut as
`tokenizer.ggml.pre` says), `llama` (SentencePiece BPE) and `t5` (SentencePiece unigram). The rules where
the metadata is silent are those of llama.cpp (`src/llama-vocab.cpp`), the normalisers and regular
expressions those of the models' own tokenizer.json.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from turboprop.errors import ModelFormatError, ModelUnsupportedError
from turboprop.models.gguf.metadata import GGUFFormatError, GGUFMetadata, GGUFValueType, shown
from turboprop.models.gguf.vocabulary import TokenType, Vocabulary
from turboprop.models.tokenizer.parts import (
    MAX_ADDED,
    MAX_ADDED_BYTES,
    MAX_TOKENS,
    MAX_UNIGRAM_NODES,
    WORD_PIECE_PREFIX,
    add_special_tokens,
    guarded,
    set_ends,
    unigram_nodes,
    word_piece,
)
from turboprop.models.tokenizer.pretokenizers import PRE_TOKENIZERS
from turboprop.models.tokenizer.sentencepiece_merges import sentencepiece_merges

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.normalizers import Normalizer

    from turboprop.models.gguf.file import GGUFFile

_SPACE = "\u2581"  # how SentencePiece (and WordPiece inside GGUF) writes a space


def tokenizer_from_gguf(gguf: GGUFFile) -> Tokenizer:
    """The tokenizer that the file describes, padding and truncation off.

    `encode(text)` adds the begin and end tokens that the metadata asks for; with
    `add_special_tokens=False` it does not. Control tokens written out in a text are read as those tokens,
    as by the model's own tokenizer; set `encode_special_tokens = True` on the result to read them as text.

    Raises `ModelUnsupportedError` for a kind or pre-tokenizer that is not known, `ModelFormatError` where
    the metadata contradict themselves.
    """
    metadata = gguf.metadata
    if "tokenizer.ggml.model" not in metadata:
        raise ModelUnsupportedError(f"{gguf.path} has no tokenizer: use the tokenizer.json of its model")
    kind = metadata.text("tokenizer.ggml.model")
    builders = {"bert": _bert, "gpt2": _byte_level, "llama": _sentencepiece, "t5": _unigram}
    if kind not in builders:
        raise ModelUnsupportedError(
            f"{gguf.path} has a tokenizer of kind {shown(kind)}; read are {', '.join(builders)}: "
            "use the tokenizer.json of its model"
        )
    return builders[kind](metadata, Vocabulary.read(metadata))


_KINDS = ("bert", "gpt2", "llama", "t5")


def unknown_rule(metadata: GGUFMetadata) -> str | None:
    """What of the file's tokenizer is not known here, in words after "it"; None where all is."""
    kind = metadata.get("tokenizer.ggml.model")
    if kind not in _KINDS:
        return f"has a tokenizer of kind {shown(kind)}, which is not known here" if kind else None
    if kind != "gpt2":
        return None
    if "tokenizer.ggml.pre" not in metadata:
        return "does not name its pre-tokenizer (tokenizer.ggml.pre), so it was converted before May 2024"
    if (name := metadata.text("tokenizer.ggml.pre")) not in PRE_TOKENIZERS:
        return f"has the pre-tokenizer {shown(name)}, which is not known here"
    return None


def token_bytes(vocabulary: Vocabulary) -> list[bytes]:
    """What each token stands for within a text."""
    byte_level = vocabulary.metadata.get("tokenizer.ggml.model") == "gpt2"
    made = []
    for token, kind in zip(vocabulary.tokens, vocabulary.types.tolist(), strict=True):
        if kind == TokenType.BYTE and (byte := _BYTE.fullmatch(token)):
            made.append(bytes([int(byte[1], 16)]))
        elif byte_level and kind == TokenType.NORMAL and all(char in _ALPHABET for char in token):
            made.append(bytes(_ALPHABET[char] for char in token))
        else:
            made.append(token.replace(_SPACE, " ").encode("utf-8", "replace"))
    return made


_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_ALPHABET = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(256 + place): byte for place, byte in enumerate(sorted(set(range(256)) - set(_PRINTABLE)))
}
"""How byte-level tokens write the 256 bytes (GPT-2's `bytes_to_unicode`)."""


def _bert(metadata: GGUFMetadata, vocabulary: Vocabulary) -> Tokenizer:
    types = vocabulary.types.tolist()
    pieces = [_word_piece(token, kind) for token, kind in zip(vocabulary.tokens, types, strict=True)]
    vocabulary = vocabulary.renamed(pieces)
    named = vocabulary.ids.get
    cls = vocabulary.special("cls_token_id", "bos_token_id", default=named("[CLS]"))
    sep = vocabulary.special("seperator_token_id", "eos_token_id", default=named("[SEP]"))
    unknown = vocabulary.special("unknown_token_id", default=named("[UNK]"))
    if cls is None or sep is None or unknown is None:
        raise GGUFFormatError(metadata.path, "a bert tokenizer without [CLS], [SEP] or [UNK]")
    # Older files say nothing of case: a vocabulary without a capital letter is an uncased one.
    cased = any(
        _CAPITAL.search(piece) is not None
        for piece, kind in zip(pieces, types, strict=True)
        if kind == TokenType.NORMAL and not _BRACKETED.fullmatch(piece)
    )
    lowercase = metadata.flag("tokenizer.ggml.normalizer.lowercase", not cased)
    strip_accents = metadata.flag("tokenizer.ggml.normalizer.strip_accents", lowercase)
    tokenizer = guarded(
        metadata.path,
        lambda: word_piece(vocabulary.ids, pieces[unknown], lowercase=lowercase, strip_accents=strip_accents),
    )
    _add_vocabulary_tokens(tokenizer, vocabulary)
    set_ends(tokenizer, (pieces[cls], cls), (pieces[sep], sep))
    return tokenizer


_CAPITAL = re.compile("[A-Z]")
_BRACKETED = re.compile(r"\[.+\]", re.DOTALL)


def _word_piece(token: str, kind: int) -> str:
    """Undo the converter: a word's first piece has a space sign before it, the others lost their ##."""
    if kind in (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED):
        return token
    if token.startswith(_SPACE):
        return token[1:]
    return token if _BRACKETED.fullmatch(token) else WORD_PIECE_PREFIX + token


def _byte_level(metadata: GGUFMetadata, vocabulary: Vocabulary) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers

    if (problem := unknown_rule(metadata)) is not None:
        raise ModelUnsupportedError(
            f"{metadata.path} {problem}: get a newer file, use the tokenizer.json of its model, or take the engine "
            "llamacpp, which lets llama.cpp tokenize"
        )
    rule = PRE_TOKENIZERS[metadata.text("tokenizer.ggml.pre")]
    count = len(metadata.array("tokenizer.ggml.merges"))
    if len(vocabulary.tokens) + 2 * count > MAX_TOKENS:
        raise GGUFFormatError(metadata.path, f"it has {count} merges, more than any model's tokenizer")
    merges = []
    for merge in metadata.strings("tokenizer.ggml.merges"):
        left, gap, right = merge.partition(" ")
        if not (gap and left and right):
            raise GGUFFormatError(metadata.path, f"the merge {shown(merge)} is not two tokens")
        merges.append((left, right))
    model = guarded(metadata.path, lambda: models.BPE(vocabulary.ids, merges, ignore_merges=rule.ignore_merges))
    tokenizer = Tokenizer(model)
    if rule.nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = rule.build()
    tokenizer.decoder = decoders.ByteLevel()
    _add_vocabulary_tokens(tokenizer, vocabulary)
    _set_begin_and_end(tokenizer, vocabulary, begin=rule.add_bos, end=False)
    return tokenizer


def _sentencepiece(metadata: GGUFMetadata, vocabulary: Vocabulary) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers

    if "tokenizer.ggml.scores" not in metadata:
        raise GGUFFormatError(metadata.path, "a llama tokenizer without tokenizer.ggml.scores")
    merges = sentencepiece_merges(vocabulary)
    unknown = vocabulary.special("unknown_token_id", default=0)
    model = guarded(
        metadata.path,
        lambda: models.BPE(
            vocabulary.ids,
            merges,
            unk_token=None if unknown is None else vocabulary.tokens[unknown],
            fuse_unk=True,
            byte_fallback=bool(vocabulary.of_type(TokenType.BYTE)),
        ),
    )
    tokenizer = Tokenizer(model)
    prefix = metadata.flag("tokenizer.ggml.add_space_prefix", True)
    escape = normalizers.Replace(" ", _SPACE)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), escape]) if prefix else escape
    steps = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if prefix else steps)
    _add_vocabulary_tokens(tokenizer, vocabulary)
    _set_begin_and_end(tokenizer, vocabulary, begin=True, end=False, begin_id=1, end_id=2)
    return tokenizer


def _unigram(metadata: GGUFMetadata, vocabulary: Vocabulary) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    if metadata.flag("tokenizer.ggml.treat_whitespace_as_suffix", False):
        raise ModelUnsupportedError(
            f"{metadata.path} has a tokenizer that writes spaces behind words: use the tokenizer.json of its model"
        )
    if "tokenizer.ggml.scores" not in metadata:
        raise GGUFFormatError(metadata.path, "a t5 tokenizer without tokenizer.ggml.scores")
    pieces = list(zip(vocabulary.tokens, vocabulary.scores.astype(float).tolist(), strict=True))
    nodes = unigram_nodes([token.encode() for token in vocabulary.tokens])
    if nodes > MAX_UNIGRAM_NODES:
        raise GGUFFormatError(
            metadata.path, f"its tokens have {nodes} different beginnings, more than the {MAX_UNIGRAM_NODES} allowed"
        )
    unknown = vocabulary.special("unknown_token_id", default=2)
    model = guarded(
        metadata.path,
        lambda: models.Unigram(pieces, unk_id=unknown, byte_fallback=bool(vocabulary.of_type(TokenType.BYTE))),
    )
    tokenizer = Tokenizer(model)
    steps: list[Normalizer] = []
    if "tokenizer.ggml.precompiled_charsmap" in metadata:
        array = metadata.array("tokenizer.ggml.precompiled_charsmap")
        if array.element_type not in (GGUFValueType.UINT8, GGUFValueType.INT8):
            raise GGUFFormatError(metadata.path, "tokenizer.ggml.precompiled_charsmap holds no bytes")
        charsmap = array.numpy().tobytes()
        steps.append(guarded(metadata.path, lambda: normalizers.Precompiled(charsmap)))
    if metadata.flag("tokenizer.ggml.remove_extra_whitespaces", False):
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    if steps:
        tokenizer.normalizer = normalizers.Sequence(steps)
    prefix = "always" if metadata.flag("tokenizer.ggml.add_space_prefix", True) else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, prefix)
    tokenizer.decoder = decoders.Metaspace(_SPACE, prefix)
    _add_vocabulary_tokens(tokenizer, vocabulary)
    _set_begin_and_end(tokenizer, vocabulary, begin=False, end=True, end_id=1)
    return tokenizer


def _set_begin_and_end(
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    *,
    begin: bool,
    end: bool,
    begin_id: int | None = None,
    end_id: int | None = None,
) -> None:
    """Follow add_bos_token and add_eos_token; the arguments are what holds where a key is absent."""
    ends: list[tuple[str, int] | None] = []
    for name, wanted, default in (("bos", begin, begin_id), ("eos", end, end_id)):
        number = vocabulary.special(f"{name}_token_id", default=default)
        if not vocabulary.metadata.flag(f"tokenizer.ggml.add_{name}_token", wanted):
            ends.append(None)
        elif number is None:
            raise GGUFFormatError(
                vocabulary.metadata.path,
                f"the {name} token is to be added, but tokenizer.ggml.{name}_token_id names none",
            )
        else:
            ends.append((vocabulary.tokens[number], number))
    set_ends(tokenizer, *ends)


def _add_vocabulary_tokens(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    """Control and unknown tokens as special ones, user-defined tokens as ordinary ones."""
    special = [vocabulary.tokens[n] for n in vocabulary.of_type(TokenType.CONTROL, TokenType.UNKNOWN)]
    ordinary = [vocabulary.tokens[n] for n in vocabulary.of_type(TokenType.USER_DEFINED)]
    count, size = len(special) + len(ordinary), sum(len(token.encode()) for token in (*special, *ordinary))
    if count > MAX_ADDED or size > MAX_ADDED_BYTES:
        raise ModelFormatError(
            f"{vocabulary.metadata.path} has {count} control and user-defined tokens of {size} bytes, more than the "
            f"{MAX_ADDED} tokens and {MAX_ADDED_BYTES} bytes that are read: get it again"
        )
    add_special_tokens(tokenizer, special, ordinary)
