"""`EmbeddingModel`: texts in, unit vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from types import TracebackType
from typing import Literal, Self

import numpy as np
import xxhash
from numpy.typing import NDArray

from turboprop.embed.batching import batches
from turboprop.embed.head import finish
from turboprop.engines import load_encoder
from turboprop.engines.contract import Encoder, EngineOptions, WeightFormat
from turboprop.errors import InputTooLongError, UsageError
from turboprop.models.checkpoint import Checkpoint, open_checkpoint
from turboprop.models.resolve import resolve
from turboprop.models.tokenizer import encode_texts
from turboprop.settings import Settings, load_settings
from turboprop.types import Prompts, TokenBatch

Overlong = Literal["error", "truncate", "average"]
_SLICE = 200_000
"""Characters that are tokenized at once where a text may be cut or averaged."""


class EmbeddingModel:
    """A loaded embedding model. Use it as a context manager, or call `close()`.

    Calls from several threads are served one after the other.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        encoder: Encoder,
        settings: Settings,
        dimensions: int | None,
        max_tokens: int | None,
    ) -> None:
        self._checkpoint = checkpoint
        self._encoder = encoder
        self._settings = settings
        self._tokenizer = checkpoint.tokenizer()
        self._lock = Lock()
        self._full_width = checkpoint.dense[-1].weight.shape[0] if checkpoint.dense else encoder.dimensions
        wanted = checkpoint.default_width if dimensions is None else dimensions
        self._cut = _check_width(wanted, self._full_width, checkpoint)
        self._max_tokens = _check_limit(max_tokens, checkpoint)
        self._tokens_embedded = 0

    @classmethod
    def load(
        cls,
        name_or_path: str | None = None,
        *,
        dimensions: int | None = None,
        weights: WeightFormat | None = None,
        engine: str | None = None,
        max_tokens: int | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Load by catalogue name, hub id, file or folder; None means the default model.

        `dimensions` cuts the vectors of a Matryoshka model; `weights` is float32, int8, int4 or auto;
        `max_tokens` lowers the model's limit (special tokens included). Raises `ModelNotFoundError`,
        `ModelFormatError`, `ModelUnsupportedError`, `DownloadError` or `UsageError`.
        """
        settings = settings or load_settings()
        checkpoint = open_checkpoint(resolve(name_or_path, settings))
        options = EngineOptions(weights or "auto", settings.threads, settings.cache_home)
        encoder = load_encoder(checkpoint, engine or settings.engine, options)
        return cls(checkpoint, encoder, settings, dimensions, max_tokens)

    @property
    def name(self) -> str:
        """The model's canonical name."""
        return self._checkpoint.name

    @property
    def dimensions(self) -> int:
        """Width of a vector."""
        return self._cut or self._full_width

    @property
    def max_tokens(self) -> int:
        """Tokens of one input at most, prompt and special tokens included."""
        return self._max_tokens

    @property
    def prompts(self) -> Prompts:
        """What is put before a query and before a document."""
        return self._checkpoint.prompts

    @property
    def weights(self) -> str:
        """The weight format that runs: float32 or int8."""
        return self._encoder.weights

    @property
    def tokens_embedded(self) -> int:
        """Tokens that went through the model since it was loaded, padding not counted."""
        return self._tokens_embedded

    @property
    def fingerprint(self) -> str:
        """Identifies the vector space: equal fingerprints give vectors that can be compared.

        float32 and int8 forms of one checkpoint share it; their cosine stays above 0.995.
        """
        return fingerprint(self._checkpoint, self._settings, self.dimensions, self._max_tokens)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as a document, prompt and special tokens included."""
        return [len(ids) for ids in self._tokenize(texts, self.prompts.document)]

    def fits(self, texts: Sequence[str]) -> list[bool]:
        """Which texts the model takes whole as documents."""
        # Over 64 characters a token is taken as too long without tokenizing it: a line can have megabytes.
        short = [text for text in texts if len(text) <= self._max_tokens * 64]
        counts = iter(self.count_tokens(short))
        return [len(text) <= self._max_tokens * 64 and next(counts) <= self._max_tokens for text in texts]

    def embed_documents(self, texts: Sequence[str], *, overlong: Overlong = "error") -> NDArray[np.float32]:
        """float32 [n, dimensions], in the order of `texts`; equal texts are computed once.

        A text of more than `max_tokens` raises `InputTooLongError`, or is cut (`truncate`), or is the
        mean of the vectors of its parts (`average`).
        """
        if isinstance(texts, str):
            raise UsageError("embed_documents takes a list of texts; for one text give [text]")
        return self._embed(texts, self.prompts.document, overlong)

    def embed_query(
        self, text: str, instruction: str | None = None, *, overlong: Overlong = "truncate"
    ) -> NDArray[np.float32]:
        """float32 [dimensions]. `instruction` replaces the task of models that take one."""
        prompt = self.prompts.query
        if instruction is not None:
            prompt = _with_instruction(prompt, instruction, self.name)
        return np.asarray(self._embed([text], prompt, overlong)[0], np.float32)

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
        self._encoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tokenize(self, texts: Sequence[str], prompt: str) -> list[list[int]]:
        return encode_texts(self._tokenizer, [prompt + text for text in texts])

    def _embed(self, texts: Sequence[str], prompt: str, overlong: Overlong) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.dimensions), np.float32)
        slots: dict[str, int] = {}
        where = [slots.setdefault(text, len(slots)) for text in texts]
        inputs, owners = self._inputs(list(slots), prompt, overlong)
        skip = 0
        if prompt and not self._checkpoint.pool_prompt:  # [CLS] goes with the prompt
            skip = self._special_edges()[0] + self._prompt_tokens(prompt)
        lengths = [len(ids) for ids in inputs]
        vectors = np.empty((len(inputs), self.dimensions), np.float32)
        for chosen in batches(lengths):
            batch = TokenBatch(
                np.concatenate([np.asarray(inputs[index], np.int32) for index in chosen]),
                np.array([lengths[index] for index in chosen], np.int32),
                skip,
            )
            with self._lock:
                pooled = self._encoder.encode(batch)
                self._tokens_embedded += len(batch.ids)
            vectors[chosen] = finish(pooled, self._checkpoint, self._cut)
        if len(inputs) > len(slots):
            vectors = _average(vectors, owners, len(slots))
        return np.asarray(vectors[where], np.float32)

    def _inputs(self, texts: list[str], prompt: str, overlong: Overlong) -> tuple[list[list[int]], list[int]]:
        """Token ids to run, and for each the index of the text that it belongs to."""
        slices, slice_owners = texts, list(range(len(texts)))
        if overlong != "error":  # the tokenizer takes no text of any length
            cut = [_slices(text, 1 if overlong == "truncate" else None) for text in texts]
            slices = [part for parts in cut for part in parts]
            slice_owners = [index for index, parts in enumerate(cut) for _ in parts]
        inputs: list[list[int]] = []
        owners: list[int] = []
        for index, ids in zip(slice_owners, self._tokenize(slices, prompt), strict=True):
            if len(ids) <= self._max_tokens:
                parts = [ids]
            elif overlong == "error":
                raise InputTooLongError(
                    f"text {index + 1} has {len(ids)} tokens and {self.name} takes {self._max_tokens}; "
                    "split it, or ask for truncation"
                )
            else:
                parts = self._windows(ids, prompt)
                if overlong == "truncate":
                    parts = parts[:1]
            inputs.extend(parts)
            owners.extend([index] * len(parts))
        return inputs, owners

    def _windows(self, ids: list[int], prompt: str) -> list[list[int]]:
        """Cut an over-long input into windows that each keep the prompt and the special tokens."""
        before, after = self._special_edges()
        head = before + self._prompt_tokens(prompt)
        body = ids[head : len(ids) - after]
        room = max(1, self._max_tokens - head - after)
        tail = ids[len(ids) - after :]
        return [ids[:head] + body[start : start + room] + tail for start in range(0, len(body), room)]

    def _special_edges(self) -> tuple[int, int]:
        """How many special tokens the tokenizer puts before and after a text."""
        plain = self._tokenizer.encode("a", add_special_tokens=False).ids
        whole = self._tokenizer.encode("a").ids
        extra = len(whole) - len(plain)
        for before in range(extra + 1):
            if whole[before : before + len(plain)] == plain:
                return before, extra - before
        return 0, extra

    def _prompt_tokens(self, prompt: str) -> int:
        return len(encode_texts(self._tokenizer, [prompt], add_special_tokens=False)[0]) if prompt else 0


def fingerprint(checkpoint: Checkpoint, settings: Settings, dimensions: int, max_tokens: int) -> str:
    """Identify a vector space without loading an engine."""
    parts = (
        checkpoint.weights_hash(settings.cache_home),
        checkpoint.family,
        checkpoint.pooling,
        checkpoint.pool_prompt,
        checkpoint.prompts.query,
        checkpoint.prompts.document,
        dimensions,
        max_tokens,
    )
    return xxhash.xxh3_128_hexdigest(repr(parts).encode())


def _check_width(dimensions: int | None, full: int, checkpoint: Checkpoint) -> int | None:
    if dimensions is None or dimensions == full:
        return None
    widths = checkpoint.widths
    if dimensions not in widths:
        known = sorted({*widths, full})
        # Some families are trained for every width of a range: Qwen3-Embedding-0.6B for 32 to 1,024.
        is_range = len(known) > 32 and known[-1] - known[0] + 1 == len(known)
        valid = f"{known[0]} to {known[-1]}" if is_range else ", ".join(map(str, known))
        why = "" if widths else " (it was not trained to be cut)"
        raise UsageError(f"{checkpoint.name} has no vectors of {dimensions} dimensions; valid: {valid}{why}")
    return dimensions


def _check_limit(max_tokens: int | None, checkpoint: Checkpoint) -> int:
    if max_tokens is None:
        return checkpoint.max_tokens
    if not 8 <= max_tokens <= checkpoint.max_tokens:
        raise UsageError(
            f"max_tokens must lie between 8 and {checkpoint.max_tokens} for {checkpoint.name}, not {max_tokens}"
        )
    return max_tokens


def _with_instruction(prompt: str, instruction: str, name: str) -> str:
    """`Instruct: {task}\\nQuery:` with another task (the form of Qwen3-Embedding and its kin)."""
    head, found, rest = prompt.partition("Instruct: ")
    _, line, tail = rest.partition("\n")
    if not found or not line:
        raise UsageError(f"{name} takes no instruction; its query prompt is {prompt!r}")
    return f"{head}Instruct: {instruction}\n{tail}"


def _slices(text: str, most: int | None) -> list[str]:
    starts = range(0, max(1, len(text)), _SLICE)
    return [text[start : start + _SLICE] for start in starts[:most]]


def _average(vectors: NDArray[np.float32], owners: list[int], count: int) -> NDArray[np.float32]:
    total = np.zeros((count, vectors.shape[1]), np.float32)
    np.add.at(total, np.array(owners), vectors)
    norms = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.maximum(norms, np.float32(1e-12)), np.float32)
