"""The processor's own limit, and what share of it our products reach on the shapes of benchmarks/shapes.py.

    scripts/bench limit [--rounds 7] [--tokens 1024] [--only-attention]

The limit is measured in the same run: loops of one instruction and nothing else (`limit.c`, with the compiler that
compiled the kernels) for 8-bit, bfloat16 and float32 products, and a loop that reads memory. "Share of the limit" in
our pages means a rate over that of the best instruction for the kind. Such a loop reads no memory and scales nothing,
so no product reaches 1.

All of it is one thread by its processor time, which other work on the machine disturbs least; the loops and the
products take turns, a share is that of one round, and the median is given. A product is that of all matrices of a
layer, one after the other, the activations quantised where they have to be. Of one token it is the bytes read that are
compared, over as many layers as no cache holds. Attention of long inputs is compared with the int8 products of its
shape: two products of every two tokens that see each other are counted, and nothing of the exponentials between them.
Needs Linux, which says what the processor has.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
import hatch_build

from shapes import SHAPES, Shape, tensor_shapes
from turboprop.architectures.ops import Attention
from turboprop.engines.native.library import (
    BFLOAT16,
    BLOCK,
    EIGHT_BITS,
    FLOAT32,
    GROUP,
    SUPER,
    SUPER_FOUR,
    Matrix,
    library,
)
from turboprop.engines.native.ops import NativeOps
from turboprop.engines.native.panels import PANEL, padded
from turboprop.engines.native.program import Program, aligned
from turboprop.engines.step import StepBatch
from turboprop.machine import usable_cores

RESULTS = Path(__file__).parent / "results" / "limit.json"
SOURCE = Path(__file__).with_suffix(".c")
INSTRUCTIONS = {
    # What it multiplies, the flag of /proc/cpuinfo, and the compiler's.
    "tdpbusd": ("int8", "amx_int8", ["-mamx-tile", "-mamx-int8"]),
    "vpdpbusd_512": ("int8", "avx512_vnni", ["-mavx512f", "-mavx512vnni"]),
    "vpdpbusd_256": ("int8", "avx_vnni", ["-mavx2", "-mavxvnni"]),
    "vpmaddwd_256": ("int8", "avx2", ["-mavx2"]),
    "tdpbf16ps": ("bfloat16", "amx_bf16", ["-mamx-tile", "-mamx-bf16"]),
    "vdpbf16ps_512": ("bfloat16", "avx512_bf16", ["-mavx512f", "-mavx512bf16"]),
    "vfmaddps_512": ("float32", "avx512f", ["-mavx512f"]),
    "vfmaddps_256": ("float32", "fma", ["-mavx2", "-mfma"]),
    "smmla": ("int8", "i8mm", ["-march=armv8.2-a+i8mm"]),
    "sdot": ("int8", "asimddp", ["-march=armv8.2-a+dotprod"]),
    "bfmmla": ("bfloat16", "bf16", ["-march=armv8.2-a+bf16+fp16"]),
    "fmla": ("float32", "asimd", ["-march=armv8-a"]),
}
KINDS = {
    # Of weights: their number in the kernels, and the limit that holds for their products.
    "int8": (EIGHT_BITS, "int8"),
    "Q4_K": (SUPER_FOUR, "int8"),
    "float32": (FLOAT32, "float32"),
    "bfloat16": (BFLOAT16, "float32"),
}
OF_A_LOOP = 0.1
"""Seconds."""
ATTENTION = {
    # Query heads, those of keys and values, features of one, and whether a token sees only those before it.
    "nomic-embed-text-v1.5": (12, 12, 64, False),
    "qwen3-embedding-0.6b": (16, 8, 128, True),
}
LONG = (2048, 8192)
MOST_WEIGHTS = 100_000_000
"""Of a layer in float32: a larger one is measured in the other kinds alone."""
NO_CACHE = 256_000_000
"""Bytes of weights that one token reads, at the least."""


class Limits:
    """The loops that this processor and this compiler have."""

    def __init__(self, folder: Path) -> None:
        self.left_out: dict[str, str] = {}
        """Instructions that the processor has and the compiler does not know, and what it said."""
        self._loops: dict[str, tuple[str, ctypes.CDLL]] = {}
        flags = processor()["flags"]
        for name, (kind, flag, options) in INSTRUCTIONS.items():
            if flag not in flags:
                continue
            try:
                self._loops[name] = kind, _compiled(folder / f"{name}.so", [f"-DLOOP_{name}", *options])
            except subprocess.CalledProcessError as error:
                self.left_out[name] = error.stderr.strip().splitlines()[0]
        self._reader = _compiled(folder / "read.so", [])
        self._memory = np.ones((1 << 30) // 8, np.uint64)

    def rates(self) -> dict[str, tuple[str, float]]:
        """Each instruction's kind, and 10^9 operations of a core in a second of processor time."""
        found = {}
        for name, (kind, loop) in self._loops.items():
            took = ctypes.c_double()
            done = loop.limit(ctypes.c_double(OF_A_LOOP), ctypes.byref(took))
            if done:  # the system may keep the tiles to itself
                found[name] = kind, done / took.value / 1e9
        return found

    def highest(self) -> dict[str, float]:
        """The rate of the best instruction of each kind."""
        best: dict[str, float] = {}
        for kind, rate in self.rates().values():
            best[kind] = max(rate, best.get(kind, 0.0))
        return best

    def reading(self) -> float:
        """10^9 bytes a second of processor time that a core reads of memory that no cache holds."""
        took = ctypes.c_double()
        at, count = ctypes.c_void_p(self._memory.ctypes.data), ctypes.c_int64(len(self._memory))
        done = self._reader.read_memory(at, count, ctypes.c_double(OF_A_LOOP), ctypes.byref(took))
        return float(done / took.value / 1e9)


def _compiled(target: Path, options: list[str]) -> ctypes.CDLL:
    compiler, reason = hatch_build._compiler("")
    if reason:
        raise SystemExit(reason)
    command = [*compiler, *hatch_build.FLAGS, *options, "-shared", str(SOURCE), "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    loaded = ctypes.CDLL(str(target))
    for name in ("limit", "read_memory"):
        if hasattr(loaded, name):
            getattr(loaded, name).restype = ctypes.c_double
    return loaded


def processor() -> dict[str, object]:
    """The processor's name, the cores that may be used, and what it has of INSTRUCTIONS."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    has = set(facts.get("flags", facts.get("Features", "")).split())
    return {
        "name": facts.get("model name") or platform.processor() or platform.machine(),
        "family, model, stepping": [facts.get(key, "") for key in ("cpu family", "model", "stepping")],
        "cores": usable_cores(),
        "flags": sorted({flag for _, flag, _ in INSTRUCTIONS.values()} & has),
    }


class RandomWeights:
    """Matrices of true shape whose panels are random bits with small scales; a matrix of each name has memory of its
    own, and those of one shape the same values."""

    def __init__(self, matrices: dict[str, tuple[int, int]], kind: int, rows: int) -> None:
        self._matrices, self._kind = matrices, kind
        self._made: dict[tuple[int, int], np.ndarray] = {}
        self._panels: dict[str, np.ndarray] = {}
        width = next(iter(matrices.values()))[1]
        self._table = np.random.default_rng(0).standard_normal((rows, width), np.float32)

    @property
    def keeps_float32(self) -> bool:
        return self._kind >= FLOAT32

    @property
    def bytes(self) -> int:
        return sum(panels.nbytes for panels in self._panels.values())

    def has(self, weight: str) -> bool:
        return weight in self._matrices

    def width(self, weight: str) -> int:
        return self._table.shape[1] if weight == "x" else self._matrices[weight][1]

    def rows(self, weight: str) -> int:
        return len(self._table) if weight == "x" else self._matrices[weight][0]

    def dense(self, weight: str) -> np.ndarray:
        assert weight == "x"
        return self._table

    def matrix(self, weight: str, bias: str | None) -> Matrix:
        outputs, inputs = self._matrices[weight]
        wide = (
            inputs
            if self.keeps_float32
            else -(-inputs // SUPER) * SUPER
            if self._kind == SUPER_FOUR
            else padded(inputs)
        )
        if weight not in self._panels:
            self._panels[weight] = self._panels_of(wide, -(-outputs // PANEL))
        return Matrix(self._panels[weight].ctypes.data, bias, 1.0, wide, outputs, self._kind)

    def _panels_of(self, inputs: int, panels: int) -> np.ndarray:
        if (inputs, panels) not in self._made:
            each = int(library().panel_bytes(self._kind, inputs))
            bits = aligned(each * panels, np.uint8).reshape(panels, each)
            bits[:] = np.random.default_rng(1).integers(0, 256, each, np.uint8)
            spread = inputs**-0.5
            if self._kind == FLOAT32:
                bits.view(np.float32)[:] = np.random.default_rng(1).standard_normal(each // 4, np.float32) * spread
            elif self._kind == BFLOAT16:
                values = np.random.default_rng(1).standard_normal(each // 2, np.float32) * np.float32(spread)
                bits.view(np.uint16)[:] = (values.view(np.uint32) >> 16).astype(np.uint16)
            elif self._kind == EIGHT_BITS:
                groups = bits.reshape(panels, inputs // GROUP, -1)
                groups[:, :, :128] = np.full(32, spread / 73, np.float32).view(np.uint8)
            else:
                # A head of each side: 192 bytes of scales and minima of 6 bits, then 16 float16 each for them.
                blocks = bits.reshape(panels, inputs // SUPER, -1)
                for side in (0, 256):
                    for at, size in ((192, spread / 150), (224, -spread / 20)):
                        blocks[:, :, side + at : side + at + 32] = np.full(16, size, np.float16).view(np.uint8)
            self._made[inputs, panels] = bits
            return bits
        copy = aligned(self._made[inputs, panels].nbytes, np.uint8)
        copy[:] = self._made[inputs, panels].reshape(-1)
        return copy


def layer_matrices(shape: Shape) -> dict[str, tuple[int, int]]:
    """The matrices of the first layer, [outputs, inputs], in their order."""
    return {
        name: extents  # type: ignore[misc]
        for name, extents in tensor_shapes(shape).items()
        if len(extents) == 2 and (".0." in name)
    }


def products(shape: Shape, kind: int, layers: int, rows: int) -> tuple[Program, RandomWeights, float]:
    """A program of the matrix products of some layers, its weights, and 10^9 operations of a token."""
    of_a_layer = layer_matrices(shape)
    matrices = {f"{layer} {name}": extents for layer in range(layers) for name, extents in of_a_layer.items()}
    weights = RandomWeights(matrices, kind, rows)
    ops = NativeOps(weights)
    begin = ops.positions("x")
    known = {begin.width: begin}
    for name, (outputs, inputs) in matrices.items():
        made = ops.linear(known[inputs], name)
        # Queries, keys and values are of the same activations; what ends a layer begins the next one.
        if begin.width not in (outputs, inputs) or outputs != inputs:
            known[outputs] = made
    program = Program(ops.output(made), weights, 1, 1, shared=True)
    return program, weights, sum(2 * a * b for a, b in matrices.values()) / 1e9


def batch(tokens: int) -> StepBatch:
    def whole(*values: int) -> np.ndarray:
        return np.array(values, np.int32)

    positions = np.arange(tokens, dtype=np.int32)
    blocks = np.arange(-(-tokens // BLOCK), dtype=np.int32)
    return StepBatch(positions * 0, positions, whole(0, tokens), whole(0), blocks, whole(0, len(blocks)), whole(0))


class Tables(dict[str, np.ndarray]):
    """Queries, keys and values by name, as weights of a program that has no others."""

    keeps_float32 = False

    def has(self, weight: str) -> bool:
        return weight in self

    def width(self, weight: str) -> int:
        return self[weight].shape[1]

    def rows(self, weight: str) -> int:
        return len(self[weight])

    def dense(self, weight: str) -> np.ndarray:
        return self[weight]

    def matrix(self, weight: str, bias: str | None) -> Matrix:
        raise KeyError(f"{weight} and {bias} are of no attention")


def attention(rounds: int) -> dict[str, object]:
    """Attention of long inputs: its rate, and what share of the rate of the same model's products that is."""
    result: dict[str, object] = {}
    for name, (heads, kv_heads, width, causal) in ATTENTION.items():
        product, _, of_a_token = products(SHAPES[name], EIGHT_BITS, 1, 1024)
        for tokens in LONG:
            random = np.random.default_rng(0)
            each = {"q": heads * width, "k": kv_heads * width, "v": kv_heads * width}
            tables = Tables({key: random.standard_normal((tokens, size), np.float32) for key, size in each.items()})
            ops = NativeOps(tables)
            how = Attention(heads, kv_heads, width, width**-0.5, causal=causal)
            traced = ops.output(ops.attention(*(ops.positions(key) for key in each), how))
            program = Program(traced, tables, 1, -(-tokens // BLOCK), shared=True)
            operations = 4 * tokens * tokens * heads * width / (2 if causal else 1) / 1e9
            program.run(batch(tokens))
            rates, shares = [], []
            for _ in range(rounds):
                rates.append(operations / seconds_of(program, batch(tokens)))
                shares.append(rates[-1] * seconds_of(product, batch(1024)) / (1024 * of_a_token))
            program.close()
            result[f"{name}, {tokens:,} tokens"] = {
                "gop_per_second": round(statistics.median(rates)),
                "share_of_the_products": round(statistics.median(shares), 2),
                "rounds": [round(share, 2) for share in shares],
            }
            print(name, tokens, result[f"{name}, {tokens:,} tokens"], flush=True)
        product.close()
    return result


def measure(limits: Limits, tokens: int, rounds: int) -> dict[str, object]:
    seen: set[tuple[tuple[int, int], ...]] = set()
    result: dict[str, object] = {}
    for shape_name, shape in SHAPES.items():
        matrices = tuple(layer_matrices(shape).values())
        if matrices in seen:  # a reranker of the same shape
            continue
        seen.add(matrices)
        weights_of_a_layer = sum(a * b for a, b in matrices)
        found: dict[str, object] = {}
        for name, (kind, limit) in KINDS.items():
            if kind == FLOAT32 and weights_of_a_layer > MOST_WEIGHTS:
                continue
            if kind == SUPER_FOUR and any(inputs % SUPER for _, inputs in matrices):
                continue  # such a file has other types
            program, _, operations = products(shape, kind, 1, tokens)
            inputs = batch(tokens)
            program.run(inputs)
            shares, rates = [], []
            for _ in range(rounds):
                highest = limits.highest()[limit]
                rate = tokens * operations / seconds_of(program, inputs)
                rates.append(rate)
                shares.append(rate / highest)
            program.close()
            found[name] = {"gop_per_second": round(statistics.median(rates)), **share_of(shares)}
            if kind in (EIGHT_BITS, SUPER_FOUR):
                found[name] |= {"one_token": one_token(limits, shape, kind, rounds)}  # type: ignore[operator]
            print(shape_name, name, found[name], flush=True)
        result[shape_name] = found
    return result


def one_token(limits: Limits, shape: Shape, kind: int, rounds: int) -> dict[str, object]:
    """What one token reads of memory a second, over what a plain loop reads."""
    _, weights, _ = (first := products(shape, kind, 1, 1))
    layers = -(-NO_CACHE // weights.bytes)
    first[0].close()
    program, weights, _ = products(shape, kind, layers, 1)
    inputs = batch(1)
    program.run(inputs)
    rates, shares = [], []
    for _ in range(rounds):
        bandwidth = limits.reading()
        rates.append(weights.bytes / seconds_of(program, inputs) / 1e9)
        shares.append(rates[-1] / bandwidth)
    program.close()
    return {"gb_per_second": round(statistics.median(rates), 1), **share_of(shares)}


def seconds_of(program: Program, inputs: StepBatch) -> float:
    """Seconds of processor time of a run of one thread: the mean of as many as take as long as a loop."""
    started, runs = time.thread_time(), 0
    while not runs or time.thread_time() - started < OF_A_LOOP:
        program.run(inputs)
        runs += 1
    return (time.thread_time() - started) / runs


def share_of(shares: list[float]) -> dict[str, object]:
    return {
        "share_of_the_limit": round(statistics.median(shares), 2),
        "rounds": [round(share, 2) for share in shares],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--only-attention", action="store_true", help="leave the other figures as they are")
    options = parser.parse_args()
    if options.only_attention:
        known = json.loads(RESULTS.read_text())
        known["attention, int8"] = attention(options.rounds)
        RESULTS.write_text(json.dumps(known, indent=1) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        limits = Limits(Path(folder))
        several = [limits.rates() for _ in range(options.rounds)]
        read = [limits.reading() for _ in range(options.rounds)]
        loops = {
            name: {
                "of": kind,
                "gop_per_second": round(statistics.median(each[name][1] for each in several)),
                "highest": round(max(each[name][1] for each in several)),
            }
            for name, (kind, _) in several[0].items()
        }
        result = {
            "processor": processor(),
            "compiler": compiler_name(),
            "instructions": loops,
            **({"unknown to the compiler": limits.left_out} if limits.left_out else {}),
            "memory_read_gb_per_second": {"median": round(statistics.median(read), 1), "highest": round(max(read), 1)},
            "load of the machine meanwhile": [round(load, 1) for load in os.getloadavg()],
            "tokens": options.tokens,
            "products": measure(limits, options.tokens, options.rounds),
            "attention, int8": attention(options.rounds),
        }
    print(json.dumps(result, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


def compiler_name() -> str:
    compiler, _ = hatch_build._compiler("")
    done = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


if __name__ == "__main__":
    main()
