"""The compiled kernels of the folder `kernels`, and the structures that they share with Python.

They come compiled in the wheels of a release, or are compiled when the package is installed from its sources
(`hatch_build.py`), once for each set of instructions; the best one that the processor has is loaded: AVX2 with FMA and
F16C, which x86-64 processors have since 2013, or more, the dot products of Armv8.2 (Apple's M1, Graviton2, Cortex-A76
and what came after them), or what any processor of a kind has.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import POINTER, c_float, c_int32, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from turboprop.engines.step import BLOCK as BLOCK

SETS = ("avx512", "avxvnni", "avx2", "dotprod", "plain")
"""Best first: AVX-512 with VNNI, AVX-VNNI, AVX2; ARM's dot products; C for any processor."""
SUFFIX = ".dll" if sys.platform == "win32" else ".so"
LIBRARIES = tuple(Path(__file__).parent / "kernels" / f"kernels-{name}{SUFFIX}" for name in SETS)

LANES = 16
GROUP = 128
GROUP_FOUR = 32
HALF = 16
SUPER = 256
HEAD_GROUP = 32
LAYOUT_VERSION = 4
"""Raised whenever the same weights are laid out in another way, or others are asked for; in kernels.h, too."""
EIGHT_BITS, FOUR_BITS, SUPER_FOUR, SUPER_FIVE, SUPER_SIX, FLOAT32, FLOAT16, BFLOAT16 = range(8)
ALIGNMENT = 64


class Matrix(ctypes.Structure):
    _fields_ = [
        ("panels", c_void_p),
        ("bias", c_void_p),
        ("factor", c_float),
        ("inputs", c_int32),
        ("outputs", c_int32),
        ("kind", c_int32),
    ]


class Place(ctypes.Structure):
    _fields_ = [("base", c_int64), ("stride", c_int32), ("column", c_int32)]


class AttentionShape(ctypes.Structure):
    _fields_ = [
        *((name, c_int32) for name in ("heads", "kv_heads", "head_dim", "padded", "causal", "window")),
        *((name, c_float) for name in ("scale", "cap")),
        *((name, c_int32) for name in ("layer", "exact")),
    ]


class Step(ctypes.Structure):
    _fields_ = [
        ("kind", c_int32),
        ("picked", c_int32),
        ("rows", c_int32),
        ("x", Place),
        ("y", Place),
        ("to", Place),
        *((name, c_int32) for name in ("width", "a", "b", "c", "d")),
        ("f", c_float),
        ("weight", c_void_p),
        ("bias", c_void_p),
        ("detail", c_void_p),
    ]


class Run(ctypes.Structure):
    _fields_ = [
        ("steps", POINTER(Step)),
        ("count", c_int64),
        ("arena", c_void_p),
        ("output", c_void_p),
        ("capacity", c_int64),
        *((name, c_void_p) for name in ("values", "scales", "offsets", "sums")),
        ("group", c_int64),
        ("caches", POINTER(c_void_p)),
        ("cache_blocks", c_int64),
        ("rotations", POINTER(c_void_p)),
        ("scratch", c_void_p),
        ("scratch_bytes", c_int64),
        *((name, c_void_p) for name in ("ids", "positions", "types")),
        *((name, c_void_p) for name in ("begins", "past", "blocks", "block_begins", "rows", "seen")),
        *((name, c_int64) for name in ("tokens", "sequences", "picked")),
        ("counters", c_void_p),
        ("stop", c_void_p),
        ("team", c_void_p),
    ]


@cache
def _load() -> tuple[Any, str]:
    """The best library that runs here, or None and why there is none."""
    there = [path for path in LIBRARIES if path.is_file()]
    if not there:
        return None, "the kernels were not compiled when the package was installed (no C compiler)"
    reason = ""
    for path in there:
        library, other = load_one(path)
        if library is not None:
            return library, ""
        reason = reason or other
    return None, reason


def load_one(path: Path) -> tuple[Any, str]:
    """A library of kernels, or None and why it does not run here."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return None, f"the kernels cannot be loaded: {error}"
    stale = "the kernels were compiled from another version; install the package again"
    try:
        if not library.kernels_supported():
            return None, "the processor has no AVX2 with FMA, or no dot products if it is an ARM one"
        _describe(library)
        same_layout = library.layout_version() == LAYOUT_VERSION
    except AttributeError:
        return None, stale
    sizes = (c_int64 * 5)()
    library.structure_sizes(sizes)
    described = [ctypes.sizeof(kind) for kind in (Matrix, AttentionShape, Step, Run)]
    return (library, "") if same_layout and list(sizes)[:4] == described else (None, stale)


def _describe(library: Any) -> None:
    library.team_new.restype = c_void_p
    library.team_free.argtypes = (c_void_p,)
    for name in ("panel_bytes", "cache_chunk_bytes", "attention_scratch_bytes"):
        getattr(library, name).restype = c_size_t
    library.panel_bytes.argtypes = (ctypes.c_int, c_int64)
    library.cache_chunk_bytes.argtypes = (c_int64, ctypes.c_int)
    library.attention_scratch_bytes.argtypes = (c_int64, c_int64)
    library.run_program.argtypes = (POINTER(Run),)
    library.structure_sizes.restype = None
    library.max_similarity.restype = c_float
    library.max_similarity.argtypes = (
        *(c_void_p, c_int64, c_int64, c_int64, c_void_p, c_void_p),
        *(ctypes.c_int, c_int64, c_void_p),
    )


def refusal() -> str:
    """Why the kernels cannot run here; empty where they can."""
    return _load()[1]


def counter_bytes() -> int:
    """Bytes of a step's counters."""
    sizes = (c_int64 * 5)()
    library().structure_sizes(sizes)
    return sizes[4]


def library() -> Any:
    """The loaded kernels; only where `refusal` finds nothing."""
    return _load()[0]
