"""The generating form of an architecture: the same vocabulary over packed tokens and a paged cache.

Layout: [1, tokens, features], the tokens of several sequences end to end. Keys and values live outside the
graph in blocks of `BLOCK` tokens (paged attention, Kwon et al. 2023, arXiv 2309.06180); which block holds
which tokens comes with every call, so sequences of any age share one inference and equal beginnings share
their blocks.

OpenVINO reads and writes no graph with its paged attention in it, only a compiled one. So `attention`
leaves a marked stand-in of the same shapes, and `with_paged_attention` puts the operation in its place
after the graph was read from the cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import openvino as ov
from openvino import Node, PartialShape, Type
from openvino import opset15 as op
from openvino.op import _PagedAttentionExtension as PagedAttention

from turboprop.architectures.ops import Attention, Rope
from turboprop.engines import openvino_four_bit as four_bit
from turboprop.engines.openvino_ops import BLOCK_ELEMENTS, OpenVinoOps
from turboprop.engines.quantize import GROUP_INT4, sum_columns, with_remainders
from turboprop.engines.stored import is_four_bit
from turboprop.errors import ModelFormatError
from turboprop.models.gguf_tensors import GGUFTensor

_MARK = "attention"
_INT = np.int32
_WHOLE_ZEROS = "Q4_0"
"""Its weights are `(q - 8) * scale`."""


def _i64(*values: int) -> Node:
    return op.constant(np.array(values, np.int64))


def _last() -> Node:
    """Splitting wants its axis without axes of its own."""
    return op.constant(np.array(-1, np.int64))


def _parameter(name: str, shape: list[int] | PartialShape, kind: Any) -> Node:
    parameter = op.parameter(shape, kind, name=name)
    parameter.output(0).set_names({name})
    return parameter


class GenerateOps(OpenVinoOps):
    """Builds the graph of one language model.

    Inputs: `ids` and `positions` int32 [tokens], `rows` int32 [n]: the tokens whose logits are wanted.
    Output of `model`: float32 [n, vocabulary].
    """

    def _make_inputs(self) -> None:
        self._packed = _parameter("ids", [-1], _INT)
        self.ids = op.unsqueeze(self._packed, _i64(0))
        # Rotations and learned positions are looked up by `_range`, which elsewhere counts from 0.
        self._range = _parameter("positions", [-1], _INT)
        self._rows = _parameter("rows", [-1], _INT)
        self._layers: list[dict[str, float | int]] = []
        self._summed: tuple[Node, Node] | None = None

    def linear(self, x: Node, weight: str, bias: str | None = None) -> Node:
        tensor = self._tensor(weight)
        if self._weights not in ("int4", "stored") or not is_four_bit(tensor):
            return super().linear(x, weight, bias)
        rows, inputs = tensor.shape
        if tensor.kind != _WHOLE_ZEROS:
            if self._summed is None or self._summed[0] is not x:  # q, k and v share it, and gate and up
                self._summed = (x, four_bit.with_sums(x, inputs))
            x = self._summed[1]
            inputs += sum_columns(inputs)
        matrix = four_bit.matrix(self._stored_rows(weight, tensor), rows, inputs, GROUP_INT4)
        y = op.matmul(x, matrix, False, True)
        return y if bias is None else op.add(y, op.constant(self._dense(bias)[None, None]))

    def _stored_rows(self, weight: str, tensor: GGUFTensor) -> Iterator[four_bit.Rows]:
        rows, inputs = tensor.shape
        step = max(1, BLOCK_ELEMENTS // inputs)
        for start in range(0, rows, step):
            block = slice(start, min(rows, start + step))
            q, scale, minimum = tensor.four_bit(block)
            if not (np.isfinite(scale).all() and np.isfinite(minimum).all()):
                raise ModelFormatError(f"the tensor {self._names[weight]!r} holds values that are not finite")
            if tensor.kind == _WHOLE_ZEROS:
                yield block, q, scale, np.full(scale.shape, 8, np.uint8)
            else:
                yield block, *with_remainders(q, scale, minimum)
            self._advance(4 * q.size)
        tensor.release()

    def rope(self, x: Node, head_dim: int, rope: Rope) -> Node:
        # Tokens before heads, as attention wants them; halves written so that OpenVINO makes one kernel of it.
        if rope.pairing != "half":
            return super().rope(x, head_dim, rope)
        cos, sin = (op.transpose(part, _i64(0, 2, 1, 3)) for part in self._rotation(rope))
        heads, rest = op.reshape(x, _i64(0, 0, -1, head_dim), True), None
        if rope.dims < head_dim:
            heads, rest = op.variadic_split(heads, _last(), _i64(rope.dims, head_dim - rope.dims)).outputs()
        first, second = op.variadic_split(heads, _last(), _i64(rope.dims // 2, -1)).outputs()
        turned = op.concat([op.multiply(second, op.constant(np.float32(-1))), first], -1)
        y = op.add(op.multiply(heads, cos), op.multiply(turned, sin))
        if rest is not None:
            y = op.concat([y, rest], -1)
        return op.reshape(y, op.shape_of(x), False)

    def attention(self, q: Node, k: Node, v: Node, how: Attention) -> Node:
        parts = op.concat([q, k, v], 2)
        width = how.heads * how.head_dim
        stand_in = op.slice(parts, _i64(0), _i64(width), _i64(1), _i64(2))
        stand_in.set_friendly_name(f"{_MARK}.{len(self._layers)}")
        self._layers.append(
            {
                "heads": how.heads,
                "kv_heads": how.kv_heads,
                "head_dim": how.head_dim,
                "scale": how.scale,
                "window": how.window or 0,
            }
        )
        return stand_in

    def model(self, hidden: Node) -> ov.Model:
        """Hidden states of the last layer to the logits of the tokens `rows`."""
        wanted = op.gather(hidden, self._rows, _i64(1))
        head = "head.weight" if self.has("head.weight") else "tokens"
        logits = self.linear(wanted, head, "head.bias" if self.has("head.bias") else None)
        result = op.result(op.squeeze(logits, _i64(0)))
        result.output(0).set_names({"logits"})
        model = ov.Model([result], [self._packed, self._range, self._rows], "generator")
        model.set_rt_info(json.dumps(self._layers), [_MARK])
        return model


def with_paged_attention(model: ov.Model) -> ov.Model:
    """Put paged attention in the place of the stand-ins.

    New inputs: `past_lens` int32 [sequences], `subsequence_begins` [sequences + 1], `block_indices` [blocks],
    `block_indices_begins` [sequences + 1], `max_context_len` [], and each layer's `key_cache.N` and
    `value_cache.N`, whose shapes and types the compiled model states.
    """
    layers = json.loads(model.get_rt_info([_MARK]).astype(str))
    shared = {
        name: _parameter(name, shape, _INT)
        for name, shape in (
            ("past_lens", [-1]),
            ("subsequence_begins", [-1]),
            ("block_indices", [-1]),
            ("block_indices_begins", [-1]),
            ("max_context_len", PartialShape([])),
        )
    }
    stand_ins = {node.get_friendly_name(): node for node in model.get_ops() if node.get_type_name() == "Slice"}
    parameters = list(shared.values())
    for number, layer in enumerate(layers):
        node = stand_ins[f"{_MARK}.{number}"]
        q, k, v = (_flat(source) for source in node.input_value(0).get_node().input_values())
        anything = PartialShape([-1, -1, -1, -1])
        caches = [_parameter(f"{part}_cache.{number}", anything, Type.dynamic) for part in ("key", "value")]
        parameters += caches
        attended = PagedAttention(
            [
                source.output(0)
                for source in (
                    *(q, k, v, *caches),
                    *(shared[name] for name in list(shared)[:4]),
                    op.constant(np.float32(layer["scale"])),
                    op.constant(_INT(layer["window"])),
                    op.constant(np.zeros(0, np.float32)),  # slopes of ALiBi
                    shared["max_context_len"],
                    *_switched_off(),
                )
            ]
        )
        for key, value in (
            ("num_k_heads", "kv_heads"),
            ("num_v_heads", "kv_heads"),
            ("k_head_size", "head_dim"),
            ("v_head_size", "head_dim"),
        ):
            attended.get_rt_info()[key] = layer[value]
        y = op.unsqueeze(attended.output(0), _i64(0))
        for target in list(node.output(0).get_target_inputs()):
            target.replace_source_output(y.output(0))
    model.add_parameters(parameters)
    model.validate_nodes_and_infer_types()
    return model


def _flat(x: Any) -> Node:
    return op.squeeze(x, _i64(0))


def _switched_off() -> list[Node]:
    """The operation's inputs for what is not used here, in its order (OpenVINO 2026.4: 28 inputs in all)."""

    def none(kind: Any, *shape: int) -> Node:
        return op.constant(np.zeros(shape or (0,), kind))

    off = op.constant(_INT(0))
    return [
        none(_INT),  # score aggregation
        *(none(_INT), none(_INT), none(np.float32)),  # rotated blocks: indices, deltas, table
        *(none(np.float32), off, off),  # sparse prefill: threshold, block size, stride
        none(np.float32, 0, 0, 0, 0),  # attention sinks
        *(off, none(_INT), none(_INT), none(_INT)),  # cache eviction by diversity
        none(_INT),  # token types
        *(none(np.uint8), none(_INT)),  # bias between queries
    ]
