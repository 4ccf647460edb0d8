"""Search, sources, questions, jobs and models over HTTP, on a real index."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from best_engine import BEST
from reference import reference
from turboprop import Index
from turboprop.settings import load_settings

FILES = {
    "src/retry.py": "def retry(work, attempts=3):\n    for attempt in range(attempts):\n        try:\n"
    "            return work()\n        except ConnectionError:\n            if attempt == attempts - 1:\n"
    "                raise\n",
    "src/cache.py": "class Cache:\n    def __init__(self, size):\n        self.entries = {}\n\n"
    "    def get(self, key):\n        return self.entries.get(key)\n",
    "src/lock.go": "package lock\n\nfunc Acquire(path string) error {\n\treturn nil\n}\n",
    "README.md": "# Store\n\nA small store with retries and a cache.\n",
}


def events_of(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    name = "message"
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repos") / "store"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    Index.create(root, settings=load_settings()).close()
    return root


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository without an index."""
    root = tmp_path_factory.mktemp("repos") / "other"
    root.mkdir()
    (root / "parse.py").write_text("def parse_retry_header(text):\n    return int(text)\n")
    return root


@pytest.fixture(scope="module")
def serving(start_server: Callable[..., Any], repo: Path, other: Path) -> Any:
    return start_server(
        "--repo", repo, "--repo", other, "--model", "minilm", "--model", reference("gguf/stories260K.gguf")
    )


@pytest.fixture
def client(serving: Any) -> Iterator[httpx.Client]:
    with serving.http() as made:
        yield made


def test_search_finds_and_explains(client: httpx.Client) -> None:
    body = {"query": "try again after a connection error", "repo": "store", "explain": True, "limit": 3}
    answer = client.post("/api/search", json=body).json()
    best = answer["hits"][0]
    assert (best["repo"], best["path"]) == ("store", "src/retry.py")
    assert {part["name"] for part in best["parts"]} >= {"words", "cosine"}
    assert all(part["why"] for part in best["parts"])
    assert answer["seconds"] > 0
    assert answer["sure"] == best["sure"] != "nothing"
    asked = {**body, "query": "acquire", "lang": ["golang"], "path": ["./src/**"]}
    narrowed = client.post("/api/search", json=asked).json()["hits"]
    assert {hit["path"] for hit in narrowed} == {"src/lock.go"}
    with_words = client.post("/api/search", json={**body, "mode": "lexical", "by": "file"}).json()["hits"]
    assert "parts" in with_words[0]


def test_grep(client: httpx.Client) -> None:
    found = client.post("/api/grep", json={"pattern": r"def (\w+)\(", "repo": "store"}).json()
    assert [each["path"] for each in found["files"]] == ["src/cache.py", "src/retry.py"]
    assert found["files"][1]["lines"] == [{"line": 1, "text": "def retry(work, attempts=3):", "matches": [[0, 10]]}]
    assert not found["more"]
    assert client.post("/api/grep", json={"pattern": "e", "repo": "store", "limit": 2}).json()["more"]
    words = {"pattern": "RETRY", "repo": "store", "ignore_case": True, "words": True, "lang": ["python"]}
    assert [each["path"] for each in client.post("/api/grep", json=words).json()["files"]] == ["src/retry.py"]
    for wrong in ({"pattern": "("}, {"pattern": ""}, {"pattern": "a", "limit": 0}, {"pattern": "a", "x": 1}):
        answer = client.post("/api/grep", json={"repo": "store", **wrong})
        assert answer.status_code == 400, answer.text
    narrowed = client.post("/api/search", json={"query": "cache", "repo": "store", "regex": "^class"}).json()["hits"]
    assert {hit["path"] for hit in narrowed} == {"src/cache.py"}


def test_grep_tells_a_part_of_a_very_long_line(client: httpx.Client, repo: Path) -> None:
    source = repo / "src" / "cache.py"
    source.write_text(FILES["src/cache.py"] + f"TABLE = '{'-' * 100_000}{'~' * 100_000}'\n")
    try:
        found = client.post("/api/grep", json={"pattern": "~", "repo": "store"}).json()
    finally:
        source.write_text(FILES["src/cache.py"])
    (line,) = found["files"][0]["lines"]
    assert (line["begin"], line["length"], len(line["text"])) == (99_509, 200_010, 2_000)
    assert line["matches"] == [[at, at + 1] for at in range(500, 800)]
    assert all(line["text"][slice(*place)] == "~" for place in line["matches"])


def test_similar_and_source(client: httpx.Client) -> None:
    hits = client.get("/api/similar", params={"repo": "store", "path": "src/retry.py", "line": 2}).json()["hits"]
    assert hits
    assert all(hit["path"] != "src/retry.py" for hit in hits)
    told = client.get("/api/source", params={"repo": "store", "path": "src/retry.py", "start": 2, "end": 3}).json()
    assert told["text"] == "    for attempt in range(attempts):\n        try:\n"
    assert told["total_lines"] == 7
    assert told["language"] == "python"


def test_map_why_and_findings(client: httpx.Client) -> None:
    found = client.get("/api/map", params={"repo": "store"}).json()
    assert {file["path"]: file["bytes"] for file in found["files"]} == {
        path: len(text.encode()) for path, text in FILES.items()
    }
    began = client.get("/api/start", params={"repo": "store"}).json()
    assert {each["path"] for each in began["changed"]} <= set(FILES)
    assert began["examples"]
    why = client.get("/api/why", params={"repo": "store", "path": "src/cache.py"}).json()
    assert why["indexed"]
    assert why["chunks"]
    findings = client.get("/api/health-findings", params={"repo": "store"}).json()["findings"]
    assert all(set(finding) == {"level", "what", "repair"} for finding in findings)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../../etc/passwd", "src/../../store/src/retry.py", ".git/config", "src/link.py", "a\x00b", ""],
)
def test_no_path_leads_out(client: httpx.Client, repo: Path, path: str) -> None:
    link = repo / "src" / "link.py"
    if not link.is_symlink():
        link.symlink_to("/etc/passwd")
    for endpoint in ("source", "similar", "why"):
        answer = client.get(f"/api/{endpoint}", params={"repo": "store", "path": path, "line": 1})
        assert "root:" not in answer.text
        assert answer.status_code in ((200, 400) if endpoint == "why" else (400, 404)), answer.text


def test_an_indexed_file_that_became_a_link_is_not_followed(
    start_server: Callable[..., Any], tmp_path: Path, repo: Path
) -> None:
    copy = Path(shutil.copytree(repo, tmp_path / "copy", symlinks=True))
    (tmp_path / "secret.txt").write_text("secret")
    (copy / "src/cache.py").unlink()
    (copy / "src/cache.py").symlink_to(tmp_path / "secret.txt")
    server = start_server("--repo", copy, ready=False)
    with server.http() as client:
        answer = client.get("/api/source", params={"path": "src/cache.py"})
    assert answer.status_code == 404
    assert "secret" not in answer.text
    assert server.stop() == 0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": ""},
        {"query": "   ", "repo": "store"},
        {"query": "x", "repo": "nowhere"},
        {"query": "x", "repo": "store", "limit": 0},
        {"query": "x", "repo": "store", "limit": 10_000},
        {"query": "x", "repo": "store", "mode": "magic"},
        {"query": "x", "repo": "store", "path": "src"},
    ],
)
def test_wrong_searches_are_400(client: httpx.Client, body: dict[str, object]) -> None:
    assert client.post("/api/search", json=body).status_code == 400


def test_an_index_is_made_with_progress(client: httpx.Client, other: Path) -> None:
    rows = {row["name"]: row for row in client.get("/api/status").json()["repos"]}
    assert rows["store"]["indexed"]
    assert rows["store"]["languages"]["python"] == 2
    assert not rows["other"]["indexed"]
    assert client.post("/api/search", json={"query": "retry"}).json()["not_indexed"] == ["other"]
    missing = client.post("/api/search", json={"query": "parse", "repo": "other"})
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "index_not_found"
    job = client.post("/api/index", json={"repo": "other"}).json()["job"]
    with client.stream("GET", f"/api/index/{job['id']}/events") as response:
        seen = list(events_of(response))
    assert seen[-1][0] == "done"
    assert seen[-1][1]["state"] == "done"
    assert seen[-1][1]["done"] == seen[-1][1]["total"] == 1
    hits = client.post("/api/search", json={"query": "parse", "repo": "other"}).json()["hits"]
    assert hits[0]["path"] == "parse.py"
    both = client.post("/api/search", json={"query": "retry"}).json()
    assert {hit["repo"] for hit in both["hits"][:2]} == {"store", "other"}
    assert both["not_indexed"] == []
    (other / "more.py").write_text("def tangerine():\n    return 'orange'\n")
    again = client.post("/api/index", json={"repo": "other"}).json()["job"]
    with client.stream("GET", f"/api/index/{again['id']}/events") as response:
        assert [name for name, _ in events_of(response)][-1] == "done"
    hits = client.post("/api/search", json={"query": "tangerine", "repo": "other"}).json()["hits"]
    assert hits[0]["path"] == "more.py"


def test_jobs_that_are_none(client: httpx.Client) -> None:
    assert client.get("/api/index/nothing/events").status_code == 404
    assert client.delete("/api/index/nothing").status_code == 404
    assert client.delete("/api/models/jobs/nothing").status_code == 404


def test_a_question_is_answered_with_events(client: httpx.Client) -> None:
    body = {"question": "where is a failed connection tried again?", "repo": "store", "options": {"max_tokens": 8}}
    with client.stream("POST", "/api/ask", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        seen = list(events_of(response))
    names = [name for name, _ in seen]
    assert names[0] == "sources"
    assert names[-1] == "done"
    sources = seen[0][1]
    assert sources["sources"][0]["path"] == "src/retry.py"
    assert sources["sources"][0]["repo"] == "store"
    done = seen[-1][1]
    assert done["answer"] == "".join(value["text"] for name, value in seen if name == "text")
    if not sources["weak"]:
        assert done["usage"]["completion_tokens"] <= 8
        told = [value["prompt_tokens_done"] for name, value in seen if name == "progress"]
        assert told == sorted(set(told))
        assert told[-1] == sources["prompt_tokens"] == done["usage"]["prompt_tokens"]


def test_weak_evidence_is_said(client: httpx.Client) -> None:
    body = {"question": "what is the boiling point of liquid helium?", "repo": "store"}
    with client.stream("POST", "/api/ask", json=body) as response:
        seen = list(events_of(response))
    assert seen[0][1]["weak"]
    assert seen[-1][0] == "done"
    assert seen[-1][1]["citations"] == []


def test_no_language_model_still_shows_the_sources(start_server: Callable[..., Any], repo: Path) -> None:
    server = start_server("--repo", repo)
    body = {"question": "where is a failed connection tried again?"}
    with server.http() as client, client.stream("POST", "/api/ask", json=body) as response:
        seen = list(events_of(response))
    assert [name for name, _ in seen] == ["sources", "error"]
    assert seen[0][1]["sources"]
    assert "tp model download" in seen[1][1]["error"]["message"]
    with server.http() as client:
        assert client.post("/api/ask", json={**body, "model": "nothing"}).status_code == 404
    assert server.stop() == 0


def test_models_are_loaded_and_unloaded(client: httpx.Client, serving: Any) -> None:
    rows = {row["name"]: row for row in client.get("/api/models").json()["models"]}
    assert rows["minilm"]["state"] == "loaded"
    assert rows["stories260K.gguf"]["kind"] == "language"
    assert rows["coderankembed"]["state"] == "remote"
    assert client.post("/api/models/unload", json={"model": "minilm"}).status_code == 200
    assert client.post("/api/models/unload", json={"model": "minilm"}).status_code == 400
    assert {row["name"] for row in client.get("/api/status").json()["models"]} == {"stories260K.gguf"}
    loaded = client.post("/api/models/load", json={"model": "minilm"}).json()["model"]
    assert (loaded["engine"], loaded["dimensions"]) == (BEST, 384)
    status = client.get("/api/status").json()
    assert 0 < status["memory"]["used"] < status["memory"]["budget"]
    assert status["memory"]["process_rss"] == pytest.approx(serving.resident_bytes, rel=0.3)
    assert client.post("/api/models/load", json={"model": "coderankembed"}).status_code == 404
    assert client.delete("/api/models/minilm").status_code == 400  # it is a package's
    assert client.delete("/api/models//etc/passwd").status_code == 404


def test_a_download_that_fails_says_why(client: httpx.Client) -> None:
    job = client.post("/api/models/download", json={"model": "coderankembed"}).json()["job"]
    with client.stream("GET", f"/api/models/jobs/{job['id']}/events") as response:
        name, value = list(events_of(response))[-1]
    assert name == "error"
    assert "offline" in value["error"]["message"]
    assert client.post("/api/models/download", json={"model": "/etc/passwd"}).status_code == 404


def test_the_page_and_metrics(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert client.get("/assets/../app.py").status_code == 404
    assert client.get("/assets/%2e%2e/%2e%2e/http/app.py").status_code == 404
    text = client.get("/metrics").text
    assert 'tp_requests_total{method="GET",path="/",status="200"}' in text
    assert 'tp_model_loaded{kind="language",model="stories260K.gguf"} 1' in text
    assert "tp_search_seconds_bucket" in text


def test_symbols(client: httpx.Client) -> None:
    def places(**parameters: str | list[str]) -> list[tuple[str, int, str, str]]:
        answer = client.get("/api/symbols", params={"repo": "store", **parameters}).json()
        return [(one["path"], one["first_line"], one["name"], one["inside"]) for one in answer["places"]]

    assert places(query="retry") == [("src/retry.py", 1, "retry", "")]
    assert places(query="Cache.get") == [("src/cache.py", 5, "Cache.get", "Cache")]
    assert places(query="work", asked="calls") == [("src/retry.py", 4, "work", "retry")]
    assert places(query="Cache", asked="implementations") == []
    assert places(query="get", lang=["go", "py"], path=["src/**"]) == [("src/cache.py", 5, "Cache.get", "Cache")]
    assert places(query="get", lang=["go"]) == places(query="get", path=["!src/cache.py"]) == []
    everywhere = client.get("/api/symbols", params={"query": "retry"}).json()
    assert ("store", "src/retry.py") in [(one["repo"], one["path"]) for one in everywhere["places"]]
    assert everywhere["stale"] == {}
    for wrong in (
        {"query": "x", "lang": "pythn"},
        {"query": "x", "path": ["a"] * 101},
        {"query": ""},
        {"query": "x", "asked": "all"},
        {"query": "x", "limit": "0"},
    ):
        assert client.get("/api/symbols", params={"repo": "store", **wrong}).status_code == 400
    hits = client.post("/api/search", json={"query": "what calls range", "repo": "store", "mode": "lexical"}).json()[
        "hits"
    ]
    assert hits[0]["why"] == "calls range in retry (line 2)"
    assert hits[0]["shown"] == [1, 7]


def test_an_answer_says_how_far_the_vectors_are(partly_embedded: Path, start_server: Any) -> None:
    started = start_server("--repo", partly_embedded)
    with started.http() as client:
        answer = client.post("/api/search", json={"query": "plum_19"}).json()
        assert answer["hits"][0]["path"] == "src/plum_19.py"
        assert 0 < answer["vectors"]["repo"] < 1
        (row,) = client.get("/api/status").json()["repos"]
        assert row["complete"]
        assert 0 < row["vectors"] < row["chunks"]
        job = client.post("/api/index", json={"repo": "repo"}).json()["job"]
        with client.stream("GET", f"/api/index/{job['id']}/events") as response:
            last = list(events_of(response))[-1]
        assert (last[0], last[1]["message"], last[1]["done"]) == ("done", "vectors", row["chunks"] - row["vectors"])
        assert client.post("/api/search", json={"query": "plum_19"}).json()["vectors"] == {}
    started.stop()
