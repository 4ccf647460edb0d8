"""A draft: how many of its guesses are right on real weights, what that gains there, and what steps of a 7B shape cost.

    scripts/bench draft MODEL.gguf [--draft DRAFT.gguf] [--weights float32] [--tokens 96] [--rounds 5]

Measured, one thread by its processor time: greedy answers of MODEL in `--weights` to six questions, by turns without
and with a draft (by default the same file as it is stored, which costs half and thinks nearly the same), whether they
are the same, the steps, the guesses; and the products of a step of some tokens of the nomic-embed-code shape (7B, Q4_K)
over those of one, and of a token of the Qwen3-0.6B shape (`limit.py` has them).
Computed from both: how much sooner a 7B would answer with a 0.6B whose guesses were as often right.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from limit import batch, processor, products, seconds_of
from shapes import SHAPES
from turboprop import GenerationOptions, LanguageModel
from turboprop.engines.native.library import SUPER_FOUR
from turboprop.engines.step import StepBatch
from turboprop.settings import load_settings

RESULTS = Path(__file__).parent / "results" / "draft.json"
QUESTIONS = (
    "Explain in two sentences why the sky is blue.",
    "Write a Python function that returns the n-th Fibonacci number.",
    "List five fruits and their colours.",
    "Tell me a short story about a cat who learns to swim.",
    "What is the difference between a list and a tuple in Python?",
    "Translate to French: Good morning, how are you?",
)
TOKENS = range(1, 10)
"""Of a step: the last one and up to 8 guessed ones."""


class Counted:
    """A model's forward that counts its steps by their tokens, prompts left out."""

    def __init__(self, forward: Any) -> None:
        self._forward, self.steps = forward, Counter[int]()

    def __call__(self, inputs: StepBatch) -> np.ndarray:
        if len(inputs.ids) in TOKENS:
            self.steps[len(inputs.ids)] += 1
        return self._forward(inputs)

    def interrupt(self) -> None:
        self._forward.interrupt()


def answers(asked: argparse.Namespace) -> dict[str, Any]:
    settings = dataclasses.replace(load_settings(), threads=1)
    wanted = GenerationOptions(temperature=0, max_tokens=asked.tokens)
    how: dict[str, Any] = {"engine": "native", "weights": asked.weights, "context": 1024, "settings": settings}
    with (
        LanguageModel.load(str(asked.model), **how) as plain,
        LanguageModel.load(str(asked.model), draft=str(asked.draft or asked.model), **how) as drafted,
    ):
        loop = drafted._generator._loop
        large, small = Counted(loop._forward), Counted(loop.draft._forward)
        loop._forward, loop.draft._forward = large, small
        seconds: dict[str, list[float]] = {"plain": [], "drafted": []}
        ids, same = 0, 0
        for question in QUESTIONS:
            texts = []
            for name, model in (("plain", plain), ("drafted", drafted)):
                begin = time.process_time()
                made = model.generate([{"role": "user", "content": question}], wanted)
                seconds[name].append(time.process_time() - begin)
                texts.append(made.text)
            same += texts[0] == texts[1]
            ids += made.usage.generated_tokens
            print(json.dumps({question: texts[1]}), flush=True)
        return {
            "model, draft": [asked.model.name, asked.weights, (asked.draft or asked.model).name, "as stored"],
            "same answers": f"{same} of {len(QUESTIONS)}",
            "ids": ids,
            "steps of the model by tokens": dict(sorted(large.steps.items())),
            "steps of the draft": small.steps.total(),
            "guessed": loop.draft.guessed,
            "kept": loop.draft.kept,
            "sooner by": round(sum(seconds["plain"]) / sum(seconds["drafted"]), 2),
        }


def costs(rounds: int) -> dict[str, Any]:
    programs = {}
    for tokens in TOKENS:
        program, _, _ = products(SHAPES["nomic-embed-code"], SUPER_FOUR, 2, tokens)
        programs[tokens] = program, batch(tokens)
    layers = {
        name: shape.config["num_hidden_layers"]
        for name, shape in SHAPES.items()
        if shape.architecture != "bert" and "num_hidden_layers" in shape.config
    }
    small, _, _ = products(SHAPES["qwen3-embedding-0.6b"], SUPER_FOUR, 16, 1)
    found: dict[int, list[float]] = {tokens: [] for tokens in TOKENS}
    draft = []
    for _ in range(rounds):
        one = seconds_of(*programs[1])
        for tokens, (program, inputs) in programs.items():
            found[tokens].append(seconds_of(program, inputs) / one)
        of_the_small = seconds_of(small, batch(1)) / 16 * layers["qwen3-embedding-0.6b"]
        draft.append(of_the_small / (one / 2 * layers["nomic-embed-code"]))
    return {
        "step of tokens, over one": {tokens: round(statistics.median(each), 2) for tokens, each in found.items()},
        "token of the draft": round(statistics.median(draft), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--draft", type=Path)
    parser.add_argument("--weights", default="float32")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    measured, shapes = answers(asked), costs(asked.rounds)
    steps: dict[int, int] = measured["steps of the model by tokens"]
    of_a_step = shapes["step of tokens, over one"]
    cost = sum(count * of_a_step[tokens] for tokens, count in steps.items())
    cost += measured["steps of the draft"] * shapes["token of the draft"]
    result = {
        "machine": processor()["name"],
        "measured": measured,
        "measured, 7B and 0.6B shapes in Q4_K": shapes,
        "computed: a 7B with a 0.6B that is as often right, sooner by": round(measured["ids"] / cost, 2),
    }
    print(json.dumps(result, indent=1))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
