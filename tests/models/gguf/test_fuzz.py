"""Damaged files end in a typed error: the fuzzer's harness on seeded mutations of sound files."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fuzz.fuzz_gguf import exercise, seeds
from reference import reference

INTERESTING = [0, 1, 7, 8, 31, 32, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**61, 2**63 - 1, 2**63, 2**64 - 1]


def mutated(data: bytes, chance: random.Random, header: int) -> bytes:
    """One to four changes, most of them in the first `header` bytes."""
    spoiled = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(min(len(spoiled), header) if chance.random() < 0.9 else len(spoiled))
        change = chance.randrange(6)
        if change == 0:
            spoiled[place] ^= 1 << chance.randrange(8)
        elif change == 1:
            spoiled[place] = chance.choice([0, 1, 9, 127, 255])
        elif change == 2:
            width = chance.choice([4, 8])
            number = chance.choice(INTERESTING) % (1 << 8 * width)
            spoiled[place : place + width] = number.to_bytes(width, "little")
        elif change == 3:
            del spoiled[place : place + chance.randint(1, 16)]
        elif change == 4:
            spoiled[place:place] = spoiled[max(0, place - chance.randint(1, 40)) : place]
        else:
            del spoiled[max(place, 1) :]
        if len(spoiled) < 2:
            return bytes(spoiled)
    return bytes(spoiled)


@pytest.mark.parametrize("name", list(seeds()))
def test_mutations_of_written_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    data = seeds()[name]
    path.write_bytes(data)
    exercise(path)
    chance = random.Random(name)
    for _ in range(400):
        path.write_bytes(mutated(data, chance, len(data)))
        exercise(path)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("gguf-malformed/ok-KV_RANDOM_KV-seed1.gguf", 3_168),
        ("gguf-malformed/ok-TENSORS_SUCCESS-seed1.gguf", 7_040),
        ("gguf/stories260K-Q2_K.gguf", 20_000),
        ("gguf-old/test_writer.gguf", 2_112),
    ],
)
def test_mutations_of_real_files(tmp_path: Path, name: str, header: int) -> None:
    path = tmp_path / "model.gguf"
    data = reference(name).read_bytes()
    chance = random.Random(name)
    for _ in range(250):
        path.write_bytes(mutated(data, chance, header))
        exercise(path)
