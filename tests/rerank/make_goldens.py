"""Write `golden/<reranker>.npz`: what sentence-transformers and `transformers` compute for the tiny rerankers.

    PYTHONPATH=tests python tests/rerank/make_goldens.py [RERANKER...]

It needs torch, transformers and sentence-transformers, which no test does; last made with torch 2.13.0,
transformers 5.23.0 and sentence-transformers 6.2.0. `short` and `long` are the scores of the documents for the
short and the long query, raw, in float32.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from rerank.tiny_rerankers import DOCUMENTS, LONG_QUERY, QUERY, RERANKERS

GOLDEN = Path(__file__).with_name("golden")
LIMIT = 512


def of_cross_encoder(folder: Path, query: str) -> np.ndarray:
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(
        str(folder), activation_fn=torch.nn.Identity(), device="cpu", model_kwargs={"dtype": "float32"}
    )
    # One at a time: what padding does is for our tests to see.
    logits = np.array([model.predict([(query, text)], show_progress_bar=False)[0] for text in DOCUMENTS])
    return logits if logits.ndim == 1 else logits[:, 1] - logits[:, 0]


def of_language_model(folder: Path, query: str) -> np.ndarray:
    """As the card of Qwen3-Reranker does it, with the log-odds in place of the probability."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prefix = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    )
    suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    before = tokenizer.encode(prefix, add_special_tokens=False)
    after = tokenizer.encode(suffix, add_special_tokens=False)
    task = "Given a web search query, retrieve relevant passages that answer the query"
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    scores = []
    for text in DOCUMENTS:
        pair = f"<Instruct>: {task}\n<Query>: {query}\n<Document>: {text}"
        body = tokenizer(pair, truncation="longest_first", max_length=LIMIT - len(before) - len(after))["input_ids"]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([before + body + after])).logits[0, -1]
        scores.append(float(logits[yes] - logits[no]))
    return np.array(scores)


def main(names: list[str]) -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name in names or RERANKERS:
        found = of_language_model if name.startswith("qwen3") else of_cross_encoder
        with tempfile.TemporaryDirectory() as parent:
            folder = RERANKERS[name].save(Path(parent) / name)
            scores = {key: found(folder, query) for key, query in (("short", QUERY), ("long", LONG_QUERY))}
        np.savez(GOLDEN / f"{name}.npz", **{key: value.astype(np.float32) for key, value in scores.items()})
        print(name, scores)


if __name__ == "__main__":
    main(sys.argv[1:])
