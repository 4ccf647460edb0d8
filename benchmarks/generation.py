"""Generation: reading and writing speed and memory against llama.cpp's wheel (xllamacpp), true shapes.

    scripts/bench generation [--shape qwen3-0.6b|tinyllama-1.1b] [--rounds 3] [--prompt 1024] [--tokens 64]
                             [--mix Q4_K_M|Q4_K|Q5_K_M|Q6_K] [--weights stored]

Seeded random weights of the model's shape: speed and memory do not depend on the values. A mix has the types that
llama.cpp's own quantiser gives each matrix: of Q4_K_M the head, and in half of the layers `attn_v` and `ffn_down`, are
Q6_K. Each engine runs in a
process of its own, and they take turns (one round: each once), because the speed of a shared machine drifts; what
counts is the ratio within a round. A follow-up is the same prompt with 32 tokens more. Plain writing guesses no ids.
Quoting writes an answer whose ids are set, and computes them all the same: runs of 24 ids of the prompt with 8 others
between them, guessed where they can be.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import numpy as np

if TYPE_CHECKING:
    from turboprop.engines.contract import WeightFormat

RESULTS = Path(__file__).parent / "results" / "generation.json"
F32 = gguf.GGMLQuantizationType.F32
BLOCKS = {
    # Bytes of a block of 256 weights, where its two float16 are, and what makes weights of about 0.05 of random bits.
    "Q4_K": (144, 0, [2e-4, 1e-3]),
    "Q5_K": (176, 0, [1e-4, 1e-3]),
    "Q6_K": (210, 208, [4e-5]),
}
MIXES = {"Q4_K_M": ("Q4_K", "Q6_K"), "Q5_K_M": ("Q5_K", "Q6_K"), "Q4_K": ("Q4_K", "Q4_K"), "Q6_K": ("Q6_K", "Q6_K")}
"""The type of most matrices, and of those that have more bits."""
SHAPES = {
    # architecture, width, inner width, layers, heads, kv heads, head width, vocabulary, tied
    "qwen3-0.6b": ("qwen3", 1024, 3072, 28, 16, 8, 128, 151_936, True),
    "tinyllama-1.1b": ("llama", 2048, 5632, 22, 32, 4, 64, 32_000, False),
}


def write_model(path: Path, name: str, mix: str) -> None:
    """A GGUF file of that shape and mix: matrices of random bits with small scales, norms of 1."""
    architecture, width, inner, layers, heads, kv_heads, head, vocabulary, tied = SHAPES[name]
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(4096)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("llama")
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = [chr(ord("a") + number) for number in range(26)]
    words = ("".join(word) for size in (2, 3, 4) for word in product(letters, repeat=size))
    tokens += islice(words, vocabulary - len(tokens))
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * vocabulary)
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * (vocabulary - 259)])

    def matrix(name: str, rows: int, columns: int, more: bool = False) -> None:
        kind = MIXES[mix][more]
        size, at, scales = BLOCKS[kind]
        blocks = random.integers(0, 256, (rows, columns // 256, size), np.uint8)
        blocks[:, :, at : at + 2 * len(scales)] = np.array(scales, np.float16).view(np.uint8)
        writer.add_tensor(name, blocks.reshape(rows, -1), raw_dtype=gguf.GGMLQuantizationType[kind])

    def norm(name: str, size: int) -> None:
        writer.add_tensor(name, np.ones(size, np.float32), raw_dtype=F32)

    matrix("token_embd.weight", vocabulary, width, tied)
    norm("output_norm.weight", width)
    if not tied:
        matrix("output.weight", vocabulary, width, True)
    for layer in range(layers):
        p = f"blk.{layer}."
        more = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
        norm(f"{p}attn_norm.weight", width)
        norm(f"{p}ffn_norm.weight", width)
        if architecture == "qwen3":
            norm(f"{p}attn_q_norm.weight", head)
            norm(f"{p}attn_k_norm.weight", head)
        matrix(f"{p}attn_q.weight", heads * head, width)
        matrix(f"{p}attn_k.weight", kv_heads * head, width)
        matrix(f"{p}attn_v.weight", kv_heads * head, width, more)
        matrix(f"{p}attn_output.weight", width, heads * head)
        matrix(f"{p}ffn_gate.weight", inner, width)
        matrix(f"{p}ffn_up.weight", inner, width)
        matrix(f"{p}ffn_down.weight", width, inner, more)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def serve(engine: str, weights: WeightFormat, path: Path, cache: Path, prompt: int, tokens: int) -> None:
    """The contender's process: for each line of standard input one round, its figures as a line of JSON."""
    from turboprop.engines.contract import EngineOptions
    from turboprop.engines.generation_contract import Generator, TokenRequest
    from turboprop.engines.registry import load_generator
    from turboprop.engines.step import StepBatch
    from turboprop.models.checkpoint.gguf import open_gguf

    started = time.perf_counter()
    model: Generator
    model, _ = load_generator(
        open_gguf(path),
        EngineOptions(
            engine=engine,
            weights=weights if engine == "native" else "auto",
            context=4096,
            cache_home=cache if engine == "native" else None,
        ),
    )
    loaded = time.perf_counter() - started
    random = np.random.default_rng(1)

    def timed(ids: tuple[int, ...], count: int, lookup: bool = False) -> tuple[float, float]:
        begin = time.perf_counter()
        stream = model.start(TokenRequest(ids, count, lookup=lookup))
        next(stream)
        first = time.perf_counter() - begin
        made = sum(1 for _ in stream)
        return first, made / (time.perf_counter() - begin - first) if made else 0.0

    def fresh(count: int) -> tuple[int, ...]:
        return tuple(random.integers(300, 30_000, count).tolist())

    def quoting(ids: tuple[int, ...]) -> float:
        """Ids a second of an answer that quotes."""
        loop = getattr(model, "_loop", None)
        if loop is None:  # it guesses nothing
            return 0.0
        answer: list[int] = []
        while len(answer) < 4 * tokens:
            start = int(random.integers(0, len(ids) - 24))
            answer += [*ids[start : start + 24], *fresh(8)]
        forward = loop._forward

        def told(batch: StepBatch) -> np.ndarray:
            logits = forward(batch)
            for row, place in enumerate(batch.rows):
                at = int(batch.positions[place]) + 1 - len(ids)
                if 0 <= at < len(answer):
                    logits[row, answer[at]] = 1e9
            return logits

        told.interrupt = forward.interrupt  # type: ignore[attr-defined]
        loop._forward = told
        try:
            return timed(ids, 4 * tokens, lookup=True)[1]
        finally:
            loop._forward = forward

    timed(fresh(64), 4)
    for _ in sys.stdin:
        ids = fresh(prompt)
        first, writing = timed(ids, tokens)
        quoted = quoting(ids) or writing
        again, _ = timed((*ids, *fresh(32)), 1)
        peak = (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        )
        if pid := getattr(model, "worker_pid", None):
            status = Path(f"/proc/{pid}/status").read_text()
            peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
        print(
            json.dumps(
                {
                    "weights": model.weights,
                    "load_s": round(loaded, 2),
                    "read_tok_s": round(prompt / first, 1),
                    "write_tok_s": round(writing, 1),
                    "quote_tok_s": round(quoted, 1),
                    "first_s": round(first, 2),
                    "follow_up_s": round(again, 3),
                    "peak_mb": round(peak * 1024 / 1e6),
                }
            ),
            flush=True,
        )
    model.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-0.6b")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--mix", choices=MIXES, default="Q4_K_M")
    parser.add_argument("--weights", choices=("auto", "int8", "int4", "stored"), default="auto")
    parser.add_argument("--serve", nargs=3)
    asked = parser.parse_args()
    if asked.serve:
        engine, path, cache = asked.serve
        serve(engine, asked.weights, Path(path), Path(cache), asked.prompt, asked.tokens)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write_model(path, asked.shape, asked.mix)
        contenders = {}
        for engine in ("native", "llamacpp"):
            command = [sys.executable, __file__, "--prompt", str(asked.prompt), "--tokens", str(asked.tokens)]
            command += ["--weights", asked.weights]
            contenders[engine] = subprocess.Popen(
                [*command, "--serve", engine, str(path), f"{folder}/cache"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        rounds: list[dict[str, dict[str, float]]] = []
        for _ in range(asked.rounds + 1):
            found = {}
            for engine, process in contenders.items():
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
                found[engine] = json.loads(process.stdout.readline())
                print(engine, found[engine], flush=True)
            rounds.append(found)
        del rounds[0]  # the other contender was still loading
        for process in contenders.values():
            process.communicate()
        size = path.stat().st_size
    ratios = {
        name: round(statistics.median(one["native"][name] / one["llamacpp"][name] for one in rounds), 2)
        for name in ("read_tok_s", "write_tok_s", "quote_tok_s")
    }
    ratios["follow_up"] = round(
        statistics.median(o["native"]["first_s"] / o["native"]["follow_up_s"] for o in rounds), 1
    )
    print(ratios)
    result = {
        "shape": asked.shape,
        "mix": asked.mix,
        "prompt": asked.prompt,
        "file_mb": round(size / 1e6),
        "machine": platform.processor() or platform.machine(),
        "rounds": rounds,
        "median_ratios": ratios,
    }
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    name = " ".join([asked.shape, asked.mix, *([] if asked.weights == "auto" else [asked.weights])])
    RESULTS.write_text(json.dumps({**known, name: result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
