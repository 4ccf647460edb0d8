"""Generation in OpenVINO against llama.cpp's recorded ids and logits and against `transformers`."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest

from architectures.tiny_gguf import write_gguf
from architectures.tiny_models import INPUTS, MODELS
from engines.language_models import LANGUAGE_MODELS, write_four_bit, write_phi_gguf
from engines.loading import load_generator
from reference import reference
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import Generator, Sampling, TokenRequest
from turboprop.engines.step import StepBatch
from turboprop.errors import EngineError, InputTooLongError, ModelUnsupportedError, TurboPropError, UsageError
from turboprop.models.checkpoint import Checkpoint
from turboprop.models.checkpoint_gguf import open_gguf
from turboprop.models.checkpoint_hf import open_folder

QUANTISED = ("IQ4_XS", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K")
TINY = [
    (name, origin)
    for name in ("llama", "llama-linear", "mistral", "qwen2", "qwen3", "qwen3-yarn")
    for origin in (("hf", "gguf") if MODELS[name].gguf_family else ("hf",))
]


def load(checkpoint: Checkpoint, weights: str = "float32", **more: object) -> Generator:
    return load_generator(checkpoint, "openvino", EngineOptions(weights=weights, threads=2, **more))  # type: ignore[arg-type]


def cases(name: str = "stories260K") -> list[dict]:
    return json.loads(reference(f"golden/{name}.json").read_text("utf-8"))["cases"]


def greedy(generator: Generator, ids: Sequence[int], count: int) -> list[int]:
    return [token.id for token in generator.start(TokenRequest(tuple(ids), count))]


def log_probabilities(generator: Generator, ids: Sequence[int], vocabulary: int) -> np.ndarray:
    """Of the token after each beginning of `ids`, [tokens, vocabulary]."""
    requests = [TokenRequest(tuple(ids[:end]), 1, logprobs=vocabulary) for end in range(1, len(ids) + 1)]
    found = np.empty((len(ids), vocabulary))
    for row, stream in zip(found, [generator.start(request) for request in requests], strict=True):
        (token,) = stream
        for number, value in token.top:
            row[number] = value
    return found


def normalized(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))


@pytest.fixture(scope="module")
def stories() -> Iterator[Generator]:
    generator = load(open_gguf(reference("gguf/stories260K.gguf")))
    yield generator
    generator.close()


@pytest.mark.parametrize("name", ["stories260K", "stories260K-F16", "stories260K-BF16"])
def test_greedy_ids_are_the_recorded_ones(name: str) -> None:
    generator = load(open_gguf(reference(f"gguf/{name}.gguf")))
    for case in cases(name):
        assert greedy(generator, case["prompt_ids"], len(case["greedy_ids"])) == case["greedy_ids"]
    generator.close()


def test_log_probabilities_are_the_recorded_ones(stories: Generator) -> None:
    logits = np.fromfile(reference("golden/stories260K.logits.f32"), np.float32).reshape(-1, 512)
    found = np.concatenate([log_probabilities(stories, case["prompt_ids"], 512) for case in cases()])
    np.testing.assert_allclose(found, normalized(logits), atol=1e-4)


@pytest.mark.parametrize(("name", "origin"), TINY)
def test_decoders_with_tied_heads_equal_transformers(tmp_path: Path, name: str, origin: str) -> None:
    model = MODELS[name]
    path = write_gguf(model, tmp_path / "m.gguf") if origin == "gguf" else model.save(tmp_path / "m")
    generator = load(open_gguf(path) if origin == "gguf" else open_folder(path))
    embeddings = model.weights()["embed_tokens.weight"]
    with np.load(Path(__file__).parent.parent / "architectures" / "golden" / f"{name}.npz") as golden:
        for index, ids in enumerate(INPUTS):
            wanted = normalized(golden[f"arr_{index}"] @ embeddings.T)
            np.testing.assert_allclose(log_probabilities(generator, ids, len(embeddings)), wanted, atol=1e-4)
    generator.close()


@pytest.mark.parametrize("form", ["phi", "phi fused", "phi apart", "llama-head", "gemma3-causal"])
def test_models_with_their_heads_equal_transformers(tmp_path: Path, form: str) -> None:
    name, _, gguf = form.partition(" ")
    if gguf:
        checkpoint = open_gguf(write_phi_gguf(tmp_path / "m.gguf", fused=gguf == "fused"))
    else:
        checkpoint = open_folder(LANGUAGE_MODELS[name].save(tmp_path))
    generator = load(checkpoint)
    with np.load(Path(__file__).parent / "golden" / f"{name}.npz") as golden:
        for index, ids in enumerate(INPUTS):
            logits = golden[f"arr_{index}"]
            found = log_probabilities(generator, ids, logits.shape[1])
            np.testing.assert_allclose(found, normalized(logits), atol=1e-4)
    generator.close()


def test_int8_keeps_the_likeliest_token(stories: Generator) -> None:
    """At every position of stories that the model itself tells, 97 of 100 at least."""
    eight = load(open_gguf(reference("gguf/stories260K.gguf")), "int8")
    same = total = 0
    for case in cases()[:2]:
        ids = case["prompt_ids"] + greedy(stories, case["prompt_ids"], 200)
        requests = [TokenRequest(tuple(ids[:end]), 1) for end in range(5, len(ids))]
        pairs = [(stories.start(request), eight.start(request)) for request in requests]
        found = [[token.id for token in one] == [token.id for token in other] for one, other in pairs]
        same, total = same + sum(found), total + len(found)
    eight.close()
    assert same >= 0.97 * total


@pytest.mark.parametrize("kind", [gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q4_1])
def test_weights_of_four_bits_stay_what_they_are(kind: gguf.GGMLQuantizationType, tmp_path: Path) -> None:
    """The likeliest token of the same file in float32, at 97 of 100 positions at least."""
    path = write_four_bit(reference("gguf/stories260K.gguf"), tmp_path / "four.gguf", kind)
    exact, stored = load(open_gguf(path)), load(open_gguf(path), "stored")
    same = total = 0
    for case in cases()[:2]:
        ids = case["prompt_ids"] + greedy(exact, case["prompt_ids"], 200)
        requests = [TokenRequest(tuple(ids[:end]), 1) for end in range(5, len(ids))]
        pairs = [(exact.start(request), stored.start(request)) for request in requests]
        found = [[token.id for token in one] == [token.id for token in other] for one, other in pairs]
        same, total = same + sum(found), total + len(found)
    exact.close()
    stored.close()
    assert same >= 0.97 * total


def test_int4_generates(stories: Generator) -> None:
    generator = load(open_gguf(reference("gguf/stories260K.gguf")), "int4")
    ids = tuple(cases()[0]["prompt_ids"])
    found = greedy(generator, ids, 20)
    generator.close()
    assert len(found) == 20
    assert found[:2] == greedy(stories, ids, 2)


@pytest.mark.parametrize("kind", QUANTISED)
def test_quantised_files_load_and_generate(kind: str) -> None:
    golden = cases(f"stories260K-{kind}")[0]
    generator = load(open_gguf(reference(f"gguf/stories260K-{kind}.gguf")), "int8")
    found = greedy(generator, golden["prompt_ids"], len(golden["greedy_ids"]))
    generator.close()
    assert len(found) == len(golden["greedy_ids"])
    assert found[:4] == golden["greedy_ids"][:4]  # the reference also rounds what it multiplies with


def test_eight_at_once_equal_their_single_runs(stories: Generator) -> None:
    prompts = [tuple(case["prompt_ids"] + [400 + more] * more) for case in cases() for more in (0, 3)]
    alone = [greedy(stories, ids, 60) for ids in prompts]
    streams = [stories.start(TokenRequest(ids, 60)) for ids in prompts]
    assert [[token.id for token in stream] for stream in streams] == alone


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_guessed_ids_change_nothing_but_the_steps(stories: Generator, temperature: float) -> None:
    case = cases()[0]
    told = case["prompt_ids"] + case["greedy_ids"]
    prompt = (*told, *told[: len(told) // 2])  # the story again, from its beginning
    loop = stories._loop  # type: ignore[attr-defined]
    forward, steps = loop._forward, []

    def counted(batch: StepBatch) -> np.ndarray:
        steps.append(len(batch.ids))
        return forward(batch)

    sampling = Sampling(temperature=temperature, seed=3)
    plain = list(stories.start(TokenRequest(prompt, 60, sampling=sampling, lookup=False)))
    loop._forward = counted
    try:
        guessed = list(stories.start(TokenRequest(prompt, 60, sampling=sampling)))
    finally:
        loop._forward = forward
    assert guessed == plain
    assert len(steps) < 55


def test_a_small_cache_changes_nothing(stories: Generator) -> None:
    """Generations that do not fit together give their blocks up and are computed again."""
    small = load(open_gguf(reference("gguf/stories260K.gguf")), context=160)
    small._loop._blocks = type(small._loop._blocks)(8, 32)  # type: ignore[attr-defined]
    prompts = [tuple(case["prompt_ids"]) for case in cases()]
    streams = [small.start(TokenRequest(ids, 100)) for ids in prompts]
    assert [[token.id for token in stream] for stream in streams] == [greedy(stories, ids, 100) for ids in prompts]
    small.close()


def test_a_repeated_prompt_comes_from_the_cache(stories: Generator) -> None:
    ids = tuple(range(100, 200))
    first = stories.start(TokenRequest(ids, 8))
    answer = [token.id for token in first]
    again = stories.start(TokenRequest(ids, 8))
    assert [token.id for token in again] == answer
    assert (first.cached_tokens, again.cached_tokens) == (0, 96)
    follow_up = stories.start(TokenRequest((*ids, *answer, 7), 1))
    assert len(list(follow_up)) == 1
    assert follow_up.cached_tokens == 96


def test_a_seed_reproduces_whatever_runs_beside(stories: Generator) -> None:
    request = TokenRequest(tuple(cases()[0]["prompt_ids"]), 40, sampling=Sampling(temperature=1.0, seed=11))
    alone = [token.id for token in stories.start(request)]
    others = [stories.start(TokenRequest((1, 5 + n), 40, sampling=Sampling(1.0, seed=n))) for n in range(3)]
    assert [token.id for token in stories.start(request)] == alone
    found = {tuple(token.id for token in stream) for stream in others}
    assert len(found) == 3


def test_stop_ids_and_lengths(stories: Generator) -> None:
    case = cases()[0]
    ids = tuple(case["prompt_ids"])
    stream = stories.start(TokenRequest(ids, 64, stop_ids=frozenset({case["greedy_ids"][10]})))
    first = case["greedy_ids"].index(case["greedy_ids"][10])
    assert [token.id for token in stream] == case["greedy_ids"][:first]
    assert stream.finish == "stop"
    stream = stories.start(TokenRequest(ids, 5))
    assert stream.finish is None
    assert len(list(stream)) == 5
    assert stream.finish == "length"
    stream = stories.start(TokenRequest((1,) * (stories.context - 3), 100))
    assert len(list(stream)) == 3  # the context is full
    assert stream.finish == "length"


def idle(generator: Generator) -> bool:
    return generator._loop._thread is None  # type: ignore[attr-defined]


def wait_until_idle(generator: Generator) -> None:
    deadline = time.monotonic() + 30
    while not idle(generator):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_cancelling_wakes_the_reader(stories: Generator) -> None:
    stream = stories.start(TokenRequest((1, 5), 2000))
    next(stream)
    waiting = threading.Thread(target=lambda: list(stream))
    waiting.start()
    stream.cancel()
    stream.cancel()
    waiting.join(30)
    assert not waiting.is_alive()
    assert stream.finish == "cancelled"
    wait_until_idle(stories)


def test_cancelled_prompts_leave_no_trace(stories: Generator) -> None:
    """Prompts cancelled at any moment of being read; what follows is right."""
    chance = random.Random(3)
    case = cases()[0]
    for number in range(60):
        length = chance.choice([15, 16, 40, 500, 1500])
        stream = stories.start(TokenRequest(tuple(chance.randrange(3, 500) for _ in range(length)), 50))
        time.sleep(chance.random() * 0.01)
        stream.cancel()
        if number % 3:
            continue
        count = chance.choice([1, 2, 5, 16])
        streams = [stories.start(TokenRequest(tuple(case["prompt_ids"]), 12)) for _ in range(count)]
        assert [[token.id for token in one] for one in streams] == [case["greedy_ids"][:12]] * count


def test_a_cancelled_prompt_ends_inside_its_step() -> None:
    """Whenever it is cancelled, what follows is computed as ever."""
    generator = load(open_gguf(reference("gguf/stories260K.gguf")))
    forward = generator._forward  # type: ignore[attr-defined]
    recover, ended = forward._recover, []
    forward._recover = lambda shape: (ended.append(shape), recover(shape))
    chance = random.Random(8)
    wanted = {count: [greedy(generator, (1, 9 + number), 6) for number in range(count)] for count in (1, 3)}
    for _ in range(60):
        stream = generator.start(TokenRequest(tuple(chance.randrange(3, 500) for _ in range(500)), 1))
        time.sleep(chance.random() * 0.012)
        stream.cancel()
        count = chance.choice([1, 3])
        streams = [generator.start(TokenRequest((1, 9 + number), 6)) for number in range(count)]
        assert [[token.id for token in one] for one in streams] == wanted[count]
    wait_until_idle(generator)
    loop = generator._loop  # type: ignore[attr-defined]
    assert loop._blocks.available == len(loop._blocks._blocks)
    generator.close()
    assert ended


def test_letting_go_of_a_stream_frees_it(stories: Generator) -> None:
    stream = stories.start(TokenRequest((1, 5), 2000))
    next(stream)
    del stream
    wait_until_idle(stories)
    loop = stories._loop  # type: ignore[attr-defined]
    assert loop._blocks.available == len(loop._blocks._blocks)


def test_what_cannot_be_is_refused(stories: Generator) -> None:
    with pytest.raises(InputTooLongError, match="takes 2048"):
        stories.start(TokenRequest((1,) * 2048, 1))
    with pytest.raises(UsageError, match="no token"):
        stories.start(TokenRequest((), 1))
    with pytest.raises(EngineError, match="tokenizer of another model"):
        stories.start(TokenRequest((512,), 1))
    for constraint in ({"json_schema": '{"type": 5}'}, {"grammar": "%%% ]"}, {"grammar": "a" * 300_000}):
        with pytest.raises(UsageError, match=next(iter(constraint))):
            stories.start(TokenRequest((1,), 1, **constraint))
    with pytest.raises(ModelUnsupportedError, match="no weights of four bits"):
        load(open_gguf(reference("gguf/stories260K.gguf")), "stored")
    with pytest.raises(UsageError, match="context of 2 to 2048"):
        load(open_gguf(reference("gguf/stories260K.gguf")), context=4096)


def test_a_closed_model_says_so(minilm_folder: Path) -> None:
    generator = load(open_gguf(reference("gguf/stories260K.gguf")))
    stream = generator.start(TokenRequest((1, 5), 2000))
    generator.close()
    generator.close()
    assert len(list(stream)) < 2000
    with pytest.raises(TurboPropError, match="closed"):
        generator.start(TokenRequest((1,), 1))
    with pytest.raises(ModelUnsupportedError, match="no language model"):
        load(open_folder(minilm_folder))


def test_the_graph_comes_from_the_cache(tmp_path: Path) -> None:
    case = cases()[0]
    for _ in range(2):
        generator = load(open_gguf(reference("gguf/stories260K.gguf")), "int8", cache_home=tmp_path)
        assert greedy(generator, case["prompt_ids"], 8) == case["greedy_ids"][:8]
        generator.close()
        (graph,) = (tmp_path / "graphs").glob("*/graph.xml")
        written = graph.stat().st_mtime_ns
    assert graph.stat().st_mtime_ns == written


def test_damaged_weights_are_an_error(tmp_path: Path) -> None:
    model = MODELS["qwen3"]
    weights = {**model.weights(), "norm.weight": np.full(32, np.nan, np.float32)}
    folder = model.save(tmp_path)
    from safetensors.numpy import save_file

    save_file(weights, folder / "model.safetensors")
    with pytest.raises(TurboPropError, match="not finite"):
        load(open_folder(folder))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_loading_and_unloading_takes_no_memory(tmp_path: Path) -> None:
    """Fifty rounds in a process of their own: flat within 5 of 100 after the first fifteen."""
    program = """
import gc, sys
from pathlib import Path
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import TokenRequest
from turboprop.engines.registry import load_generator
from turboprop.engines.resident import give_back_heap
from turboprop.models.checkpoint_gguf import open_gguf
for _ in range(50):
    options = EngineOptions(weights="int8", threads=1, cache_home=Path(sys.argv[2]), engine="openvino")
    generator, _ = load_generator(open_gguf(Path(sys.argv[1])), options)
    assert len(list(generator.start(TokenRequest((1, 5, 9), 3)))) == 3
    generator.close()
    del generator
    gc.collect()
    give_back_heap()
    print(int(Path("/proc/self/statm").read_text().split()[1]))
"""
    command = [sys.executable, "-c", program, str(reference("gguf/stories260K.gguf")), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    pages = [int(line) for line in run.stdout.split()]
    assert len(pages) == 50
    assert np.mean(pages[-5:]) <= 1.05 * np.mean(pages[15:20])
