"""Language models on the kernels: what runs beside a generation, before it or in guesses changes no bit of it."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from architectures.tiny_gguf import write_gguf
from architectures.tiny_models import INPUTS, MODELS, TinyModel
from engines.language_models import LANGUAGE_MODELS, write_four_bit, write_phi_gguf, write_super
from engines.loading import load_generator
from reference import reference
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import GeneratedToken, Sampling, TokenRequest
from turboprop.engines.paged_generator import PagedGenerator
from turboprop.engines.registry import choose
from turboprop.errors import EngineError, InputTooLongError, ModelFormatError, ModelUnsupportedError
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.checkpoint.hf import open_folder
from turboprop.models.checkpoint.view import Checkpoint

TINY = ("llama", "llama-linear", "mistral", "qwen2", "qwen3", "qwen3-yarn", "phi", "phi fused", "llama-head")
TINY = (*TINY, "gemma3-causal")


def load(checkpoint: Checkpoint, weights: str = "int8", engine: str = "native", **more: object) -> PagedGenerator:
    options = EngineOptions(weights=weights, threads=2, **more)  # type: ignore[arg-type]
    generator = load_generator(checkpoint, engine, options)
    assert isinstance(generator, PagedGenerator)
    return generator


def opened(name: str, folder: Path) -> Checkpoint:
    if name == "phi fused":
        return open_gguf(write_phi_gguf(folder / "m.gguf", fused=True))
    return open_folder({**MODELS, **LANGUAGE_MODELS}[name].save(folder / "m"))


def cases(name: str = "stories260K") -> list[dict]:
    return json.loads(reference(f"golden/{name}.json").read_text("utf-8"))["cases"]


def greedy(generator: PagedGenerator, ids: Sequence[int], count: int, **more: bool) -> list[int]:
    return [token.id for token in generator.start(TokenRequest(tuple(ids), count, **more))]  # type: ignore[arg-type]


def forget(generator: PagedGenerator) -> None:
    """Let no prompt be in the cache."""
    loop = generator._loop
    wait_until_idle(generator)
    loop._blocks = type(loop._blocks)(len(loop._blocks._blocks), loop._blocks.size)


def wait_until_idle(generator: PagedGenerator) -> None:
    while generator._loop._thread is not None:
        time.sleep(0.001)


@pytest.fixture(scope="module")
def stories() -> Iterator[PagedGenerator]:
    generator = load(open_gguf(reference("gguf/stories260K.gguf")))
    yield generator
    generator.close()


@pytest.mark.parametrize("name", TINY)
def test_the_likely_tokens_of_float32(tmp_path: Path, name: str) -> None:
    """Of every token after every beginning. The worst is gemma3-causal: a mean divergence of 0.0010, one probability
    moved by 0.043."""
    eight, exact = (distributions(opened(name, tmp_path), *how) for how in (("native", "int8"), EXACT))
    assert np.abs(np.exp(eight) - np.exp(exact)).max() < 0.06
    assert (np.exp(exact) * (exact - eight)).sum(1).mean() < 0.0015


EXACT = "numpy", "float32"


def distributions(checkpoint: Checkpoint, engine: str, weights: str) -> NDArray[np.float64]:
    """The logarithms of the probabilities of every token after every beginning of `INPUTS`."""
    with closing(load(checkpoint, weights, engine)) as generator:
        vocabulary = generator._vocabulary
        streams = [
            generator.start(TokenRequest(tuple(ids[:end]), 1, logprobs=vocabulary))
            for ids in INPUTS
            for end in range(1, len(ids) + 1)
        ]
        rows = np.empty((len(streams), vocabulary))
        for row, stream in zip(rows, streams, strict=True):
            (token,) = stream
            for number, value in token.top:
                row[number] = value
    return rows


MIXES = (("Q4_K", "Q6_K"), ("Q5_K", "Q6_K"), ("Q6_K", "Q6_K"))


@pytest.mark.parametrize(("kind", "more"), MIXES)
def test_super_blocks_run_as_they_are_stored(tmp_path: Path, kind: str, more: str) -> None:
    """As near to float32 as activations in 8 bits are: at most 0.025 of a probability, a mean divergence of 0.0019."""
    types = gguf.GGMLQuantizationType
    checkpoint = open_gguf(write_super(tmp_path / "m.gguf", types[kind], types[more]))
    stored, exact = (distributions(checkpoint, *how) for how in (("native", "stored"), EXACT))
    assert np.abs(np.exp(stored) - np.exp(exact)).max() < 0.05
    assert (np.exp(exact) * (exact - stored)).sum(1).mean() < 0.004
    plan = choose(checkpoint, "language", EngineOptions()).plan
    assert plan.weights == ("int8" if kind == "Q6_K" else "stored")


@pytest.mark.parametrize(("kind", "weights"), [("F16", "float16"), ("BF16", "bfloat16")])
def test_weights_of_16_bits_are_those_of_float32(kind: str, weights: str) -> None:
    checkpoint = open_gguf(reference(f"gguf/stories260K-{kind}.gguf"))
    found, exact = (distributions(checkpoint, "native", each) for each in (weights, "float32"))
    np.testing.assert_array_equal(found, exact)
    assert choose(checkpoint, "language", EngineOptions(weights)).plan.weights == weights  # type: ignore[arg-type]


def test_int8_keeps_the_likeliest_token(stories: PagedGenerator) -> None:
    """At every position of stories that the model in float32 tells: 827 of 851 were the same in five longer ones."""
    same = total = 0
    for case in cases()[:2]:
        ids = case["prompt_ids"] + case["greedy_ids"]
        ends = range(len(case["prompt_ids"]), len(ids))
        streams = [stories.start(TokenRequest(tuple(ids[:end]), 1)) for end in ends]
        found = [next(stream).id for stream in streams]
        same, total = same + sum(np.equal(found, ids[ends[0] :])), total + len(found)
    assert total >= 100
    assert same >= 0.95 * total


@pytest.mark.parametrize("kind", [gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q4_1])
def test_weights_of_four_bits_stay_what_they_are(kind: gguf.GGMLQuantizationType, tmp_path: Path) -> None:
    """821 of 851 tokens were those of the same file in float32 in five longer stories."""
    path = write_four_bit(reference("gguf/stories260K.gguf"), tmp_path / "four.gguf", kind)
    exact, stored = load(open_gguf(path), "float32"), load(open_gguf(path), "auto")
    same = total = 0
    for case in cases()[:2]:
        ids = case["prompt_ids"] + greedy(exact, case["prompt_ids"], 100)
        ends = range(len(case["prompt_ids"]), len(ids))
        streams = [stored.start(TokenRequest(tuple(ids[:end]), 1)) for end in ends]
        found = [next(stream).id for stream in streams]
        same, total = same + sum(np.equal(found, ids[ends[0] :])), total + len(found)
    exact.close()
    stored.close()
    assert same >= 0.95 * total


@pytest.mark.parametrize("kind", ["IQ4_XS", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K"])
@pytest.mark.parametrize("weights", ["int8", "auto"])
def test_quantised_files_load_and_generate(kind: str, weights: str) -> None:
    golden = cases(f"stories260K-{kind}")[0]
    generator = load(open_gguf(reference(f"gguf/stories260K-{kind}.gguf")), weights)
    assert greedy(generator, golden["prompt_ids"], 4) == golden["greedy_ids"][:4]
    generator.close()


def test_eight_at_once_equal_their_single_runs(stories: PagedGenerator) -> None:
    prompts = [tuple(case["prompt_ids"] + [400 + more] * more) for case in cases() for more in (0, 3)]
    prompts = [*prompts, tuple(range(3, 203)), (1,), (1, 5, 9)]
    prompts = [prompts[number % len(prompts)] for number in range(8)]
    for lookup in (True, False):
        alone = []
        for ids in prompts:
            forget(stories)
            alone.append(list(stories.start(TokenRequest(ids, 60, logprobs=3, lookup=lookup))))
        forget(stories)
        streams = [stories.start(TokenRequest(ids, 60, logprobs=3, lookup=lookup)) for ids in prompts]
        assert [list(stream) for stream in streams] == alone  # ids and probabilities, bit for bit


@pytest.mark.parametrize("name", TINY)
def test_tiny_models_at_once_equal_their_single_runs(tmp_path: Path, name: str) -> None:
    generator = load(opened(name, tmp_path))
    requests = [TokenRequest((number, *INPUTS[number % 3]), 20, logprobs=2, lookup=number > 3) for number in range(8)]
    alone: list[list[GeneratedToken]] = []
    for request in requests:
        forget(generator)
        alone.append(list(generator.start(request)))
    forget(generator)
    assert [list(stream) for stream in [generator.start(request) for request in requests]] == alone
    generator.close()


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_guessed_ids_change_nothing_but_the_steps(stories: PagedGenerator, temperature: float) -> None:
    case = cases()[0]
    told = case["prompt_ids"] + case["greedy_ids"]
    prompt, loop, steps = (*told, *told[: len(told) // 2]), stories._loop, []
    forward, sampling = loop._forward, Sampling(temperature=temperature, seed=3)
    plain = list(stories.start(TokenRequest(prompt, 60, sampling=sampling, logprobs=5, lookup=False)))
    loop._forward = lambda batch: (steps.append(len(batch.ids)), forward(batch))[1]  # type: ignore[assignment]
    try:
        guessed = list(stories.start(TokenRequest(prompt, 60, sampling=sampling, logprobs=5)))
    finally:
        loop._forward = forward
    assert guessed == plain
    assert len(steps) < 55


def test_a_repeated_prompt_comes_from_the_cache(stories: PagedGenerator) -> None:
    request = TokenRequest(tuple(range(100, 200)), 20, logprobs=5)
    forget(stories)
    first = stories.start(request)
    answer = list(first)
    again = stories.start(request)
    assert list(again) == answer
    assert (first.cached_tokens, again.cached_tokens) == (0, 96)
    longer = TokenRequest((*request.ids, *(token.id for token in answer), 7), 5, logprobs=5)
    follow_up = stories.start(longer)
    found = list(follow_up)
    assert follow_up.cached_tokens == 96
    forget(stories)
    assert found == list(stories.start(longer))


def test_a_small_cache_changes_nothing(stories: PagedGenerator) -> None:
    """Generations that do not fit together give their blocks up and are computed again."""
    small = load(open_gguf(reference("gguf/stories260K.gguf")), context=160)
    small._loop._blocks = type(small._loop._blocks)(8, 32)
    prompts = [tuple(case["prompt_ids"]) for case in cases()]
    streams = [small.start(TokenRequest(ids, 100)) for ids in prompts]
    assert [[token.id for token in stream] for stream in streams] == [greedy(stories, ids, 100) for ids in prompts]
    small.close()


def test_cancelled_prompts_leave_no_trace(stories: PagedGenerator) -> None:
    """Cancelled at any moment of being read, some in the middle of a step; what follows is right, and so is the same
    prompt with what the cache has of it."""
    chance, ended = random.Random(3), []
    wanted = {number: greedy(stories, (1, 9 + number), 6) for number in range(3)}
    long = tuple(chance.randrange(3, 500) for _ in range(1500))
    answer = greedy(stories, long, 6)
    forward = stories._loop._forward
    program = forward._program  # type: ignore[attr-defined]
    run = program.run

    def counted(inputs: object) -> object:
        found = run(inputs)
        ended.append(found is None)
        return found

    program.run = counted
    try:
        for _ in range(60):
            forget(stories)
            for cache in program._caches:
                cache[:] = 0xFF  # what an interrupted step did not write may not be what was there before
            stream = stories.start(TokenRequest(long, 1))
            time.sleep(chance.random() * 0.03)
            stream.cancel()
            streams = {
                number: stories.start(TokenRequest((1, 9 + number), 6)) for number in range(chance.choice([1, 3]))
            }
            assert all([token.id for token in each] == wanted[number] for number, each in streams.items())
            if len(streams) == 1:
                assert greedy(stories, long, 6) == answer
    finally:
        program.run = run
    wait_until_idle(stories)
    assert stories._loop._blocks.available == len(stories._loop._blocks._blocks)
    assert any(ended)


def test_cancelling_wakes_the_reader(stories: PagedGenerator) -> None:
    stream = stories.start(TokenRequest((1, 5), 2000))
    next(stream)
    waiting = threading.Thread(target=lambda: list(stream))
    waiting.start()
    stream.cancel()
    waiting.join(30)
    assert not waiting.is_alive()
    assert stream.finish == "cancelled"


def test_contexts_that_are_full(stories: PagedGenerator) -> None:
    stream = stories.start(TokenRequest((1,) * (stories.context - 3), 100))
    assert len(list(stream)) == 3
    assert stream.finish == "length"
    with pytest.raises(InputTooLongError, match="takes 2048"):
        stories.start(TokenRequest((1,) * 2048, 1))
    with pytest.raises(EngineError, match="tokenizer of another model"):
        stories.start(TokenRequest((512,), 1))


def test_what_cannot_be_is_refused(minilm_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupportedError, match="no language model"):
        load(open_folder(minilm_folder))
    checkpoint = open_gguf(reference("gguf/stories260K.gguf"))
    for weights, why in (("stored", "no weights that run"), ("float16", "these are F32; take float32")):
        with pytest.raises(ModelUnsupportedError, match=why):
            load(checkpoint, weights)
    with pytest.raises(EngineError, match="allow more with"):
        load(checkpoint, memory=1)
    model = LANGUAGE_MODELS["llama-head"]
    folder = model.save(tmp_path / "m")
    head = {"lm_head.weight": np.zeros((65, 32), np.float32)}
    save_file({**model.weights(), **head}, folder / "model.safetensors")
    with pytest.raises(ModelFormatError, match="head gives 65 ids"):
        load(open_folder(folder))


def test_a_closed_model_says_so() -> None:
    generator = load(open_gguf(reference("gguf/stories260K.gguf")))
    stream = generator.start(TokenRequest((1, 5), 2000))
    generator.close()
    generator.close()
    assert len(list(stream)) < 2000
    with pytest.raises(EngineError, match="closed"):
        generator.start(TokenRequest((1,), 1))


def test_a_vocabulary_of_one(tmp_path: Path) -> None:
    model = MODELS["qwen3"]
    checkpoint = open_gguf(
        write_gguf(TinyModel({**model.config, "vocab_size": 1}, model.shapes, "qwen3"), tmp_path / "m.gguf")
    )
    generator = load(checkpoint)
    assert greedy(generator, [0, 0], 5) == [0] * 5
    generator.close()
