"""From logits to the next id, as `Sampling` states it; one sampler a generation, with random numbers of its own.

The order is llama.cpp's: penalties, top-k, top-p, min-p, temperature. So top-p and min-p see the model's own
probabilities, whatever the temperature is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.generation_contract import GeneratedToken, Sampling

_PRESELECTED = 4096
"""Ids that top-p is first tried on: sorting 152,000 logits takes 17 ms, selecting and sorting 4,096 takes 1.6."""


class Sampler:
    """Draws the ids of one generation. It counts what it drew and what the prompt held, for the penalties."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int], vocabulary: int, logprobs: int | None) -> None:
        self._how = sampling
        self._logprobs = logprobs
        self._random = np.random.default_rng(sampling.seed)
        self._seen = np.zeros(0, np.bool_)
        self._counts = np.zeros(0, np.int32)
        if sampling.repetition_penalty != 1:
            self._seen = np.zeros(vocabulary, np.bool_)
            self._seen[np.asarray(prompt, np.int64)] = True
        if sampling.presence_penalty or sampling.frequency_penalty:
            self._counts = np.zeros(vocabulary, np.int32)
        self._bias = np.asarray([value for _, value in sampling.bias], np.float32)
        self._biased = np.asarray([number for number, _ in sampling.bias], np.int64)

    def draw(self, logits: NDArray[np.float32], allowed: NDArray[np.bool_] | None = None) -> GeneratedToken:
        """The next id. `allowed` [vocabulary] says which ids a constraint leaves, where there is one."""
        scores = logits
        if len(self._biased):
            scores = scores.copy()
            scores[self._biased] += self._bias
        if len(self._seen):
            scores = scores.copy()
            penalty = np.float32(self._how.repetition_penalty)
            values = scores[self._seen]
            scores[self._seen] = np.where(values > 0, values / penalty, values * penalty)
        if len(self._counts):
            scores = scores - np.float32(self._how.frequency_penalty) * self._counts
            scores -= np.float32(self._how.presence_penalty) * (self._counts > 0)
        if allowed is not None:
            scores = np.where(allowed, scores, np.float32(-np.inf))
        chosen = int(scores.argmax()) if self._how.temperature == 0 else self._sample(scores)
        if len(self._seen):
            self._seen[chosen] = True
        if len(self._counts):
            self._counts[chosen] += 1
        if self._logprobs is None:
            return GeneratedToken(chosen)
        logs = log_softmax(logits)
        top = largest(logs, self._logprobs)
        return GeneratedToken(chosen, float(logs[chosen]), tuple((int(other), float(logs[other])) for other in top))

    def _sample(self, scores: NDArray[np.float32]) -> int:
        how = self._how
        if how.top_k:
            ids = largest(scores, how.top_k)
        elif how.top_p < 1:
            ids = self._nucleus_candidates(scores)
        else:
            ids = np.arange(len(scores))
        kept = scores[ids].astype(np.float64)
        if how.top_p < 1:
            # The smallest set of the likeliest ids that has `top_p` of what top-k left.
            weights = np.exp(kept - kept.max())
            before = np.cumsum(weights) - weights
            whole = weights.sum() if how.top_k else np.exp(scores.astype(np.float64) - kept.max()).sum()
            count = max(1, int((before < how.top_p * whole).sum()))
            ids, kept = ids[:count], kept[:count]
        if how.min_p > 0:
            near = kept >= kept.max() + np.log(how.min_p)
            ids, kept = ids[near], kept[near]
        weights = np.exp((kept - kept.max()) / how.temperature)
        total = np.cumsum(weights)
        drawn = np.searchsorted(total, self._random.random() * total[-1], side="right")
        return int(ids[min(int(drawn), len(ids) - 1)])

    def _nucleus_candidates(self, scores: NDArray[np.float32]) -> NDArray[np.int64]:
        """Ids, likeliest first, that hold the nucleus: a few where they suffice, else all."""
        ids = largest(scores, _PRESELECTED)
        weights = np.exp(scores - scores.max())
        if weights[ids].sum() >= self._how.top_p * weights.sum():
            return ids
        return largest(scores, len(scores))


def largest(values: NDArray[np.floating[Any]], count: int) -> NDArray[np.int64]:
    """Indices of the `count` largest values, largest first; of equal values the lower index first."""
    if 0 < count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
        above = np.flatnonzero(values > least)
        found = np.sort(np.append(above, np.flatnonzero(values == least)[: count - len(above)]))
    else:
        found = np.arange(len(values))[:count]
    return np.asarray(found[np.argsort(-values[found], kind="stable")], np.int64)


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Natural logarithms of the probabilities."""
    wide = logits.astype(np.float64)
    wide -= wide.max()
    return np.asarray(wide - np.log(np.exp(wide).sum()), np.float64)
