"""A real language model in hostile variants, run on the kernels: an error with a sentence, or an answer.

`python tests/fuzz/sanitized.py` runs these with kernels that watch every access, all variants of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType

from engines.language_models import write_four_bit, write_super
from fuzz.hostile_gguf import exercise, variants
from reference import reference

EACH = int(os.environ.get("TP_HOSTILE_VARIANTS", "60"))
"""Variants of a file that are run; there are some 600 of each."""


def four_bit(folder: Path) -> Path:
    return write_four_bit(reference("gguf/stories260K.gguf"), folder / "four.gguf", GGMLQuantizationType.Q4_0)


def blocks_of_256(folder: Path) -> Path:
    return write_super(folder / "super.gguf", GGMLQuantizationType.Q4_K, GGMLQuantizationType.Q6_K)


@pytest.mark.parametrize(
    ("source", "weights"),
    [
        ("stories260K", "int8"),
        ("stories260K-F16", "int4"),
        ("stories260K-Q4_K_M", "int8"),
        ("stories260K-Q6_K", "int8"),
        (four_bit, "stored"),
        (blocks_of_256, "stored"),
    ],
)
def test_hostile_variants(tmp_path: Path, source: str | Callable[[Path], Path], weights: str) -> None:
    file = reference(f"gguf/{source}.gguf") if isinstance(source, str) else source(tmp_path)
    assert exercise(file, weights) == ""
    made = list(variants(file))
    assert len(made) > 400
    path = tmp_path / "model.gguf"
    for what, data in random.Random(file.name).sample(made, min(EACH, len(made))):
        path.write_bytes(data)
        try:
            words = exercise(path, weights)
        except BaseException as error:
            raise AssertionError(f"{file.name}, {what}: {error!r}") from error
        assert "to unpack" not in words, what
        assert "defect" not in words, what
