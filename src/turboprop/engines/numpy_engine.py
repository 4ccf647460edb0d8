"""The readable engine: every architecture in float32 with numpy alone.

It runs where no kernels were compiled, and is what the tests of the other engines compare with. Values are float32
arrays [tokens, features]; the tokens of all inputs lie end to end.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from turboprop.architectures.ops import Architecture, Attention, Experts, Rope
from turboprop.engines.contract import EngineOptions, Plan
from turboprop.engines.conversion import check_memory
from turboprop.engines.pooling import begins_of, pool
from turboprop.engines.rotation import Rotation
from turboprop.engines.shape import as_format_error, read_language_model, read_shape
from turboprop.engines.step import BLOCK, StepBatch, StepInterruptedError
from turboprop.errors import EngineError, ModelFormatError, ModelUnsupportedError
from turboprop.models.checkpoint.tensors import StoredTensor
from turboprop.models.checkpoint.view import Checkpoint
from turboprop.models.kind import Kind
from turboprop.types import TokenBatch

if TYPE_CHECKING:
    from turboprop.engines.paged_generator import PagedGenerator

Array = NDArray[np.float32]
_MEAN_ROWS = 1 << 14
"""Rows that are gathered at a time: 16,384 of 256 features are 16 MB."""


class Float32Weights(Mapping[str, Array]):
    """A checkpoint's weights by canonical name, each read when it is first asked for."""

    def __init__(self, tensors: Mapping[str, StoredTensor], names: Mapping[str, str]) -> None:
        self._tensors, self._names = tensors, names
        self._read: dict[str, Array] = {}

    def __getitem__(self, weight: str) -> Array:
        if weight not in self._read:
            tensor = self._tensors[self._names[weight]]
            values = tensor.dequantize()
            tensor.release()
            if not np.isfinite(values).all():
                raise ModelFormatError(f"the tensor {self._names[weight]!r} holds values that are not finite")
            self._read[weight] = values
        return self._read[weight]

    def __contains__(self, weight: object) -> bool:
        return weight in self._names

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class NumpyOps:
    """The vocabulary of `architectures.ops`, each operation computed as it is called.

    `caches` holds keys and values [slots, heads, features] of each layer; a layer without one takes those of the batch.
    """

    def __init__(
        self,
        weights: Mapping[str, Array],
        batch: StepBatch,
        caches: list[tuple[Array, Array]] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._weights, self._batch, self._caches, self._stop = weights, batch, caches, stop
        self.layers: list[Attention] = []

    def has(self, weight: str) -> bool:
        return weight in self._weights

    def mean(self, table: str, rows: str, factors: str) -> Array:
        values = self._weights[table]
        row = self._weights[rows] if self.has(rows) else None
        factor = self._weights[factors] if self.has(factors) else None
        means = np.zeros((len(self._batch.begins) - 1, values.shape[1]), np.float32)
        for number, (begin, end) in enumerate(pairwise(self._batch.begins.tolist())):
            total = np.zeros(values.shape[1])
            for start in range(begin, end, _MEAN_ROWS):
                ids = self._batch.ids[start : min(start + _MEAN_ROWS, end)]
                part = values[ids if row is None else row[ids].astype(np.int32)]
                total += part.sum(0, dtype=np.float64) if factor is None else factor[ids].astype(np.float64) @ part
            if begin < end:
                means[number] = total / (end - begin)
        return means

    def _rows(self, weight: str, numbers: NDArray[np.int32], what: str) -> Array:
        table = self._weights[weight]
        if not 0 <= numbers.min() <= numbers.max() < len(table):
            raise EngineError(
                f"the model has {what} of tokens from 0 to {len(table) - 1}, and the input has {numbers.min()} to "
                f"{numbers.max()}: its files do not belong together; download it again"
            )
        return table[numbers]

    def tokens(self, weight: str) -> Array:
        return self._rows(weight, self._batch.ids, "ids")

    def positions(self, weight: str, offset: int = 0) -> Array:
        return self._rows(weight, self._batch.positions + np.int32(offset), "positions")

    def row(self, weight: str, index: int) -> Array:
        return np.asarray(self._weights[weight][index])

    def types(self, weight: str) -> Array:
        types = self._batch.types
        return self._rows(weight, np.zeros_like(self._batch.ids) if types is None else types, "types")

    def linear(self, x: Array, weight: str, bias: str | None = None) -> Array:
        if self._stop is not None and self._stop.is_set():
            raise StepInterruptedError
        product: Array = x @ self._weights[weight].T
        return product if bias is None else product + self._weights[bias]

    def layer_norm(self, x: Array, weight: str | None, bias: str | None, eps: float) -> Array:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + np.float32(eps))
        scaled: Array = x if weight is None else x * self._weights[weight]
        return scaled if bias is None else scaled + self._weights[bias]

    def rms_norm(self, x: Array, weight: str, eps: float, *, offset: float = 0.0, per_head: int | None = None) -> Array:
        parts = x.reshape(len(x), -1, per_head or x.shape[1])
        size = np.sqrt((parts * parts).mean(-1, keepdims=True) + np.float32(eps))
        return np.asarray(parts / size * (self._weights[weight] + np.float32(offset))).reshape(x.shape)

    def rope(self, x: Array, head_dim: int, rope: Rope) -> Array:
        if rope.factors_weight:
            rope = replace(rope, factors=tuple(map(float, self._weights[rope.factors_weight])), factors_weight="")
        cosine, sine = Rotation(rope).rows(self._batch)[:, :, None].swapaxes(0, 1)
        turned = x.reshape(len(x), -1, head_dim).copy()
        half = rope.dims // 2
        a, b = (slice(0, rope.dims, 2), slice(1, rope.dims, 2))
        if rope.pairing == "half":
            a, b = slice(0, half), slice(half, rope.dims)
        first, second = turned[:, :, a].copy(), turned[:, :, b].copy()
        turned[:, :, a] = first * cosine - second * sine
        turned[:, :, b] = second * cosine + first * sine
        return turned.reshape(x.shape)

    def attention(self, q: Array, k: Array, v: Array, how: Attention) -> Array:
        batch, layer = self._batch, len(self.layers)
        self.layers.append(how)
        queries = q.reshape(len(q), how.kv_heads, -1, how.head_dim)
        keys, values = (x.reshape(len(x), how.kv_heads, how.head_dim) for x in (k, v))
        out = np.empty_like(queries)
        for number, (begin, end) in enumerate(pairwise(batch.begins)):
            if begin == end:
                continue
            past = int(batch.past[number])
            seen_keys, seen_values = keys[begin:end], values[begin:end]
            if self._caches is not None:
                at = np.arange(past + end - begin)
                slots = batch.blocks[batch.block_begins[number] + at // BLOCK] * BLOCK + at % BLOCK
                for cache, new in zip(self._caches[layer], (seen_keys, seen_values), strict=True):
                    cache[slots[past:]] = new
                seen_keys, seen_values = (cache[slots] for cache in self._caches[layer])
            i, j = np.arange(past, past + end - begin)[:, None], np.arange(len(seen_keys))
            visible = j <= i if how.causal else np.ones((end - begin, len(j)), bool)
            if how.window is not None:
                visible = visible & (np.abs(i - j) < how.window)
            if batch.seen is not None:
                last = int(batch.seen[number]) - 1
                visible = visible & (j <= last)
                visible[~visible.any(1), last] = True  # a window behind all that is seen
            # [kv heads, queries of each, tokens, features] by [kv heads, 1, features, tokens]
            scores = queries[begin:end].transpose(1, 2, 0, 3) @ seen_keys.transpose(1, 2, 0)[:, None]
            scores *= np.float32(how.scale)
            if how.cap:
                scores = self.cap(scores, how.cap)
            scores = np.where(visible, scores, -np.inf)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            out[begin:end] = (weights @ seen_values.transpose(1, 0, 2)[:, None]).transpose(2, 0, 1, 3)
        return out.reshape(len(q), -1)

    def activation(self, x: Array, kind: Literal["gelu", "gelu_tanh", "silu", "relu", "tanh"]) -> Array:
        if kind == "gelu":
            return np.asarray(x * (1 + _erf(x * np.sqrt(0.5))) / 2, np.float32)
        if kind == "gelu_tanh":  # Hendrycks and Gimpel 2016, arXiv 1606.08415
            return np.asarray(x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2, np.float32)
        if kind == "silu":
            return np.asarray(x / (1 + np.exp(-x)))
        return np.asarray(np.maximum(x, 0) if kind == "relu" else np.tanh(x))

    def add(self, x: Array, y: Array) -> Array:
        return x + y

    def multiply(self, x: Array, y: Array) -> Array:
        return x * y

    def scale(self, x: Array, factor: float) -> Array:
        return x * np.float32(factor)

    def cap(self, x: Array, most: float) -> Array:
        return np.asarray(np.tanh(x / np.float32(most)) * np.float32(most))

    def experts(self, x: Array, logits: Array, weights: str, how: Experts) -> Array:
        if logits.shape[1] != how.count:
            raise TypeError(f"a router of {logits.shape[1]} outputs for {how.count} experts")
        order = np.argsort(-logits, axis=1, kind="stable")[:, : how.top]
        chosen = np.take_along_axis(logits, order, 1)
        if how.scores == "sigmoid":
            shares = 1 / (1 + np.exp(-chosen))
        else:
            most = chosen[:, :1]
            parts = np.exp(chosen - most)
            shares = parts / (parts if how.normalized else np.exp(logits - most)).sum(1, keepdims=True)
        total = np.zeros_like(x)
        for number in np.unique(order):
            rows, slots = np.nonzero(order == number)
            name = f"{weights}.{number}"
            taken = x[rows]
            inner = self.activation(self.linear(taken, f"{name}.gate.weight"), how.activation)
            inner = inner * self.linear(taken, f"{name}.up.weight")
            total[rows] += self.linear(inner, f"{name}.down.weight") * shares[rows, slots][:, None]
        return total

    def split(self, x: Array, sizes: tuple[int, ...]) -> tuple[Array, ...]:
        return tuple(np.split(x, np.cumsum(sizes)[:-1], -1))


def _erf(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Abramowitz and Stegun 7.1.26: within 1.5e-7."""
    size = np.abs(x.astype(np.float64))
    t = 1 / (1 + 0.3275911 * size)
    p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(np.copysign(1 - p * np.exp(-size * size), x))


def _one_token() -> StepBatch:
    """A batch of one token, which shows whether shapes meet."""
    zero, ends = np.zeros(1, np.int32), np.array([0, 1], np.int32)
    return StepBatch(zero, zero, ends, zero, zero, ends, zero)


class NumpyEncoder:
    """An embedding model; see `contract.Encoder`."""

    def __init__(self, checkpoint: Checkpoint, module: Architecture, hp: Any, weights: Float32Weights) -> None:
        self._module, self._hp, self._pairs = module, hp, checkpoint.pairs
        self._weights: Float32Weights | None = weights
        self._pooling = checkpoint.pooling
        self._unknown = -1 if checkpoint.unknown_token is None else checkpoint.unknown_token
        self._averages = "table" in weights
        self._vocabulary = _checked_table(checkpoint.name, weights) if self._averages else len(weights["tokens"])
        self._width = self._hidden(weights, _one_token()).shape[1]

    @property
    def dimensions(self) -> int:
        return int(self._width * (1 if self._averages else len(self._pooling)))

    def _hidden(self, weights: Float32Weights, batch: StepBatch) -> Array:
        with np.errstate(all="ignore"):
            return self._module.forward(NumpyOps(weights, batch), self._hp)

    def encode(self, batch: TokenBatch) -> Array:
        if self._weights is None:
            raise EngineError("this model is closed; load it again")
        if len(batch.ids) and batch.ids.view(np.uint32).max() >= self._vocabulary:  # a negative id is a large one
            raise EngineError(
                f"the tokenizer gave the id {batch.ids.max()} and the model has {self._vocabulary} tokens: "
                "it is the tokenizer of another model"
            )
        if self._averages:
            return self._hidden(self._weights, _counted(batch, self._unknown))
        lengths = batch.lengths.astype(np.int32)
        begins = begins_of(lengths)
        positions = np.arange(len(batch.ids), dtype=np.int32) - np.repeat(begins[:-1], lengths).astype(np.int32)
        if not len(batch.ids):
            rows = 0 if self._pooling == ("tokens",) else len(lengths)
            return np.zeros((rows, self.dimensions), np.float32)
        types = None
        if self._pairs and batch.second is not None:
            types = (positions >= np.repeat(batch.second, lengths)).astype(np.int32)
        none = np.zeros(len(lengths), np.int32)
        inputs = StepBatch(batch.ids.astype(np.int32), positions, begins, none, none, none, none, types, batch.seen)
        hidden = self._hidden(self._weights, inputs)
        return pool(hidden, begins, batch.skip, self._pooling)

    def close(self) -> None:
        self._weights = None


def _checked_table(name: str, weights: Float32Weights) -> int:
    """How many tokens a table has. Raises `ModelFormatError` where its parts do not belong together."""
    table, rows, factors = weights["table"], weights.get("table.rows"), weights.get("table.factors")
    if rows is not None and not 0 <= rows.min() <= rows.max() < len(table):
        raise ModelFormatError(f"{name}: mapping points outside the {len(table)} rows of the table")
    tokens = len(table if rows is None else rows)
    if factors is not None and len(factors) != tokens:
        raise ModelFormatError(f"{name}: weights has {len(factors)} values for {tokens} tokens")
    return tokens


def _counted(batch: TokenBatch, unknown: int) -> StepBatch:
    """The tokens that take part in a mean: neither the first `skip` ones of an input nor unknown ones."""
    ids, begins, none = batch.ids, begins_of(batch.lengths), np.zeros(0, np.int32)
    kept = ids != unknown
    for begin, end in pairwise(begins) if batch.skip else ():
        kept[begin : min(begin + batch.skip, end)] = False
    if np.count_nonzero(kept) < len(ids):
        places = np.flatnonzero(kept)
        ids, begins = ids[places], places.searchsorted(begins).astype(np.int32)
    return StepBatch(ids, none, begins, none, none, none, none)


class _Forward:
    """See `paged_generator.ClosableForward`."""

    def __init__(self, module: Architecture, hp: Any, weights: Float32Weights, layers: list[Attention]) -> None:
        self._module, self._hp, self._layers = module, hp, layers
        self._weights: Float32Weights | None = weights
        self._caches: list[tuple[Array, Array]] = []
        self._stop = threading.Event()

    def _make_room(self, blocks: int) -> None:
        """Caches of `blocks` blocks at least; they grow as they fill."""
        if not self._caches or blocks * BLOCK > len(self._caches[0][0]):
            caches = []
            for number, how in enumerate(self._layers):
                pair = [np.zeros((2 * blocks * BLOCK, how.kv_heads, how.head_dim), np.float32) for _ in range(2)]
                for new, old in zip(pair, self._caches[number] if self._caches else (), strict=False):
                    new[: len(old)] = old
                caches.append((pair[0], pair[1]))
            self._caches = caches

    def __call__(self, batch: StepBatch) -> Array:
        if self._weights is None:
            raise EngineError("this model is closed; load it again")
        self._stop.clear()
        self._make_room(1 + int(batch.blocks.max()))
        ops = NumpyOps(self._weights, batch, self._caches, self._stop)
        with np.errstate(all="ignore"):
            return _logits(ops, self._module, self._hp, self._module.forward(ops, self._hp)[batch.rows])

    def interrupt(self) -> None:
        self._stop.set()

    def close(self) -> None:
        self._weights, self._caches = None, []


def _logits(ops: NumpyOps, module: Architecture, hp: Any, hidden: Array) -> Array:
    head = "head.weight" if ops.has("head.weight") else "tokens"
    return module.logits(ops, hp, hidden, head, "head.bias" if ops.has("head.bias") else None)


def _checked(checkpoint: Checkpoint, names: Mapping[str, str], memory: int | None) -> Float32Weights:
    size = _size(checkpoint, names)
    check_memory(checkpoint.name, "float32", {"float32": size}, memory)
    return Float32Weights(checkpoint.tensors, names)


def load_encoder(checkpoint: Checkpoint, options: EngineOptions) -> NumpyEncoder:
    """Raises `ModelFormatError` for a damaged checkpoint."""
    module, hp, names = read_shape(checkpoint)
    weights = _checked(checkpoint, names, options.memory)
    with as_format_error(checkpoint):
        return NumpyEncoder(checkpoint, module, hp, weights)


def load_generator(checkpoint: Checkpoint, options: EngineOptions) -> PagedGenerator:
    """Raises as `load_encoder` does, and `ModelUnsupportedError` for a model that writes no text."""
    # Generation brings what a command that searches can do without.
    from turboprop.engines.paged_generator import PagedGenerator, cache_size

    module, hp, names = read_language_model(checkpoint)
    weights = _checked(checkpoint, names, options.memory)
    ops = NumpyOps(weights, _one_token())
    with as_format_error(checkpoint), np.errstate(all="ignore"):
        vocabulary = _logits(ops, module, hp, module.forward(ops, hp)).shape[1]
    if vocabulary > len(weights["tokens"]):
        raise ModelFormatError(
            f"{checkpoint.name}: its head gives {vocabulary} ids and the embedding matrix has "
            f"{len(weights['tokens'])}; download it again"
        )
    block_bytes = sum(2 * 4 * BLOCK * how.kv_heads * how.head_dim for how in ops.layers)
    weight_bytes = _size(checkpoint, names)
    context, blocks = cache_size(checkpoint, block_bytes, weight_bytes, options)
    forward = _Forward(module, hp, weights, ops.layers)
    return PagedGenerator(checkpoint, forward, Plan("float32", weight_bytes), vocabulary, context, blocks)


def devices() -> list[str]:
    """The processor."""
    return ["cpu"]


def why_not(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> str | None:
    """That the architecture has no file or not all of what the model needs."""
    try:
        _read(checkpoint, purpose)
    except ModelUnsupportedError as error:
        return f"is out: {error}"
    return None


def plan(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> Plan:
    """Float32, whatever the file has."""
    return Plan("float32", _size(checkpoint, _read(checkpoint, purpose)[2]))


def _read(checkpoint: Checkpoint, purpose: Kind) -> tuple[Architecture, Any, Mapping[str, str]]:
    return (read_language_model if purpose == "language" else read_shape)(checkpoint)


def _size(checkpoint: Checkpoint, names: Mapping[str, str]) -> int:
    return sum(4 * prod(checkpoint.tensors[name].shape) for name in names.values())
