"""Generation: reading and writing speed and memory against llama.cpp (xllamacpp) and ik_llama.cpp.

    scripts/bench generation [--shape qwen3-0.6b|tinyllama-1.1b] [--rounds 3] [--prompt 1024] [--tokens 64]
                             [--mix Q4_K_M|Q4_K|Q5_K_M|Q6_K] [--weights stored] [--file MODEL.gguf] [--threads 1]

Seeded random weights of the model's shape, or a real file, whose greedy answers are then shown and kept: speed and
memory do not depend on the values. A mix has the types that llama.cpp's own quantiser gives each matrix: of Q4_K_M the
head, and in half of the layers `attn_v` and `ffn_down`, are Q6_K.

Each contender runs in a process of its own, and they take turns (one round: each once), because the speed of a shared
machine drifts; what counts is the ratio within a round. Who is not at its turn is stopped (SIGSTOP): threads that wait
busily take no core from the others. On a machine with other work, threads that meet after every operation wait for
those that the system has set aside, which says little of a quiet one: `--threads 1` measures one thread by its
processor time. `xllamacpp` and `ik-llama-cpp-python` are asked in their process, not over HTTP, each in the settings of
its own and in others ("tuned"); a package that is not installed is left out, and said to be.

A follow-up is the same prompt with 32 tokens more. Plain writing guesses no ids. Quoting writes an answer whose ids are
set, and computes them all the same: runs of 24 ids of the prompt with 8 others between them, guessed where they can be;
the others guess none here, so theirs is the rate of plain writing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from limit import processor
from turboprop.machine import usable_cores

if TYPE_CHECKING:
    from turboprop.engines.contract import WeightFormat
    from turboprop.engines.step import StepBatch

CONTEXT = 4096

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


def clock(threads: int) -> Callable[[], float]:
    """Seconds: of processor time where one thread does the work."""
    return time.process_time if threads == 1 else time.perf_counter


class Native:
    """Ours. `timed` gives the seconds to the first id, ids a second from then on, and the ids."""

    def __init__(self, path: Path, weights: WeightFormat, cache: Path, threads: int) -> None:
        from turboprop.engines.contract import EngineOptions
        from turboprop.engines.registry import load_generator
        from turboprop.models.checkpoint.gguf import open_gguf

        options = EngineOptions(engine="native", weights=weights, context=CONTEXT, cache_home=cache, threads=threads)
        self._model, _ = load_generator(open_gguf(path), options)
        self.weights = weights
        self._clock = clock(threads)

    def timed(self, ids: list[int], count: int, lookup: bool = False) -> tuple[float, float, list[int]]:
        from turboprop.engines.generation_contract import TokenRequest

        begin = self._clock()
        stream = self._model.start(TokenRequest(tuple(ids), count, lookup=lookup))
        made = [next(stream).id]
        first = self._clock() - begin
        made += [token.id for token in stream]
        return first, (len(made) - 1) / max(1e-9, self._clock() - begin - first), made

    def quoting(self, ids: list[int], answer: list[int]) -> float:
        """Ids a second of an answer that quotes: the logits are told what it is."""
        loop = self._model._loop
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
            return self.timed(ids, len(answer), lookup=True)[1]
        finally:
            loop._forward = forward


class LlamaCpp:
    """The server inside of `xllamacpp`, without HTTP."""

    weights = "as stored"

    def __init__(self, path: Path, threads: int, *, tuned: bool) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel, params.warmup = CONTEXT, 1, False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        if tuned:
            params.n_ubatch = params.n_batch = 2048
            params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._server = xllamacpp.Server(params)
        self._clock = clock(threads)

    def timed(self, ids: list[int], count: int) -> tuple[float, float, str]:
        first, _ = self._asked(ids, 1)
        # The prompt is kept; its last token is computed again, in place of the first one of the answer.
        rest, text = self._asked(ids, count)
        return first, count / rest, text

    def _asked(self, ids: list[int], count: int) -> tuple[float, str]:
        begin = self._clock()
        wanted = {"prompt": ids, "n_predict": count, "temperature": 0, "ignore_eos": True, "cache_prompt": True}
        answer = self._server.handle_completions(wanted)
        return self._clock() - begin, answer["choices"][0]["text"]


class IkLlama:
    """ik_llama.cpp through the calls of its package, with the ids drawn as fast as numpy can."""

    weights = "as stored"

    def __init__(self, path: Path, threads: int, *, tuned: bool) -> None:
        from ik_llama_cpp import _ctypes_api, _internals

        self._calls, self._internals = _ctypes_api, _internals
        self._model = _internals.IkModel(str(path))
        self._context = _internals.IkContext(self._model, n_ctx=CONTEXT, n_threads=threads, flash_attn=tuned)
        self._clock = clock(threads)

    def _decode(self, ids: list[int], at: int) -> None:
        batch = self._internals.make_batch_range(ids, pos_start=at, logits_last=True)
        failed = self._context.decode(batch)
        self._calls.llama_batch_free(batch)
        if failed:
            raise SystemExit(f"llama_decode returned {failed}")

    def _drawn(self) -> int:
        logits = self._context.get_logits(-1)
        return int(np.ctypeslib.as_array(logits, (self._model.n_vocab,)).argmax())

    def timed(self, ids: list[int], count: int) -> tuple[float, float, list[int]]:
        self._context.kv_cache_clear()  # all that the package lets one keep of a call is nothing
        begin = self._clock()
        for at in range(0, len(ids), self._context._n_ubatch):  # as the package does it
            self._decode(ids[at : at + self._context._n_ubatch], at)
        made = [self._drawn()]
        first = self._clock() - begin
        while len(made) < count:
            self._decode(made[-1:], len(ids) + len(made) - 1)
            made.append(self._drawn())
        return first, (len(made) - 1) / max(1e-9, self._clock() - begin - first), made


CONTENDERS = {
    "native": "",
    "xllamacpp": "xllamacpp",
    "xllamacpp tuned": "xllamacpp",
    "ik_llama.cpp": "ik_llama_cpp",
    "ik_llama.cpp tuned": "ik_llama_cpp",
}
"""And the module that each needs."""


def serve(name: str, weights: WeightFormat, path: Path, cache: Path, threads: int) -> None:
    """The contender's process: answers each line of standard input, a request, with one of JSON.

    A request is a round of figures, with "quote", "more" and "tokens", or, without "quote", greedy ids (or their text).
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # both write a log wherever they like
    started = time.perf_counter()
    model: Native | LlamaCpp | IkLlama
    if name == "native":
        model = Native(path, weights, cache, threads)
    else:
        model = (LlamaCpp if name.startswith("xllamacpp") else IkLlama)(path, threads, tuned=name.endswith("tuned"))
    loaded = time.perf_counter() - started
    for line in sys.stdin:
        asked = json.loads(line)
        ids = asked["ids"]
        first, writing, made = model.timed(ids, asked["tokens"])
        if "quote" not in asked:
            print(json.dumps(made), file=answers, flush=True)
            continue
        quoted = model.quoting(ids, asked["quote"]) if isinstance(model, Native) else writing
        again, _, _ = model.timed([*ids, *asked["more"]], 1)
        figures = {
            "weights": model.weights,
            "load_s": round(loaded, 2),
            "read_tok_s": round(len(ids) / first, 1),
            "write_tok_s": round(writing, 1),
            "quote_tok_s": round(quoted, 1),
            "first_s": round(first, 2),
            "follow_up_s": round(again, 3),
            "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
        }
        print(json.dumps(figures), file=answers, flush=True)


class Contender:
    """A contender's process, which runs at its turn alone."""

    def __init__(self, name: str, asked: argparse.Namespace, path: Path, cache: Path) -> None:
        command = [sys.executable, __file__, "--weights", asked.weights, "--threads", str(asked.threads)]
        command += ["--serve", name, str(path), str(cache)]
        # Threads of OpenMP that give their core back between two operations take longer to begin the next one.
        surroundings = {**os.environ, **({"OMP_WAIT_POLICY": "active"} if name.endswith("tuned") else {})}
        self.name = name
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=surroundings,
        )
        self.ask({"ids": [1] * 64, "tokens": 4})

    def ask(self, request: dict[str, object]) -> Any:
        """Its answer; it is stopped before and after."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended with {self._process.wait()}")
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(answer)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


TEXTS = (
    "The capital of France is",
    "Water boils at a temperature of",
    "def add(a, b):\n    return",
    "The three primary colors are red,",
)
"""What models of 100 million weights and more go on with sensibly."""


def prompts(path: Path | None, prompt: int, tokens: int) -> Iterator[dict[str, object]]:
    """Rounds: of a real model the ids of our own documentation, of random weights random ones."""
    random = np.random.default_rng(1)
    known = None
    if path is not None:
        pages = sorted((Path(__file__).parent.parent / "docs").rglob("*.md"))
        known = tokenizer_of(path).encode("\n".join(page.read_text("utf-8") for page in pages)).ids

    def fresh(count: int) -> list[int]:
        if known is None:
            return random.integers(300, 30_000, count).tolist()
        start = int(random.integers(0, len(known) - count))
        return known[start : start + count]

    while True:
        ids, quote = fresh(prompt), []
        while len(quote) < 4 * tokens:
            start = int(random.integers(0, prompt - 24))
            quote += [*ids[start : start + 24], *fresh(8)]
        yield {"ids": ids, "tokens": tokens, "quote": quote, "more": fresh(32)}


def tokenizer_of(path: Path) -> Any:
    from turboprop.models.checkpoint.gguf import open_gguf
    from turboprop.models.tokenizer.load import tokenizer_from_path

    return tokenizer_from_path(open_gguf(path).tokenizer_path)


def measure(asked: argparse.Namespace, path: Path, cache: Path) -> dict[str, Any]:
    contenders: list[Contender] = []
    left_out: dict[str, str] = {}
    for name, module in CONTENDERS.items():
        if module and importlib.util.find_spec(module) is None:
            left_out[name] = f"there is no package {module}"
            continue
        try:
            contenders.append(Contender(name, asked, path, cache))
        except RuntimeError as error:
            left_out[name] = str(error)
    print("left out:", left_out or "nobody")
    answers: dict[str, dict[str, str]] = {}
    if asked.file:
        tokenizer = tokenizer_of(path)
        for text in TEXTS:
            ids = tokenizer.encode(text).ids
            answers[text] = {}
            for each in contenders:
                made = each.ask({"ids": ids, "tokens": 16})
                answers[text][each.name] = made if isinstance(made, str) else tokenizer.decode(made)
            print(json.dumps({text: answers[text]}, indent=1), flush=True)
    rounds: list[dict[str, dict[str, float]]] = []
    for request in islice(prompts(asked.file, asked.prompt, asked.tokens), asked.rounds):
        found = {}
        for contender in contenders:
            found[contender.name] = contender.ask(request)
            print(contender.name, found[contender.name], flush=True)
        rounds.append(found)
    for contender in contenders:
        contender.close()

    def over(name: str, figure: str) -> float:
        return round(statistics.median(one["native"][figure] / one[name][figure] for one in rounds), 2)

    native_over = {
        each.name: {figure: over(each.name, figure) for figure in ("read_tok_s", "write_tok_s", "quote_tok_s")}
        for each in contenders[1:]
    }
    followed = round(statistics.median(o["native"]["first_s"] / o["native"]["follow_up_s"] for o in rounds), 1)
    print(json.dumps(native_over, indent=1), followed)
    return {
        "prompt": asked.prompt,
        "file_mb": round(path.stat().st_size / 1e6),
        "machine": processor()["name"],
        "threads": asked.threads,
        "load of the machine": [round(load, 1) for load in os.getloadavg()],
        "rounds": rounds,
        "native_over": native_over,
        "first prompt over a follow-up": followed,
        **({"answers": answers} if answers else {}),
        **({"left out": left_out} if left_out else {}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-0.6b")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--mix", choices=MIXES, default="Q4_K_M")
    parser.add_argument("--weights", choices=("auto", "int8", "int4", "stored"), default="auto")
    parser.add_argument("--file", type=Path, help="a real model in place of random weights")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        name, path, cache = asked.serve
        serve(name, asked.weights, Path(path), Path(cache), asked.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = asked.file
        if path is None:
            path = Path(folder) / "model.gguf"
            write_model(path, asked.shape, asked.mix)
        result = measure(asked, path, Path(folder) / "cache")
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    what = [asked.file.stem] if asked.file else [asked.shape, asked.mix]
    name = " ".join([*what, *([] if asked.weights == "auto" else [asked.weights])])
    name += ", one thread" if asked.threads == 1 else ""
    RESULTS.write_text(json.dumps({**known, name: result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
