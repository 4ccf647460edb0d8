"""Block-quantised bytes to float32, as ggml's reference does it: bit for bit.

Each kernel takes whole blocks, uint8 [n, bytes of a block], and fills float32 [n, values of a block].
The layouts are those of `ggml-common.h` and `dequantize_row_*` of `ggml-quants.c` in ggml; the order of
the float32 operations is theirs, since it decides the last bit. Names: `d` is a block's scale, `m` its
minimum, `q` the stored integers; a K-quant has 256 values in sub-blocks with scales of their own.

The kernels work on at most `_CHUNK` values at a time, so that their temporaries stay in the cache.
Against `gguf.quants` of the package `gguf`, one core, GB/s of float32 written: Q4_K 2.6 to 1.2, Q6_K
2.6 to 1.2, Q5_K 1.7 to 0.9, Q8_0 5.5 to 2.7, F16 3.5 to 1.9. The types with codebooks (IQ1, IQ2, IQ3) go through that
package: their tables are long and the types rare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from turboprop.errors import ModelUnsupportedError
from turboprop.models.gguf.bits import bits_of, half, nibbles, words_of
from turboprop.models.gguf.parts import sub_scales, values_of
from turboprop.models.gguf.types import GGMLType

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float32]
    Words = NDArray[np.uint64]
    Kernel = Callable[[Bytes, Floats], None]

_CHUNK = 1 << 18


def dequantize(kind: GGMLType, raw: Bytes, out: Floats) -> None:
    """Decode whole blocks: `raw` is uint8 [n * kind.block_bytes], `out` float32 [n * kind.block_values].

    Raises `ModelUnsupportedError` where the type has no decoder.
    """
    kernel = _KERNELS.get(kind) or _codebook_kernel(kind)
    blocks = raw.reshape(-1, kind.block_bytes)
    values = out.reshape(-1, kind.block_values)
    step = max(1, _CHUNK // kind.block_values)
    # Files hold non-finite scales (and random bytes in tests do): those are results, not warnings.
    with np.errstate(all="ignore"):
        for begin in range(0, len(blocks), step):
            kernel(blocks[begin : begin + step], values[begin : begin + step])


def _number(dtype: str) -> Kernel:
    def kernel(blocks: Bytes, out: Floats) -> None:
        out[...] = blocks.view(dtype)

    return kernel


def _bf16(blocks: Bytes, out: Floats) -> None:
    np.left_shift(blocks.view("<u2"), 16, out=out.view(np.uint32), dtype=np.uint32)


def _f16(blocks: Bytes, out: Floats) -> None:
    """Exponent and mantissa moved into place and scaled by 2 ** 112: twice as fast as a cast.

    Exact for subnormals too; a chunk with an infinity or a NaN is cast.
    """
    half = blocks.view("<u2")
    bits = out.view(np.uint32)
    np.left_shift(half & 0x7FFF, 13, out=bits, dtype=np.uint32)
    if len(bits) and bits.max() >= 0x0F800000:
        out[...] = blocks.view("<f2")
        return
    out *= np.float32(2.0**112)
    bits |= np.left_shift(half & 0x8000, 16, dtype=np.uint32)


def _quarters(field: Bytes) -> Words:
    """Bits 0-1 of 32 bytes, then 2-3, 4-5, 6-7, and the next 32: uint64 [n, bytes / 32, 4, 4]."""
    words = words_of(field, -1, 4)
    four = np.empty((len(field), words.shape[1], 4, 4), np.uint64)
    for index in range(4):
        four[:, :, index] = bits_of(words, 2 * index, 3)
    return four


def _signed(q: NDArray[np.generic], offset: int, out: Floats) -> None:
    """The bytes of `q`, less `offset`, into `out`."""
    out[...] = (q.view(np.uint8).reshape(out.shape) - np.uint8(offset)).view(np.int8)


def _scaled(out: Floats, d: Floats, m: Floats | None = None) -> None:
    """Sub-blocks times their scales (less their minima); d and m are [n, sub-blocks]."""
    groups = out.reshape(*d.shape, -1)
    groups *= d[:, :, None]
    if m is not None:
        groups -= m[:, :, None]


def _q4_0(blocks: Bytes, out: Floats) -> None:
    _signed(nibbles(blocks[:, 2:], 16), 8, out)
    out *= half(blocks[:, :2])


def _q4_1(blocks: Bytes, out: Floats) -> None:
    scale = half(blocks[:, :4])
    out[...] = nibbles(blocks[:, 4:], 16)
    out *= scale[:, :1]
    out += scale[:, 1:]


def _five_bits(low: Bytes, high: Bytes) -> Bytes:
    q = np.unpackbits(np.ascontiguousarray(high), axis=1, bitorder="little")
    q <<= 4
    q |= nibbles(low, 16)
    return q


def _q5_0(blocks: Bytes, out: Floats) -> None:
    _signed(_five_bits(blocks[:, 6:], blocks[:, 2:6]), 16, out)
    out *= half(blocks[:, :2])


def _q5_1(blocks: Bytes, out: Floats) -> None:
    scale = half(blocks[:, :4])
    out[...] = _five_bits(blocks[:, 8:], blocks[:, 4:8])
    out *= scale[:, :1]
    out += scale[:, 1:]


def _q8_0(blocks: Bytes, out: Floats) -> None:
    out[...] = blocks[:, 2:].view(np.int8)
    out *= half(blocks[:, :2])


def _q8_1(blocks: Bytes, out: Floats) -> None:
    out[...] = blocks[:, 4:].view(np.int8)  # bytes 2 and 3 are d times the sum of q, for dot products
    out *= half(blocks[:, :2])


def _q8_k(blocks: Bytes, out: Floats) -> None:
    out[...] = blocks[:, 4:260].view(np.int8)  # the last 32 bytes are sums of q, for dot products
    out *= np.ascontiguousarray(blocks[:, :4]).view("<f4")


def _q2_k(blocks: Bytes, out: Floats) -> None:
    dm = half(blocks[:, 80:84])
    packed = blocks[:, :16]
    out[...] = _quarters(blocks[:, 16:80]).view(np.uint8).reshape(out.shape)
    _scaled(out, (packed & 15) * dm[:, :1], (packed >> 4) * dm[:, 1:])


def _q3_k(blocks: Bytes, out: Floats) -> None:
    packed = blocks[:, 96:108]
    scale = np.empty((len(blocks), 16), np.uint8)
    scale[:, :8] = packed[:, :8] & 15
    scale[:, 8:] = packed[:, :8] >> 4
    for index in range(4):
        scale[:, 4 * index : 4 * index + 4] |= ((packed[:, 8:] >> np.uint8(2 * index)) & 3) << np.uint8(4)
    high = words_of(blocks[:, :32], 4)
    q = _quarters(blocks[:, 32:96])
    for index in range(8):
        q[:, index // 4, index % 4] |= bits_of(high, index, 1, 2)
    _signed(q, 4, out)  # the third bit is inverted: cleared, it means minus 4
    _scaled(out, (scale.astype(np.float32) - np.float32(32)) * half(blocks[:, 108:110]))


def _scales_and_minima(blocks: Bytes) -> tuple[Floats, Floats]:
    """d and m of the 8 sub-blocks of Q4_K and Q5_K, [n, 8] each."""
    d, m = sub_scales(blocks)
    both = half(blocks[:, :4])
    return d * both[:, :1], m * both[:, 1:]


def _q4_k(blocks: Bytes, out: Floats) -> None:
    out[...] = values_of(GGMLType.Q4_K, blocks)
    _scaled(out, *_scales_and_minima(blocks))


def _q5_k(blocks: Bytes, out: Floats) -> None:
    out[...] = values_of(GGMLType.Q5_K, blocks)
    _scaled(out, *_scales_and_minima(blocks))


def _q6_k(blocks: Bytes, out: Floats) -> None:
    _signed(values_of(GGMLType.Q6_K, blocks), 32, out)
    _scaled(out, blocks[:, 192:208].view(np.int8) * half(blocks[:, 208:210]))


# The non-linear levels of IQ4_NL and IQ4_XS.
_IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)
# Four-bit floats of the OCP microscaling formats, doubled; the scales that go with them are halved.
_E2M1 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)


def _half_e8m0() -> Floats:
    """2 ** (byte - 128), the first two subnormal (`ggml_e8m0_to_fp32_half`): float32 [256]."""
    exponent = np.arange(256, dtype=np.uint32)
    exponent[2:] = (exponent[2:] - 1) << 23
    exponent[:2] = 0x200000, 0x400000
    return exponent.view(np.float32)


def _half_ue4m3() -> Floats:
    """An unsigned float of 4 and 3 bits, bias 7, 0x7f read as 0 (`ggml_ue4m3_to_fp32`): float32 [256]."""
    code = np.arange(256)
    mantissa, exponent = code & 7, (code >> 3) & 15
    scale = np.where(exponent == 0, mantissa / 512, (1 + mantissa / 8) * 2.0 ** (exponent - 7)) / 2
    scale[0x7F] = 0
    return scale.astype(np.float32)


_E8M0 = _half_e8m0()
_UE4M3 = _half_ue4m3()


def _iq4_nl(blocks: Bytes, out: Floats) -> None:
    np.take(_IQ4, nibbles(blocks[:, 2:], 16), out=out, mode="clip")
    out *= half(blocks[:, :2])


def _iq4_xs(blocks: Bytes, out: Floats) -> None:
    high = np.ascontiguousarray(blocks[:, 2:4]).view("<u2")
    scale = np.empty((len(blocks), 8), np.uint8)
    scale[:, 0::2] = blocks[:, 4:8] & 15
    scale[:, 1::2] = blocks[:, 4:8] >> 4
    scale |= (((high >> np.arange(0, 16, 2, dtype=np.uint16)) & 3) << 4).astype(np.uint8)
    np.take(_IQ4, nibbles(blocks[:, 8:], 16), out=out, mode="clip")
    _scaled(out, (scale.astype(np.float32) - np.float32(32)) * half(blocks[:, :2]))


def _mxfp4(blocks: Bytes, out: Floats) -> None:
    np.take(_E2M1, nibbles(blocks[:, 1:], 16), out=out, mode="clip")
    out *= _E8M0[blocks[:, :1]]


def _nvfp4(blocks: Bytes, out: Floats) -> None:
    np.take(_E2M1, nibbles(blocks[:, 4:], 8), out=out, mode="clip")
    _scaled(out, _UE4M3[blocks[:, :4]])


def _tq1_0(blocks: Bytes, out: Floats) -> None:
    """Five ternary digits a byte: the byte times 3 ** i, modulo 256, times 3, over 256 is digit i."""
    parts = ((0, 32, 5, 0), (32, 48, 5, 160), (48, 52, 4, 240))  # bytes, digits in each, first value
    for begin, end, digits, at in parts:
        for index in range(digits):
            shifted = (blocks[:, begin:end] * np.uint8(3**index)).astype(np.uint16)
            lanes = end - begin
            out[:, at + index * lanes : at + (index + 1) * lanes] = (shifted * 3) >> 8
    out -= np.float32(1)
    out *= half(blocks[:, 52:54])


def _tq2_0(blocks: Bytes, out: Floats) -> None:
    _signed(_quarters(blocks[:, :64]), 1, out)
    out *= half(blocks[:, 64:66])


def _q1_0(blocks: Bytes, out: Floats) -> None:
    d = half(blocks[:, :2])
    bits = np.unpackbits(np.ascontiguousarray(blocks[:, 2:]), axis=1, bitorder="little")
    out[...] = np.where(bits, d, -d)


_KERNELS: dict[GGMLType, Kernel] = {
    GGMLType.F32: _number("<f4"),
    GGMLType.F64: _number("<f8"),
    GGMLType.F16: _f16,
    GGMLType.BF16: _bf16,
    GGMLType.I8: _number("<i1"),
    GGMLType.I16: _number("<i2"),
    GGMLType.I32: _number("<i4"),
    GGMLType.I64: _number("<i8"),
    GGMLType.Q4_0: _q4_0,
    GGMLType.Q4_1: _q4_1,
    GGMLType.Q5_0: _q5_0,
    GGMLType.Q5_1: _q5_1,
    GGMLType.Q8_0: _q8_0,
    GGMLType.Q8_1: _q8_1,
    GGMLType.Q2_K: _q2_k,
    GGMLType.Q3_K: _q3_k,
    GGMLType.Q4_K: _q4_k,
    GGMLType.Q5_K: _q5_k,
    GGMLType.Q6_K: _q6_k,
    GGMLType.Q8_K: _q8_k,
    GGMLType.IQ4_NL: _iq4_nl,
    GGMLType.IQ4_XS: _iq4_xs,
    GGMLType.TQ1_0: _tq1_0,
    GGMLType.TQ2_0: _tq2_0,
    GGMLType.MXFP4: _mxfp4,
    GGMLType.NVFP4: _nvfp4,
    GGMLType.Q1_0: _q1_0,
}


def _codebook_kernel(kind: GGMLType) -> Kernel:
    try:
        from gguf import GGMLQuantizationType, quants
    except ImportError:
        raise ModelUnsupportedError(
            f"type {kind.name} is decoded by the package gguf, which is not installed: pip install gguf"
        ) from None

    def kernel(blocks: Bytes, out: Floats) -> None:
        # One row: the package works through 16 rows at a time, whatever their length.
        row = np.ascontiguousarray(blocks).reshape(1, -1)
        out[...] = quants.dequantize(row, GGMLQuantizationType(int(kind))).reshape(out.shape)

    return kernel
