"""What a traced model consists of: steps over values, each a run of features of every token."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from turboprop.architectures.ops import Rope
from turboprop.engines.native.library import AttentionShape, Matrix


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
    CAP = 14
    ROUTE = 15
    GATHER = 16
    EXPERTS = 17
    COMBINE = 18


@dataclass(eq=False, slots=True)
class Buffer:
    """Memory of `rows` times `width` numbers a token. `joined` is the buffer whose memory it uses instead."""

    width: int
    rows: int = 1
    joined: Buffer | None = None
    output: bool = False

    @property
    def root(self) -> Buffer:
        return self if self.joined is None else self.joined.root


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """Some features of a buffer."""

    buffer: Buffer
    width: int
    column: int = 0

    @property
    def whole(self) -> bool:
        return self.width == self.buffer.width


@dataclass(frozen=True, eq=False, slots=True)
class Constant:
    """The same vector for every token, which only a sum takes."""

    vector: NDArray[np.float32]

    @property
    def width(self) -> int:
        return len(self.vector)


Operand = Value | Constant


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
    rows: int = 1
    weight: NDArray[np.float32] | None = None
    bias: NDArray[np.float32] | None = None
    detail: Matrix | ctypes.Array[Matrix] | AttentionShape | None = None

    def reads(self) -> list[Buffer]:
        found = [value.buffer for value in (self.x, self.y) if value is not None]
        # A product that is added to what is there reads it.
        if self.kind is Kind.PRODUCT and self.a and self.to is not None:
            found.append(self.to.buffer)
        return found


@dataclass(slots=True)
class Traced:
    """A model's steps, its rotations, the widest row that is quantised, and the features a head is padded to.

    `exact`: keys and values are kept in float32. `limits` says below what the ids, positions and types of tokens must
    lie: the rows of the tables.
    """

    steps: list[TracedStep]
    rotations: list[Rope]
    layers: int = 0
    kv_heads: list[int] = field(default_factory=list)
    padded: list[int] = field(default_factory=list)
    inputs: int = 0
    output: int = 0
    exact: bool = False
    limits: dict[Literal["ids", "positions", "types"], int] = field(default_factory=dict)
