"""What the loop of generations promises whatever engine runs the model: here with the real one in float32."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from architectures.tiny_models import MODELS
from engines.loading import load_generator
from engines.test_generate_goldens import cases
from reference import reference
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import Generator, Sampling, TokenRequest
from turboprop.errors import EngineError, InputTooLongError, TurboPropError, UsageError
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.checkpoint.hf import open_folder

EXACT = EngineOptions("float32", threads=2)


@pytest.fixture(scope="module")
def stories() -> Iterator[Generator]:
    generator = load_generator(open_gguf(reference("gguf/stories260K.gguf")), "auto", EXACT)
    yield generator
    generator.close()


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


def test_it_tells_how_far_the_prompt_is_read(stories: Generator) -> None:
    ids = tuple(3 + (7 * number) % 500 for number in range(1000))
    stream = stories.start(TokenRequest(ids, 4))
    told = list(stream.reading())
    step = stories._loop._plan.prompt_tokens  # type: ignore[attr-defined]
    assert told == [0, *range(step, len(ids), step), len(ids)]
    assert len(list(stream)) == 4
    assert list(stream.reading()) == []
    again = stories.start(TokenRequest(ids, 4))
    first, *_, last = again.reading()
    assert first == again.cached_tokens > 900
    assert last == len(ids)
    assert [token.id for token in again] == [token.id for token in stories.start(TokenRequest(ids, 4))]
    ended = stories.start(TokenRequest(ids[::-1], 4))
    ended.cancel()
    assert [told for told in ended.reading() if told == len(ids)] == list(ended) == []


def test_letting_go_of_a_stream_frees_it(stories: Generator) -> None:
    loop = stories._loop  # type: ignore[attr-defined]
    stream = stories.start(TokenRequest((1, 5), 2000))
    next(stream)
    del stream
    while loop._thread is not None:
        time.sleep(0.001)
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
    with pytest.raises(UsageError, match="context of 2 to 2048"):
        load_generator(open_gguf(reference("gguf/stories260K.gguf")), "auto", EngineOptions(context=4096))


def test_damaged_weights_are_an_error(tmp_path: Path) -> None:
    model = MODELS["qwen3"]
    folder = model.save(tmp_path)
    save_file({**model.weights(), "norm.weight": np.full(32, np.nan, np.float32)}, folder / "model.safetensors")
    with pytest.raises(TurboPropError, match="not finite"):
        load_generator(open_folder(folder), "auto", EXACT)
