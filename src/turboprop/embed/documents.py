"""Chunks -> vectors for an index: from the user's kept vectors where they are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from turboprop.embed.cache import FILE, EmbeddingCache, cache_key
from turboprop.types import MAX_CHUNK_CHARS, Prompts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from turboprop.embed.model import EmbeddingModel

MAX_PARTS = 4
"""A chunk of more tokens than the model takes is the mean of its parts, up to so many; a larger one is cut."""


class IndexingEmbedder:
    """An `EmbeddingModel` as the index builds with it: a line too long for it becomes a mean of parts.

    It makes its own batches, beside those of requests that come together: `batch_tokens` keeps them within a memory
    bound, and up to 2,048 chunks of a call would be refused where 262,144 tokens wait. Those who ask meanwhile wait
    for one batch of 4,096 tokens at most; common batches were no faster (0.74 to 1.41 of the time in five pairs).

    Without `keep` every vector is computed, and none is kept for other indexes.
    """

    def __init__(self, model: EmbeddingModel, *, keep: bool = True, batch_tokens: int | None = None) -> None:
        self._model = model
        self._batch_tokens = batch_tokens
        self.name: str = model.name
        self.fingerprint: str = model.fingerprint
        self.dimensions: int = model.dimensions
        self.prompts: Prompts = model.prompts
        self.cached = 0
        settings = model.settings
        self._space = f"{model.fingerprint} {model.engine} {model.weights} average"
        self._cache = EmbeddingCache(settings.cache_home / FILE, settings.embedding_cache if keep else 0)

    @property
    def max_chars(self) -> int:
        """How large the chunker cuts."""
        return MAX_CHUNK_CHARS

    @property
    def tokens_embedded(self) -> int:
        return self._model.tokens_embedded

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of texts, from the user's cache where they are known, float32 [n, dimensions]."""
        import numpy as np

        keys = [cache_key(self._space, "document", text) for text in texts]
        known = self._cache.get(keys, self.dimensions)
        missing = [number for number, key in enumerate(keys) if key not in known]
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for number, key in enumerate(keys):
            if key in known:
                vectors[number] = known[key]
        if missing:
            wanted = [texts[number] for number in missing]
            fresh = self._model.embed_documents(wanted, overlong="average", batch_tokens=self._batch_tokens)
            vectors[missing] = fresh
            with np.errstate(over="ignore"):
                kept = fresh.astype(np.float16)
            sound = np.flatnonzero(np.isfinite(kept).all(axis=1)).tolist()
            self._cache.put({keys[missing[row]]: kept[row] for row in sound})
        self.cached += len(texts) - len(missing)
        return vectors

    def kept_vectors(self, texts: Sequence[str]) -> dict[int, NDArray[np.float16]]:
        """The vectors that the user's cache has, by the place of their text, float16 [dimensions]."""
        keys = [cache_key(self._space, "document", text) for text in texts]
        known = self._cache.get(keys, self.dimensions)
        self.cached += sum(key in known for key in keys)
        return {number: known[key] for number, key in enumerate(keys) if key in known}

    def fits(self, texts: Sequence[str]) -> list[bool]:
        """Which texts are `MAX_PARTS` inputs of the model at most."""
        most = self._model.max_tokens * MAX_PARTS
        doubtful = [text for text in texts if most < len(text.encode("utf-8", "replace")) <= 64 * most]
        counts = dict(zip(doubtful, self._model.count_tokens(doubtful), strict=True))
        return [counts[text] <= most if text in counts else len(text) <= most for text in texts]
