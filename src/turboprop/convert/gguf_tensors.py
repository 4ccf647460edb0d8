"""Names and values of a checkpoint's tensors as a GGUF file holds them."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
from numpy.typing import NDArray

from turboprop.architectures import architecture
from turboprop.errors import ModelFormatError, ModelUnsupportedError

if TYPE_CHECKING:
    from turboprop.models.checkpoint.tensors import StoredTensor
    from turboprop.models.checkpoint.view import Checkpoint

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1")
"""What `gguf.quants` can write. K-quants need a search for their scales that it does not have."""
_PLAIN: dict[str, np.dtype[Any]] = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16)}
_VALUES = 1 << 22
"""Values that are converted at a time: 16 MB of float32."""


@dataclass(frozen=True, slots=True)
class OutTensor:
    """A tensor to be written: `heads` is set where rows have to be brought into llama.cpp's rotary order."""

    name: str
    source: StoredTensor
    kind: str
    add: float = 0.0
    heads: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes in the file, without padding."""
        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[self.kind]]
        return int(prod(self.source.shape) // block * size)

    def announce(self, writer: gguf.GGUFWriter) -> None:
        """Put it into the table of the file."""
        shape = tuple(self.source.shape)
        if self.kind in _PLAIN:
            writer.add_tensor_info(self.name, shape, _PLAIN[self.kind], self.nbytes)
            return
        kind = gguf.GGMLQuantizationType[self.kind]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        byte_shape = (*shape[:-1], shape[-1] // block * size)
        writer.add_tensor_info(self.name, byte_shape, np.dtype(np.uint8), self.nbytes, kind)

    def parts(self) -> Iterator[tuple[bytes, int]]:
        """Its bytes in order, each part with the bytes of float32 that it was made from.

        Raises `ModelFormatError` for values that are not finite.
        """
        if len(self.source.shape) < 2 or self.heads:
            values = self.source.dequantize()
            yield self._encoded(_rotary_order(values, self.heads) if self.heads else values), values.nbytes
        else:
            rows = self.source.shape[0]
            step = max(1, _VALUES // max(1, prod(self.source.shape[1:])))
            for start in range(0, rows, step):
                values = self.source.dequantize(slice(start, min(rows, start + step)))
                yield self._encoded(values), values.nbytes
        self.source.release()

    def _encoded(self, values: NDArray[np.float32]) -> bytes:
        if not np.isfinite(values).all():
            raise ModelFormatError(f"the tensor {self.name!r} holds values that are not finite")
        if self.add:
            values = values + np.float32(self.add)
        if self.kind in _PLAIN:
            with np.errstate(over="raise"):
                try:
                    return values.astype(_PLAIN[self.kind]).tobytes()
                except FloatingPointError:
                    raise ModelUnsupportedError(
                        f"the tensor {self.name!r} has values beyond the range of {self.kind}; take BF16 or F32"
                    ) from None
        return bytes(gguf.quants.quantize(values, gguf.GGMLQuantizationType[self.kind]).tobytes())


def stored_kind(shape: tuple[int, ...], wanted: str, name: str) -> str:
    """Vectors, norms and token types stay float32; rows that hold no whole blocks are float16."""
    if len(shape) < 2 or name.startswith(("token_types", "position_embd")):
        return "F32"
    block, _ = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[wanted]]
    return wanted if shape[-1] % block == 0 else "F16"


def out_tensors(checkpoint: Checkpoint, wanted: str) -> list[OutTensor]:
    """Every tensor of a Hugging Face checkpoint under its GGUF name.

    Raises `ModelFormatError` that names the tensors which are missing.
    """
    module = architecture(checkpoint.family)
    hp = module.hyperparameters(checkpoint.config, "hf")
    theirs = module.weight_names(hp, "hf", checkpoint.tensors)
    if missing := sorted(name for name in theirs.values() if name not in checkpoint.tensors):
        raise ModelFormatError(f"{checkpoint.name} lacks {len(missing)} tensors: {', '.join(missing[:20])}")
    # A family may fuse some weights or not: both sets of names are asked for.
    ours = {**module.weight_names(hp, "gguf", _Nothing()), **module.weight_names(hp, "gguf", _Everything())}
    made = []
    for canonical, name in theirs.items():
        source = checkpoint.tensors[name]
        target = ours[canonical]
        heads = 0
        if checkpoint.family in ("llama", "mistral") and canonical.rpartition(".")[0].endswith((".q", ".k")):
            key = "num_attention_heads" if ".q" in canonical else "num_key_value_heads"
            heads = int(checkpoint.config.get(key) or checkpoint.config["num_attention_heads"])
        add = 1.0 if checkpoint.family == "gemma3_text" and "norm" in canonical else 0.0
        made.append(OutTensor(target, source, stored_kind(tuple(source.shape), wanted, target), add, heads))
    for name in ("lm_head.weight", "lm_head.bias"):
        if name in checkpoint.tensors:
            source = checkpoint.tensors[name]
            target = name.replace("lm_head", "output")
            made.append(OutTensor(target, source, stored_kind(tuple(source.shape), wanted, target)))
    return made


def _rotary_order(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of halves (a0..an, b0..bn) to neighbouring pairs (a0, b0, a1, b1, ...), as llama.cpp's llama rotates."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


class _Nothing(Container[str]):
    def __contains__(self, _: object) -> bool:
        return False


class _Everything(Container[str]):
    def __contains__(self, _: object) -> bool:
        return True
