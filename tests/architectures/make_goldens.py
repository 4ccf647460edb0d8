"""Write `golden/<model>.npz`: what `transformers` computes for the tiny models.

    PYTHONPATH=tests python tests/architectures/make_goldens.py [MODEL...]

It needs torch and transformers (any CPU build; last made with torch 2.13.0 and transformers 5.23.0), which
no test does. Each file holds float32 states [tokens, width] after the final norm, one array an input.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from architectures.tiny_models import INPUTS, MODELS

GOLDEN = Path(__file__).with_name("golden")


def states(folder: Path) -> list[np.ndarray]:
    """The states of each input, run alone in float32."""
    import torch
    from transformers import AutoModel

    model, report = AutoModel.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    assert not [name for name in wrong if not name.startswith("pooler.")], wrong
    model.eval()
    with torch.no_grad():
        return [model(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy() for ids in INPUTS]


def main(names: list[str]) -> None:
    for name in names or MODELS:
        with tempfile.TemporaryDirectory() as folder:
            found = states(MODELS[name].save(Path(folder)))
        np.savez(GOLDEN / f"{name}.npz", *found)
        print(name, [array.shape for array in found], f"{np.abs(found[1]).max():.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
