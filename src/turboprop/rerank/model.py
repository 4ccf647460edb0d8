"""`Reranker`: a query and documents in, one score for each document out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, cast

import numpy as np
from numpy.typing import NDArray

from turboprop.embed.batching import batches
from turboprop.embed.encoder_model import EncoderModel
from turboprop.embed.input_texts import input_texts
from turboprop.embed.model import EmbeddingModel
from turboprop.engines.contract import EngineOptions
from turboprop.engines.registry import Choice, choose, load_encoder
from turboprop.errors import ModelUnsupportedError, UsageError
from turboprop.models.checkpoint.reranker import RerankerCheckpoint, open_reranker
from turboprop.models.naming import adapted_name
from turboprop.models.resolve import resolve
from turboprop.rerank.head import check_head, score
from turboprop.rerank.inputs import INSTRUCTION, Input, inputs_of
from turboprop.rerank.late import LateScorer
from turboprop.settings import Settings, load_settings
from turboprop.types import TokenBatch, WeightFormat

if TYPE_CHECKING:
    from pathlib import Path

    from turboprop.engines.contract import Encoder
    from turboprop.engines.remote.reranker import RemoteReranker
    from turboprop.progress import DownloadProgress


class Reranker(EncoderModel):
    """A loaded reranker. Use it as a context manager, or call `close()`.

    Calls from several threads are served one after the other.
    """

    def __init__(self, opened: RerankerCheckpoint, encoder: Encoder, engine: Choice, settings: Settings) -> None:
        super().__init__(opened.checkpoint, encoder, engine)
        self._form = opened.form
        self._head = opened.head
        self._tokens_scored = 0
        self._remote: RemoteReranker | None = None
        self._late: LateScorer | None = None
        if opened.checkpoint.endpoint is not None:
            self._remote = cast("RemoteReranker", encoder)
            return
        if opened.form == "tokens":
            model = EmbeddingModel(opened.checkpoint, encoder, settings, None, None, engine)
            self._late = LateScorer(model)
            return
        self._inputs = inputs_of(opened, opened.checkpoint.max_tokens)
        check_head(self.name, self._head, encoder.dimensions)

    @classmethod
    def load(
        cls,
        name_or_path: str,
        *,
        adapter: str | Path | None = None,
        engine: str | None = None,
        weights: WeightFormat | None = None,
        device: str = "auto",
        memory: int | None = None,
        progress: DownloadProgress | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Load by catalogue name, hub id, file or folder. `adapter` is the folder of a LoRA that is merged into it.

        `weights` is a format that the engine has, or auto; `memory` is in bytes and bounds a conversion; `progress` is
        told of a download and of a conversion. The head runs in float32 whatever the weights are. Raises
        `ModelNotFoundError`, `ModelFormatError`, `DownloadError`, `ModelUnsupportedError` (a model of
        another kind, too), `EngineError` or `UsageError`.
        """
        settings = settings or load_settings()
        local = resolve(adapted_name(name_or_path, adapter), settings, progress=progress)
        stated = local.endpoint or local.row
        if stated is not None and stated.kind not in (None, "reranker"):
            raise ModelUnsupportedError(
                f"{local.name} is a model of the kind {stated.kind}; `tp model list` shows which are rerankers"
            )
        opened = open_reranker(local)
        options = EngineOptions(
            weights or "auto",
            settings.threads,
            settings.cache_home,
            memory,
            progress,
            device=device,
            engine=engine or "auto",
            programs=settings.programs,
            gpu_layers=settings.gpu_layers,
        )
        again = {"engine": engine, "weights": weights, "device": device, "memory": memory, "settings": settings}
        if local.endpoint is not None:
            from turboprop.engines.remote import load_reranker

            choice = choose(opened.checkpoint, "reranker", options)
            remote = cast("Encoder", load_reranker(opened.checkpoint))
            return cls(opened, remote, choice, settings)._remember(local, name_or_path, again)
        encoder, choice = load_encoder(opened.checkpoint, options, "reranker")
        try:
            return cls(opened, encoder, choice, settings)._remember(local, name_or_path, again)
        except BaseException:
            encoder.close()
            raise

    @property
    def max_tokens(self) -> int:
        """Tokens of query and document together at most, special tokens or prompt included."""
        return self._checkpoint.max_tokens

    @property
    def takes_instruction(self) -> bool:
        """Whether the task can be said in words, as for Qwen3-Reranker."""
        return self._form == "prompt" and self._remote is None

    @property
    def is_late(self) -> bool:
        """Whether it compares token vectors (late interaction), so that those of documents are computed once."""
        return self._late is not None

    @property
    def tokens_scored(self) -> int:
        """Tokens that went through the model since it was loaded, padding not counted; a server's are estimated."""
        if self._late is not None:
            return self._late.model.tokens_embedded
        return self._tokens_scored if self._remote is None else self._remote.scored

    def inputs(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> list[Input]:
        """What the model reads of a query and each document: token ids, cut to `max_tokens`."""
        documents = input_texts(documents, "a reranker")
        if instruction is not None and not self.takes_instruction:
            raise UsageError(f"{self.name} takes no instruction; leave it out")
        if not documents:
            return []
        if self._late is not None:
            raise UsageError(f"{self.name} reads query and documents apart; `EmbeddingModel.embed_tokens` shows them")
        if self._remote is not None:
            raise UsageError(f"{self.name} runs behind an address; what it reads of texts is known there alone")
        with self._lock:  # the tokenizer's switches belong to it, not to the call
            return self._inputs.make(query, documents, instruction or INSTRUCTION)

    def scores(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> NDArray[np.float32]:
        """float32 [n], higher for what answers the query better, in the order of `documents`.

        The raw logit of a model with one label; the logit of yes (or of the relevant label) less that of
        the other where a model has two, which is the log-odds of yes. `1 / (1 + exp(-score))` is the
        probability. Of a late-interaction model the mean over the tokens of the query of the largest cosine to a token
        of the document (MaxSim). Scores of different models do not compare. Texts that are too long are cut, the
        document before the query. `instruction` is the task, for models that take one.
        """
        documents = input_texts(documents, "a reranker")
        if self._late is not None:
            if instruction is not None:
                raise UsageError(f"{self.name} takes no instruction; leave it out")
            return self._late.scores(query, documents) if documents else np.empty(0, np.float32)
        if self._remote is not None:
            if instruction is not None:
                raise UsageError(f"{self.name} takes no instruction; leave it out")
            return self._remote.scores(query, documents) if documents else np.empty(0, np.float32)
        inputs = self.inputs(query, documents, instruction=instruction)
        lengths = [len(one.ids) for one in inputs]
        scores = np.empty(len(inputs), np.float32)
        for chosen in batches(lengths, self.plan.batch_tokens, self.plan.padded_to):
            batch = TokenBatch(
                np.concatenate([np.asarray(inputs[index].ids, np.int32) for index in chosen]),
                np.array([lengths[index] for index in chosen], np.int32),
                second=np.array([inputs[index].second for index in chosen], np.int32),
            )
            with self._lock:
                pooled = self._encoder.encode(batch)
                self._tokens_scored += len(batch.ids)
            scores[chosen] = score(pooled, self._head, self.name)
        return scores

    def chances(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> NDArray[np.float64]:
        """float64 [n], 0 to 1: the probabilities of the scores; of a late-interaction model the scores above 0."""
        scores = self.scores(query, documents, instruction=instruction).astype(np.float64)
        return np.clip(scores, 0, 1) if self.is_late else 1 / (1 + np.exp(-scores))

    def close(self) -> None:
        """Give the memory back; a second call does nothing."""
        if self._late is not None:
            self._late.close()
        super().close()
