"""The packages of the interfaces themselves: openai, anthropic, ollama, cohere."""

from __future__ import annotations

import json
from typing import Any

import pytest

LANGUAGE, EMBEDDING = "SmolLM2-135M-Instruct.Q4_1.gguf", "minilm"
ASKED: list[Any] = [{"role": "user", "content": "Say hi."}]
WEATHER: list[Any] = [{"role": "user", "content": "How is the weather in Rome?"}]
PARAMETERS: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}


def test_openai_chat(url: str) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    first = client.chat.completions.create(model=LANGUAGE, messages=ASKED, max_tokens=8)
    again = [*ASKED, first.choices[0].message.model_dump(), *ASKED]
    assert client.chat.completions.create(model=LANGUAGE, messages=again, max_tokens=4).choices[0].message.content
    stream = client.chat.completions.create(
        model=LANGUAGE, messages=ASKED, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    assert [part.usage is not None for part in stream].count(True) == 1
    with client.chat.completions.stream(model=LANGUAGE, messages=ASKED) as helper:
        assert helper.until_done().get_final_completion().choices[0].message.content


def test_openai_tools(url: str) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        message = (
            client.chat.completions.create(model=LANGUAGE, messages=WEATHER, tools=[TOOL], tool_choice=choice)
            .choices[0]
            .message
        )
        assert set(json.loads(message.tool_calls[0].function.arguments)) == {"city"}
    told = [*WEATHER, message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}]
    assert client.chat.completions.create(model=LANGUAGE, messages=told, tools=[TOOL], max_tokens=20).choices


def test_openai_parse_and_responses(url: str) -> None:
    openai, pydantic = pytest.importorskip("openai"), pytest.importorskip("pydantic")
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    person = pydantic.create_model("Person", name=(str, ...), age=(int, ...))
    said: list[Any] = [{"role": "user", "content": "Bob is 3 years old."}]
    parsed = client.chat.completions.parse(model=LANGUAGE, messages=said, response_format=person, temperature=0)
    assert parsed.choices[0].message.parsed.age == 3
    answer = client.responses.parse(model=LANGUAGE, input=said, text_format=person, temperature=0)
    assert answer.output_parsed.age == 3
    after = client.responses.create(model=LANGUAGE, input="More.", previous_response_id=answer.id, max_output_tokens=16)
    assert after.output_text


def test_openai_embeddings_and_completions(url: str) -> None:
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    assert len(client.embeddings.create(model=EMBEDDING, input=["a", "b"]).data[0].embedding) == 384
    assert client.completions.create(model=LANGUAGE, prompt="def add(a, b):", max_tokens=8).choices[0].text
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(model="gpt-4o-mini", messages=ASKED)
    image: Any = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with pytest.raises(openai.BadRequestError, match="images"):
        client.chat.completions.create(model=LANGUAGE, messages=[{"role": "user", "content": image}])


def test_anthropic(url: str) -> None:
    anthropic = pytest.importorskip("anthropic")
    client = anthropic.Anthropic(base_url=url, api_key="none")
    tool: Any = {"name": "get_weather", "input_schema": PARAMETERS}
    assert client.messages.create(model=LANGUAGE, max_tokens=8, messages=ASKED, system="Be brief.").content[0].text
    with client.messages.stream(model=LANGUAGE, max_tokens=8, messages=ASKED) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert final.content[0].text == text
    assert 0 < final.usage.output_tokens <= 8  # drawn by chance, it may end by itself before
    called = client.messages.create(
        model=LANGUAGE, max_tokens=60, messages=WEATHER, tools=[tool], tool_choice={"type": "any"}
    )
    assert (called.stop_reason, set(called.content[0].input)) == ("tool_use", {"city"})
    result: Any = {"type": "tool_result", "tool_use_id": called.content[0].id, "content": "sunny"}
    told = [*WEATHER, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    assert client.messages.create(model=LANGUAGE, max_tokens=8, messages=told, tools=[tool]).content
    plain = client.messages.count_tokens(model=LANGUAGE, messages=ASKED).input_tokens
    assert client.messages.count_tokens(model=LANGUAGE, messages=ASKED, tools=[tool]).input_tokens > plain
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="claude-x", max_tokens=8, messages=ASKED)


def test_ollama(url: str) -> None:
    ollama = pytest.importorskip("ollama")
    client = ollama.Client(host=url)
    assert {LANGUAGE, EMBEDDING} <= {model.model for model in client.list().models}
    assert client.ps().models
    assert "completion" in client.show(LANGUAGE).capabilities
    short = {"num_predict": 8}
    assert client.chat(model=LANGUAGE, messages=ASKED, options=short).message.content
    parts = list(client.chat(model=LANGUAGE, messages=ASKED, options=short, stream=True))
    assert parts[-1].done
    # Drawn by chance, it may end by itself before.
    assert 0 < parts[-1].eval_count <= 8
    assert parts[-1].eval_count == 8 or parts[-1].done_reason == "stop"
    person = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    told = client.chat(model=LANGUAGE, messages=[{"role": "user", "content": "Bob is 3."}], format=person)
    assert set(json.loads(told.message.content)) == {"age"}
    assert client.generate(model=LANGUAGE, prompt="hi", options=short).response
    assert [len(each) for each in client.embed(model=EMBEDDING, input=["a", "word " * 900]).embeddings] == [384, 384]
    assert len(client.embeddings(model=EMBEDDING, prompt="a").embedding) == 384
    assert client.pull(EMBEDDING).status == "success"
    with pytest.raises(ollama.ResponseError, match="no model"):
        client.pull("llama3.2")


def test_cohere(url: str) -> None:
    cohere = pytest.importorskip("cohere")
    documents = ["a dog", "a cat"]
    for client in (cohere.ClientV2(api_key="none", base_url=url), cohere.Client(api_key="none", base_url=url)):
        ranked = client.rerank(model=EMBEDDING, query="cat", documents=documents, top_n=1)
        assert [row.index for row in ranked.results] == [1]
    v2 = cohere.ClientV2(api_key="none", base_url=url)
    made = v2.embed(model=EMBEDDING, texts=documents, input_type="search_document", embedding_types=["float"])
    assert [len(each) for each in made.embeddings.float_] == [384, 384]
