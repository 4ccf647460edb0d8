"""The small vocabulary that every architecture is written in, and the values that describe it.

An architecture file says which weights meet which operations; an engine says how they run. A tensor
`T` is the engine's own kind (a graph node, an array); its layout is the engine's secret, except that
the last axis is always the feature axis. Weight names are canonical names of the architecture.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary position embedding over the first `dims` features of each head.

    `pairing`: "half" turns feature i with i + dims/2 (NeoX), "interleaved" turns 2i with 2i + 1.
    `factors` divide the inverse frequencies one by one (dims/2 values); empty means none.
    `factors_weight` names a tensor of such divisors instead. `magnitude` multiplies sine and cosine.
    `dynamic` (factor, trained length): an input of more tokens L than `trained` turns with the base
    `base * (factor * L / trained - (factor - 1)) ** (dims / (dims - 2))`; None means never.
    """

    base: float
    dims: int
    pairing: Literal["half", "interleaved"] = "half"
    factors: tuple[float, ...] = ()
    factors_weight: str = ""
    magnitude: float = 1.0
    dynamic: tuple[float, int] | None = None


@dataclass(frozen=True, slots=True)
class Attention:
    """Scaled dot-product attention. `window` is the number of tokens visible to each side
    (inclusive of the token itself on the causal side); None means all. `cap` bends scores to lie below it,
    `cap * tanh(score / cap)`; 0 means never."""

    heads: int
    kv_heads: int
    head_dim: int
    scale: float
    causal: bool = False
    window: int | None = None
    cap: float = 0.0


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of gated MLPs, of which each token takes `top` (Shazeer et al. 2017, arXiv 1701.06538).

    The likeliest by their logits count with their probabilities among all (`softmax`); `normalized` ones add up to 1.
    With `sigmoid` each counts with that of its own logit.
    """

    count: int
    top: int
    normalized: bool
    activation: Literal["gelu", "gelu_tanh", "silu", "relu"]
    scores: Literal["softmax", "sigmoid"] = "softmax"


class Ops(Protocol[T]):
    """What an engine offers to an architecture."""

    def has(self, weight: str) -> bool:
        """Whether the checkpoint has this optional weight (a name that `weight_names` gave)."""

    def tokens(self, weight: str) -> T:
        """Rows of the embedding matrix for the input ids."""

    def positions(self, weight: str, offset: int = 0) -> T:
        """Rows of a learned position matrix for positions offset, offset + 1, ..."""

    def row(self, weight: str, index: int) -> T:
        """One row of a matrix, as a vector that broadcasts over tokens."""

    def types(self, weight: str) -> T:
        """Rows of a token type matrix: row 0, and row 1 for the second text in a model of pairs."""

    def linear(self, x: T, weight: str, bias: str | None = None) -> T:
        """x @ weight.T + bias, the weight stored [out, in]."""

    def layer_norm(self, x: T, weight: str | None, bias: str | None, eps: float) -> T: ...

    def rms_norm(self, x: T, weight: str, eps: float, *, offset: float = 0.0, per_head: int | None = None) -> T:
        """x / rms(x) * (weight + offset); over each `per_head` features separately where given."""

    def rope(self, x: T, head_dim: int, rope: Rope) -> T: ...

    def attention(self, q: T, k: T, v: T, how: Attention) -> T: ...

    def activation(self, x: T, kind: Literal["gelu", "gelu_tanh", "silu", "relu", "tanh"]) -> T: ...

    def add(self, x: T, y: T) -> T: ...

    def multiply(self, x: T, y: T) -> T: ...

    def scale(self, x: T, factor: float) -> T: ...

    def cap(self, x: T, most: float) -> T:
        """most * tanh(x / most). It may take the place of x, which nothing else may use."""

    def experts(self, x: T, logits: T, weights: str, how: Experts) -> T:
        """Sum over the experts that a token takes. `logits` has one feature an expert; the matrices of expert n are
        `<weights>.<n>.gate.weight`, `.up.weight` and `.down.weight`."""

    def split(self, x: T, sizes: tuple[int, ...]) -> tuple[T, ...]:
        """Cut the feature axis into consecutive parts."""


class AveragingOps(Ops[T], Protocol[T]):
    """What an engine that runs static models offers besides."""

    def mean(self, table: str, rows: str, factors: str) -> T:
        """Of each input the mean over its tokens of rows of a matrix, [inputs, features]; zeros without a token.

        Two weights may be there, both [tokens]: `rows` is the row of a token (without it, its id), `factors` what the
        row is multiplied with. Sums are float64.
        """


class Architecture(Protocol):
    """What the module of one architecture contains."""

    def hyperparameters(self, source: Mapping[str, Any], origin: Literal["hf", "gguf"]) -> Any:
        """Typed hyperparameters from `config.json` or from GGUF metadata; KeyError names what is missing."""

    def weight_names(self, hp: Any, origin: Literal["hf", "gguf"], stored: Container[str]) -> Mapping[str, str]:
        """Canonical name to the name in the checkpoint, for every weight that `forward` uses.

        `stored` are the names that the checkpoint has: they decide between fused and separate forms and
        about optional weights. The embedding matrix is `tokens` everywhere, and `table` where it is
        averaged and nothing else (`AveragingOps`). A weight that the model cannot
        do without is listed in any case.
        """

    def head_names(self, hp: Any, origin: Literal["hf", "gguf"], stored: Container[str]) -> Mapping[str, str] | None:
        """Names of the output head's `head.weight` and `head.bias`; empty where the embedding matrix serves as head.

        None for a model that writes no text: an encoder, or a decoder whose tokens see those after them.
        """

    def forward(self, ops: Ops[T], hp: Any) -> T:
        """Hidden states of the last layer, after the final norm; of a `table` the vectors of the inputs."""

    def logits(self, ops: Ops[T], hp: Any, hidden: T, weight: str, bias: str | None) -> T:
        """What the output head makes of hidden states, where `head_names` gives one."""
