"""Write `golden/<model>.npz`: the logits that `transformers` computes for the tiny language models.

    PYTHONPATH=tests python tests/engines/make_goldens.py [MODEL...]

It needs torch and transformers (any CPU build; last made with torch 2.13.0 and transformers 5.23.0), which no
test does. Each file holds float32 logits [tokens, vocabulary], one array an input.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from architectures.tiny_models import INPUTS
from engines.language_models import LANGUAGE_MODELS

GOLDEN = Path(__file__).with_name("golden")


def main(names: list[str]) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    for name in names or LANGUAGE_MODELS:
        tiny = LANGUAGE_MODELS[name]
        with tempfile.TemporaryDirectory() as folder:
            model, report = AutoModelForCausalLM.from_pretrained(
                tiny.save(Path(folder)), dtype=torch.float32, attn_implementation="eager", output_loading_info=True
            )
        wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
        assert not [key for key in wrong if key != "lm_head.weight" or "lm_head.weight" in tiny.weights()], wrong
        model.eval()
        with torch.no_grad():
            found = [model(input_ids=torch.tensor([ids])).logits[0].numpy() for ids in INPUTS]
        np.savez(GOLDEN / f"{name}.npz", *found)
        print(name, [array.shape for array in found], f"{np.abs(found[1]).max():.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
