"""Qwen3-Embedding-0.6B shape: our engine against llama.cpp, ik_llama.cpp, ONNX Runtime and PyTorch, and the machine.

    scripts/bench engines [--inputs 4] [--tokens 256] [--rounds 3] [--only ours,llama,ik,torch,onnx] [--threads 1]

All contenders run the same seeded random weights' shape on the same token ids, taking turns: what counts is the
ratio within a round. `--threads 1` measures one thread by its processor time, which other work on the machine disturbs
least. The share of the limit is over what `limit.py` measures in the same rounds; the rate of oneDNN's int8 matrix
product, through PyTorch, over the model's own matrix shapes is another contender's. A contender whose package is not
installed is left out, and said to be. Checkpoints are written to a scratch folder (about 4 GB) that `--scratch` keeps.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from limit import Limits, processor
from shapes import SHAPES, write_checkpoint
from turboprop.machine import usable_cores

RESULTS = Path(__file__).parent / "results" / "engines.json"
SHAPE = "qwen3-embedding-0.6b"
QUANTISED = ("Q8_0", "Q5_K", "Q4_K", "Q4_0")
GOP_PER_TOKEN = 2 * 440_401_920 / 1e9
"""Twice the weights of 28 layers: 1024 x (2048 + 1024 + 1024) + 2048 x 1024 + 3 x 1024 x 3072 each."""


def cached_checkpoint(scratch: Path, form: str) -> Path:
    target = scratch / (SHAPE if form == "safetensors" else f"{SHAPE}-{form}.gguf")
    if not target.exists():
        write_checkpoint(SHAPE, target, form)
    return target


def ours(path: Path, weights: str, cache: Path, threads: int) -> tuple[Callable[[np.ndarray], np.ndarray], dict]:
    from turboprop import EmbeddingModel
    from turboprop.settings import Settings
    from turboprop.types import TokenBatch

    settings = Settings(cache_home=cache, offline=True, threads=threads)
    EmbeddingModel.load(str(path), weights=weights, settings=settings).close()
    started = time.perf_counter()
    model = EmbeddingModel.load(str(path), weights=weights, settings=settings)
    facts = {"engine": model.engine, "load_seconds": round(time.perf_counter() - started, 2)}
    encoder = model._encoder

    def run(ids: np.ndarray) -> np.ndarray:
        flat = np.ascontiguousarray(ids.reshape(-1), np.int32)
        return encoder.encode(TokenBatch(flat, np.full(len(ids), ids.shape[1], np.int32)))

    return run, facts


LLAMA = """
import json, sys, time
import xllamacpp as xlc
path, count, tokens, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
params = xlc.CommonParams()
params.model.path = path
params.embedding = True
params.n_ctx = count * (tokens + 16)
params.n_batch = params.n_ubatch = max(512, count * tokens)
params.n_parallel = count
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
params.pooling_type = xlc.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
params.warmup = False
server = xlc.Server(params)
clock = time.process_time if threads == 1 else time.perf_counter
for line in sys.stdin:
    ids = json.loads(line)
    started = clock()
    answer = server.handle_embeddings({"input": ids})
    took = clock() - started
    if "data" not in answer:
        raise SystemExit(str(answer)[:500])
    print(json.dumps(took), flush=True)
"""


class Llama:
    """llama.cpp's wheel in a process of its own, which tells the seconds of each request."""

    def __init__(self, path: Path, count: int, tokens: int, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", LLAMA, str(path), str(count), str(tokens), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def seconds(self, ids: np.ndarray) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(ids.tolist()) + "\n")
        self._process.stdin.flush()
        while True:
            line = self._process.stdout.readline()
            if not line:
                raise SystemExit("the llama.cpp process ended")
            try:
                return float(line)
            except ValueError:
                continue  # its log

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def ik_contender(path: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """ik_llama.cpp reading each input as a prompt: its package embeds with means alone."""
    from ik_llama_cpp import _ctypes_api, _internals

    model = _internals.IkModel(str(path))
    context = _internals.IkContext(model, n_ctx=1024, n_threads=threads, flash_attn=True)

    def run(ids: np.ndarray) -> np.ndarray:
        for row in ids:
            context.kv_cache_clear()
            made = _internals.make_batch_range(row.tolist(), pos_start=0, logits_last=True)
            failed = context.decode(made)
            _ctypes_api.llama_batch_free(made)
            assert not failed
        return ids

    return run


def torch_model(kind: str = "float32"):
    import torch
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(0)
    config = Qwen3Config(**{k: v for k, v in SHAPES[SHAPE].config.items() if k != "torch_dtype"})
    return Qwen3Model(config).eval().to(getattr(torch, kind))


def torch_contender(kind: str) -> Callable[[np.ndarray], np.ndarray]:
    import torch

    model = torch_model(kind)

    def run(ids: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            states = model(input_ids=torch.from_numpy(ids.astype(np.int64)), use_cache=False).last_hidden_state
            return states[:, -1].float().numpy()

    return run


def grouped_name(target: Path) -> str:
    return f"{target.stem}-groups.onnx"


def onnx_contender(scratch: Path, threads: int, *, grouped: bool) -> Callable[[np.ndarray], np.ndarray]:
    """The float32 graph quantised to 8 bits by ONNX Runtime, in one of its two ways."""
    import onnxruntime

    target = scratch / f"{SHAPE}-int8.onnx"
    if not target.exists() or not target.with_name(grouped_name(target)).exists():
        subprocess.run([sys.executable, __file__, "--export", str(target)], check=True)
    if grouped:
        target = target.with_name(grouped_name(target))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(target), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(ids: np.ndarray) -> np.ndarray:
        return session.run(None, {name: ids.astype(np.int64)})[0]

    return run


def export(target: Path) -> None:
    """Runs in a process of its own: an export takes several times the model in memory.

    Two forms: `quantize_dynamic` (one scale for all activations of a matrix) and 8-bit weights in groups of 128 with
    int8 products (`MatMulNBits`, accuracy level 4), which is what our int8 is.
    """
    import onnx
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    class Last(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = torch_model()
            self.model.config._attn_implementation = "eager"

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.model(input_ids=ids, use_cache=False).last_hidden_state[:, -1]

    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        whole = Path(scratch) / "float32.onnx"
        torch.onnx.export(
            Last().eval(),
            (torch.zeros((2, 64), dtype=torch.int64),),
            str(whole),
            input_names=["ids"],
            output_names=["pooled"],
            dynamic_shapes={"ids": {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}},
            dynamo=True,
            external_data=True,
        )
        quantize_dynamic(whole, target, weight_type=QuantType.QInt8, use_external_data_format=False)
        config = DefaultWeightOnlyQuantConfig(block_size=128, is_symmetric=True, accuracy_level=4, bits=8)
        grouped = MatMulNBitsQuantizer(onnx.load(whole), bits=8, block_size=128, accuracy_level=4, algo_config=config)
        grouped.process()
        grouped.model.save_model_to_file(str(target.with_name(grouped_name(target))), use_external_data_format=True)


def int8_rate(clock: Callable[[], float]) -> float:
    """GOP/s of oneDNN's int8 product over the matrices of one layer, 1,024 rows."""
    import torch

    torch.backends.quantized.engine = "onednn"
    rows = 1024
    layers = []
    for inputs, outputs in ((1024, 4096), (2048, 1024), (1024, 6144), (3072, 1024)):
        linear = torch.ao.nn.quantized.Linear(inputs, outputs)
        x = torch.quantize_per_tensor(torch.randn(rows, inputs), 0.05, 128, torch.quint8)
        layers.append((linear, x, 2 * rows * inputs * outputs))
    times = []
    for _ in range(100):
        started = clock()
        for linear, x, _operations in layers:
            linear(x)
        times.append(clock() - started)
    # The median, as for the contenders: a burst of a few milliseconds says nothing about a busy machine.
    return sum(item[2] for item in layers) / statistics.median(times) / 1e9


def bandwidth() -> float:
    """GB/s that a read of 1 GB by all cores reaches (sum of int64)."""
    from concurrent.futures import ThreadPoolExecutor

    parts = np.array_split(np.ones(1 << 27, np.int64), os.cpu_count() or 1)
    best = 0.0
    with ThreadPoolExecutor(len(parts)) as pool:
        for _ in range(5):
            started = time.perf_counter()
            list(pool.map(np.add.reduce, parts))
            best = max(best, sum(part.nbytes for part in parts) / (time.perf_counter() - started) / 1e9)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="ours,llama,ik,torch,onnx")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--export", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export:
        export(options.export)
        return
    if os.environ.get("OMP_NUM_THREADS") != str(options.threads):  # which libraries read when they are loaded
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    with tempfile.TemporaryDirectory() as temporary:
        scratch = options.scratch or Path(temporary)
        scratch.mkdir(parents=True, exist_ok=True)
        measure(options, scratch)


def measure(options: argparse.Namespace, scratch: Path) -> None:
    modules = {"llama": "xllamacpp", "ik": "ik_llama_cpp", "torch": "torch", "onnx": "onnxruntime"}
    wanted = set(options.only.split(","))
    left_out = {name for name in wanted if name in modules and importlib.util.find_spec(modules[name]) is None}
    chosen = wanted - left_out
    threads = options.threads
    clock = time.process_time if threads == 1 else time.perf_counter
    ids = np.random.default_rng(1).integers(1000, 20_000, (options.inputs, options.tokens))
    contenders: dict[str, Callable[[np.ndarray], float]] = {}
    facts: dict[str, object] = {}
    llamas: list[Llama] = []

    def timed(run: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], float]:
        def seconds(ids: np.ndarray) -> float:
            started = clock()
            run(ids)
            return clock() - started

        return seconds

    if "ours" in chosen:
        source = cached_checkpoint(scratch, "Q8_0")
        for weights in ("int8", "float32"):
            run, about = ours(source, weights, scratch / "cache", threads)
            facts[f"ours {weights}"] = about
            contenders[f"ours {weights}"] = timed(run)
            if weights == "int8":
                query = ids[:1, :16]
                run(query)
                took = statistics.median(timed(run)(query) for _ in range(15))
                facts["query of 16 tokens, int8"] = {
                    "milliseconds": round(took * 1e3, 1),
                    "gigabytes_read_per_second": round(0.440 * 1.03 / took, 1),
                }
    if "llama" in chosen:
        for form in QUANTISED:
            llama = Llama(cached_checkpoint(scratch, form), options.inputs, options.tokens, threads)
            llamas.append(llama)
            contenders[f"llama.cpp {form}"] = llama.seconds
    if "ik" in chosen:
        for form in ("Q8_0", "Q4_K"):
            contenders[f"ik_llama.cpp {form}"] = timed(ik_contender(cached_checkpoint(scratch, form), threads))
    if "torch" in chosen:
        for kind in ("float32", "bfloat16"):
            contenders[f"torch {kind}"] = timed(torch_contender(kind))
    if "onnx" in chosen:
        contenders["onnxruntime 8-bit, dynamic"] = timed(onnx_contender(scratch, threads, grouped=False))
        contenders["onnxruntime 8-bit, groups of 128"] = timed(onnx_contender(scratch, threads, grouped=True))
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    rates: list[float] = []
    limits = Limits(scratch)
    highest: list[float] = []
    for seconds_of in contenders.values():
        seconds_of(ids[:1])
    for _ in range(options.rounds):
        if "torch" in chosen:
            rates.append(int8_rate(clock))
        highest.append(limits.highest()["int8"] * threads)
        for name, seconds_of in contenders.items():
            seconds[name].append(seconds_of(ids))
    for llama in llamas:
        llama.close()
    tokens = ids.size
    result: dict[str, object] = {
        "machine": processor()["name"],
        "threads": threads,
        "load of the machine": [round(load, 1) for load in os.getloadavg()],
        "inputs": list(ids.shape),
        "tokens_per_second": {name: round(tokens / statistics.median(times), 1) for name, times in seconds.items()},
        "memory_bandwidth_gb_per_second": round(bandwidth(), 1),
        **facts,
        **({"left out, no package": sorted(left_out)} if left_out else {}),
    }
    if "ours int8" in seconds:
        mine = seconds["ours int8"]
        result["int8_over"] = {
            name: round(statistics.median(b / a for a, b in zip(mine, times, strict=True)), 2)
            for name, times in seconds.items()
            if name != "ours int8"
        }
        shares = [tokens / took * GOP_PER_TOKEN / limit for took, limit in zip(mine, highest, strict=True)]
        result["limit_gop_per_second"] = round(statistics.median(highest), 1)
        result["share_of_the_limit"] = round(statistics.median(shares), 2)
        if rates:
            fractions = [tokens / took * GOP_PER_TOKEN / rate for took, rate in zip(mine, rates, strict=True)]
            result["int8_matrix_product_gop_per_second"] = round(statistics.median(rates), 1)
            result["fraction_of_int8_rate"] = round(statistics.median(fractions), 2)
    print(json.dumps(result, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    results = RESULTS.with_stem("engines-one-thread") if threads == 1 else RESULTS
    results.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
