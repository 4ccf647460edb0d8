"""`LanguageModel` on real weights: text, events, stops, cancelling, many at once."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from best_engine import BEST
from reference import reference
from turboprop import GenerationOptions, LanguageModel, Message
from turboprop.errors import InputTooLongError, ModelUnsupportedError, UsageError
from turboprop.generate.events import DoneEvent, TextEvent

GREEDY = GenerationOptions(temperature=0, max_tokens=64)


def cases() -> list[dict]:
    return json.loads(reference("golden/stories260K.json").read_text("utf-8"))["cases"]


def test_the_recorded_texts(stories: LanguageModel) -> None:
    for case in cases():
        answer = stories.generate(case["prompt"], GREEDY)
        # The recorded text was decoded by itself, where a space at the beginning is lost.
        assert answer.text.lstrip(" ") == case["greedy_text"].lstrip(" ")
        assert (answer.finish_reason, answer.usage.generated_tokens) == ("length", 64)
        assert answer.usage.prompt_tokens == len(case["prompt_ids"])
        assert stories.count_tokens(case["prompt"]) == len(case["prompt_ids"])


def test_events_make_the_text(stories: LanguageModel) -> None:
    case = cases()[0]
    with stories.stream(case["prompt"], GREEDY) as stream:
        *texts, done = list(stream)
    assert all(isinstance(event, TextEvent) for event in texts)
    assert "".join(event.text for event in texts) == case["greedy_text"]
    assert isinstance(done, DoneEvent)
    assert 0 < done.timings.first_token_seconds < done.timings.total_seconds
    assert done.timings.tokens_per_second > 0
    assert len(texts) > 30


def test_ids_are_taken_as_they_are(stories: LanguageModel) -> None:
    case = cases()[0]
    assert stories.generate(case["prompt_ids"], GREEDY).text == case["greedy_text"]


def test_a_stop_text_over_several_tokens(stories: LanguageModel) -> None:
    options = GenerationOptions(temperature=0, max_tokens=64, stop=("named Li", "zzz"), logprobs=1)
    with stories.stream("Once upon a time", options) as stream:
        *texts, done = list(stream)
    assert "".join(event.text for event in texts) == ", there was a little girl "
    assert (done.finish_reason, done.stop_text) == ("stop", "named Li")
    assert done.usage.generated_tokens < 20
    shown = [each for event in texts for each in event.logprobs]
    assert all(each.logprob <= 0 and len(each.top) == 1 for each in shown)


def test_a_seed_reproduces(stories: LanguageModel) -> None:
    def told(seed: int | None) -> str:
        return stories.generate("Once", GenerationOptions(temperature=1.5, seed=seed, max_tokens=40)).text

    assert told(4) == told(4)
    assert len({told(None) for _ in range(4)} | {told(5)}) > 1


def test_a_conversation_without_a_template_ends_with_the_turn(stories: LanguageModel) -> None:
    assert not stories.has_template
    answer = stories.generate([Message("user", "Tell a story.")], GenerationOptions(temperature=0, max_tokens=30))
    assert answer.text


def test_cancelling_from_another_thread(stories: LanguageModel) -> None:
    with stories.stream("Once", GenerationOptions(temperature=1, max_tokens=1900)) as stream:
        next(stream)
        threading.Thread(target=stream.cancel).start()
        *_, done = list(stream)
    assert isinstance(done, DoneEvent)
    assert done.finish_reason == "cancelled"


def test_a_stream_that_nobody_reads_is_freed(stories: LanguageModel) -> None:
    stream = stories.stream("Once", GenerationOptions(temperature=1, max_tokens=1900))
    next(stream)
    thread = stories._generator._loop._thread  # type: ignore[attr-defined]
    del stream
    if thread is not None:
        thread.join(30)
        assert not thread.is_alive()


def test_many_threads_at_once(stories: LanguageModel) -> None:
    wanted = {case["prompt"]: stories.generate(case["prompt"], GREEDY).text for case in cases()}
    found: list[tuple[str, str]] = []

    def ask(prompt: str) -> None:
        found.append((prompt, stories.generate(prompt, GREEDY).text))

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in [*wanted, *wanted]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted([*wanted.items(), *wanted.items()])


def test_what_is_too_long_or_not_possible(stories: LanguageModel) -> None:
    with pytest.raises(InputTooLongError, match="shorten it"):
        stories.generate("a b " * 2000)


SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["Lily", "Tom \u00e9"]}, "age": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("seed", range(6))
def test_a_schema_is_kept(stories: LanguageModel, seed: int) -> None:
    options = GenerationOptions(temperature=1.5, top_p=1, top_k=0, min_p=0, seed=seed, json_schema=SCHEMA)
    answer = stories.generate("Tell of a child.", options)
    found = json.loads(answer.text)
    assert set(found) == {"name", "age"}
    assert found["name"] in SCHEMA["properties"]["name"]["enum"]
    assert found["age"] in range(10)
    assert answer.finish_reason == "stop"


def test_a_grammar_is_kept_beside_others(stories: LanguageModel) -> None:
    options = GenerationOptions(temperature=1.5, seed=1, grammar='root ::= ("yes" | "no") " " [0-9] [0-9]')
    free = stories.stream("Once upon a time", GREEDY)
    texts = [stories.generate("Answer.", options).text for _ in range(3)]
    assert len(set(texts)) == 1
    assert re.fullmatch(r"(yes|no) \d\d", texts[0])
    assert "".join(event.text for event in free if isinstance(event, TextEvent)) == cases()[0]["greedy_text"]


def test_loading_what_is_no_language_model() -> None:
    with pytest.raises(ModelUnsupportedError, match="embedding model"):
        LanguageModel.load("minilm")
    with pytest.raises(UsageError, match="no engine"):
        LanguageModel.load(str(reference("gguf/stories260K.gguf")), engine="magic")
    with pytest.raises(UsageError, match="no device"):
        LanguageModel.load(str(reference("gguf/stories260K.gguf")), device="tpu")


def test_a_chat_with_a_template(chat_folder: Callable[..., Path]) -> None:
    with LanguageModel.load(str(chat_folder()), weights="float32") as model:
        assert model.has_template
        conversation = [{"role": "user", "content": "hi there, " * 3}]
        first = model.generate(conversation, GenerationOptions(temperature=0, max_tokens=50))
        again = model.generate(conversation, GenerationOptions(temperature=0, max_tokens=50))
        assert first.text == again.text
        assert again.usage.cached_tokens == 32
        assert (model.engine, model.device, model.weights) == (BEST, "cpu", "float32")
