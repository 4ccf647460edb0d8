"""The status as events: told at once, told again where it changed, and nothing is walked for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from turboprop import Index
from turboprop.code import walk
from turboprop.edges.http import status_events
from turboprop.edges.http.limits import Limits
from turboprop.settings import load_settings


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    root.mkdir()
    (root / "retry.py").write_text("def retry(work):\n    return work()\n")
    Index.create(root, settings=load_settings()).close()
    return root


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The repositories that were walked since."""
    seen: list[str] = []
    checked = walk._checked_root

    def counted(root: Path) -> str:
        seen.append(root.name)
        return checked(root)

    monkeypatch.setattr(walk, "_checked_root", counted)
    return seen


class Told:
    """The events `status` as they come."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        self.last = self.next()

    def next(self) -> Any:
        while next(self._lines) != "event: status":
            pass
        return json.loads(next(self._lines).removeprefix("data: "))

    def until(self, holds: Callable[[Any], object]) -> Any:
        while not holds(self.last):
            self.last = self.next()
        return self.last


def test_what_changed_is_told_and_nothing_is_walked(
    start_limited: Callable[..., Any], repo: Path, walks: list[str]
) -> None:
    server = start_limited(Limits(), repos=(repo,))
    with httpx.Client(base_url=server.url, timeout=60) as client, client.stream("GET", "/api/events") as response:
        told = Told(response)
        first = told.last
        assert (first["repos"][0]["name"], first["repos"][0]["stale"]) == ("store", [])
        assert first["repos"][0]["languages"] == {"python": 1}
        told.until(lambda event: event["models"] and event["models"][0]["state"] == "loaded")
        (repo / "cache.py").write_text("class Cache:\n    pass\n")
        client.post("/api/search", json={"query": "retry", "mode": "lexical"}).raise_for_status()
        newer = told.until(lambda event: event["repos"][0]["files"] == 2)
        assert newer["repos"][0]["updated"] > first["repos"][0]["updated"]
        assert walks == ["store"]  # by the search
        (repo / "cache.py").unlink()
        looked = client.get("/api/status", params={"repo": "store"}).json()
        assert looked["repos"][0]["removed"] == ["cache.py"]
        assert told.until(lambda event: event["repos"][0]["removed"])["repos"] == looked["repos"]
        assert walks == ["store"] * 2
        files = client.get("/api/files", params={"look": "false", "state": "changed"}).json()["files"]
        assert [row["path"] for row in files] == ["cache.py"]
        findings = client.get("/api/health-findings", params={"look": "false"}).json()["findings"]
        assert [finding["level"] for finding in findings] == ["files"]
        assert walks == ["store"] * 2
        job = client.post("/api/index", json={}).json()["job"]
        assert told.until(lambda event: event["repos"][0]["files"] == 1)["repos"][0]["removed"] == []
        assert job["subject"] == "store"


def test_what_is_the_same_is_not_told_again(
    start_limited: Callable[..., Any], repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_events, "_LOOK_SECONDS", 0.01)
    server = start_limited(Limits(), repos=(repo,))
    while not server.state.ready:
        time.sleep(0.01)
    with httpx.stream("GET", f"{server.url}/api/events", timeout=60) as response:
        lines = response.iter_lines()
        said = [next(line for line in lines if line) for _ in range(5)]
    assert said[0] == "event: status"
    assert said[1].startswith("data: ")
    assert said[2:] == [": ping"] * 3


def test_a_stream_counts_as_a_request(start_limited: Callable[..., Any], repo: Path) -> None:
    server = start_limited(Limits(requests=1), repos=(repo,))
    with httpx.stream("GET", f"{server.url}/api/events", timeout=60) as response:
        held = Told(response)
        assert held.last["version"]
        assert httpx.get(f"{server.url}/v1/models").status_code == 429
    while httpx.get(f"{server.url}/v1/models").status_code == 429:
        time.sleep(0.01)


def test_it_ends_with_the_server(start_server: Callable[..., Any], repo: Path) -> None:
    server = start_server("--repo", repo, ready=False)
    with httpx.stream("GET", f"{server.url}/api/events", timeout=60) as response:
        told = Told(response)
        server.process.terminate()
        with pytest.raises(StopIteration):
            told.until(lambda event: False)
    assert server.process.wait() == 0
    assert not [line for line in server.log if "Traceback" in line]


def test_a_repository_that_is_none_is_400(start_limited: Callable[..., Any], repo: Path) -> None:
    server = start_limited(Limits(), repos=(repo,))
    assert httpx.get(f"{server.url}/api/status", params={"repo": "nowhere"}).status_code == 400
    assert httpx.get(f"{server.url}/api/files", params={"look": "maybe"}).status_code == 400
