"""A tokenizer by the model's name, as the model itself uses it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.reranker import is_reranker, open_reranker
from turboprop.models.gguf.file import GGUFFile
from turboprop.models.kind import kind_of
from turboprop.models.local import LocalModel
from turboprop.models.resolve import resolve
from turboprop.models.tokenizer.load import tokenizer_from_path
from turboprop.settings import Settings, load_settings

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def load_tokenizer(name_or_path: str | None = None, *, settings: Settings | None = None) -> Tokenizer:
    """The tokenizer of a model (None: the default one), by catalogue name, hub id, file or folder.

    A tokenizer.json and a GGUF file that holds a vocabulary alone will do. Special tokens are put around
    a text as the model's files say; an embedding model that needs an end token which its files forget
    gets it. Padding and truncation are off. Raises `ModelNotFoundError`, `ModelFormatError`,
    `ModelUnsupportedError` or `DownloadError`.
    """
    if name_or_path is not None and name_or_path.endswith(".json") and Path(name_or_path).expanduser().is_file():
        return tokenizer_from_path(Path(name_or_path).expanduser())
    return tokenizer_of(resolve(name_or_path, settings or load_settings()))


def tokenizer_of(local: LocalModel) -> Tokenizer:
    """The same for a model that has been found."""
    if is_reranker(local):
        return open_reranker(local).checkpoint.tokenizer()
    if local.is_gguf and not _embeds(local):
        return tokenizer_from_path(local.path)
    return open_checkpoint(local).tokenizer()


def _embeds(local: LocalModel) -> bool:
    """Whether a GGUF file is an embedding model, and no vocabulary alone.

    The end token that an embedding model appends must not be added to a language model's prompt.
    """
    with GGUFFile.open(local.path) as file:
        whole = bool(file.tensors) and file.has_data
    return whole and kind_of(local) == "embedding"
