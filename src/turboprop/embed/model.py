"""`EmbeddingModel`: texts in, unit vectors out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import xxhash
from numpy.typing import NDArray
from tokenizers import Tokenizer

from turboprop.embed.batching import batches
from turboprop.embed.check import refuse_if_broken
from turboprop.embed.encoder_model import EncoderModel
from turboprop.embed.head import check_takes, finish
from turboprop.embed.input_texts import input_texts
from turboprop.embed.instruction import Side, instructed
from turboprop.embed.options import PLAIN, EmbeddingOptions, checked_limit, checked_width
from turboprop.embed.prepared import PreparedInputs
from turboprop.embed.token_inputs import TokenInputs
from turboprop.embed.units import Texts, TokenIds, Units
from turboprop.engines.contract import Encoder, EngineOptions, own_tokenizer
from turboprop.engines.registry import Choice, load_encoder
from turboprop.errors import InputTooLongError, ModelUnsupportedError, UsageError
from turboprop.models.checkpoint.late import is_late
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.reranker import is_cross_encoder
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.naming import adapted_name
from turboprop.models.resolve import resolve
from turboprop.progress import DownloadProgress
from turboprop.settings import Settings, load_settings
from turboprop.types import Prompts, TokenBatch, WeightFormat

if TYPE_CHECKING:
    from pathlib import Path

    from turboprop.engines.remote.encoder import RemoteEncoder

Overlong = Literal["error", "truncate", "average"]
KNOWN_QUERIES = 1_024
"""Vectors of queries that are remembered: 4 MB with 1,024 dimensions."""
_SLICE = 200_000
"""Characters that are tokenized at once where a text may be cut or averaged."""


class EmbeddingModel(EncoderModel):
    """A loaded embedding model. Use it as a context manager, or call `close()`.

    Calls from several threads are served one after the other. It can be pickled: by the name and the options that it
    was loaded with, so a process that unpickles it loads the model for itself.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        encoder: Encoder,
        settings: Settings,
        dimensions: int | None,
        max_tokens: int | None,
        engine: Choice,
    ) -> None:
        if checkpoint.endpoint is not None:
            checkpoint = _as_served(checkpoint, encoder)
        super().__init__(checkpoint, encoder, engine)
        self._server_prompts = checkpoint.endpoint is not None and cast("RemoteEncoder", encoder).server.is_ours
        check_takes(checkpoint, checkpoint.dense, encoder.dimensions)
        self._settings = settings
        self._tokenizer = None
        if checkpoint.endpoint is None:
            self._tokenizer = own_tokenizer(encoder) or checkpoint.tokenizer()
        self._token_inputs = None
        if checkpoint.late is not None and self._tokenizer is not None:
            self._token_inputs = TokenInputs(checkpoint, self._tokenizer)
        self._units: Units = Texts(whole=self._server_prompts) if self._tokenizer is None else TokenIds(self._tokenizer)
        self._queries: OrderedDict[tuple[str, EmbeddingOptions, str], NDArray[np.float32]] = OrderedDict()
        self._full_width = checkpoint.dense[-1].weight.shape[0] if checkpoint.dense else encoder.dimensions
        wanted = checkpoint.default_width if dimensions is None else dimensions
        self._cut = checked_width(wanted, self._full_width, checkpoint)
        self._max_tokens = checked_limit(max_tokens, checkpoint)
        self._tokens_embedded = 0

    @classmethod
    def load(
        cls,
        name_or_path: str | None = None,
        *,
        adapter: str | Path | None = None,
        dimensions: int | None = None,
        weights: WeightFormat | None = None,
        engine: str | None = None,
        device: str = "auto",
        max_tokens: int | None = None,
        stretch: float | None = None,
        memory: int | None = None,
        progress: DownloadProgress | None = None,
        self_test: bool = True,
        settings: Settings | None = None,
    ) -> Self:
        """Load by catalogue name, hub id, file or folder; None means the default model.

        `adapter` is the folder of a LoRA as PEFT saves it, which is merged into the weights; `NAME+lora:FOLDER` says
        the same in one name.
        `dimensions` cuts the vectors of a Matryoshka model; `weights` is a format that the engine has, or auto;
        `max_tokens` lowers the model's limit (special tokens included); `stretch` lets nomic-bert models
        take inputs that many times as long as they were trained on. `memory` is in bytes and bounds a
        conversion; `progress` is told of a download and of a conversion. A model that fails the cheap part
        of its self-test is refused, unless `self_test` is off. Raises `ModelNotFoundError`,
        `ModelFormatError`, `DownloadError`, `ModelUnsupportedError`, `EngineError` or `UsageError`.
        """
        settings = settings or load_settings()
        local = resolve(adapted_name(name_or_path or settings.model, adapter), settings, progress=progress)
        stated = local.endpoint or local.row
        pairs = stated is not None and stated.kind == "reranker" and not is_late(local.path)
        if pairs or is_cross_encoder(local.path):
            raise ModelUnsupportedError(f"{local.name} is a reranker: it scores pairs of texts and has no vectors")
        checkpoint = open_checkpoint(local)
        if stretch is not None:
            checkpoint = checkpoint.extended(stretch)
        options = EngineOptions(
            weights or (settings.weights if local.endpoint is None else "auto"),
            settings.threads,
            settings.cache_home,
            memory,
            progress,
            device=device,
            engine=engine or (settings.engine if local.endpoint is None else "auto"),
            programs=settings.programs,
            gpu_layers=settings.gpu_layers,
        )
        encoder, choice = load_encoder(checkpoint, options)
        try:
            model = cls(checkpoint, encoder, settings, dimensions, max_tokens, choice)
            if self_test:
                refuse_if_broken(model, settings.cache_home)
        except BaseException:
            encoder.close()
            raise
        again: dict[str, Any] = {
            "dimensions": dimensions,
            "weights": weights,
            "engine": engine,
            "device": device,
            "max_tokens": max_tokens,
            "stretch": stretch,
            "memory": memory,
            "self_test": self_test,
            "settings": settings,
        }
        return model._remember(local, name_or_path or settings.model, again)

    @property
    def settings(self) -> Settings:
        """The settings that it was loaded with."""
        return self._settings

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer as the model uses it; None where the model runs behind an address."""
        return self._tokenizer

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
        return self._units.tokens(self._units.inputs(input_texts(texts, "count_tokens"), self.prompts.document))

    def fits(self, texts: Sequence[str]) -> list[bool]:
        """Which texts the model takes whole as documents."""
        # Over 64 characters a token is taken as too long without tokenizing it: a line can have megabytes.
        texts = input_texts(texts, "fits")
        short = [text for text in texts if len(text) <= self._max_tokens * 64]
        counts = iter(self.count_tokens(short))
        return [len(text) <= self._max_tokens * 64 and next(counts) <= self._max_tokens for text in texts]

    def embed_documents(
        self,
        texts: Sequence[str],
        options: EmbeddingOptions = PLAIN,
        *,
        overlong: Overlong = "error",
        batch_tokens: int | None = None,
    ) -> NDArray[np.float32]:
        """float32 [n, dimensions], in the order of `texts`; equal texts are computed once.

        `texts` may be a column of strings of NumPy, PyArrow, pandas or Polars. Raises `UsageError` that names the
        first item that is no text.

        A text of more tokens than the limit raises `InputTooLongError`, or is cut (`truncate`), or is the
        mean of the vectors of its parts (`average`). `batch_tokens` run together, padding included (None: what suits
        the engine): fewer take less memory, and a longer input runs alone.
        """
        texts = input_texts(texts, "embed_documents")
        return self.compute(self.prepare(texts, "document", options, overlong=overlong), batch_tokens)

    def embed_queries(
        self, texts: Sequence[str], options: EmbeddingOptions = PLAIN, *, overlong: Overlong = "error"
    ) -> NDArray[np.float32]:
        """float32 [n, dimensions], in the order of `texts`; over-long ones as in `embed_documents`."""
        texts = input_texts(texts, "embed_queries")
        return self.compute(self.prepare(texts, "query", options, overlong=overlong))

    def embed_tokens(
        self, texts: Sequence[str], side: Side = "document", *, batch_tokens: int | None = None
    ) -> list[NDArray[np.float32]]:
        """Of each text float32 [tokens, width]: unit vectors of its tokens, of a late-interaction model.

        A text is cut to the length that the model states for its side; tokens of its skiplist have no vector in a
        document. Raises `ModelUnsupportedError` for a model that has one vector a text.
        """
        texts = input_texts(texts, "embed_tokens")
        if self._token_inputs is None:
            raise ModelUnsupportedError(
                f"{self.name} has one vector for a text, which embed_documents and embed_queries give; vectors of "
                "tokens are of late-interaction models (ColBERT)"
            )
        prompt = self.prompts.query if side == "query" else self.prompts.document
        with self._lock:  # the tokenizer's switches belong to it, not to the call
            inputs = self._token_inputs.make([prompt + text for text in texts], side)
        lengths = [len(one.ids) for one in inputs]
        vectors: list[NDArray[np.float32]] = [np.empty((0, self._full_width), np.float32)] * len(inputs)
        for chosen in batches(lengths, batch_tokens or self.plan.batch_tokens, self.plan.padded_to):
            ids = np.concatenate([np.asarray(inputs[index].ids, np.int32) for index in chosen])
            seen = np.array([inputs[index].seen for index in chosen], np.int32)
            batch = TokenBatch(ids, np.array([lengths[index] for index in chosen], np.int32), seen=seen)
            kept = np.concatenate([np.asarray(inputs[index].kept, np.bool_) for index in chosen])
            found = finish(self.run(batch)[kept], self._checkpoint, None, normalize=True)
            ends = np.cumsum([sum(inputs[index].kept) for index in chosen])[:-1]
            for index, part in zip(chosen, np.split(found, ends), strict=True):
                vectors[index] = part
        return vectors

    def embed_query(
        self,
        text: str,
        options: EmbeddingOptions = PLAIN,
        *,
        overlong: Overlong = "truncate",
        compute: Callable[[PreparedInputs], NDArray[np.float32]] | None = None,
    ) -> NDArray[np.float32]:
        """float32 [dimensions] of one query; the last `KNOWN_QUERIES` different ones are remembered.

        `compute` runs what is prepared where it is not to run in this call alone.
        """
        if not isinstance(text, str):
            raise UsageError(f"embed_query takes one text, not {type(text).__name__}; embed_queries takes several")
        key = (text, options, overlong)
        with self._lock:
            if key in self._queries:
                self._queries.move_to_end(key)
                return self._queries[key].copy()
        prepared = self.prepare([text], "query", options, overlong=overlong)
        vector: NDArray[np.float32] = (compute or self.compute)(prepared)[0]
        with self._lock:
            self._queries[key] = vector.copy()
            if len(self._queries) > KNOWN_QUERIES:
                self._queries.popitem(last=False)
        return vector

    async def aembed(
        self,
        texts: Sequence[str],
        options: EmbeddingOptions = PLAIN,
        *,
        side: Side = "document",
        overlong: Overlong = "error",
    ) -> NDArray[np.float32]:
        """`embed_documents`, or with `side="query"` `embed_queries`, in a thread: the event loop goes on meanwhile."""
        import asyncio  # 40 ms that nobody else needs

        embed = self.embed_documents if side == "document" else self.embed_queries
        return await asyncio.to_thread(embed, texts, options, overlong=overlong)

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
        self._queries.clear()
        super().close()

    def prepare(
        self, texts: Sequence[str], side: Side, options: EmbeddingOptions = PLAIN, *, overlong: Overlong = "error"
    ) -> PreparedInputs:
        """Tokenize texts for one side; what is prepared apart may run together (`run`, `finish`, `assemble`).

        Raises `InputTooLongError` and `UsageError` as `embed_documents` does.
        """
        self._refuse_late()
        prompt = self.prompts.query if side == "query" else self.prompts.document
        asked: tuple[tuple[str, str], ...] = ()
        if self._server_prompts:
            asked = (("input_type", side), ("overlong", overlong))
            asked += (("instruction", options.instruction),) if options.instruction is not None else ()
        elif options.instruction is not None:
            prompt = instructed(self._checkpoint, side, options.instruction)
        limit = self._max_tokens if options.max_length is None else checked_limit(options.max_length, self._checkpoint)
        limit = self._units.limit(limit)
        slots: dict[str, int] = {}
        texts = input_texts(texts, "prepare")
        where = [slots.setdefault(text, len(slots)) for text in texts]
        inputs, owners, cut = self._inputs(list(slots), prompt, limit, overlong)
        skip = 0
        if prompt and not self._checkpoint.pool_prompt:  # [CLS] goes with the prompt
            skip = self._units.edges()[0] + self._units.prompt_size(prompt)
        shortened = sum(index in cut for index in where)
        return self._prepared(inputs, owners, where, skip, options, asked, shortened)

    def prepare_ids(
        self, ids: Sequence[Sequence[int]], options: EmbeddingOptions = PLAIN, *, overlong: Overlong = "error"
    ) -> PreparedInputs:
        """The same for token ids, which run as they are: no prompt and no special token is added."""
        self._refuse_late()
        if self._tokenizer is None:
            raise UsageError(f"{self.name} runs behind an address, which takes texts; it has no token ids here")
        vocabulary = self._tokenizer.get_vocab_size()
        limit = self._max_tokens if options.max_length is None else checked_limit(options.max_length, self._checkpoint)
        inputs = [list(each) for each in ids]
        for number, each in enumerate(inputs):
            if not each:
                raise UsageError(f"input {number + 1} has no token")
            if not 0 <= min(each) <= max(each) < vocabulary:
                raise UsageError(
                    f"input {number + 1} holds an id outside of 0 to {vocabulary - 1}, which {self.name} has"
                )
            if len(each) > limit and overlong == "error":
                raise InputTooLongError(
                    f"input {number + 1} has {len(each)} tokens and the limit of {self.name} is {limit}; "
                    "split it, or ask for truncation"
                )
        places = list(range(len(inputs)))
        shortened = sum(len(each) > limit for each in inputs)
        return self._prepared([each[:limit] for each in inputs], places, places, 0, options, shortened=shortened)

    def compute(self, prepared: PreparedInputs, batch_tokens: int | None = None) -> NDArray[np.float32]:
        """Run what was prepared, float32 [texts, `prepared.width`]; `batch_tokens` as for `embed_documents`."""
        vectors = np.empty((len(prepared.inputs), prepared.width), np.float32)
        if self._tokenizer is None:  # what is computed elsewhere takes no memory here
            batch_tokens = None
        for chosen in batches(prepared.lengths, batch_tokens or self.plan.batch_tokens, self.plan.padded_to):
            pooled = self.run(self.batch([prepared.inputs[index] for index in chosen], prepared))
            vectors[chosen] = self.finish(pooled, prepared)
        return prepared.assemble(vectors)

    def run(self, batch: TokenBatch) -> NDArray[np.float32]:
        """Pooled vectors of a batch as they come from the engine; `finish` makes them what was asked for."""
        if self._tokenizer is None:  # requests of several threads run beside each other
            pooled = self._encoder.encode(batch)
            self._tokens_embedded = cast("RemoteEncoder", self._encoder).tokens
            return pooled
        with self._lock:
            pooled = self._encoder.encode(batch)
            self._tokens_embedded += len(batch.ids)
        return pooled

    def batch(self, inputs: Sequence[Any], like: PreparedInputs) -> TokenBatch:
        """Inputs of `like`, or of others with the same `skip` and `asked`, as `run` takes them."""
        return self._units.batch(inputs, like.skip, like.asked)

    def finish(self, pooled: NDArray[np.float32], prepared: PreparedInputs) -> NDArray[np.float32]:
        """float32 [n, `prepared.width`]: cut and normalised. Raises `EngineError` for a non-finite vector."""
        return finish(pooled, self._checkpoint, prepared.cut, normalize=prepared.normalize)

    def _refuse_late(self) -> None:
        if self._checkpoint.late is not None:
            raise ModelUnsupportedError(
                f"{self.name} is a late-interaction model (ColBERT): it has a vector for each token and none for a "
                f"text, so no index is made with it; `tp search --rerank {self.name}` reads the hits again with it"
            )

    def _prepared(
        self,
        inputs: list[Any],
        owners: list[int],
        where: list[int],
        skip: int,
        options: EmbeddingOptions,
        asked: tuple[tuple[str, str], ...] = (),
        shortened: int = 0,
    ) -> PreparedInputs:
        cut = self._cut
        if options.dimensions is not None:
            cut = checked_width(options.dimensions, self._full_width, self._checkpoint)
        normalize = options.normalize
        if normalize is None:  # a cut vector has another length than the whole one
            normalize = self._checkpoint.normalize or cut is not None
        return PreparedInputs(inputs, owners, where, skip, cut, cut or self._full_width, normalize, asked, shortened)

    def _inputs(
        self, texts: list[str], prompt: str, limit: int, overlong: Overlong
    ) -> tuple[list[Any], list[int], set[int]]:
        """Inputs to run, for each the index of the text that it belongs to, and which texts were cut."""
        short: set[int] = set()
        slices, slice_owners = texts, list(range(len(texts)))
        if overlong != "error":  # the tokenizer takes no text of any length
            step = min(_SLICE, self._units.longest_text - len(prompt))
            cut = [_slices(text, step, 1 if overlong == "truncate" else None) for text in texts]
            short = {index for index, text in enumerate(texts) if overlong == "truncate" and len(text) > step}
            slices = [part for parts in cut for part in parts]
            slice_owners = [index for index, parts in enumerate(cut) for _ in parts]
        inputs: list[Any] = []
        owners: list[int] = []
        for index, ids in zip(slice_owners, self._units.inputs(slices, prompt), strict=True):
            if len(ids) <= limit:
                parts = [ids]
            elif overlong == "error":
                raise InputTooLongError(
                    f"text {index + 1} has {len(ids)} {self._units.name} and the limit of {self.name} is {limit}; "
                    "split it, or ask for truncation"
                )
            else:
                parts = self._windows(ids, prompt, limit)
                if overlong == "truncate":
                    parts = parts[:1]
                    short.add(index)
            inputs.extend(parts)
            owners.extend([index] * len(parts))
        return inputs, owners, short

    def _windows(self, ids: Any, prompt: str, limit: int) -> list[Any]:
        """Cut an over-long input into windows that each keep the prompt and the special tokens."""
        before, after = self._units.edges()
        head = before + self._units.prompt_size(prompt)
        if head + after >= limit:
            raise UsageError(
                f"the prompt {prompt!r} alone takes {head + after} of the {limit} {self._units.name}; allow more"
            )
        body = ids[head : len(ids) - after]
        room = limit - head - after
        tail = ids[len(ids) - after :]
        return [ids[:head] + body[start : start + room] + tail for start in range(0, len(body), room)]


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
        # What a server says of its context may be missing one day; what the user says counts.
        max_tokens if checkpoint.endpoint is None else checkpoint.endpoint.context,
        *([checkpoint.late] if checkpoint.late is not None else []),
        *([stretched] if (stretched := checkpoint.config.get("rotary_scaling_factor")) else []),
    )
    return xxhash.xxh3_128_hexdigest(repr(parts).encode())


def _as_served(checkpoint: Checkpoint, encoder: Encoder) -> Checkpoint:
    """What is known of a model behind an address once it was asked."""
    server = cast("RemoteEncoder", encoder).server
    checkpoint = replace(checkpoint, max_tokens=server.context or checkpoint.max_tokens)
    if not server.is_ours:
        return checkpoint
    # It puts the prompts itself, and its vectors are done: made unit length again they would move by rounding.
    return replace(checkpoint, prompts=Prompts(), normalize=False)


def _slices(text: str, step: int, most: int | None) -> list[str]:
    starts = range(0, max(1, len(text)), max(1, step))
    return [text[start : start + step] for start in starts[:most]]
