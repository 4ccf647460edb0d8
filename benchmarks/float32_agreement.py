"""Real language models in native float32 against llama.cpp's float computation: greedy tokens and log probabilities.

    scripts/bench float32_agreement MODEL.gguf [MODEL.gguf ...] [--tokens 24]

llama.cpp rounds activations beside quantised weights, so each file is first written with the same weights in float32
(into a scratch folder), and llama.cpp runs that with float32 keys and values. Twelve prompts; each engine writes greedy
tokens. Where two differ, the first difference is judged: the other's token must be within 0.05 of the likeliest in
log probability. The engine numpy is compared likewise. Of fewer bits (our int8 and stored, llama.cpp's own kernels on
the file as it is) the mean difference of log probabilities to our float32 is told, while the same tokens are written.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import gguf

from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import TokenRequest
from turboprop.engines.registry import load_generator
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.tokenizer.load import encode_texts, tokenizer_from_path

RESULTS = Path(__file__).parent / "results" / "float32_agreement.json"
NEAR = 0.05
PROMPTS = (
    "The capital of France is",
    "def fibonacci(n):",
    "Once upon a time there was a small dog who",
    "To sort a list of numbers in Python, you can",
    "Water boils at a temperature of",
    "import numpy as np\n\ndef softmax(x):\n",
    "The three laws of thermodynamics are",
    "A recipe for pancakes: first,",
    "In 1969, the first people",
    "SELECT name, COUNT(*) FROM users WHERE",
    "The difference between a process and a thread is",
    "Die Hauptstadt von Deutschland ist",
)


def as_float32(source: Path, target: Path) -> Path:
    """The same model with all its weights in float32."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, str(reader.fields["general.architecture"].contents()))
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name not in ("general.architecture", "general.file_type"):
            element = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], element)
    for name, tensor in open_gguf(source).tensors.items():
        writer.add_tensor(name, tensor.dequantize())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def answers(
    path: Path, engine: str, prompts: list[list[int]], tokens: int, weights: str = "float32"
) -> list[list[tuple[int, dict[int, float]]]]:
    """For each prompt the greedy ids, each with the log probabilities of the likeliest eight."""
    weights = "auto" if engine == "llamacpp" else weights
    model = load_generator(open_gguf(path), EngineOptions(weights, engine=engine, context=256))[0]
    try:
        requests = [TokenRequest(tuple(ids), tokens, logprobs=8, lookup=False) for ids in prompts]
        return [[(token.id, dict(token.top)) for token in model.start(request)] for request in requests]
    finally:
        model.close()


def compare(ours: list, theirs: list) -> dict[str, float | int | list]:
    same, off, differences, apart = 0, 0.0, [], []
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        for place, ((a, mine), (b, their)) in enumerate(zip(one, other, strict=True)):
            apart += [abs(mine[key] - their[key]) for key in set(mine) & set(their)]
            off = max([off, *apart[-8:]])
            if a != b:
                gap = their[b] - their.get(a, float("-inf"))
                differences.append({"prompt": number, "token": place, "gap": round(gap, 5)})
                break
        else:
            same += 1
    return {
        "prompts": len(ours),
        "same": same,
        "largest_difference": round(off, 6),
        "mean_difference": round(sum(apart) / len(apart), 6),
        "differences": differences,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--tokens", type=int, default=24)
    arguments = parser.parse_args()
    found = {}
    for path in arguments.models:
        prompts = encode_texts(tokenizer_from_path(open_gguf(path).tokenizer_path), PROMPTS)
        native = answers(path, "native", prompts, arguments.tokens)
        with tempfile.TemporaryDirectory() as folder:
            wide = as_float32(path, Path(folder) / "float32.gguf")
            others = {"llamacpp": answers(wide, "llamacpp", prompts, arguments.tokens)}
        others["numpy"] = answers(path, "numpy", prompts, arguments.tokens)
        fewer = {name: answers(path, "native", prompts, arguments.tokens, name) for name in ("int8", "stored")}
        fewer["llamacpp, as stored"] = answers(path, "llamacpp", prompts, arguments.tokens)
        found[path.name] = {name: compare(native, other) for name, other in others.items()}
        found[path.name]["fewer bits"] = {name: compare(native, other) for name, other in fewer.items()}
        print(path.name, json.dumps(found[path.name]), flush=True)
    RESULTS.write_text(json.dumps({"tokens": arguments.tokens, "models": found}, indent=2) + "\n", "utf-8")
    bad = [item for model in found.values() for each in model.values() for item in each.get("differences", [])]
    if any(item["gap"] > NEAR for item in bad):
        raise SystemExit(f"a token differs that was not within {NEAR} of the likeliest")


if __name__ == "__main__":
    main()
