"""The vocabulary of `architectures.ops`, spoken as an OpenVINO graph.

Layout: [batch, tokens, features], inputs right-padded to the longest of the batch. Every padded key gets
a score of -1e9 before the softmax, so padding changes nothing: a batch equals its single runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from openvino import Node
from openvino import opset15 as op

from turboprop.architectures.ops import Attention, Rope
from turboprop.engines import openvino_four_bit as four_bit
from turboprop.engines.quantize import GROUP_INT4, group_for, quantize_int8, quantize_uint4
from turboprop.errors import ModelFormatError
from turboprop.models.checkpoint import PoolingMode
from turboprop.models.tensors import StoredTensor

_MASKED = np.float32(-1e9)
# Values that are dequantised and quantised at a time: a matrix never exists as float32. With 2^20 converting
# a 1.5 GB model peaked at 1.09 times its size, with 2^24 at 1.16, at the same speed.
BLOCK_ELEMENTS = 1 << 20


def _i64(*values: int) -> Node:
    return op.constant(np.array(values, np.int64))


def _axis(number: int) -> Node:
    """Splitting wants its axis without axes of its own."""
    return op.constant(np.array(number, np.int64))


def _f32(values: Any) -> Node:
    """A constant of at least one axis."""
    return op.constant(np.atleast_1d(np.asarray(values, np.float32)))


class OpenVinoOps:
    """Builds the graph of one model. `inputs` are ids [b, s] int32, lengths [b] int32, skip [] int32.

    With `pairs` a fourth, second [b] int32, says where the second text of each input begins. `advance` is
    told the bytes of float32 that were read, block by block.
    """

    def __init__(
        self,
        tensors: Mapping[str, StoredTensor],
        names: Mapping[str, str],
        weights: Literal["float32", "int8", "int4", "stored"],
        advance: Callable[[int], None] = lambda _: None,
        *,
        pairs: bool = False,
    ) -> None:
        self._advance = advance
        self._second = op.parameter([-1], np.int32, name="second") if pairs else None
        self._tensors = tensors
        self._names = names
        self._weights = weights
        self._masks: dict[tuple[bool, int | None], Node] = {}
        self._rotations: dict[Rope, tuple[Node, Node]] = {}
        self._int8_constants: dict[str, tuple[Node, Node]] = {}
        self._make_inputs()

    def _make_inputs(self) -> None:
        self.ids = op.parameter([-1, -1], np.int32, name="ids")
        self.lengths = op.parameter([-1], np.int32, name="lengths")
        self.skip = op.parameter([], np.int32, name="skip")
        shape = op.shape_of(self.ids, "i32")
        self._longest = op.gather(shape, _i64(1), _i64(0))
        zero, one = op.constant(np.int32(0)), op.constant(np.int32(1))
        self._range = op.range(zero, op.squeeze(self._longest, _i64(0)), one, output_type="i32")
        self._real = op.less(op.unsqueeze(self._range, _i64(0)), op.unsqueeze(self.lengths, _i64(1)))

    @property
    def inputs(self) -> list[Node]:
        return [self.ids, self.lengths, self.skip, *([] if self._second is None else [self._second])]

    # Weights

    def has(self, weight: str) -> bool:
        return weight in self._names

    def _tensor(self, weight: str) -> StoredTensor:
        return self._tensors[self._names[weight]]

    def _blocks(self, weight: str) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """A matrix a few rows at a time; what has been read does not stay in memory."""
        tensor = self._tensor(weight)
        rows = tensor.shape[0]
        step = max(1, BLOCK_ELEMENTS // max(1, prod(tensor.shape[1:])))
        for start in range(0, rows, step):
            block = slice(start, min(rows, start + step))
            part = tensor.dequantize(block)
            if not np.isfinite(part).all():
                raise ModelFormatError(f"the tensor {self._names[weight]!r} holds values that are not finite")
            yield block, part
            self._advance(part.nbytes)
        tensor.release()

    def _dense(self, weight: str) -> NDArray[np.float32]:
        values = np.empty(self._tensor(weight).shape, np.float32)
        for block, part in self._blocks(weight):
            values[block] = part
        return values

    def _matrix(self, weight: str) -> Node:
        if self._weights == "float32":
            return op.constant(self._dense(weight), shared_memory=True)
        rows, inputs = self._tensor(weight).shape
        if self._weights == "int4" and inputs % 2 == 0:
            return self._matrix_int4(weight, rows, inputs)
        values, scales = self._int8(weight)
        return op.reshape(op.multiply(op.convert(values, "f32"), scales), _i64(rows, inputs), False)

    def _int8(self, weight: str) -> tuple[Node, Node]:
        """Values int8 [out, in/group, group] and their scales; an embedding matrix may be the output head too."""
        if weight not in self._int8_constants:
            rows, inputs = self._tensor(weight).shape
            group = group_for(inputs)
            values = np.empty((rows, inputs // group, group), np.int8)
            scales = np.empty((rows, inputs // group, 1), np.float32)
            for block, part in self._blocks(weight):
                values[block], scales[block] = quantize_int8(part, group)
            constants = op.constant(values, shared_memory=True), op.constant(scales, shared_memory=True)
            self._int8_constants[weight] = constants
        return self._int8_constants[weight]

    def _matrix_int4(self, weight: str, rows: int, inputs: int) -> Node:
        group = group_for(inputs, GROUP_INT4)
        parts = ((block, *quantize_uint4(part, group)) for block, part in self._blocks(weight))
        return four_bit.matrix(parts, rows, inputs, group)

    # Vocabulary

    def tokens(self, weight: str) -> Node:
        if self._weights == "float32":
            return op.gather(op.constant(self._dense(weight), shared_memory=True), self.ids, _i64(0))
        # Rows and their scales are gathered apart, so no plugin unfolds the table to float32.
        width = self._tensor(weight).shape[1]
        values, scales = self._int8(weight)
        taken = op.convert(op.gather(values, self.ids, _i64(0)), "f32")
        y = op.multiply(taken, op.gather(scales, self.ids, _i64(0)))
        return op.reshape(y, _i64(0, 0, width), True)

    def positions(self, weight: str, offset: int = 0) -> Node:
        index = op.add(self._range, op.constant(np.int32(offset))) if offset else self._range
        return op.unsqueeze(op.gather(op.constant(self._dense(weight)), index, _i64(0)), _i64(0))

    def row(self, weight: str, index: int) -> Node:
        return op.constant(self._dense(weight)[index][None, None])

    def types(self, weight: str) -> Node:
        if self._second is None:
            return self.row(weight, 0)
        later = op.greater_equal(op.unsqueeze(self._range, _i64(0)), op.unsqueeze(self._second, _i64(1)))
        return op.gather(op.constant(self._dense(weight)), op.convert(later, "i32"), _i64(0))

    def linear(self, x: Node, weight: str, bias: str | None = None) -> Node:
        y = op.matmul(x, self._matrix(weight), False, True)
        return y if bias is None else op.add(y, op.constant(self._dense(bias)[None, None]))

    def layer_norm(self, x: Node, weight: str | None, bias: str | None, eps: float) -> Node:
        y = op.mvn(x, _i64(-1), True, eps, "INSIDE_SQRT")
        if weight is not None:
            y = op.multiply(y, op.constant(self._dense(weight)[None, None]))
        return y if bias is None else op.add(y, op.constant(self._dense(bias)[None, None]))

    def rms_norm(self, x: Node, weight: str, eps: float, *, offset: float = 0.0, per_head: int | None = None) -> Node:
        if per_head is not None:
            heads = op.reshape(x, _i64(0, 0, -1, per_head), True)
            return op.reshape(self._rms(heads, weight, eps, offset), op.shape_of(x), False)
        return self._rms(x, weight, eps, offset)

    def _rms(self, x: Node, weight: str, eps: float, offset: float) -> Node:
        mean = op.reduce_mean(op.power(x, op.constant(np.float32(2))), _i64(-1), True)
        root = op.sqrt(op.add(mean, op.constant(np.float32(eps))))
        y = op.multiply(x, op.divide(op.constant(np.float32(1)), root))
        scale = self._dense(weight) + np.float32(offset)
        return op.multiply(y, op.constant(scale.reshape((1,) * 2 + scale.shape)))

    def rope(self, x: Node, head_dim: int, rope: Rope) -> Node:
        cos, sin = self._rotation(rope)
        heads = op.transpose(op.reshape(x, _i64(0, 0, -1, head_dim), True), _i64(0, 2, 1, 3))
        rest = None
        if rope.dims < head_dim:
            heads, rest = op.variadic_split(heads, _axis(3), _i64(rope.dims, head_dim - rope.dims)).outputs()
        if rope.pairing == "half":
            first, second = op.split(heads, _axis(3), 2).outputs()
            turned = op.concat([op.negative(second), first], 3)
        else:
            # (a, b) -> (-b, a) for each neighbouring pair
            pairs = op.reshape(heads, op.constant(np.array([0, 0, 0, rope.dims // 2, 2], np.int64)), True)
            first, second = op.split(pairs, _axis(4), 2).outputs()
            turned = op.reshape(op.concat([op.negative(second), first], 4), _i64(0, 0, 0, rope.dims), True)
        y = op.add(op.multiply(heads, cos), op.multiply(turned, sin))
        if rest is not None:
            y = op.concat([y, rest], 3)
        return op.reshape(op.transpose(y, _i64(0, 2, 1, 3)), op.shape_of(x), False)

    def _rotation(self, rope: Rope) -> tuple[Node, Node]:
        """cos and sin, [1 or b, 1, s, dims]."""
        if rope not in self._rotations:
            frequencies = self._inverse_frequencies(rope)
            if rope.factors:
                frequencies = op.divide(frequencies, _f32([rope.factors]))
            if rope.factors_weight:
                frequencies = op.divide(frequencies, op.constant(self._dense(rope.factors_weight)[None]))
            if rope.pairing == "half":
                frequencies = op.concat([frequencies, frequencies], 1)
            else:
                twice = op.concat([op.unsqueeze(frequencies, _i64(2))] * 2, 2)
                frequencies = op.reshape(twice, _i64(0, rope.dims), True)
            steps = op.unsqueeze(op.convert(self._range, "f32"), _i64(0, 2))
            angles = op.unsqueeze(op.multiply(steps, op.unsqueeze(frequencies, _i64(1))), _i64(1))
            cos, sin = op.cos(angles), op.sin(angles)
            if rope.magnitude != 1:
                cos, sin = self.scale(cos, rope.magnitude), self.scale(sin, rope.magnitude)
            self._rotations[rope] = (cos, sin)
        return self._rotations[rope]

    def _inverse_frequencies(self, rope: Rope) -> Node:
        """[1 or b, dims/2]"""
        exponents = -np.arange(0, rope.dims, 2, dtype=np.float64) / rope.dims
        if rope.dynamic is None:
            return _f32((rope.base**exponents)[None])
        factor, trained = rope.dynamic
        length = op.unsqueeze(op.convert(self.lengths, "f32"), _i64(1))
        stretch = op.subtract(op.multiply(length, _f32(factor / trained)), _f32(factor - 1))
        # Up to the trained length the stretch is at most 1, and a base times 1 is the base itself.
        grown = op.power(op.maximum(stretch, _f32(1)), _f32(rope.dims / (rope.dims - 2)))
        return op.power(op.multiply(grown, _f32(rope.base)), _f32(exponents[None]))

    def attention(self, q: Node, k: Node, v: Node, how: Attention) -> Node:
        def heads(x: Node, count: int) -> Node:
            return op.transpose(op.reshape(x, _i64(0, 0, count, how.head_dim), True), _i64(0, 2, 1, 3))

        query, key, value = heads(q, how.heads), heads(k, how.kv_heads), heads(v, how.kv_heads)
        if how.kv_heads != how.heads:
            key, value = (self._repeat(x, how) for x in (key, value))
        mask = self._mask(how.causal, how.window)
        scale = op.constant(np.float32(how.scale))
        y = op.scaled_dot_product_attention(query, key, value, mask, scale)
        return op.reshape(op.transpose(y, _i64(0, 2, 1, 3)), _i64(0, 0, how.heads * how.head_dim), True)

    def _repeat(self, x: Node, how: Attention) -> Node:
        times = how.heads // how.kv_heads
        wide = op.broadcast(op.unsqueeze(x, _i64(2)), _i64(1, 1, times, 1, 1), broadcast_spec="BIDIRECTIONAL")
        return op.reshape(wide, _i64(0, how.heads, -1, how.head_dim), True)

    def _mask(self, causal: bool, window: int | None) -> Node:
        """Added to the scores: [b, 1, s or 1, s], 0 where a key may be seen and -1e9 where not."""
        if (causal, window) not in self._masks:
            visible = op.unsqueeze(self._real, _i64(1, 2))
            query, key = op.unsqueeze(self._range, _i64(1)), op.unsqueeze(self._range, _i64(0))
            if causal:
                visible = op.logical_and(visible, op.unsqueeze(op.less_equal(key, query), _i64(0, 1)))
            if window is not None:
                near = op.less(op.abs(op.subtract(query, key)), op.constant(np.int32(window)))
                visible = op.logical_and(visible, op.unsqueeze(near, _i64(0, 1)))
            zero = op.constant(np.float32(0))
            self._masks[causal, window] = op.select(visible, zero, op.constant(_MASKED))
        return self._masks[causal, window]

    def activation(self, x: Node, kind: Literal["gelu", "gelu_tanh", "silu", "relu", "tanh"]) -> Node:
        match kind:
            case "gelu":
                return op.gelu(x, "ERF")
            case "gelu_tanh":
                return op.gelu(x, "TANH")
            case "silu":
                return op.swish(x)
            case "relu":
                return op.relu(x)
            case "tanh":
                return op.tanh(x)

    def add(self, x: Node, y: Node) -> Node:
        return op.add(x, y)

    def multiply(self, x: Node, y: Node) -> Node:
        return op.multiply(x, y)

    def scale(self, x: Node, factor: float) -> Node:
        return op.multiply(x, op.constant(np.float32(factor)))

    def split(self, x: Node, sizes: tuple[int, ...]) -> tuple[Any, ...]:
        return tuple(op.variadic_split(x, _axis(2), _i64(*sizes)).outputs())

    # Pooling

    def pool(self, x: Node, modes: tuple[PoolingMode, ...]) -> Node:
        """[b, s, h] to [b, h * len(modes)]; padding and the first `skip` tokens take no part."""
        parts = [self._pool(x, mode) for mode in modes]
        return parts[0] if len(parts) == 1 else op.concat(parts, 1)

    def _pool(self, x: Node, mode: PoolingMode) -> Node:
        if mode == "last":
            last = op.subtract(self.lengths, op.constant(np.int32(1)))
            return op.gather(x, last, _i64(1), batch_dims=1)
        counted = op.logical_and(self._real, op.greater_equal(op.unsqueeze(self._range, _i64(0)), self.skip))
        if mode == "cls":
            # With a prompt left out, the first token that counts stands where [CLS] stood.
            first = op.broadcast(self.skip, op.shape_of(self.lengths))
            return op.gather(x, first, _i64(1), batch_dims=1)
        weight = op.unsqueeze(op.convert(counted, "f32"), _i64(2))
        if mode == "max":
            return op.reduce_max(op.select(op.unsqueeze(counted, _i64(2)), x, op.constant(_MASKED)), _i64(1))
        if mode == "weighted_mean":
            place = op.add(op.convert(self._range, "f32"), op.constant(np.float32(1)))
            weight = op.multiply(weight, op.unsqueeze(op.unsqueeze(place, _i64(0)), _i64(2)))
        total = op.reduce_sum(op.multiply(x, weight), _i64(1))
        count = op.maximum(op.reduce_sum(weight, _i64(1)), op.constant(np.float32(1e-9)))
        return op.divide(total, op.sqrt(count) if mode == "mean_sqrt" else count)
