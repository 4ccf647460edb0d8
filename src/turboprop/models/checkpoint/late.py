"""Late interaction: models of the ColBERT kind, which have a vector for each token (arXiv 2004.12832).

What PyLate writes into `config_sentence_transformers.json`, and what Stanford's own repositories have in
`artifact.metadata` with the projection among the weights; keys and defaults are theirs.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turboprop.errors import ModelFormatError
from turboprop.models.json_file import read_json, read_object

if TYPE_CHECKING:
    from pathlib import Path

_MOST_TOKENS = 1 << 20


@dataclass(frozen=True, slots=True)
class LateInteraction:
    """How a model makes token vectors. The lengths are in tokens, prefix and special tokens included.

    A prefix is one token, after the first token of an input; '' is none. With `expands`, queries are filled up to
    `query_length` with mask tokens, which the others see only if `sees_expansion`. Vectors of the tokens in `skiplist`
    are left out of documents.
    """

    query_prefix: str
    document_prefix: str
    query_length: int
    document_length: int
    expands: bool
    sees_expansion: bool
    skiplist: tuple[str, ...]


def is_late(folder: Path) -> bool:
    """Whether the path is a folder of such a model."""
    if not folder.is_dir():
        return False
    stated = read_json(folder / "config_sentence_transformers.json")
    return _is_pylate(stated if isinstance(stated, dict) else {}) or is_stanford(read_object(folder / "config.json"))


def is_stanford(config: Mapping[str, Any]) -> bool:
    """Whether config.json is of a repository in the form of the ColBERT authors."""
    return config.get("architectures") == ["HF_ColBERT"]


def _is_pylate(stated: Mapping[str, Any]) -> bool:
    return stated.get("model_type") == "ColBERT" or stated.get("similarity_fn_name") == "MaxSim"


def _is_unicode(found: object) -> bool:
    """Whether it is no text with half of a surrogate pair, which JSON can hold and no tokenizer takes."""
    return not isinstance(found, str) or not any("\ud800" <= sign <= "\udfff" for sign in found)


def read_late(folder: Path, stated: Mapping[str, Any], config: Mapping[str, Any]) -> LateInteraction | None:
    """What the files of a folder say; None for a model of another kind. Raises `ModelFormatError`.

    `stated` is config_sentence_transformers.json, `config` config.json.
    """
    if _is_pylate(stated):
        place = folder / "config_sentence_transformers.json"
        prefixes = ("[Q] ", "[D] ")
    elif is_stanford(config):
        place, old = folder / "artifact.metadata", read_object(folder / "artifact.metadata")
        prefixes = ("[unused0]", "[unused1]")
        stated = {
            "query_prefix": old.get("query_token_id"),
            "document_prefix": old.get("doc_token_id"),
            "query_length": old.get("query_maxlen"),
            "document_length": old.get("doc_maxlen"),
            "attend_to_expansion_tokens": old.get("attend_to_mask_tokens"),
        }
    else:
        return None

    def value(key: str, default: Any, kind: type) -> Any:
        found = stated.get(key)
        found = default if found is None else found
        impossible = isinstance(found, int) and kind is int and not 3 <= found <= _MOST_TOKENS
        if not isinstance(found, kind) or impossible or not _is_unicode(found):
            raise ModelFormatError(f"{place}: {key} is {repr(found)[:80]}, which cannot be right; download it again")
        return found

    skipped = value("skiplist_words", list(string.punctuation), list)
    if not all(isinstance(word, str) and _is_unicode(word) for word in skipped):
        raise ModelFormatError(f"{place}: skiplist_words holds something that is no text; download it again")
    expands = value("do_query_expansion", True, bool)
    return LateInteraction(
        query_prefix=value("query_prefix", prefixes[0], str),
        document_prefix=value("document_prefix", prefixes[1], str),
        query_length=value("query_length", 32, int),
        document_length=value("document_length", 180, int),
        expands=expands,
        sees_expansion=expands and value("attend_to_expansion_tokens", False, bool),
        skiplist=tuple(skipped),
    )
