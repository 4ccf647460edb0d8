"""Embedding throughput and fidelity on real chunks, against ONNX Runtime and sentence-transformers.

    scripts/bench embedding [--corpus FOLDER] [--chunks 512] [--rounds 5]

The contenders take turns in one process (one round: each once), because the speed of a shared machine drifts;
what counts is the ratio within a round. All-MiniLM-L6-v2, 2 to N threads as each chooses by itself.

- ours: the product's path, texts to unit vectors (weights int8 and float32)
- onnxruntime: the float32 graph batched as fastembed does: 256 texts in their order, padded to the longest
- sentence-transformers: `encode(batch_size=32)` on PyTorch, which sorts by length
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from turboprop import EmbeddingModel
from turboprop.code.chunk import chunk_text
from turboprop.code.read import SourceText, read_source
from turboprop.code.walk import walk
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


def onnx_contender(folder: Path, scratch: Path) -> Callable[[list[str]], np.ndarray]:
    export_onnx(folder, scratch / "model.onnx")
    session = onnxruntime.InferenceSession(scratch / "model.onnx", providers=["CPUExecutionProvider"])
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--chunks", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder = resolve("sentence-transformers/all-MiniLM-L6-v2", load_settings()).path
    int8 = EmbeddingModel.load(weights="int8")
    float32 = EmbeddingModel.load(weights="float32")
    st = SentenceTransformer(str(folder), device="cpu")
    texts = real_chunks(options.corpus, options.chunks, int8)
    tokens = sum(int8.count_tokens(texts))
    with tempfile.TemporaryDirectory() as scratch:
        contenders: dict[str, Callable[[list[str]], np.ndarray]] = {
            "ours int8": int8.embed_documents,
            "ours float32": float32.embed_documents,
            "onnxruntime as fastembed": onnx_contender(folder, Path(scratch)),
            "sentence-transformers": lambda texts: st.encode(texts, batch_size=32, show_progress_bar=False),
        }
        vectors = {name: embed(texts) for name, embed in contenders.items()}  # also the warm-up
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(options.rounds):
            for name, embed in contenders.items():
                started = time.perf_counter()
                embed(texts)
                seconds[name].append(time.perf_counter() - started)
    reference = vectors["sentence-transformers"]
    rates = {name: tokens / statistics.median(times) for name, times in seconds.items()}

    def ratio(ours: str, theirs: str) -> float:
        return statistics.median(b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True))

    result = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "chunks": len(texts),
        "tokens": tokens,
        "tokens_per_second": {name: round(rate) for name, rate in rates.items()},
        "int8_over_onnxruntime": round(ratio("ours int8", "onnxruntime as fastembed"), 2),
        "int8_over_sentence_transformers": round(ratio("ours int8", "sentence-transformers"), 2),
        "float32_over_onnxruntime": round(ratio("ours float32", "onnxruntime as fastembed"), 2),
        "float32_over_sentence_transformers": round(ratio("ours float32", "sentence-transformers"), 2),
        "int8_over_float32": round(ratio("ours int8", "ours float32"), 2),
        "float32_largest_difference": float(np.abs(vectors["ours float32"] - reference).max()),
        "int8_smallest_cosine": float((vectors["ours int8"] * reference).sum(1).min()),
    }
    print(json.dumps(result, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
