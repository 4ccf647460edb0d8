"""Generation in llama.cpp: the reference's ids, the sampling that the contract states, cancelling."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.llama_programs import PROGRAMS
from engines.processes import private_folders, wait_until_gone
from reference import reference
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import Sampling, TokenRequest
from turboprop.engines.llamacpp import load_generator
from turboprop.engines.llamacpp_generate import LlamaCppGenerator
from turboprop.engines.registry import choose
from turboprop.errors import EngineError, InputTooLongError, ModelUnsupportedError, TurboPropError, UsageError
from turboprop.models.checkpoint.gguf import open_gguf
from turboprop.models.checkpoint.hf import open_folder
from turboprop.models.tokenizer.load import decode_ids, tokenizer_from_path

if not PROGRAMS:
    pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc")

ONE = EngineOptions(threads=1, programs=PROGRAMS)


def load(name: str = "stories260K", options: EngineOptions = ONE) -> LlamaCppGenerator:
    return load_generator(open_gguf(reference(f"gguf/{name}.gguf")), options)


@pytest.fixture(scope="module")
def model() -> Iterator[LlamaCppGenerator]:
    generator = load()
    yield generator
    generator.close()


def cases(name: str = "stories260K") -> list[dict]:
    return json.loads(reference(f"golden/{name}.json").read_text("utf-8"))["cases"]


def ids_of(generator: LlamaCppGenerator, prompt: list[int], count: int = 64, **options: object) -> list[int]:
    return [token.id for token in generator.start(TokenRequest(tuple(prompt), count, **options))]


@pytest.mark.parametrize("name", ["stories260K", "stories260K-F16", "stories260K-BF16"])
def test_greedy_ids_equal_the_reference(name: str) -> None:
    generator = load(name)
    for case in cases(name):
        wanted = case["greedy_ids"]
        assert ids_of(generator, case["prompt_ids"], len(wanted)) == wanted
    generator.close()


def test_it_tells_how_far_the_prompt_is_read(model: LlamaCppGenerator) -> None:
    ids = tuple(3 + (7 * number) % 500 for number in range(1000))
    stream = model.start(TokenRequest(ids, 4))
    told = list(stream.reading())
    assert told == sorted(set(told))
    assert len(told) > 2
    assert told[-1] == len(ids)
    assert len(list(stream)) == 4
    assert list(stream.reading()) == []


def test_a_quantised_file_generates() -> None:
    generator = load("stories260K-Q4_K_M")
    assert len(ids_of(generator, cases()[0]["prompt_ids"], 16)) == 16
    generator.close()


def test_logprobs_equal_the_reference(model: LlamaCppGenerator) -> None:
    logits = np.fromfile(reference("golden/stories260K.logits.f32"), np.float32).reshape(-1, 512).astype(np.float64)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    row = 0
    for case in cases():
        row += len(case["prompt_ids"])
        token = next(model.start(TokenRequest(tuple(case["prompt_ids"]), 1, logprobs=5)))
        wanted = logs[row - 1]
        likeliest = np.argsort(-wanted)[:5]
        assert token.id == case["greedy_ids"][0]
        assert token.logprob == pytest.approx(wanted[token.id], abs=1e-4)
        assert [number for number, _ in token.top] == likeliest.tolist()
        np.testing.assert_allclose([value for _, value in token.top], wanted[likeliest], atol=1e-4)


def test_penalties_are_those_of_the_contract(model: LlamaCppGenerator) -> None:
    logits = np.fromfile(reference("golden/stories260K.logits.f32"), np.float32).reshape(-1, 512)
    case = cases()[0]
    prompt = case["prompt_ids"]
    after = logits[len(prompt) - 1].copy()
    seen = sorted(set(prompt))
    after[seen] = np.where(after[seen] > 0, after[seen] / 5, after[seen] * 5)
    assert ids_of(model, prompt, 1, sampling=Sampling(repetition_penalty=5.0)) == [int(after.argmax())]
    plain = ids_of(model, prompt, 40)
    assert len(set(plain)) < 40
    once = ids_of(model, prompt, 40, sampling=Sampling(presence_penalty=1e3))
    assert len(set(once)) == 40
    assert once[0] == plain[0]  # ids of the prompt are not counted
    assert ids_of(model, prompt, 40, sampling=Sampling(frequency_penalty=0.5)) != plain


def test_a_seed_reproduces(model: LlamaCppGenerator) -> None:
    prompt = cases()[0]["prompt_ids"]
    drawn = [ids_of(model, prompt, 20, sampling=Sampling(1.0, seed=seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    free = [tuple(ids_of(model, prompt, 20, sampling=Sampling(1.0))) for _ in range(3)]
    assert len(set(free)) > 1
    assert ids_of(model, prompt, 20, sampling=Sampling(1.0, top_k=1)) == cases()[0]["greedy_ids"][:20]


def test_stop_ids_end_the_stream_and_are_no_part_of_it(model: LlamaCppGenerator) -> None:
    case = cases()[0]
    stop = case["greedy_ids"][10]
    first = case["greedy_ids"].index(stop)
    stream = model.start(TokenRequest(tuple(case["prompt_ids"]), 64, frozenset({stop})))
    assert [token.id for token in stream] == case["greedy_ids"][:first]
    assert stream.finish == "stop"
    assert list(stream) == []


def test_a_repeated_prompt_is_in_the_cache(model: LlamaCppGenerator) -> None:
    for length in (20, 200):  # a long prompt is read in a call of its own
        prompt = [1, *(300 + number % 97 for number in range(length))]
        for wanted in (range(2), range(length - 1, length + 1)):
            stream = model.start(TokenRequest(tuple(prompt), 2))
            next(stream)
            assert stream.cached_tokens in wanted
            list(stream)
        prompt[1] += 1
        ids_of(model, [1, 400], 1)


def test_the_end_of_the_context(model: LlamaCppGenerator) -> None:
    stream = model.start(TokenRequest((1, *[300] * (model.context - 4)), 64))
    assert len(list(stream)) == 3
    assert stream.finish == "length"
    with pytest.raises(InputTooLongError, match="context"):
        model.start(TokenRequest((1,) * model.context, 1))


def test_cancelling_wakes_a_reader_and_frees_the_model(model: LlamaCppGenerator) -> None:
    stream = model.start(TokenRequest((1,), 100_000))
    next(stream)
    threading.Timer(0.05, stream.cancel).start()
    assert len(list(stream)) < model.context
    assert stream.finish == "cancelled"
    stream.cancel()
    assert ids_of(model, cases()[0]["prompt_ids"]) == cases()[0]["greedy_ids"]


def test_a_stream_that_nobody_reads_is_cancelled(model: LlamaCppGenerator) -> None:
    model.start(TokenRequest((1,), 100_000))
    assert ids_of(model, cases()[0]["prompt_ids"]) == cases()[0]["greedy_ids"]


def test_eight_at_once_are_as_one_after_the_other(model: LlamaCppGenerator) -> None:
    found: dict[int, list[int]] = {}

    def run(number: int) -> None:
        found[number] = ids_of(model, cases()[number % 4]["prompt_ids"])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(8)] == [cases()[number % 4]["greedy_ids"] for number in range(8)]


def test_ids_inside_a_character_come_one_by_one(model: LlamaCppGenerator) -> None:
    """Half of the vocabulary are bytes, which a temperature of 1,000 draws as often as words."""
    tokens = open_gguf(reference("gguf/stories260K.gguf")).config.strings("tokenizer.ggml.tokens")
    request = TokenRequest((1,), 64, sampling=Sampling(1000.0, seed=3), logprobs=2)
    drawn = list(model.start(request))
    assert len(drawn) == 64
    assert len([token for token in drawn if tokens[token.id].startswith("<0x")]) > 10
    for token in drawn:
        assert token.logprob is not None
        assert token.logprob <= token.top[0][1] <= 0
        assert len(token.top) == 2


def text_of(ids: list[int]) -> str:
    return decode_ids(tokenizer_from_path(reference("gguf/stories260K.gguf")), ids)


def test_a_grammar_and_a_schema_are_kept(model: LlamaCppGenerator) -> None:
    assert model.constraints == {"json_schema", "grammar"}
    prompt = cases()[0]["prompt_ids"]
    for grammar, wanted in (
        ('root ::= "yes, " [0-9]{3} "!"', r" ?yes, \d{3}!"),
        ('root ::= "日本😀é" "ß"', " ?日本😀éß"),
    ):
        stream = model.start(TokenRequest(tuple(prompt), 64, grammar=grammar))
        ids = [token.id for token in stream]
        assert stream.finish == "stop"
        assert re.fullmatch(wanted, text_of(ids)), text_of(ids)  # ids inside of a character are all there


SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["Tom", "Lily"]}, "old": {"type": "boolean"}},
    "required": ["name", "old"],
    "additionalProperties": False,
}


def test_a_schema_is_kept(smollm2_file: Path) -> None:
    generator = load_generator(open_gguf(smollm2_file), replace(ONE, context=256))
    for logprobs in (None, 2):
        request = TokenRequest((1, 403, 407), 60, json_schema=json.dumps(SCHEMA), logprobs=logprobs)
        tokens = list(generator.start(request))
        found = json.loads(decode_ids(tokenizer_from_path(smollm2_file), [token.id for token in tokens]))
        assert set(found) == {"name", "old"}
        assert found["name"] in ("Tom", "Lily")
    assert tokens[0].logprob is not None
    generator.close()


def test_a_schema_that_this_build_would_not_keep_is_an_error(model: LlamaCppGenerator) -> None:
    """The package's llguidance gives up on vocabularies that put a space before every text."""
    for _ in range(2):
        stream = model.start(TokenRequest(tuple(cases()[0]["prompt_ids"]), 60, json_schema=json.dumps(SCHEMA)))
        try:
            found = json.loads(text_of([token.id for token in stream]))
        except EngineError as error:
            assert "cannot keep a JSON schema" in str(error)
        else:
            assert found["name"] in ("Tom", "Lily")


def test_streamed_ids_are_those_drawn_one_by_one(model: LlamaCppGenerator) -> None:
    """Bytes that are no whole characters, and text: the likeliest ids after prompts of bytes."""
    for prompt in ([1, 230, 160, 161], [1, 243, 162], [1, *range(200, 212)]):
        alone = [token.id for token in model.start(TokenRequest(tuple(prompt), 24, logprobs=1))]
        streamed = ids_of(model, prompt, 24)
        assert streamed == alone[: len(streamed)]
        assert len(streamed) > 20  # what is no character at the end is left out


def test_a_worker_killed_while_it_generates(model: LlamaCppGenerator) -> None:
    stream = model.start(TokenRequest((1,), 100_000))
    next(stream)
    pid = model.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="SIGKILL while generating"):
        list(stream)
    wait_until_gone(pid)
    assert ids_of(model, cases()[0]["prompt_ids"]) == cases()[0]["greedy_ids"]
    assert len(private_folders()) == 1


def refused(path: Path) -> TurboPropError | None:
    """The error of loading and generating, or None where the file runs."""
    try:
        generator = load_generator(open_gguf(path), replace(ONE, context=32))
        try:
            ids_of(generator, [1], 2)
        finally:
            generator.close()
    except TurboPropError as error:
        assert str(error)
        return error
    return None


def test_malformed_and_old_files() -> None:
    files = sorted(reference("gguf-malformed").glob("*.gguf")) + sorted(reference("gguf-old").glob("*.gguf"))
    for path in files:  # none of them is a language model
        assert refused(path) is not None, path.name


def test_random_mutations(tmp_path: Path) -> None:
    """Each of 50 damaged files runs or gives a typed error; this process lives, and no worker does."""
    good = reference("gguf/stories260K.gguf").read_bytes()
    table = good.rindex(b"output_norm.weight")
    chance = random.Random(20240608)
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    before = set(children.read_text().split())
    folders = private_folders()
    outcomes = []
    for number in range(50):
        data = bytearray(good)
        for _ in range(chance.choice((1, 1, 3, 20))):
            place = chance.choice((chance.randrange(900), chance.randrange(table - 2000, table + 100)))
            data[place] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(data)
        outcomes.append(refused(path))
    assert any(outcomes)
    assert set(children.read_text().split()) <= before
    assert private_folders() <= folders


def test_what_it_cannot_do_is_refused(model: LlamaCppGenerator) -> None:
    for option, text in (("json_schema", '{"type": "nonsense"}'), ("grammar", "root ::= (")):
        with pytest.raises(UsageError, match=f"{option} cannot be used"):
            model.start(TokenRequest((1,), 1, **{option: text}))
    with pytest.raises(UsageError, match="presence or frequency"):
        model.start(TokenRequest((1,), 1, json_schema="{}", sampling=Sampling(presence_penalty=1.0)))
    for ids in ((), (-1,), (512,)):
        with pytest.raises(UsageError, match="0 to 511"):
            model.start(TokenRequest(ids, 1))
    for context in (1, 10_000):
        with pytest.raises(UsageError, match="2 to 2048"):
            load(options=replace(ONE, context=context))
    with pytest.raises(ModelUnsupportedError, match="int8"):
        choose(open_gguf(reference("gguf/stories260K.gguf")), "language", EngineOptions("int8", engine="llamacpp"))
    folder = open_folder(reference("golden/synthetic-arch/tiny-qwen2"))
    with pytest.raises(ModelUnsupportedError, match="GGUF"):
        choose(folder, "language", EngineOptions(engine="llamacpp"))


def test_a_smaller_context() -> None:
    generator = load(options=replace(ONE, context=32))
    stream = generator.start(TokenRequest(tuple(cases()[0]["prompt_ids"]), 64))
    assert len(list(stream)) == 32 - len(cases()[0]["prompt_ids"])
    generator.close()
    generator.close()
    with pytest.raises(EngineError, match="closed"):
        generator.start(TokenRequest((1,), 1))
    assert not Path(f"/proc/{generator.worker_pid}").exists()
