"""A tokenizer.json as the metadata that llama.cpp builds its tokenizers from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from turboprop.errors import ModelUnsupportedError
from turboprop.models.tokenizer.pretokenizers import PRE_TOKENIZERS

if TYPE_CHECKING:
    import gguf
    from tokenizers import Tokenizer

    from turboprop.models.checkpoint.view import Checkpoint

_NORMAL, _CONTROL, _USER, _BYTE = 1, 3, 4, 6  # llama.cpp's token types
_SPACE = "\u2581"


def write_tokenizer(writer: gguf.GGUFWriter, checkpoint: Checkpoint, tokenizer: Tokenizer, rows: int) -> None:
    """Write the vocabulary, one token for each of the `rows` of the embedding matrix.

    Raises `ModelUnsupportedError` for a kind that GGUF readers would rebuild otherwise.
    """
    state = json.loads(tokenizer.to_str())
    kind = state["model"]["type"]
    tokens, types = _vocabulary(tokenizer, state, rows, checkpoint.name)
    match kind:
        case "WordPiece":
            _word_piece(writer, checkpoint, state, tokens, types)
        case "BPE" if not state["model"].get("byte_fallback"):
            _byte_level(writer, checkpoint, state, tokens, types)
        case "BPE":
            _sentencepiece(writer, state, tokens, types)
        case _:
            raise ModelUnsupportedError(f"the tokenizer of {checkpoint.name} ({kind}) cannot be written as GGUF here")
    _write_ends(writer, tokenizer)


def _vocabulary(tokenizer: Tokenizer, state: Mapping[str, Any], rows: int, name: str) -> tuple[list[str], list[int]]:
    known = {number: token for token, number in tokenizer.get_vocab(with_added_tokens=True).items()}
    if known and max(known) >= rows:
        raise ModelUnsupportedError(f"the tokenizer of {name} has {max(known) + 1} tokens and the model {rows}")
    added = {entry["id"]: entry for entry in state["added_tokens"]}
    tokens, types = [], []
    for number in range(rows):
        tokens.append(known.get(number, f"[PAD{number}]"))
        if number not in known or (number in added and added[number]["special"]):
            types.append(_CONTROL)
        else:
            types.append(_USER if number in added else _NORMAL)
    return tokens, types


def _word_piece(
    writer: gguf.GGUFWriter, checkpoint: Checkpoint, state: Mapping[str, Any], tokens: list[str], types: list[int]
) -> None:
    if state["model"].get("continuing_subword_prefix", "##") != "##":
        raise ModelUnsupportedError(f"the tokenizer of {checkpoint.name} marks word parts in another way than BERT")
    normalizer = state.get("normalizer") or {}
    if not normalizer.get("lowercase", True):
        # llama.cpp lower-cases and strips accents whatever the file says.
        raise ModelUnsupportedError(f"the tokenizer of {checkpoint.name} keeps capitals, which GGUF cannot state")

    def written(token: str, kind: int) -> str:
        if kind == _CONTROL or (token.startswith("[") and token.endswith("]")):
            return token
        return token[2:] if token.startswith("##") else _SPACE + token

    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([written(token, kind) for token, kind in zip(tokens, types, strict=True)])
    writer.add_token_types(types)
    writer.add_token_type_count(int(checkpoint.config.get("type_vocab_size", 2)))
    ids = {token: number for number, token in enumerate(tokens)}
    unknown = state["model"].get("unk_token", "[UNK]")
    for name, token in (("cls", "[CLS]"), ("seperator", "[SEP]"), ("padding", "[PAD]"), ("unknown", unknown)):
        if token in ids:
            writer.add_uint32(f"tokenizer.ggml.{name}_token_id", ids[token])


def _byte_level(
    writer: gguf.GGUFWriter, checkpoint: Checkpoint, state: Mapping[str, Any], tokens: list[str], types: list[int]
) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(state, checkpoint))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(_merges(state))


def _pre_tokenizer(state: Mapping[str, Any], checkpoint: Checkpoint) -> str:
    """The name of the rule that cuts as this tokenizer does; names of other rules would give other tokens."""
    patterns = _patterns(state.get("pre_tokenizer") or {})
    nfc = "NFC" in json.dumps(state.get("normalizer"))
    ignores = bool(state["model"].get("ignore_merges"))
    preferred = {"qwen2": "qwen2", "qwen3": "qwen2", "modernbert": "modern-bert"}.get(checkpoint.family, "")
    for name in (preferred, *PRE_TOKENIZERS):
        rule = PRE_TOKENIZERS.get(name)
        if rule and list(rule.patterns) == patterns and rule.nfc == nfc and rule.ignore_merges == ignores:
            return name
    raise ModelUnsupportedError(
        f"the tokenizer of {checkpoint.name} cuts words in a way that has no name in GGUF: {patterns}"
    )


def _patterns(step: Mapping[str, Any]) -> list[str]:
    if step.get("type") == "Sequence":
        return [pattern for part in step["pretokenizers"] for pattern in _patterns(part)]
    if step.get("type") == "Split":
        return [step["pattern"].get("Regex", "")]
    if step.get("type") == "Digits":
        return [r"\p{N}"] if step.get("individual_digits") else [r"\p{N}+"]
    if step.get("type") == "ByteLevel" and step.get("use_regex", True):
        return list(PRE_TOKENIZERS["gpt-2"].patterns)
    return []


def _merges(state: Mapping[str, Any]) -> list[str]:
    merges: Sequence[Any] = state["model"]["merges"]
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]


def _sentencepiece(writer: gguf.GGUFWriter, state: Mapping[str, Any], tokens: list[str], types: list[int]) -> None:
    """Scores fall with the rank of the merge that makes a token: merging by score is merging by rank."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(_merges(state)):
        ranks.setdefault(merge.replace(" ", "", 1), rank)
    kinds = [
        _BYTE if len(token) == 6 and token.startswith("<0x") and kind == _NORMAL else kind
        for token, kind in zip(tokens, types, strict=True)
    ]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(ranks.get(token, len(ranks))) for token in tokens])
    writer.add_token_types(kinds)
    unknown = state["model"].get("unk_token")
    if unknown in tokens:
        writer.add_unk_token_id(tokens.index(unknown))
    writer.add_add_space_prefix(_SPACE in json.dumps(state.get("normalizer"), ensure_ascii=False).split('"Replace"')[0])


def _write_ends(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    """Which token stands before and after every text, taken from what the tokenizer does."""
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    whole = tokenizer.encode("a").ids
    before = next((at for at in range(len(whole)) if whole[at : at + len(plain)] == plain), 0)
    after = whole[before + len(plain) :]
    writer.add_add_bos_token(before > 0)
    writer.add_add_eos_token(bool(after))
    if before:
        writer.add_bos_token_id(whole[0])
    if after:
        writer.add_eos_token_id(after[-1])
