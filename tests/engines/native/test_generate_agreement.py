"""How often the native engine's likeliest token is that of the same file in float32, and that it reproduces itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest

from engines.language_models import write_four_bit
from engines.loading import load_generator
from engines.test_generate_goldens import QUANTISED, cases, greedy
from reference import reference
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import Generator, Sampling, TokenRequest
from turboprop.engines.native.library import refusal
from turboprop.models.checkpoint.gguf import open_gguf

pytestmark = pytest.mark.skipif(bool(refusal()), reason=refusal() or "runs")


def load(path: Path, engine: str, weights: str, **more: object) -> Generator:
    options = EngineOptions(weights=weights, threads=2, **more)  # type: ignore[arg-type]
    return load_generator(open_gguf(path), engine, options)


@pytest.fixture(scope="module")
def exact() -> Iterator[Generator]:
    generator = load(reference("gguf/stories260K.gguf"), "numpy", "float32")
    yield generator
    generator.close()


@pytest.fixture(scope="module")
def native() -> Iterator[Generator]:
    generator = load(reference("gguf/stories260K.gguf"), "auto", "auto")
    yield generator
    generator.close()


def likeliest(generator: Generator, ids: Sequence[int]) -> list[int]:
    """The likeliest token after each beginning of `ids`, from the fifth on."""
    streams = [generator.start(TokenRequest(tuple(ids[:end]), 1)) for end in range(5, len(ids))]
    return [token.id for stream in streams for token in stream]


def agreement(exact: Generator, other: Generator) -> float:
    """Over stories that the model itself tells."""
    same: list[bool] = []
    for case in cases():
        ids = case["prompt_ids"] + greedy(exact, case["prompt_ids"], 200)
        same += [one == two for one, two in zip(likeliest(exact, ids), likeliest(other, ids), strict=True)]
    return float(np.mean(same))


def test_int8_keeps_the_likeliest_token(exact: Generator, native: Generator) -> None:
    assert agreement(exact, native) >= 0.97


@pytest.mark.parametrize("kind", [gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q4_1])
def test_four_bits_as_stored_keep_the_likeliest_token(kind: gguf.GGMLQuantizationType, tmp_path: Path) -> None:
    path = write_four_bit(reference("gguf/stories260K.gguf"), tmp_path / "four.gguf", kind)
    exact, stored = load(path, "numpy", "float32"), load(path, "auto", "auto")
    found = agreement(exact, stored)
    exact.close()
    stored.close()
    assert found >= 0.97


@pytest.mark.parametrize("kind", QUANTISED)
def test_quantised_files_load_and_generate(kind: str) -> None:
    golden = cases(f"stories260K-{kind}")[0]
    generator = load(reference(f"gguf/stories260K-{kind}.gguf"), "native", "auto")
    found = greedy(generator, golden["prompt_ids"], len(golden["greedy_ids"]))
    generator.close()
    assert len(found) == len(golden["greedy_ids"])
    assert found[:4] == golden["greedy_ids"][:4]  # the reference also rounds what it multiplies with


@pytest.mark.parametrize("weights", ["int8", "float32"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_neither_guesses_nor_neighbours_nor_the_cache_change_a_token(weights: str, temperature: float) -> None:
    """Each token is computed by itself, so in every weight format the answer is the same."""
    native = load(reference("gguf/stories260K.gguf"), "native", weights)
    case = cases()[0]
    prompt = tuple(case["prompt_ids"] + 2 * case["greedy_ids"])
    sampling = Sampling(temperature=temperature, seed=3)
    alone = list(native.start(TokenRequest(prompt, 60, sampling=sampling, lookup=False)))
    again = native.start(TokenRequest(prompt, 60, sampling=sampling))
    assert list(again) == alone
    assert again.cached_tokens > 0
    others = [native.start(TokenRequest((1, 5 + n), 40, sampling=Sampling(1.0, seed=n))) for n in range(3)]
    assert list(native.start(TokenRequest(prompt, 60, sampling=sampling))) == alone
    assert all(list(stream) for stream in others)
    native.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_loading_and_unloading_takes_no_memory(tmp_path: Path) -> None:
    """Fifty rounds in a process of their own: flat within 5 of 100 after the first fifteen, and no thread stays."""
    program = """
import gc, os, sys
from pathlib import Path
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import TokenRequest
from turboprop.engines.registry import load_generator
from turboprop.models.checkpoint.gguf import open_gguf
before = len(os.listdir("/proc/self/task"))
for _ in range(50):
    options = EngineOptions(weights="int8", threads=2, cache_home=Path(sys.argv[2]), engine="native")
    generator, _ = load_generator(open_gguf(Path(sys.argv[1])), options)
    assert len(list(generator.start(TokenRequest((1, 5, 9), 3)))) == 3
    generator.close()
    del generator
    gc.collect()
    print(int(Path("/proc/self/statm").read_text().split()[1]))
assert len(os.listdir("/proc/self/task")) <= before + 1, os.listdir("/proc/self/task")
"""
    command = [sys.executable, "-c", program, str(reference("gguf/stories260K.gguf")), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    pages = [int(line) for line in run.stdout.split()]
    assert len(pages) == 50
    assert np.mean(pages[-5:]) <= 1.05 * np.mean(pages[15:20])
