"""Which weights run as their file has them."""

from __future__ import annotations

from typing import TypeGuard

from turboprop.models.checkpoint.tensors import StoredTensor
from turboprop.models.gguf.tensors import GGUFTensor


def is_four_bit(tensor: StoredTensor) -> TypeGuard[GGUFTensor]:
    """Whether the file holds it in groups of 32 weights of four bits, which engines can take as they are."""
    return isinstance(tensor, GGUFTensor) and tensor.is_four_bit


def is_super(tensor: StoredTensor) -> TypeGuard[GGUFTensor]:
    """Whether the file holds it in blocks of 256 weights whose scales are integers (Q4_K, Q5_K, Q6_K), which the
    native engine takes as they are."""
    return isinstance(tensor, GGUFTensor) and tensor.is_super
