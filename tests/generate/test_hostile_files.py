"""Damaged and hostile model files: a typed error or a working model, never a crash."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from reference import reference
from turboprop import GenerationOptions, LanguageModel, TurboPropError

SHORT = GenerationOptions(temperature=0, max_tokens=2)


def tried(path: Path) -> str:
    """What came of loading and generating."""
    try:
        with LanguageModel.load(str(path), engine="native") as model:
            model.generate([{"role": "user", "content": "hi"}], SHORT)
        return "worked"
    except TurboPropError as error:
        assert str(error)
        return type(error).__name__


@pytest.mark.parametrize("folder", ["gguf-malformed", "gguf-old"])
def test_files_that_are_no_language_model(folder: str) -> None:
    files = sorted(path for path in reference(folder).iterdir() if path.suffix == ".gguf")
    assert len(files) > 3
    assert {path.name for path in files if tried(path) == "worked"} == set()


def test_random_mutations_of_a_sound_file(tmp_path: Path) -> None:
    sound = reference("gguf/stories260K-Q4_K_M.gguf").read_bytes()
    chance = random.Random(7)
    outcomes = []
    for number in range(100):
        damaged = bytearray(sound)
        # Most bytes are weights, which any bits are good for: the metadata and the tensors' list come first.
        for _ in range(chance.choice([1, 3, 20])):
            damaged[chance.randrange(12_000 if number % 4 else len(damaged))] = chance.randrange(256)
        if number % 10 == 0:
            del damaged[chance.randrange(len(damaged)) :]
        path = tmp_path / "m.gguf"
        path.write_bytes(damaged)
        outcomes.append(tried(path))
    assert len(set(outcomes)) > 1
    assert outcomes.count("worked") < 100
