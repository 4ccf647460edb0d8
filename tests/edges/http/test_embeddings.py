from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from turboprop import EmbeddingModel


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    texts = ["hello world", "def parse_config(path): return json.load(open(path))"]
    with EmbeddingModel.load() as model:
        return dict(zip(texts, model.embed_documents(texts), strict=True))


def test_the_official_client_gets_our_vectors(server, expected: dict[str, np.ndarray]) -> None:
    answer = server.client().embeddings.create(model="minilm", input=list(expected))
    assert [row.index for row in answer.data] == [0, 1]
    for row, vector in zip(answer.data, expected.values(), strict=True):
        assert np.asarray(row.embedding, np.float32) @ vector == pytest.approx(1, abs=1e-3)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 28
    assert answer.model == "minilm"


def test_float_and_base64_are_the_same_numbers(server) -> None:
    client = server.client()
    floats = client.embeddings.create(model="minilm", input="hello world", encoding_format="float").data[0].embedding
    packed = client.embeddings.create(model="minilm", input="hello world", encoding_format="base64").data[0].embedding
    assert np.frombuffer(base64.b64decode(packed), "<f4") == pytest.approx(np.asarray(floats), abs=1e-6)


def test_token_ids(server, expected: dict[str, np.ndarray]) -> None:
    client = server.client()
    (row,) = client.embeddings.create(model="minilm", input=[101, 7592, 2088, 102]).data
    assert np.asarray(row.embedding, np.float32) @ expected["hello world"] == pytest.approx(1, abs=1e-3)
    asked = client.embeddings.with_raw_response.create(
        model="minilm", input=[[7592, 2088], [7592]], extra_body={"token_ids": "model"}
    )
    assert asked.headers["X-TurboProp-Token-Ids"] == "model"
    several = asked.parse()
    assert len(several.data) == 2
    assert several.usage.prompt_tokens == 3


FOREIGN = [9241, 374, 279, 6683, 1052, 16051, 323, 6799, 30]
"""`Where is the configuration file parsed and loaded?` in cl100k_base, as LangChain sends it: all are ids of MiniLM's,
too."""


def test_ids_of_another_vocabulary_are_never_taken_for_the_models(start_server, tmp_path: Path) -> None:
    create = start_server(TIKTOKEN_CACHE_DIR=str(tmp_path)).client().embeddings.create
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        create(model="minilm", input=[FOREIGN])
    with pytest.raises(openai.BadRequestError, match="may be this model's or another's"):
        create(model="minilm", input=[7592])
    with pytest.raises(openai.BadRequestError, match="tiktoken"):
        create(model="minilm", input=[FOREIGN], extra_body={"token_ids": "cl100k_base"})


def test_what_is_cut_is_told(start_server, server, expected: dict[str, np.ndarray]) -> None:
    long = "word " * 900
    with server.http() as client:
        body = {"model": "minilm", "input": [long, "hello world"]}
        refused = client.post("/v1/embeddings", json=body)
        assert refused.json()["error"]["code"] == "context_length_exceeded"
        cut = client.post("/v1/embeddings", json={**body, "truncate": True})
        assert cut.headers["X-TurboProp-Truncated"] == "1 of 2; the limit is 256 tokens"
        vllm = client.post("/v1/embeddings", json={**body, "truncate_prompt_tokens": -1})
        assert vllm.json()["data"] == cut.json()["data"]
        assert client.post("/v1/embeddings", json={**body, "truncate_prompt_tokens": 5}).status_code == 400
    cutting = start_server("--truncate", "end")
    with cutting.http() as client:
        answer = client.post("/v1/embeddings", json=body)
        assert answer.headers["X-TurboProp-Truncated"] == "1 of 2; the limit is 256 tokens"
        assert "X-TurboProp-Truncated" not in client.post("/v1/embeddings", json={"input": "a"}).headers
        assert client.post("/v1/embeddings", json={**body, "truncate": False}).status_code == 400
        assert client.post("/embed", json={"inputs": long}).status_code == 200
        assert client.post("/embed", json={"inputs": long, "truncate": False}).status_code in (400, 413, 422)
    assert sum("tp serve --model nomic-embed" in line for line in cutting.log) == 1
    assert sum("--truncate end cuts them" in line for line in server.log) == 1


def test_concurrent_clients_get_their_own(server, code_pieces: list[str]) -> None:
    client = server.client()

    def ask(text: str) -> list[float]:
        return client.embeddings.create(model="minilm", input=text, extra_body={"truncate": True}).data[0].embedding

    with ThreadPoolExecutor(16) as pool:
        found = np.asarray(list(pool.map(ask, code_pieces[:64])), np.float32)
    with EmbeddingModel.load() as model:
        alone = model.embed_documents(code_pieces[:64], overlong="truncate")
    assert (found * alone).sum(axis=1).min() > 0.99


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({}, "input"),
        ({"input": None}, "input"),
        ({"input": 7}, "input"),
        ({"input": {"text": "x"}}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [[]]}, None),
        ({"input": [1e99]}, "input.0"),
        ({"input": [999_999]}, "input"),
        ({"input": [-1]}, "input.0"),
        ({"input": "x", "dimensions": 7}, None),
        ({"input": "x", "dimensions": 0}, "dimensions"),
        ({"input": "x", "encoding_format": "int8"}, "encoding_format"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": "word " * 600}, None),
    ],
)
def test_what_the_client_did_wrong_is_400(server, body: dict[str, object], param: str | None) -> None:
    with server.http() as client:
        answer = client.post("/v1/embeddings", json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


def test_over_long_input_is_cut_only_where_asked(server) -> None:
    long = {"input": "word " * 600}
    with server.http() as client:
        refused = client.post("/v1/embeddings", json=long).json()["error"]
        assert refused["code"] == "context_length_exceeded"
        assert "602 tokens" in refused["message"]
        assert client.post("/v1/embeddings", json={**long, "truncate": True}).json()["usage"]["prompt_tokens"] == 256


def test_an_unknown_model_is_404(server) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        server.client().embeddings.create(model="text-embedding-3-small", input="x")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("name", ["/etc/passwd", "../../etc", "./x.gguf", "~/x", "stories260K.gguf"])
def test_a_path_is_no_model_name(server, name: str) -> None:
    with server.http() as client:
        answer = client.post("/v1/embeddings", json={"input": "x", "model": name})
    assert answer.status_code == 404


@pytest.mark.parametrize("body", [b"{bad json", b"", b"[]", b"\xff\xfe", b'{"input": "\\ud800"}', b"[" * 100_000])
def test_what_is_no_json_object_is_400(server, body: bytes) -> None:
    with server.http() as client:
        answer = client.post("/v1/embeddings", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_the_models_are_listed_with_the_default_first(server) -> None:
    client = server.client()
    models = client.models.list().data
    assert models[0].id == "minilm"
    assert client.models.retrieve("minilm").id == "minilm"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_errors_of_the_frame(server) -> None:
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/nope").json()["error"]["type"] == "not_found_error"
        wrong = client.put("/v1/embeddings")
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == "POST"
        assert wrong.json()["error"]["message"]
