"""The vocabulary of `architectures.ops`, spoken as a list of steps for the kernels.

Tracing `forward` gives steps over values, each a run of features of every token. Then steps that can be one become
one, and values that never live at the same time share memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from turboprop.architectures.ops import Attention, Rope
from turboprop.engines.native.library import EIGHT_BITS, GROUP, GROUP_FOUR, HEAD_GROUP, AttentionShape, Matrix
from turboprop.engines.native.panels import padded
from turboprop.engines.native.weights import Weights

FINE_INPUTS = 768
"""Up to so many inputs a scale of the activations is for GROUP_FOUR of them, as beside gates. all-MiniLM-L6-v2 (384
wide): 1 - cosine to float32 0.00046 on the average instead of 0.00077, and rankings as good as in float32 again (CoSQA
0.858 instead of 0.851), for 4 to 8% more time. BERT's base size is included for the large features that it is known
for (Kovaleva et al. 2021, arXiv 2105.06990); no weights of it were at hand, and it takes 8 to 11% more time."""
MOST_WINDOW = 1 << 30
"""More than any context has."""
FUNCTIONS = {"gelu": 0, "gelu_tanh": 1, "silu": 2, "relu": 3, "tanh": 4}


class Kind(IntEnum):
    """As in kernels/program.h."""

    TOKENS = 0
    TABLE = 1
    QUANTIZE = 2
    PRODUCT = 3
    RMS = 4
    LAYER = 5
    ROPE = 6
    STORE = 7
    ATTEND = 8
    ACTIVATE = 9
    ADD = 10
    MULTIPLY = 11
    SCALE = 12
    PICK = 13


@dataclass(eq=False, slots=True)
class Buffer:
    """Memory of `width` numbers a token. `joined` is the buffer whose memory it uses instead of its own."""

    width: int
    joined: Buffer | None = None
    output: bool = False

    @property
    def root(self) -> Buffer:
        return self if self.joined is None else self.joined.root


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """Some features of a buffer, or the same vector for every token."""

    buffer: Buffer | None
    width: int
    column: int = 0
    constant: NDArray[np.float32] | None = None

    @property
    def whole(self) -> bool:
        return self.buffer is not None and self.width == self.buffer.width


@dataclass(eq=False, slots=True)
class TracedStep:
    kind: Kind
    to: Value | None
    x: Value | None = None
    y: Value | None = None
    width: int = 0
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    f: float = 0.0
    picked: bool = False
    weight: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    detail: Matrix | AttentionShape | None = None

    def reads(self) -> list[Buffer]:
        found = [value.buffer for value in (self.x, self.y) if value is not None and value.buffer is not None]
        # A product that is added to what is there reads it.
        if self.kind is Kind.PRODUCT and self.a and self.to is not None and self.to.buffer is not None:
            found.append(self.to.buffer)
        return found


@dataclass(slots=True)
class Traced:
    """A model's steps, its rotations, the widest row that is quantised, and the features a head is padded to.

    `limits` says below what the ids, positions and types of tokens must lie: the rows of the tables.
    """

    steps: list[TracedStep]
    rotations: list[Rope]
    layers: int = 0
    kv_heads: list[int] = field(default_factory=list)
    padded: list[int] = field(default_factory=list)
    inputs: int = 0
    output: int = 0
    limits: dict[Literal["ids", "positions", "types"], int] = field(default_factory=dict)


class NativeOps:
    """Traces one model. Values have one row a token, the tokens of all inputs end to end."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._quantized: tuple[Value, int] | None = None
        self._gated: set[Value] = set()
        """Products of two values. A few of their features are far larger than the rest (Yang et al. 2024, arXiv
        2405.14428), so fewer share a scale; that takes the kernels a tenth longer."""
        self.traced = Traced([], [])
        self.picked = False

    # Steps

    def _step(self, kind: Kind, width: int, *, to: Value | None = None, **what: Any) -> Value:
        to = to or Value(Buffer(width), width)
        self.traced.steps.append(TracedStep(kind, to, width=width, picked=self.picked, **what))
        return to

    def _solid(self, x: Value) -> Value:
        """A value that has memory."""
        if x.buffer is not None:
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

    def row(self, weight: str, index: int) -> Value:
        row = self._weights.dense(weight)[index]
        return Value(None, len(row), constant=row)

    def types(self, weight: str) -> Value:
        self._limit("types", self._weights.rows(weight))
        return self._step(Kind.TABLE, self._weights.width(weight), b=1, weight=self._weights.dense(weight))

    def linear(self, x: Value, weight: str, bias: str | None = None, *, to: Value | None = None) -> Value:
        if x.width != self._weights.width(weight):
            raise TypeError(f"{weight} takes {self._weights.width(weight)} inputs and gets {x.width}")
        if bias is not None:
            self._vector(bias, self._weights.rows(weight))
        matrix = self._weights.matrix(weight, bias)
        fine = matrix.kind != EIGHT_BITS or x in self._gated or x.width <= FINE_INPUTS
        group = GROUP_FOUR if fine else GROUP
        if self._quantized is None or self._quantized[0] is not x or self._quantized[1] != group:
            inputs = padded(x.width)
            self.traced.inputs = max(self.traced.inputs, inputs)
            step = TracedStep(Kind.QUANTIZE, None, self._solid(x), width=x.width, a=inputs, b=group, picked=self.picked)
            self.traced.steps.append(step)
            self._quantized = x, group
        return self._step(Kind.PRODUCT, self._weights.rows(weight), to=to, b=group, detail=matrix)

    def layer_norm(self, x: Value, weight: str | None, bias: str | None, eps: float) -> Value:
        weights, biases = (None if name is None else self._vector(name, x.width) for name in (weight, bias))
        return self._step(Kind.LAYER, x.width, x=self._solid(x), f=eps, weight=weights, bias=biases)

    def rms_norm(self, x: Value, weight: str, eps: float, *, offset: float = 0.0, per_head: int | None = None) -> Value:
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

    def _check_heads(self, x: Value, head_dim: int) -> None:
        if x.width % head_dim:
            raise TypeError(f"{x.width} features are no heads of {head_dim}")

    def _check_same(self, x: Value, y: Value) -> None:
        if x.width != y.width:
            raise TypeError(f"values of {x.width} and {y.width} features do not meet")

    def rope(self, x: Value, head_dim: int, rope: Rope) -> Value:
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

    def attention(self, q: Value, k: Value, v: Value, how: Attention) -> Value:
        widths = (how.heads * how.head_dim, how.kv_heads * how.head_dim, how.kv_heads * how.head_dim)
        if (q.width, k.width, v.width) != widths:
            raise TypeError(f"attention takes widths of {widths} and gets {(q.width, k.width, v.width)}")
        if how.heads % how.kv_heads:
            raise TypeError(f"{how.heads} query heads do not share {how.kv_heads} heads of keys and values")
        wide = -(-how.head_dim // HEAD_GROUP) * HEAD_GROUP
        sizes = (how.heads, how.kv_heads, how.head_dim, wide, how.causal, min(how.window or 0, MOST_WINDOW))
        shape = AttentionShape(*map(int, sizes), how.scale, self.traced.layers)
        self.traced.layers += 1
        self.traced.kv_heads.append(how.kv_heads)
        self.traced.padded.append(wide)
        key, value = self._solid(k), self._solid(v)
        self.traced.steps.append(TracedStep(Kind.STORE, None, x=key, y=value, width=k.width, detail=shape))
        return self._step(Kind.ATTEND, q.width, x=self._solid(q), detail=shape)

    def activation(self, x: Value, kind: Literal["gelu", "gelu_tanh", "silu", "relu", "tanh"]) -> Value:
        return self._step(Kind.ACTIVATE, x.width, x=self._solid(x), a=FUNCTIONS[kind])

    def add(self, x: Value, y: Value) -> Value:
        if x.constant is not None:
            x, y = y, x
        self._check_same(x, y)
        return self._step(Kind.ADD, x.width, x=self._solid(x), y=None if y.buffer is None else y, weight=y.constant)

    def multiply(self, x: Value, y: Value) -> Value:
        self._check_same(x, y)
        product = self._step(Kind.MULTIPLY, x.width, x=self._solid(x), y=self._solid(y))
        self._gated.add(product)
        return product

    def scale(self, x: Value, factor: float) -> Value:
        return self._step(Kind.SCALE, x.width, x=self._solid(x), f=factor)

    def split(self, x: Value, sizes: tuple[int, ...]) -> tuple[Value, ...]:
        if sum(sizes) != x.width:
            raise TypeError(f"a split of {x.width} features into {sizes}")
        starts = np.cumsum((0, *sizes))
        return tuple(replace(x, width=size, column=x.column + int(at)) for at, size in zip(starts, sizes, strict=False))

    # What ends a program

    def pick(self, x: Value) -> Value:
        """Only the rows asked for; what follows is over them, and so is what came after the last attention."""
        self.picked = True
        self._quantized = None
        return x if self._pick_early(x) else self._step(Kind.PICK, x.width, x=self._solid(x))

    def _pick_early(self, x: Value) -> bool:
        """Whether the steps after the last attention, x's among them, could be left to the rows asked for.

        Each of their rows depends on the same row alone. They are 3/4 of a last layer: where the first or last token
        stands for all, all-MiniLM-L6-v2's shape takes 0.91 of the time, nomic-embed-text's 0.95, Qwen3-0.6B's 0.97.
        """
        steps = self.traced.steps
        after = 1 + max((number for number, step in enumerate(steps) if step.kind is Kind.ATTEND), default=-1)
        late = steps[after:]
        kinds = [step.kind for step in late]
        made = {step.to.buffer for step in late if step.to is not None}
        if after == 0 or x.buffer not in made or not set(kinds) <= _ROW_BY_ROW:
            return False
        if Kind.PRODUCT in kinds and Kind.QUANTIZE not in kinds[: kinds.index(Kind.PRODUCT)]:
            return False  # it takes activations that were quantised before the attention, all rows of them
        picks: dict[Buffer, TracedStep] = {}

        def picked(value: Value | None) -> Value | None:
            if value is None or value.buffer is None or value.buffer in made:
                return value
            if value.buffer not in picks:
                width = value.buffer.width
                to, whole = Value(Buffer(width), width), Value(value.buffer, width)
                picks[value.buffer] = TracedStep(Kind.PICK, to, whole, width=width, picked=True)
            step = picks[value.buffer]
            assert step.to is not None
            return replace(value, buffer=step.to.buffer)

        for step in late:
            step.x, step.y, step.picked = picked(step.x), picked(step.y), True
        steps[after:after] = picks.values()
        return True

    def output(self, x: Value) -> Traced:
        """The program whose output is x."""
        assert x.whole and x.buffer is not None
        x.buffer.output = True
        self.traced.output = x.width
        self.traced.steps = _join(self.traced.steps)
        return self.traced


def _uses(steps: list[TracedStep]) -> dict[Buffer, list[int]]:
    found: dict[Buffer, list[int]] = {}
    for number, step in enumerate(steps):
        for buffer in step.reads():
            found.setdefault(buffer, []).append(number)
        if step.to is not None and step.to.buffer is not None and step.to.buffer.output:
            found.setdefault(step.to.buffer, []).append(len(steps))  # whoever runs the program reads it
    return found


def _join(steps: list[TracedStep]) -> list[TracedStep]:
    """One step where two do: a function and the product with it; a matrix product and the sum with it."""
    made = {step.to.buffer: number for number, step in enumerate(steps) if step.to is not None}
    uses = _uses(steps)
    gone: set[int] = set()
    overwritten: set[Buffer] = set()  # a product was added to them
    for number, step in enumerate(steps):
        if step.kind is Kind.MULTIPLY:
            for one, other in ((step.x, step.y), (step.y, step.x)):
                assert one is not None and other is not None
                maker = made.get(one.buffer)
                if (
                    maker is None
                    or steps[maker].kind is not Kind.ACTIVATE
                    or steps[maker].b
                    or not one.whole
                    or uses[one.buffer] != [number]  # type: ignore[index]
                    or steps[maker].x.buffer in overwritten  # type: ignore[union-attr,operator]
                ):
                    continue
                before = steps[maker]
                uses[before.x.buffer].append(number)  # type: ignore[index,union-attr]
                step.kind, step.x, step.y, step.a, step.b = Kind.ACTIVATE, before.x, other, before.a, 1
                gone.add(maker)
                break
        elif step.kind is Kind.ADD and step.y is not None:
            for old, product in ((step.x, step.y), (step.y, step.x)):
                assert old is not None and product is not None and step.to is not None
                maker = made.get(product.buffer)
                if (
                    maker is None
                    or maker in gone
                    or steps[maker].kind is not Kind.PRODUCT
                    or not (old.whole and product.whole and step.to.whole)
                    or uses[product.buffer] != [number]  # type: ignore[index]
                    or old.buffer not in made
                    or made[old.buffer] > maker
                    or max(uses[old.buffer]) != number  # type: ignore[index]
                    or any(use > maker for use in uses[old.buffer] if use != number)  # type: ignore[index]
                    or step.to.buffer.output  # type: ignore[union-attr]
                    or steps[maker].a
                ):
                    continue
                steps[maker].a = 1
                steps[maker].to = step.to
                step.to.buffer.joined = old.buffer  # type: ignore[union-attr]
                overwritten.add(old.buffer)  # type: ignore[arg-type]
                made[step.to.buffer] = maker
                gone.add(number)
                break
    return [step for number, step in enumerate(steps) if number not in gone]


_ROW_BY_ROW = frozenset(
    {Kind.QUANTIZE, Kind.PRODUCT, Kind.RMS, Kind.LAYER, Kind.ACTIVATE, Kind.ADD, Kind.MULTIPLY, Kind.SCALE}
)
"""Steps whose rows need nothing but the same row of what they read."""
_IN_PLACE = frozenset({Kind.ROPE, Kind.ACTIVATE, Kind.ADD, Kind.MULTIPLY, Kind.SCALE, Kind.RMS, Kind.LAYER})


def lay_out(traced: Traced) -> tuple[dict[Buffer, int], int]:
    """Where each buffer begins, in numbers a token (multiples of 16), and how many there are in all."""
    last: dict[Buffer, int] = {}
    for number, step in enumerate(traced.steps):
        for buffer in [*step.reads(), *([step.to.buffer] if step.to is not None and step.to.buffer else [])]:
            last[buffer.root] = number
    places: dict[Buffer, int] = {}
    free: list[tuple[int, int]] = []
    end = 0
    for number, step in enumerate(traced.steps):
        made = step.to.buffer.root if step.to is not None and step.to.buffer is not None else None
        dying = {each.root for each in step.reads() if last[each.root] == number and each.root in places}
        if made is not None and made not in places and not made.output:
            own = step.x.buffer.root if step.kind in _IN_PLACE and step.x and step.x.buffer and step.x.whole else None
            if own in dying and own is not None and own.width == made.width:
                places[made] = places[own]
                dying.remove(own)
            else:
                size = _size(made)
                fits = next((index for index, (_, room) in enumerate(free) if room >= size), None)
                if fits is None:
                    places[made], end = end, end + size
                else:
                    places[made], room = free[fits]
                    free[fits : fits + 1] = [(places[made] + size, room - size)] if room > size else []
            if last[made] == number:  # nobody reads it
                dying.add(made)
        for buffer in dying:
            free = _merged([*free, (places[buffer], _size(buffer))])
    return places, end


def _size(buffer: Buffer) -> int:
    return -(-buffer.width // 16) * 16


def _merged(free: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for place, room in sorted(free):
        if merged and merged[-1][0] + merged[-1][1] == place:
            merged[-1] = (merged[-1][0], merged[-1][1] + room)
        else:
            merged.append((place, room))
    return merged
