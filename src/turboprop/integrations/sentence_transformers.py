"""An object that is called as a `SentenceTransformer` is, for programs that take one. Needs no further package; tensors
need PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from turboprop.embed.model import EmbeddingModel, Overlong
from turboprop.embed.options import EmbeddingOptions
from turboprop.errors import UsageError
from turboprop.integrations.framework import embedding_model

if TYPE_CHECKING:
    from turboprop.embed.instruction import Side


class TurboPropTransformer:
    """A local embedding model with `encode`, `encode_query`, `encode_document` and `similarity`.

    `model` is one that is loaded, or a name with the options of `EmbeddingModel.load`. `overlong` says what becomes of
    texts over the model's length; a `SentenceTransformer` cuts them, and so does this.
    """

    similarity_fn_name = "cosine"

    def __init__(
        self, model: EmbeddingModel | str | None = None, *, overlong: Overlong = "truncate", **options: Any
    ) -> None:
        self.model = embedding_model(model, options)
        self.overlong: Overlong = overlong

    def __repr__(self) -> str:
        return f"TurboPropTransformer({self.model!r})"

    @property
    def max_seq_length(self) -> int:
        """Tokens of one text at most."""
        return self.model.max_tokens

    @property
    def device(self) -> str:
        """What it runs on."""
        return self.model.device

    def get_sentence_embedding_dimension(self) -> int:
        """Width of a vector."""
        return self.model.dimensions

    get_embedding_dimension = get_sentence_embedding_dimension

    def encode(
        self,
        sentences: str | Sequence[str],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,  # noqa: ARG002  what runs together is decided by length here
        show_progress_bar: bool | None = None,  # noqa: ARG002
        output_value: str | None = "sentence_embedding",
        precision: str = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        **others: Any,
    ) -> Any:
        """float32 [n, dimensions], or [dimensions] of one text.

        `prompt_name` is `query` or `document` (the default), whose prompts are the model's own. Raises `UsageError` for
        what would change the vectors and is not there: another `prompt`, token vectors, another `precision`.
        """
        if prompt_name not in (None, "query", "document", "passage"):
            raise UsageError(f"there is no prompt {prompt_name!r}; there are: query, document")
        if prompt:
            raise UsageError("prompts are the model's own: prompt_name='query' puts the one of queries")
        if output_value != "sentence_embedding" or precision != "float32":
            raise UsageError("there are vectors of whole texts in float32; quantize them afterwards")
        pool = [name for name in ("pool", "device") if isinstance(others.get(name), dict | list)]
        if pool:
            raise UsageError(f"{pool[0]}: the model runs on all cores of this process; leave it out")
        side: Side = "query" if prompt_name == "query" else "document"
        options = EmbeddingOptions(normalize=True if normalize_embeddings else None, dimensions=truncate_dim)
        one = isinstance(sentences, str)
        embed = self.model.embed_queries if side == "query" else self.model.embed_documents
        vectors: Any = embed([sentences] if isinstance(sentences, str) else sentences, options, overlong=self.overlong)
        if convert_to_tensor or not convert_to_numpy:
            import torch

            vectors = torch.from_numpy(vectors)
            if not convert_to_tensor and not one:
                return list(vectors)
        return vectors[0] if one else vectors

    def encode_query(self, sentences: str | Sequence[str], **options: Any) -> Any:
        """`encode` with the prompt of queries."""
        return self.encode(sentences, **{**options, "prompt_name": "query"})

    def encode_document(self, sentences: str | Sequence[str], **options: Any) -> Any:
        """`encode` with the prompt of documents."""
        return self.encode(sentences, **{**options, "prompt_name": "document"})

    def similarity(self, first: Any, second: Any) -> Any:
        """Cosines [n, m] of two lists of vectors: a tensor as `SentenceTransformer` gives it where both are, else an
        array."""
        left, right = (np.atleast_2d(np.asarray(each, np.float32)) for each in (first, second))
        left, right = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (left, right))
        cosines = left @ right.T
        if hasattr(first, "numpy") and hasattr(second, "numpy"):
            import torch

            return torch.from_numpy(cosines)
        return cosines
