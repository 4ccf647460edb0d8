"""Packages that speak the interfaces for others, with their defaults."""

from __future__ import annotations

from typing import Any

import pytest

LANGUAGE, EMBEDDING = "SmolLM2-135M-Instruct.Q4_1.gguf", "minilm"
pytestmark = pytest.mark.filterwarnings("ignore")
"""What the packages warn of is theirs."""


def person() -> Any:
    pydantic = pytest.importorskip("pydantic")
    return pydantic.create_model("Person", name=(str, ...), age=(int, ...))


def test_litellm(url: str) -> None:
    litellm = pytest.importorskip("litellm")
    messages = [{"role": "user", "content": "hi"}]
    for provider, base in (
        ("openai", f"{url}/v1"),
        ("hosted_vllm", f"{url}/v1"),
        ("lm_studio", f"{url}/v1"),
        ("anthropic", url),
        ("ollama", url),
        ("ollama_chat", url),
    ):
        answer = litellm.completion(
            model=f"{provider}/{LANGUAGE}", api_base=base, api_key="x", messages=messages, max_tokens=8
        )
        assert answer.choices[0].message.content, provider
    embedded = litellm.embedding(model=f"openai/{EMBEDDING}", api_base=f"{url}/v1", api_key="x", input=["hi"])
    assert len(embedded.data[0]["embedding"]) == 384
    for provider, base in (("hosted_vllm", url), ("cohere", url), ("jina_ai", f"{url}/v1/rerank")):
        ranked = litellm.rerank(
            model=f"{provider}/{EMBEDDING}",
            api_base=base,
            api_key="x",
            query="cat",
            documents=["a dog", "a cat"],
            top_n=1,
        )
        assert ranked.results[0]["index"] == 1, provider
    assert litellm.responses(
        model=f"openai/{LANGUAGE}", api_base=f"{url}/v1", api_key="x", input="hi", max_output_tokens=16
    ).output


def test_langchain_openai(url: str) -> None:
    chat_models = pytest.importorskip("langchain_openai")
    ask: dict[str, Any] = {"model": LANGUAGE, "base_url": f"{url}/v1", "api_key": "x", "temperature": 0}
    model = chat_models.ChatOpenAI(**ask, max_tokens=8)
    assert model.invoke("hi").content
    whole = None
    for chunk in chat_models.ChatOpenAI(**ask, max_tokens=8, stream_usage=True).stream("hi"):
        whole = chunk if whole is None else whole + chunk
    assert whole.usage_metadata["output_tokens"] == 8
    for method in ("json_schema", "function_calling", "json_mode"):
        structured = chat_models.ChatOpenAI(**ask).with_structured_output(person(), method=method, include_raw=True)
        found = structured.invoke("Bob is 3 years old. Write JSON with name and age.")
        assert found["parsed"] is not None or method == "json_mode", found
    assert chat_models.ChatOpenAI(**ask, use_responses_api=True, max_tokens=32).invoke("hi").content
    embeds: dict[str, Any] = {"model": EMBEDDING, "base_url": f"{url}/v1", "api_key": "x"}
    made = chat_models.OpenAIEmbeddings(**embeds, check_embedding_ctx_length=False)
    assert len(made.embed_query("hi")) == 384


def test_langchain_openai_sends_ids_of_another_vocabulary(url: str) -> None:
    """As it does by default; read as what they stand for, or refused with the switch."""
    openai = pytest.importorskip("openai")
    chat_models = pytest.importorskip("langchain_openai")
    embeds: dict[str, Any] = {"model": EMBEDDING, "base_url": f"{url}/v1", "api_key": "x"}
    text = "Where is the configuration file parsed and loaded?"
    right = chat_models.OpenAIEmbeddings(**embeds, check_embedding_ctx_length=False).embed_query(text)
    try:
        found = chat_models.OpenAIEmbeddings(**embeds).embed_query(text)
    except openai.BadRequestError as error:
        assert "check_embedding_ctx_length=False" in str(error)
    else:
        assert sum(a * b for a, b in zip(found, right, strict=True)) > 0.999


def test_langchain_anthropic(url: str) -> None:
    anthropic = pytest.importorskip("langchain_anthropic")
    model = anthropic.ChatAnthropic(model=LANGUAGE, base_url=url, api_key="x", temperature=0, max_tokens=60)
    assert model.invoke("hi").content
    assert model.with_structured_output(person()).invoke("Bob is 3 years old.").age == 3


def test_langchain_ollama(url: str) -> None:
    ollama = pytest.importorskip("langchain_ollama")
    model = ollama.ChatOllama(model=LANGUAGE, base_url=url, num_predict=40, temperature=0)
    assert model.invoke("hi").content
    assert model.with_structured_output(person()).invoke("Bob is 3 years old.").age == 3
    assert len(ollama.OllamaEmbeddings(model=EMBEDDING, base_url=url).embed_query("hi")) == 384


def test_llama_index(url: str) -> None:
    llms = pytest.importorskip("llama_index.llms.openai_like")
    core = pytest.importorskip("llama_index.core.llms")
    model = llms.OpenAILike(model=LANGUAGE, api_base=f"{url}/v1", api_key="x", is_chat_model=True, max_tokens=8)
    messages = [core.ChatMessage(role="user", content="hi")]
    assert model.chat(messages).message.content
    assert "".join(part.delta or "" for part in model.stream_chat(messages))
    embeddings = pytest.importorskip("llama_index.embeddings.openai_like")
    made = embeddings.OpenAILikeEmbedding(model_name=EMBEDDING, api_base=f"{url}/v1", api_key="x")
    assert len(made.get_text_embedding("hi")) == 384


def test_haystack(url: str) -> None:
    chat = pytest.importorskip("haystack.components.generators.chat")
    embedders = pytest.importorskip("haystack.components.embedders")
    from haystack.dataclasses import ChatMessage
    from haystack.utils import Secret

    key: Any = {"api_base_url": f"{url}/v1", "api_key": Secret.from_token("x")}
    generator = chat.OpenAIChatGenerator(model=LANGUAGE, generation_kwargs={"max_tokens": 8}, **key)
    assert generator.run([ChatMessage.from_user("hi")])["replies"][0].text
    assert len(embedders.OpenAITextEmbedder(model=EMBEDDING, **key).run("hi")["embedding"]) == 384


def test_instructor(url: str) -> None:
    instructor, openai = pytest.importorskip("instructor"), pytest.importorskip("openai")
    messages = [{"role": "user", "content": "Bob is 3 years old."}]
    for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
        client = instructor.from_openai(openai.OpenAI(base_url=f"{url}/v1", api_key="x"), mode=mode)
        found = client.chat.completions.create(
            model=LANGUAGE, messages=messages, response_model=person(), temperature=0, max_tokens=60, max_retries=0
        )
        assert found.age == 3, mode


def test_pydantic_ai(url: str) -> None:
    agents = pytest.importorskip("pydantic_ai")
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel(LANGUAGE, provider=OpenAIProvider(base_url=f"{url}/v1", api_key="x"))
    assert agents.Agent(model, model_settings={"max_tokens": 8}).run_sync("hi").output
    for output in (person(), agents.NativeOutput(person())):
        settings = {"max_tokens": 60, "temperature": 0}
        found = agents.Agent(model, output_type=output, model_settings=settings).run_sync("Bob is 3 years old.")
        assert found.output.age == 3


def test_llm(url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    llm = pytest.importorskip("llm")
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: local\n  model_name: {LANGUAGE}\n  api_base: {url}/v1\n  api_key_name: none\n"
    )
    model = llm.get_model("local")
    model.key = "x"
    assert model.prompt("hi", max_tokens=8).text()
