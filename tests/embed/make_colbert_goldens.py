"""Write `golden/colbert-<model>.npz`: what PyLate computes for the tiny late-interaction models.

    PYTHONPATH=tests python tests/embed/make_colbert_goldens.py

It needs pylate (any CPU build; last made with pylate 1.6.0, torch 2.13.0 and transformers 5.3.0), which no test does.
Each file holds float32 vectors [tokens, width], `query0`... and `document0`..., and the scores of each query.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from embed.tiny_colbert import COLBERTS, DOCUMENTS, QUERIES

GOLDEN = Path(__file__).with_name("golden")


def main() -> None:
    import torch
    from pylate import models
    from pylate.scores import colbert_scores

    GOLDEN.mkdir(exist_ok=True)
    for name, tiny in COLBERTS.items():
        with tempfile.TemporaryDirectory() as folder:
            model = models.ColBERT(str(tiny.save(Path(folder) / name)), device="cpu", local_files_only=True)
        found = {}
        for side, texts in (("query", QUERIES), ("document", DOCUMENTS)):
            for number, text in enumerate(texts):  # alone, so that no padding is among them
                found[f"{side}{number}"] = model.encode([text], is_query=side == "query")[0]
        for number in range(len(QUERIES)):
            asked = torch.tensor(found[f"query{number}"])[None]
            scores = [
                float(colbert_scores(asked, torch.tensor(found[f"document{at}"])[None])[0, 0])
                for at in range(len(DOCUMENTS))
            ]
            found[f"scores{number}"] = np.array(scores, np.float32)
        np.savez(GOLDEN / f"colbert-{name}.npz", **found)
        print(name, {key: value.shape for key, value in found.items()})


if __name__ == "__main__":
    main()
