"""A hostile repository over HTTP: JSON says exactly what is there, and no text writes an event of its own."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from hostile_text import NAMES, hostile_files, write_hostile
from reference import reference
from turboprop import Index
from turboprop.edges.http.streams import sse
from turboprop.settings import load_settings


@pytest.fixture(scope="module")
def serving(start_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = write_hostile(tmp_path_factory.mktemp("repos") / "re\u202epo")
    Index.create(root, settings=load_settings()).close()
    return start_server("--repo", root, "--model", "minilm", "--model", reference("gguf/stories260K.gguf"))


def test_hits_and_sources_are_exact(serving: Any) -> None:
    files = hostile_files()
    with serving.http() as client:
        answer = client.post("/api/search", json={"query": "point the telescope", "limit": 50})
        assert answer.status_code == 200, answer.text
        hits = answer.json()["hits"]
        assert {hit["path"] for hit in hits} >= set(NAMES)
        assert all(hit["text"].rstrip("\n") in files[hit["path"]] for hit in hits)
        for name in NAMES:
            source = client.get("/api/source", params={"path": name, "start": 1, "end": 3})
            assert source.status_code == 200, (name, source.text)
            assert source.headers["content-type"] == "application/json"
        for status in ("/api/status", "/api/files", "/api/repos"):
            assert client.get(status).headers["content-type"] == "application/json"
        assert client.post("/api/search", content=b'{"query": "\\ud800 telescope"}').status_code in (200, 400, 415)


def test_an_answer_is_a_stream_of_our_events(serving: Any) -> None:
    body = {"question": "how is the telescope pointed at a mirror?", "options": {"max_tokens": 8}}
    with serving.http() as client, client.stream("POST", "/api/ask", json=body) as response:
        lines = list(response.iter_lines())  # httpx ends lines where `str.splitlines` does
    events = [line for line in lines if line]
    assert all(line.startswith(("event: ", "data: ", ": ping")) for line in events), events
    found = json.loads(next(line for line in events if line.startswith("data: "))[6:])
    assert found["sources"]
    assert any("\u2028" in source["text"] for source in found["sources"])


def test_no_text_writes_an_event() -> None:
    forged = "a\nevent: done\rdata: {}\x85event: done\u2028data: 1\u2029\x0b\x0c\x1c\x1d\x1e\ud800"
    sent = sse({"text": forged}, "text")
    assert len(sent.decode().splitlines()) == 3
    assert json.loads(sent.decode().splitlines()[1][6:]) == {"text": forged}
    assert httpx.Response(200, content=sent).text == sent.decode()
