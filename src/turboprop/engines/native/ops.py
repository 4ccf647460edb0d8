"""The vocabulary of `architectures.ops`, spoken as a list of steps for the kernels.

Tracing `forward` gives steps over values, which passes.py then makes fewer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from turboprop.architectures.ops import Attention, Experts, Ops, Rope
from turboprop.engines.native.library import (
    EIGHT_BITS,
    FLOAT32,
    GROUP,
    GROUP_FOUR,
    HEAD_GROUP,
    AttentionShape,
    Matrix,
)
from turboprop.engines.native.panels import padded
from turboprop.engines.native.passes import join, pick_early
from turboprop.engines.native.steps import Buffer, Constant, Kind, Operand, Traced, TracedStep, Value
from turboprop.engines.native.weights import Weights

FINE_INPUTS = 768
"""Up to so many inputs a scale of the activations is for GROUP_FOUR of them, as beside gates. all-MiniLM-L6-v2 (384
wide): 1 - cosine to float32 0.00046 on the average instead of 0.00077, and rankings as good as in float32 again (CoSQA
0.858 instead of 0.851), for 4 to 8% more time. BERT's base size is included for the large features that it is known
for (Kovaleva et al. 2021, arXiv 2105.06990); no weights of it were at hand, and it takes 8 to 11% more time."""
MOST_WINDOW = 1 << 30
"""More than any context has."""
FUNCTIONS = {"gelu": 0, "gelu_tanh": 1, "silu": 2, "relu": 3, "tanh": 4}


class NativeOps(Ops[Operand]):
    """Traces one model. Values have one row a token, the tokens of all inputs end to end."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._quantized: tuple[Operand, int] | None = None
        self._gated: set[Operand] = set()
        """Products of two values. A few of their features are far larger than the rest (Yang et al. 2024, arXiv
        2405.14428), so fewer share a scale; that takes the kernels a tenth longer."""
        self.traced = Traced([], [], exact=weights.keeps_float32)
        self.picked = False

    # Steps

    def _step(self, kind: Kind, width: int, *, to: Value | None = None, **what: Any) -> Value:
        x = what.get("x")
        to = to or Value(Buffer(width, 1 if x is None else x.buffer.rows), width)
        rows = to.buffer.rows
        self.traced.steps.append(TracedStep(kind, to, width=width, picked=self.picked, rows=rows, **what))
        return to

    def _solid(self, x: Operand) -> Value:
        """A value that has memory."""
        if isinstance(x, Value):
            return x
        raise ValueError("a model that begins with a constant")

    # Vocabulary

    def has(self, weight: str) -> bool:
        return self._weights.has(weight)

    def _limit(self, what: Literal["ids", "positions", "types"], count: int) -> None:
        if count < 1:
            raise TypeError(f"a table of {what} without a row for the first")
        self.traced.limits[what] = min(count, self.traced.limits.get(what, count))

    def tokens(self, weight: str) -> Value:
        self._limit("ids", self._weights.rows(weight))
        return self._step(Kind.TOKENS, self._weights.width(weight), detail=self._weights.matrix(weight, None))

    def positions(self, weight: str, offset: int = 0) -> Value:
        self._limit("positions", self._weights.rows(weight) - offset)
        return self._step(Kind.TABLE, self._weights.width(weight), a=offset, weight=self._weights.dense(weight))

    def row(self, weight: str, index: int) -> Constant:
        return Constant(self._weights.dense(weight)[index])

    def types(self, weight: str) -> Value:
        self._limit("types", self._weights.rows(weight))
        return self._step(Kind.TABLE, self._weights.width(weight), b=1, weight=self._weights.dense(weight))

    def linear(self, x: Operand, weight: str, bias: str | None = None, *, to: Value | None = None) -> Value:
        if x.width != self._weights.width(weight):
            raise TypeError(f"{weight} takes {self._weights.width(weight)} inputs and gets {x.width}")
        if bias is not None:
            self._vector(bias, self._weights.rows(weight))
        matrix = self._weights.matrix(weight, bias)
        if matrix.kind >= FLOAT32:
            return self._step(Kind.PRODUCT, self._weights.rows(weight), to=to, x=self._solid(x), detail=matrix)
        group = self._quantize(x, matrix.kind)
        return self._step(Kind.PRODUCT, self._weights.rows(weight), to=to, b=group, detail=matrix)

    def _quantize(self, x: Operand, kind: int) -> int:
        """x in 8 bits for products with matrices of a kind; how many inputs share a scale."""
        fine = kind != EIGHT_BITS or x in self._gated or x.width <= FINE_INPUTS
        group = GROUP_FOUR if fine else GROUP
        if self._quantized is None or self._quantized[0] is not x or self._quantized[1] != group:
            x, inputs = self._solid(x), padded(x.width)
            rows = x.buffer.rows
            self.traced.inputs = max(self.traced.inputs, inputs * rows)
            step = TracedStep(Kind.QUANTIZE, None, x, width=x.width, a=inputs, b=group, picked=self.picked, rows=rows)
            self.traced.steps.append(step)
            self._quantized = x, group
        return group

    def experts(self, x: Operand, logits: Operand, weights: str, how: Experts) -> Value:
        if logits.width != how.count:
            raise TypeError(f"a router of {logits.width} outputs for {how.count} experts")
        x, flags = self._solid(x), int(how.normalized) | (how.scores == "sigmoid") << 1
        # Rows, their places and shares, and of each expert its first row and whether it has any.
        size = 3 * how.top + 2 * how.count + 2
        routing = self._step(Kind.ROUTE, size, x=self._solid(logits), a=how.count, b=how.top, c=flags)
        many = {"y": routing, "a": how.count, "b": how.top}
        rows = self._step(Kind.GATHER, x.width, to=Value(Buffer(x.width, how.top), x.width), x=x, **many)
        gate, up = (self._routed(rows, weights, part, many) for part in ("gate", "up"))
        inner = self.multiply(self.activation(gate, how.activation), up)
        found = self._routed(inner, weights, "down", many)
        return self._step(Kind.COMBINE, found.width, to=Value(Buffer(found.width), found.width), x=found, **many)

    def _routed(self, x: Value, weights: str, part: str, many: dict[str, Any]) -> Value:
        """Each row times the matrix of its expert."""
        names = [f"{weights}.{number}.{part}.weight" for number in range(many["a"])]
        matrices = [self._weights.matrix(name, None) for name in names]
        shapes = {(self._weights.width(name), self._weights.rows(name)) for name in names}
        if len(shapes) > 1 or len({matrix.kind for matrix in matrices}) > 1:
            raise TypeError(f"the matrices {part} of {weights} differ in shape or type")
        ((inputs, outputs),) = shapes
        if inputs != x.width:
            raise TypeError(f"{names[0]} takes {inputs} inputs and gets {x.width}")
        detail = (Matrix * len(matrices))(*matrices)
        to = Value(Buffer(outputs, x.buffer.rows), outputs)
        if matrices[0].kind >= FLOAT32:
            return self._step(Kind.EXPERTS, outputs, to=to, x=x, detail=detail, **many)
        group = self._quantize(x, matrices[0].kind)
        return self._step(Kind.EXPERTS, outputs, to=to, c=group, detail=detail, **many)

    def layer_norm(self, x: Operand, weight: str | None, bias: str | None, eps: float) -> Value:
        weights, biases = (None if name is None else self._vector(name, x.width) for name in (weight, bias))
        return self._step(Kind.LAYER, x.width, x=self._solid(x), f=eps, weight=weights, bias=biases)

    def rms_norm(
        self, x: Operand, weight: str, eps: float, *, offset: float = 0.0, per_head: int | None = None
    ) -> Value:
        each = per_head or x.width
        self._check_heads(x, each)
        scale = self._vector(weight, each)
        if offset:
            scale = scale + np.float32(offset)
        return self._step(Kind.RMS, x.width, x=self._solid(x), a=each, f=eps, weight=scale)

    def _vector(self, weight: str, width: int) -> NDArray[np.float32]:
        values = self._weights.dense(weight)
        if values.shape != (width,):
            raise TypeError(f"{weight} has the shape {values.shape}, not ({width},)")
        return values

    def _check_heads(self, x: Operand, head_dim: int) -> None:
        if x.width % head_dim:
            raise TypeError(f"{x.width} features are no heads of {head_dim}")

    def _check_same(self, x: Operand, y: Operand) -> None:
        if x.width != y.width:
            raise TypeError(f"values of {x.width} and {y.width} features do not meet")

    def rope(self, x: Operand, head_dim: int, rope: Rope) -> Value:
        self._check_heads(x, head_dim)
        if rope.dims % 2 or not 2 <= rope.dims <= head_dim:
            raise TypeError(f"{rope.dims} features of heads of {head_dim} cannot be turned")
        if rope.dynamic is not None and rope.dims == 2:
            raise TypeError("a rotation of 2 features has no base to stretch")
        if rope.factors_weight:
            factors = tuple(float(factor) for factor in self._vector(rope.factors_weight, rope.dims // 2))
            rope = replace(rope, factors=factors, factors_weight="")
        if rope not in self.traced.rotations:
            self.traced.rotations.append(rope)
        table = self.traced.rotations.index(rope)
        pairing = int(rope.pairing == "interleaved")
        return self._step(Kind.ROPE, x.width, x=self._solid(x), a=head_dim, b=rope.dims, c=pairing, d=table)

    def attention(self, q: Operand, k: Operand, v: Operand, how: Attention) -> Value:
        widths = (how.heads * how.head_dim, how.kv_heads * how.head_dim, how.kv_heads * how.head_dim)
        if (q.width, k.width, v.width) != widths:
            raise TypeError(f"attention takes widths of {widths} and gets {(q.width, k.width, v.width)}")
        if how.heads % how.kv_heads:
            raise TypeError(f"{how.heads} query heads do not share {how.kv_heads} heads of keys and values")
        wide = -(-how.head_dim // HEAD_GROUP) * HEAD_GROUP
        sizes = (how.heads, how.kv_heads, how.head_dim, wide, how.causal, min(how.window or 0, MOST_WINDOW))
        shape = AttentionShape(*map(int, sizes), how.scale, how.cap, self.traced.layers, self.traced.exact)
        self.traced.layers += 1
        self.traced.kv_heads.append(how.kv_heads)
        self.traced.padded.append(wide)
        key, value = self._solid(k), self._solid(v)
        self.traced.steps.append(TracedStep(Kind.STORE, None, x=key, y=value, width=k.width, detail=shape))
        return self._step(Kind.ATTEND, q.width, x=self._solid(q), detail=shape)

    def activation(self, x: Operand, kind: Literal["gelu", "gelu_tanh", "silu", "relu", "tanh"]) -> Value:
        return self._step(Kind.ACTIVATE, x.width, x=self._solid(x), a=FUNCTIONS[kind])

    def add(self, x: Operand, y: Operand) -> Value:
        self._check_same(x, y)
        if isinstance(x, Constant):
            x, y = y, x
        if isinstance(y, Constant):
            return self._step(Kind.ADD, x.width, x=self._solid(x), weight=y.vector)
        return self._step(Kind.ADD, x.width, x=self._solid(x), y=y)

    def multiply(self, x: Operand, y: Operand) -> Value:
        self._check_same(x, y)
        product = self._step(Kind.MULTIPLY, x.width, x=self._solid(x), y=self._solid(y))
        self._gated.add(product)
        return product

    def scale(self, x: Operand, factor: float) -> Value:
        return self._step(Kind.SCALE, x.width, x=self._solid(x), f=factor)

    def cap(self, x: Operand, most: float) -> Value:
        x = self._solid(x)
        return self._step(Kind.CAP, x.width, to=x, x=x, f=most)

    def split(self, x: Operand, sizes: tuple[int, ...]) -> tuple[Value, ...]:
        if sum(sizes) != x.width:
            raise TypeError(f"a split of {x.width} features into {sizes}")
        x, starts = self._solid(x), np.cumsum((0, *sizes))
        return tuple(replace(x, width=size, column=x.column + int(at)) for at, size in zip(starts, sizes, strict=False))

    # What ends a program

    def pick(self, x: Operand) -> Value:
        """Only the rows asked for; what follows is over them, and so is what came after the last attention."""
        self.picked = True
        self._quantized = None
        x = self._solid(x)
        return x if pick_early(self.traced.steps, x) else self._step(Kind.PICK, x.width, x=x)

    def output(self, x: Operand) -> Traced:
        """The program whose output is x."""
        x = self._solid(x)
        assert x.whole
        x.buffer.output = True
        self.traced.output = x.width
        self.traced.steps = join(self.traced.steps)
        return self.traced
