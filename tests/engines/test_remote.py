"""Models behind an address, against servers on loopback that answer in real wire forms, and badly."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines import endpoint_server as wire
from engines.endpoint_server import MODEL, WIDTH, Answer, Asked, EndpointServer, serving, vector_of
from turboprop import EmbeddingModel, LanguageModel, Reranker
from turboprop.engines import http_json
from turboprop.engines.http_json import in_parallel, retry_after
from turboprop.errors import EndpointError, ModelNotFoundError, ModelUnsupportedError, SettingsError, UsageError
from turboprop.generate.events import DoneEvent, ReasoningEvent, TextEvent
from turboprop.generate.options import GenerationOptions
from turboprop.generate.tools import CallReader
from turboprop.models.kind import kind_of
from turboprop.models.resolve import resolve
from turboprop.runtime.leases import LoadOptions
from turboprop.runtime.manager import ModelManager
from turboprop.settings import Settings, load_settings

SECRET = "sk-never-shown-4711"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of its own, no key, and waits that are short."""
    for name in ("TP_REMOTE_API_KEY", "TP_OFFLINE", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TP_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("TP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(http_json, "WAITS", (0.01, 0.02))
    return tmp_path


@pytest.fixture
def server() -> Iterator[EndpointServer]:
    with serving() as server:
        yield server


def name_at(server: EndpointServer, path: str = "/v1", model: str = MODEL) -> str:
    return f"{server.url}{path}#{model}"


def row(home: Path, server: EndpointServer, **more: Any) -> str:
    """A row of the user's own, called `box`."""
    fields = {"name": "box", "url": f"{server.url}/v1", "model": MODEL, **more}
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    (home / "config.toml").write_text("\n".join(["[[models]]", *lines]))
    return "box"


def embedded(name: str, texts: list[str] | None = None) -> np.ndarray:
    with EmbeddingModel.load(name, self_test=False) as model:
        return model.embed_documents(texts or ["one", "two", "three"])


def expected(texts: list[str]) -> np.ndarray:
    return np.stack([vector_of(text) for text in texts])


TEXTS = [f"def number_{n}(): return {n}" for n in range(100)]


def test_vectors_are_the_servers_in_the_order_of_the_texts() -> None:
    both = threading.Barrier(2)  # the first two requests of many texts are answered once both are here
    many = itertools.count()

    def respond(asked: Asked, number: int) -> Answer:
        if asked.body and len(asked.body["input"]) > 5 and next(many) < 2:
            both.wait(60)
        return wire.openai(asked, number)

    with serving(respond) as server, EmbeddingModel.load(name_at(server)) as model:
        assert (model.engine, model.device, model.weights) == ("remote", "remote", "as served")
        assert (model.name, model.dimensions) == (name_at(server), WIDTH)
        vectors = model.embed_documents(TEXTS)
        before = len(server.asked)
        np.testing.assert_allclose(model.embed_query("one"), vector_of("one"), atol=1e-6)
        assert len(server.asked) == before + 1
        assert model.tokens_embedded > 200  # as the server counts
    np.testing.assert_allclose(vectors, expected(TEXTS), atol=1e-6)


def test_floats_where_base64_is_refused() -> None:
    def respond(asked: Asked, number: int) -> Answer:
        if asked.body and asked.body.get("encoding_format"):
            return Answer({"error": {"message": "unknown parameter encoding_format"}}, 400)
        return wire.openai(asked, number)

    with serving(respond) as server:
        np.testing.assert_allclose(embedded(name_at(server), TEXTS), expected(TEXTS), atol=1e-6)
        packed = [each for each in server.asked if each.body and "encoding_format" in each.body]
        assert len(packed) == 1  # asked once, and not again


def test_an_address_without_a_path(server: EndpointServer) -> None:
    np.testing.assert_allclose(embedded(name_at(server, "")), expected(["one", "two", "three"]), atol=1e-6)
    assert server.asked[-1].path == "/v1/embeddings"


def test_an_interface_at_the_root_as_infinity_has_it() -> None:
    def respond(asked: Asked, number: int) -> Answer:
        if asked.path.startswith("/v1"):
            return Answer({"detail": "Not Found"}, 404)
        return wire.openai(replace(asked, path=f"/v1{asked.path}"), number)

    with serving(respond) as server:
        np.testing.assert_allclose(embedded(name_at(server, "")), expected(["one", "two", "three"]), atol=1e-6)
        assert server.asked[-1].path == "/embeddings"


def test_tei_embeds_and_reranks() -> None:
    with serving(wire.tei) as server:
        np.testing.assert_allclose(embedded(name_at(server, ""), TEXTS), expected(TEXTS), atol=1e-6)
        sent = [each.body for each in server.asked if each.path == "/embed"]
        assert max(len(body["inputs"]) for body in sent) <= 4  # as its /info says
        assert all(body["normalize"] and body["truncate"] for body in sent)
        for path in ("", "/v1"):
            with Reranker.load(name_at(server, path)) as reranker:
                scores = reranker.scores("b", ["a", "b", "c", "ab", "d", "e"])
            assert scores.tolist() == [-2, 2, -2, 2, -2, -2]


def test_a_reranker_in_the_form_of_cohere_and_jina(server: EndpointServer) -> None:
    with Reranker.load(name_at(server)) as reranker:
        scores = reranker.scores("b", ["a", "b"])
        assert reranker.scores("b", []).tolist() == []
        with pytest.raises(UsageError, match="takes no instruction"):
            reranker.scores("b", ["a"], instruction="find")
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), [0.1, 0.9], rtol=1e-5)


def test_prompts_of_the_catalogue_and_of_a_row(home: Path, server: EndpointServer) -> None:
    with EmbeddingModel.load(name_at(server, model="coderankembed"), self_test=False) as model:
        model.embed_query("open a file")
        model.embed_documents(["with open"])
    assert server.texts[-2:] == ["Represent this query for searching relevant code: open a file", "with open"]
    (home / "config.toml").write_text(
        f'[[models]]\nname = "box"\nurl = "{server.url}/v1"\nmodel = "small"\n'
        'prompts = { query = "q: ", document = "d: " }\n'
    )
    with EmbeddingModel.load("box", self_test=False) as model:
        assert model.name == name_at(server)
        model.embed_query("open a file")
        model.embed_documents(["with open"])
    assert server.texts[-2:] == ["q: open a file", "d: with open"]


def test_a_row_says_how_it_is_asked(home: Path, monkeypatch: pytest.MonkeyPatch, server: EndpointServer) -> None:
    monkeypatch.setenv("BOX_KEY", SECRET)
    box = row(home, server, batch=7, parallel=3, api_key_env="BOX_KEY", normalize=False)
    embedded(box, TEXTS)
    sent = [each for each in server.asked if each.body]
    assert max(len(each.body["input"]) for each in sent) == 7
    assert server.most_at_once <= 3
    assert {each.headers["authorization"] for each in server.asked} == {f"Bearer {SECRET}"}


def test_the_width_that_a_row_wants_is_asked_for(home: Path, server: EndpointServer) -> None:
    box = row(home, server, dimensions=4)
    assert embedded(box).shape == (3, 4)
    assert server.asked[-1].body["dimensions"] == 4


def test_what_is_too_long_becomes_the_mean_of_its_parts(home: Path, server: EndpointServer) -> None:
    box = row(home, server, context=8)  # 24 characters
    text = "0123456789" * 5
    with EmbeddingModel.load(box, self_test=False) as model:
        (vector,) = model.embed_documents([text], overlong="average")
        with pytest.raises(Exception, match="50 characters"):
            model.embed_documents([text])
    mean = sum(vector_of(text[at : at + 24]) for at in (0, 24, 48))
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_it_takes_no_memory_here(server: EndpointServer) -> None:
    with ModelManager(budgets={"cpu": 1}, keep_alive=None) as manager, manager.embedding(name_at(server)) as lease:
        np.testing.assert_allclose(lease.embed_query("one"), vector_of("one"), atol=1e-6)
        (told,) = manager.status()
        assert (told.reserved, told.engine, told.device) == (0, "remote", "remote")
        assert manager.reserved == {"cpu": 0}


def test_engine_and_weights_of_the_settings_are_for_models_here(server: EndpointServer) -> None:
    chosen = replace(load_settings(), engine="native", weights="float32", offline=False)
    with ModelManager(chosen, budgets={"cpu": 1}) as manager, manager.embedding(name_at(server)) as lease:
        assert lease.model.engine == "remote"
    with ModelManager(chosen, budgets={"cpu": 1}) as manager, manager.reranker(name_at(server)) as ranking:
        assert len(ranking.model.scores("a", ["b"])) == 1


def test_a_repository_gets_no_key_by_naming_an_endpoint(
    home: Path, monkeypatch: pytest.MonkeyPatch, server: EndpointServer
) -> None:
    from turboprop.settings.trust import grant

    monkeypatch.setenv("TP_REMOTE_API_KEY", SECRET)
    monkeypatch.setenv("TP_HOME", str(home / "data"))
    repo = home / "repo"
    repo.mkdir()
    (repo / ".turboprop.toml").write_text(f'model = "{name_at(server)}"\n')
    settings = load_settings(repo)
    assert settings.untrusted == ("model",)
    assert resolve(None, settings, download=False).endpoint is None
    assert settings.project is not None
    grant(settings.data_home, settings.project.path, settings.project.sha256)
    with EmbeddingModel.load(None, settings=load_settings(repo), self_test=False) as model:
        assert model.name == name_at(server)
    assert not any("authorization" in map(str.lower, each.headers) for each in server.asked)
    # Nor does the address by itself: what an index records does not tell who wrote it.
    with EmbeddingModel.load(name_at(server), self_test=False):
        assert not any("authorization" in map(str.lower, each.headers) for each in server.asked)
    with EmbeddingModel.load(row(home, server), self_test=False):
        assert server.asked[-1].headers["authorization"] == f"Bearer {SECRET}"


def test_offline_asks_nobody(server: EndpointServer) -> None:
    for load in (EmbeddingModel.load, LanguageModel.load, Reranker.load):
        with pytest.raises(ModelNotFoundError, match="offline mode is on"):
            load(name_at(server), settings=Settings(offline=True))
    manager = ModelManager(Settings(offline=True), budgets={"cpu": 1}, keep_alive=None)
    with manager, pytest.raises(ModelNotFoundError, match="offline mode is on"):
        manager.embedding(name_at(server), LoadOptions())
    assert server.asked == []


BROKEN: list[tuple[str, Answer, str]] = [
    ("another width", Answer({"data": [{"index": 0, "embedding": [1.0, 2.0]}]}), "2 dimensions where it gave 8"),
    ("NaN", Answer(raw=b'{"data": [{"index": 0, "embedding": [NaN, 1, 1, 1, 1, 1, 1, 1]}]}'), "not finite"),
    ("a page", Answer(raw=b"<!doctype html><p>Hi", headers={"Content-Type": "text/html"}), "answers with a page"),
    ("no list", Answer({"data": "none"}), "no list of vectors"),
    ("no numbers", Answer({"data": [{"index": 0, "embedding": ["a"]}]}), "no list of numbers"),
    ("bad base64", Answer({"data": [{"index": 0, "embedding": "&&&"}]}), "no list of numbers"),
    ("fewer", Answer({"data": []}), "sent 1 texts and gives 0 vectors"),
    ("no such index", Answer({"data": [{"index": 5, "embedding": [1.0] * 8}]}), "belong to no text"),
    ("words", Answer(raw=b"everything is fine"), "no JSON: everything is fine"),
    ("401", Answer({"error": {"message": f"bad key {SECRET}"}}, 401), "refuses the request"),
    ("400", Answer({"error": {"message": "too long"}}, 400), "answers 400 to /embeddings: too long"),
    ("an error of TEI", Answer({"error": "Tokenization error", "error_type": "tokenizer"}, 422), "Tokenization error"),
    ("500", Answer({"error": {"message": "oh"}}, 500), "at fault or busy"),
    ("half", Answer(raw=b'{"data": [{"index": 0, "embed'), "broke off in the middle"),
    ("half, then gone", Answer(raw=b'{"data": [', promise=100), "broke"),
    ("a long pause", Answer({"error": "slow down"}, 429, {"Retry-After": "9999"}), "try again in 9999 s"),
]


@pytest.mark.parametrize(("answer", "said"), [each[1:] for each in BROKEN], ids=[each[0] for each in BROKEN])
def test_a_bad_answer_says_what_it_is(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answer: Answer, said: str
) -> None:
    monkeypatch.setenv("TP_REMOTE_API_KEY", SECRET)

    def respond(asked: Asked, number: int) -> Answer:
        return answer if asked.body and "bad" in asked.body["input"] else wire.openai(asked, number)

    caplog.set_level("DEBUG")
    with serving(respond) as server, EmbeddingModel.load(row(home, server), self_test=False) as model:
        with pytest.raises(EndpointError) as refused:
            model.embed_documents(["bad"])
        assert said in str(refused.value)
        assert server.url.removeprefix("http://") in str(refused.value)
        assert SECRET not in str(refused.value) + caplog.text + repr(model)
        np.testing.assert_allclose(model.embed_documents(["good"]), expected(["good"]), atol=1e-6)  # and goes on


def test_more_texts_than_it_takes_are_sent_in_parts() -> None:
    def respond(asked: Asked, number: int) -> Answer:
        if asked.body and len(asked.body["input"]) > 5:
            return Answer({"error": {"message": "payload too large"}}, 413)
        return wire.openai(asked, number)

    with serving(respond) as server:
        np.testing.assert_allclose(embedded(name_at(server), TEXTS), expected(TEXTS), atol=1e-6)


def test_another_order_by_index() -> None:
    def respond(asked: Asked, number: int) -> Answer:
        answer = wire.openai(asked, number)
        if asked.body:
            answer.body["data"].reverse()
        return answer

    with serving(respond) as server:
        np.testing.assert_allclose(embedded(name_at(server), TEXTS), expected(TEXTS), atol=1e-6)


@pytest.mark.parametrize("pause", ["1", "date"])
def test_retry_after_is_kept_by_all(pause: str) -> None:
    times: list[float] = []

    def respond(asked: Asked, number: int) -> Answer:
        if asked.body:
            times.append(time.monotonic())
            if len(times) == 2:  # the first one after the probe
                return Answer({"error": "busy"}, 429, {"Retry-After": wire.after(2) if pause == "date" else pause})
        return wire.openai(asked, number)

    with serving(respond) as server:
        np.testing.assert_allclose(embedded(name_at(server), ["one"]), expected(["one"]), atol=1e-6)
    assert times[2] - times[1] > 0.9


def test_what_passes_is_tried_again() -> None:
    answers = iter([Answer({}, 503), Answer({}, 502), Answer(raw=b"", promise=10)])

    def respond(asked: Asked, number: int) -> Answer:
        if asked.body and asked.body["input"] == ["one"] and (answer := next(answers, None)):
            return answer
        return wire.openai(asked, number)

    with serving(respond) as server, EmbeddingModel.load(name_at(server), self_test=False) as model:
        with pytest.raises(EndpointError):  # two waits are three tries
            model.embed_documents(["one"])
        np.testing.assert_allclose(model.embed_documents(["one"]), expected(["one"]), atol=1e-6)


def test_a_silent_server(home: Path) -> None:
    def respond(asked: Asked, number: int) -> Answer:
        answer = wire.openai(asked, number)
        answer.silence = 60.0 if asked.body and asked.body["input"] == ["bad"] else 0.0
        return answer

    with serving(respond) as server:
        row(home, server, timeout=1)
        with EmbeddingModel.load("box", self_test=False) as model:
            with pytest.raises(EndpointError, match="was silent for 1 s"):
                model.embed_documents(["bad"])
            model.embed_documents(["good"])


def test_a_redirect_to_another_host_gets_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TP_REMOTE_API_KEY", SECRET)
    with serving() as other:

        def respond(asked: Asked, number: int) -> Answer:
            return Answer({}, 307, {"Location": f"{other.url}{asked.path}"})

        with serving(respond) as server, pytest.raises(EndpointError, match="redirects to http://127"):
            embedded(row(home, server))
        assert server.asked[-1].headers["authorization"] == f"Bearer {SECRET}"
        assert other.asked == []


def test_a_redirect_within_the_host_is_followed() -> None:
    def respond(asked: Asked, number: int) -> Answer:
        if asked.path.startswith("/old"):
            return Answer({}, 308, {"Location": asked.path.replace("/old", "/v1")})
        return wire.openai(asked, number)

    with serving(respond) as server:
        np.testing.assert_allclose(embedded(name_at(server, "/old"), ["one"]), expected(["one"]), atol=1e-6)


def test_a_certificate_that_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TP_REMOTE_API_KEY", SECRET)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    paths = wire.self_signed(tmp_path)
    with serving(tls=paths) as server:
        with pytest.raises(EndpointError, match=r"certificate of .* is not trusted here .*SSL_CERT_FILE"):
            embedded(name_at(server))
        assert server.asked == []
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            with monkeypatch.context() as named:
                named.setenv(name, str(paths[0]))
                assert embedded(name_at(server)).shape == (3, WIDTH)


def test_nobody_there() -> None:
    with serving() as server:
        gone = name_at(server)
    with pytest.raises(EndpointError, match=r"cannot be reached .*is the server running there"):
        embedded(gone)


def test_a_key_is_not_sent_where_others_could_read_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from turboprop.engines.remote.server import _key

    monkeypatch.setenv("TP_REMOTE_API_KEY", SECRET)
    for number, (url, sent) in enumerate(
        (
            ("http://192.168.1.5:8321/v1", ""),
            ("http://gpu-box/v1", ""),
            ("http://localhost/v1", SECRET),
            ("http://[::1]/v1", SECRET),
            ("https://example.com/v1", SECRET),
        )
    ):
        (home / "config.toml").write_text(f'[[models]]\nname = "box"\nurl = "{url}"\nmodel = "m{number}"\n')
        for name in ("box", f"{url}#m{number}"):  # by either name it is the user's row
            endpoint = resolve(name, load_settings()).endpoint
            assert endpoint is not None
            key, advice = _key(endpoint)
            assert key == sent
            assert ("was not sent" in advice) == (not sent)
        bare = resolve(f"{url}#another", load_settings()).endpoint
        assert bare is not None
        assert _key(bare)[0] == ""
        assert "[[models]] row" in _key(bare)[1]
    (home / "config.toml").write_text(
        '[[models]]\nname = "box"\nurl = "http://gpu-box/v1"\nmodel = "m"\nplain_http = true\n'
    )
    endpoint = resolve("box", load_settings()).endpoint
    assert endpoint is not None
    assert _key(endpoint)[0] == SECRET
    monkeypatch.setenv("TP_REMOTE_API_KEY", "two\nlines")
    with pytest.raises(EndpointError, match="holds signs that a key does not have") as refused:
        _key(endpoint)
    assert "lines" not in str(refused.value)


def test_what_an_address_may_not_be() -> None:
    settings = load_settings()
    for address, said in (
        ("https://host/v1", "names no model"),
        ("https://host/v1#", "names no model"),
        ("https://me:secret@host/v1#m", "holds a name or a password"),
        ("https://host/v1?key=secret#m", "a part behind"),
        ("http://example.com/v1#m", "write https://"),
        ("http://93.184.216.34/v1#m", "write https://"),
        ("http://134744072/v1#m", "write https://"),
        ("http://0x08080808/v1#m", "write https://"),
        ("https://ho st/v1#m", "an endpoint's address is"),
        ("https://[::1/v1#m", "address is none"),
        ("https://host:99999/v1#m", "address is none"),
    ):
        with pytest.raises(UsageError, match=said) as refused:
            resolve(address, settings)
        assert "secret" not in str(refused.value)
    for address, canonical in (
        ("HTTPS://Host:443/v1/#m", "https://host/v1#m"),
        ("http://10.0.0.7:8080#org/m:q4", "http://10.0.0.7:8080#org/m:q4"),
        ("http://nas.local/v1#m", "http://nas.local/v1#m"),
    ):
        assert resolve(address, settings).name == canonical


def test_rows_that_cannot_be(home: Path, server: EndpointServer) -> None:
    for more, said in (
        ({"repo": "a/b"}, "repo is of a model's files"),
        ({"model": ""}, "model is missing"),
        ({"api_key_env": "sk-123"}, "the name of the variable"),
        ({"parallel": 1_000}, "parallel must be at most 64"),
        ({"url": "http://example.com/v1"}, "write https://"),
        ({"kind": "poem"}, "kind must be one of"),
    ):
        row(home, server, **more)
        with pytest.raises(SettingsError, match=said) as refused:
            resolve("box", load_settings())
        assert "sk-123" not in str(refused.value)
    (home / "config.toml").write_text('[[models]]\nname = "m"\nrepo = "a/b"\nbatch = 3\n')
    with pytest.raises(SettingsError, match="batch is of a model behind an address"):
        resolve("m", load_settings())


def test_the_kind_of_a_row_is_kept_to(home: Path, server: EndpointServer) -> None:
    row(home, server, kind="language")
    with pytest.raises(ModelUnsupportedError, match="of the kind language"):
        Reranker.load("box")
    row(home, server, kind="reranker")
    for load in (EmbeddingModel.load, LanguageModel.load):
        with pytest.raises(ModelUnsupportedError, match="is a reranker"):
            load("box")
    assert kind_of(resolve("box", load_settings())) == "reranker"
    assert server.asked == []


def stream(events: list[dict[str, Any]], *, whole: bool = True) -> Answer:
    lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    raw = (lines + ("data: [DONE]\n\n" if whole else "")).encode()
    return Answer(raw=raw, headers={"Content-Type": "text/event-stream"})


def delta(**parts: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": parts, "finish_reason": None}]}


END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
USAGE = {
    "choices": [],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}},
}


def writes(asked: Asked, number: int) -> Answer:
    if asked.path == "/v1/chat/completions":
        if "top_k" in asked.body:
            return Answer({"error": {"message": "Unrecognized request argument supplied: top_k"}}, 400)
        return stream([delta(reasoning_content="hm"), delta(content="Hel"), delta(content="lo\nworld"), END, USAGE])
    if asked.path == "/v1/completions":
        text = [{"index": 0, "text": " there", "finish_reason": "length"}]
        return stream([{"choices": text}])
    return wire.openai(asked, number)


def test_it_writes(caplog: pytest.LogCaptureFixture) -> None:
    with serving(writes) as server, LanguageModel.load(name_at(server)) as model:
        told = [{"role": "user", "content": "Say hello."}]
        with model.stream(told, GenerationOptions(temperature=0.5, seed=3, stop="\n", max_tokens=9)) as events:
            *parts, done = events
        assert parts == [ReasoningEvent("hm"), TextEvent("Hel"), TextEvent("lo")]
        assert isinstance(done, DoneEvent)
        assert (done.finish_reason, done.stop_text) == ("stop", "\n")
        sent = server.asked[-1].body
        assert (sent["temperature"], sent["seed"], sent["max_tokens"], sent["stop"]) == (0.5, 3, 9, ["\n"])
        assert sent["messages"] == told
        assert "takes no min_p, top_k" in caplog.text
        whole = model.generate(told, GenerationOptions(temperature=0))
        assert (whole.text, whole.reasoning) == ("Hello\nworld", "hm")
        assert (whole.usage.prompt_tokens, whole.usage.generated_tokens, whole.usage.cached_tokens) == (7, 3, 2)
        text = model.generate("Hello")
        assert (text.text, text.finish_reason) == (" there", "length")
        with pytest.raises(UsageError, match="cannot keep a grammar"):
            model.generate("Hello", GenerationOptions(grammar='root ::= "a"'))
        with pytest.raises(UsageError, match="no token ids"):
            model.generate((1, 2, 3))
        schema = {"type": "object"}
        model.generate(told, GenerationOptions(json_schema=schema))
        assert server.asked[-1].body["response_format"]["json_schema"]["schema"] == schema


def test_tools_are_offered_and_their_calls_read() -> None:
    """The pieces of two calls as OpenAI's reference for streaming function calls shows them."""
    look = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}

    def called(*calls: dict[str, Any]) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": {"tool_calls": list(calls)}, "finish_reason": None}]}

    def respond(asked: Asked, number: int) -> Answer:
        if asked.path != "/v1/chat/completions":
            return wire.openai(asked, number)
        if asked.body["messages"][-1]["content"] == "broken":
            return stream([called({"index": 0, "id": "a", "function": {"name": "look", "arguments": "{"}}), ended])
        start = {"index": 0, "id": "call_Dd", "type": "function", "function": {"name": "look", "arguments": ""}}
        more = [{"index": 0, "function": {"arguments": each}} for each in ('{"', "at", '":"</tool_call>', '"}')]
        other = {"index": 1, "id": "call_Ee", "type": "function", "function": {"name": "stop", "arguments": "{}"}}
        return stream([delta(content="So: "), called(start), *map(called, more), called(other), ended, USAGE])

    ended = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    with serving(respond) as server, LanguageModel.load(name_at(server)) as model:
        asked: list[Any] = [{"role": "user", "content": "Look."}]
        with model.stream(asked, GenerationOptions(temperature=0), tools=[look]) as events:
            *parts, done = events
        assert server.asked[-1].body["tools"] == [look]
        reader = CallReader(frozenset({"look", "stop"}))
        read = [reader.push(part.text) for part in parts if isinstance(part, TextEvent)] + [reader.finish()]
        assert "".join(text for text, _ in read).strip() == "So:"
        found = [(call.name, json.loads(call.arguments)) for _, calls in read for call in calls]
        assert found == [("look", {"at": "</tool_call>"}), ("stop", {})]
        assert isinstance(done, DoneEvent)
        assert (done.finish_reason, done.usage.generated_tokens) == ("stop", 3)
        call = {"type": "function", "id": "call_Dd", "function": {"name": "look", "arguments": {"at": "x"}}}
        other = {"type": "function", "function": {"name": "stop", "arguments": "{}"}}
        asked.append({"role": "assistant", "content": "", "tool_calls": [call, other]})
        asked.append({"role": "tool", "content": "ended"})
        asked.append({"role": "tool", "content": "a wall", "tool_call_id": "call_Dd"})
        asked[2]["tool_call_id"] = "call_1"
        model.generate(asked)
        _, second, *results = server.asked[-1].body["messages"]
        assert [each["id"] for each in second["tool_calls"]] == ["call_Dd", "call_1"]
        assert (second["content"], second["tool_calls"][0]["function"]["arguments"]) == (None, '{"at": "x"}')
        assert [each["tool_call_id"] for each in results] == ["call_1", "call_Dd"]
        for message in asked[2:]:
            del message["tool_call_id"]
        model.generate(asked)  # without numbers results belong to the calls in their order
        sent = server.asked[-1].body["messages"][2:]
        assert [each["tool_call_id"] for each in sent] == ["call_Dd", "call_1"]
        with model.stream([{"role": "user", "content": "broken"}], tools=[look]) as events:
            text = "".join(event.text for event in events if isinstance(event, TextEvent))
        assert json.loads(text[len("<tool_call>") : -len("</tool_call>")]) == {"name": "look", "arguments": "{"}
        with pytest.raises(UsageError, match="tools with conversations only"):
            model.stream("Look.", tools=[look])
        with pytest.raises(UsageError, match="message 1 has a tool call without a function"):
            model.generate([{"role": "assistant", "content": "", "tool_calls": [{"function": "look"}]}])


def test_a_stream_that_breaks_off() -> None:
    def respond(asked: Asked, number: int) -> Answer:
        if asked.path == "/v1/chat/completions":
            return stream([delta(content="Hel")], whole=False)
        return wire.openai(asked, number)

    with (
        serving(respond) as server,
        LanguageModel.load(name_at(server)) as model,
        model.stream([{"role": "user", "content": "Hi"}]) as events,
    ):
        assert next(events) == TextEvent("Hel")
        with pytest.raises(EndpointError, match="broke off in the middle of a text"):
            next(events)


def test_a_stream_that_is_cancelled_wakes_its_reader() -> None:
    def respond(asked: Asked, number: int) -> Answer:
        answer = wire.openai(asked, number)
        if asked.path == "/v1/chat/completions":
            answer = stream([delta(content="a")], whole=False)
            answer.promise, answer.hold = 1_000_000, True
        return answer

    with serving(respond) as server, LanguageModel.load(name_at(server)) as model:
        with model.stream([{"role": "user", "content": "Hi"}]) as events:
            assert next(events) == TextEvent("a")
            threading.Timer(0.1, events.cancel).start()
            done = next(events)
        assert isinstance(done, DoneEvent)
        assert done.finish_reason == "cancelled"


def test_what_every_encoder_promises(server: EndpointServer) -> None:
    from turboprop.engines.contract import EngineOptions
    from turboprop.engines.registry import load_encoder
    from turboprop.models.checkpoint.open import open_checkpoint
    from turboprop.types import TokenBatch

    def batch(*texts: str) -> TokenBatch:
        return TokenBatch(np.empty(0, np.int32), np.array([len(text) for text in texts], np.int32), texts=texts)

    checkpoint = open_checkpoint(resolve(name_at(server), load_settings()))
    encoder, choice = load_encoder(checkpoint, EngineOptions())
    assert (choice.name, choice.plan.bytes, choice.plan.device) == ("remote", 0, "remote")
    first = encoder.encode(batch("a", "b"))
    kept = first.copy()
    assert (first.dtype, first.shape) == (np.float32, (2, encoder.dimensions))
    np.testing.assert_array_equal(encoder.encode(batch("b"))[0], first[1])
    np.testing.assert_array_equal(first, kept)
    encoder.close()
    encoder.close()
    with pytest.raises(EndpointError, match="closed"):
        encoder.encode(batch("a"))
    with pytest.raises(ModelUnsupportedError, match="no weights in int8"):
        load_encoder(checkpoint, EngineOptions("int8"))
    with pytest.raises(ModelUnsupportedError, match="this is an endpoint; leave the engine away: that takes remote"):
        load_encoder(checkpoint, EngineOptions(engine="native"))


def test_retry_after_in_both_forms() -> None:
    assert retry_after("7") == 7
    assert retry_after("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    assert 50 < (retry_after(wire.after(60)) or 0) <= 60
    assert retry_after("soon") is None
    assert retry_after("") is None


def test_in_parallel_keeps_the_order_and_raises_the_first_error() -> None:
    def job(number: int) -> int:
        if number == 50:
            raise ValueError("50")
        return number

    jobs = [lambda number=number: job(number) for number in range(40)]
    assert in_parallel(jobs, 8) == list(range(40))
    with pytest.raises(ValueError, match="50"):
        in_parallel([*jobs, lambda: job(50)], 8)


def test_requests_are_spaced_where_a_row_says_so(home: Path, server: EndpointServer) -> None:
    row(home, server, requests_per_minute=600, batch=1)
    started = time.monotonic()
    embedded("box", ["one", "two", "three"])
    assert time.monotonic() - started > 0.35  # five requests, 0.1 s apart
