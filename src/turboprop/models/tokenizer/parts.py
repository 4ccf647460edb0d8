"""What tokenizers from GGUF metadata and from Hugging Face folders are both made of."""

from __future__ import annotations

from itertools import pairwise
from os.path import commonprefix
from typing import TYPE_CHECKING, TypeVar

from turboprop.errors import ModelFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

WORD_PIECE_PREFIX = "##"
_LONGEST_WORD = 100  # characters; BERT reads a longer word as [UNK]

MAX_TOKENS = 1 << 21
"""Of a vocabulary and its merges together: Gemma 3 has 1.3 million. 500,000 merges took 420 MB, a million 820 MB."""
MAX_ADDED = 1 << 17
"""Speech models add 65,536 tokens; so many took 0.3 s and 100 MB."""
MAX_ADDED_BYTES = 1 << 22
"""Of all added tokens together: an automaton over 6 MB took 6 s and 470 MB."""
_FREE_UNIGRAM_BYTES = 1 << 20
MAX_UNIGRAM_NODES = 2_000_000
"""Each beginning of a token takes 340 bytes of memory: 680 MB. 250,000 tokens as XLM-RoBERTa has take 520 MB."""

Made = TypeVar("Made")


def unigram_nodes(tokens: Sequence[bytes]) -> int:
    """Different beginnings of the tokens, or 0 where they are few whatever the tokens are."""
    if sum(map(len, tokens)) <= _FREE_UNIGRAM_BYTES:
        return 0
    ordered = sorted(tokens)
    return sum(map(len, ordered)) - sum(len(commonprefix(pair)) for pair in pairwise(ordered))  # noqa: RUF071  bytes, not paths


def guarded(path: Path | str, make: Callable[[], Made]) -> Made:
    """What `make` returns; any failure of the `tokenizers` library is a `ModelFormatError`.

    The library reports a bad vocabulary as a plain `Exception`, and some as a panic of its Rust code,
    which is a `BaseException`.
    """
    try:
        return make()
    except Exception as error:
        raise ModelFormatError(f"{path}: its tokenizer cannot be built: {error}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ModelFormatError(f"{path}: its tokenizer cannot be built: {error}") from None


def word_piece(
    ids: dict[str, int], unknown: str, *, lowercase: bool, strip_accents: bool, chinese: bool = True
) -> Tokenizer:
    """BERT's tokenizer over a vocabulary whose word continuations begin with ##."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    model = models.WordPiece(
        ids,
        unk_token=unknown,
        max_input_chars_per_word=_LONGEST_WORD,
        continuing_subword_prefix=WORD_PIECE_PREFIX,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=chinese, strip_accents=strip_accents, lowercase=lowercase
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(WORD_PIECE_PREFIX)
    return tokenizer


def add_special_tokens(tokenizer: Tokenizer, special: Iterable[str], ordinary: Iterable[str] = ()) -> None:
    """Tokens that are found in a text before it is normalised and cut."""
    from tokenizers import AddedToken

    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in ordinary])


def set_ends(tokenizer: Tokenizer, prefix: tuple[str, int] | None, suffix: tuple[str, int] | None) -> None:
    """Put (token, id) before and after every text; nothing where both are None."""
    from tokenizers.processors import TemplateProcessing

    # In the template the tokens go by names of ours: their own text may hold its syntax.
    begin = ["begin"] if prefix else []
    end = ["end"] if suffix else []
    special = [
        {"id": name, "ids": [entry[1]], "tokens": [entry[0]]}
        for name, entry in (("begin", prefix), ("end", suffix))
        if entry
    ]
    if special:
        tokenizer.post_processor = TemplateProcessing(
            single=[*begin, "$A", *end],
            pair=[*begin, "$A", *end, "$B:1", *(f"{name}:1" for name in end)],
            special_tokens=special,
        )


def bare(tokenizer: Tokenizer) -> None:
    """Put nothing before and after a text."""
    from tokenizers.processors import TemplateProcessing

    tokenizer.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])


def append_token(tokenizer: Tokenizer, token: str) -> None:
    """Put `token` after every text, unless the tokenizer puts one there already or has no such token."""
    from tokenizers.processors import Sequence, TemplateProcessing

    number = tokenizer.token_to_id(token)
    if number is None:
        return
    plain, whole = tokenizer.encode("a", add_special_tokens=False).ids, tokenizer.encode("a").ids
    if whole[-1:] != plain[-1:]:
        return
    template = TemplateProcessing(
        single=["$A", "end"],
        pair=["$A", "end", "$B:1", "end:1"],
        special_tokens=[{"id": "end", "ids": [number], "tokens": [token]}],
    )
    before = tokenizer.post_processor
    tokenizer.post_processor = template if before is None else Sequence([before, template])
