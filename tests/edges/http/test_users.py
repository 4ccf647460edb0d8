"""Who is served without a key: the server's own user, over a real connection, and nobody else."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from click.testing import CliRunner

from turboprop import Index
from turboprop.edges.http.endpoints import ENDPOINTS
from turboprop.edges.http.peer import can_tell
from turboprop.errors import UsageError
from turboprop.serve import serve
from turboprop.settings import load_settings

pytestmark = pytest.mark.skipif(not can_tell(), reason="the users of connections cannot be told here")
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may be another user")
NOBODY, SOMEBODY = 65_534, 12_345
OPEN = {"/", "/health", "/ready"}
SECRET = "the_combination_of_the_safe"


class Answer(NamedTuple):
    status: int
    text: str


ASKING = """
import ctypes, http.client, json, os, socket, sys
import encodings.idna

user, place, port, requests, own_namespace = json.load(sys.stdin)
os.setgroups([])
os.setgid(user)
os.setuid(user)
if own_namespace:
    libc = ctypes.CDLL(None)
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: its files in /proc are its own again
    if libc.unshare(0x10000000) != 0:  # CLONE_NEWUSER
        sys.exit("no user namespace")
    with open("/proc/self/uid_map", "w") as stream:
        stream.write(f"0 {user} 1")
    assert os.getuid() == 0
connection = http.client.HTTPConnection(place, port)
answers = []
for method, path, headers in requests:
    connection.request(method, path, body=b"{}" if method == "POST" else None, headers=headers)
    answer = connection.getresponse()
    answers.append([answer.status, answer.read().decode()])
print(json.dumps(answers))
"""


def ask_as(
    user: int, server: Any, requests: Sequence[tuple[str, str, dict[str, str]]], own_namespace: bool = False
) -> list[Answer]:
    """What the server answers to requests of a process of another user, all over one connection."""
    place = urlsplit(server.url)
    given = json.dumps([user, place.hostname, place.port, list(requests), own_namespace])
    done = subprocess.run(
        [sys.executable, "-c", ASKING], input=given, capture_output=True, text=True, check=False, cwd="/"
    )
    if "no user namespace" in done.stderr:
        pytest.skip("user namespaces cannot be made here")
    assert done.returncode == 0, done.stderr
    return [Answer(*each) for each in json.loads(done.stdout)]


def get_as(user: int, server: Any, path: str, **headers: str) -> Answer:
    return ask_as(user, server, [("GET", path, headers)])[0]


def key_of(server: Any) -> str:
    """The key of the link that was printed."""
    return re.search(r"http\S+/#key=(\S+)", "".join(server.log))[1]  # type: ignore[index]


@pytest.fixture(scope="module")
def served(start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    repo: Path = tmp_path_factory.mktemp("users") / "repo"
    repo.mkdir()
    (repo / "safe.py").write_text(f"def {SECRET}():\n    return 4711\n")
    Index.create(repo, settings=load_settings()).close()
    return start_server(repo)


@as_root
@pytest.mark.parametrize("user", [NOBODY, SOMEBODY, 1])
def test_another_user_is_refused_at_every_door(served: Any, user: int) -> None:
    doors = [(each.method, re.sub(r"\{.*?\}", "x", each.path)) for each in ENDPOINTS]
    doors += [("GET", "/mcp"), ("POST", "/mcp"), ("DELETE", "/mcp"), ("GET", "/nothing"), ("PUT", "/v1/models")]
    doors += [("GET", "/assets"), ("GET", "//health"), ("GET", "/Health"), ("GET", "/health/"), ("GET", "/%2e")]
    doors += [("GET", "/api/source?path=safe.py"), ("HEAD", "/api/status"), ("OPTIONS", "/api/status")]
    answers = ask_as(user, served, [(method, path, {}) for method, path in doors])
    for (method, path), answer in zip(doors, answers, strict=True):
        assert answer.status == (200 if path in OPEN else 401), (method, path, answer)
        assert SECRET not in answer.text
    whatever = ask_as(user, served, [("GET", f"/assets/{path}", {}) for path in ("../v1/models", "%2e%2e/api/status")])
    assert [answer.status for answer in whatever] == [404, 404]


@as_root
def test_another_user_is_told_what_to_do(served: Any) -> None:
    answer = get_as(SOMEBODY, served, "/v1/models")
    error = json.loads(answer.text)["error"]
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
    assert "`tp serve` printed" in error["message"]


@as_root
def test_another_user_with_the_key_is_served(served: Any) -> None:
    key = key_of(served)
    assert get_as(SOMEBODY, served, "/v1/models", Authorization=f"Bearer {key}").status == 200
    for wrong in (key[:-1], key + "x", key.upper(), "", "none"):
        assert get_as(SOMEBODY, served, "/v1/models", Authorization=f"Bearer {wrong}").status == 401
    assert get_as(SOMEBODY, served, f"/v1/models?key={key}").status == 401
    assert get_as(SOMEBODY, served, "/v1/models", Cookie=f"key={key}").status == 401


@as_root
def test_another_user_gets_nowhere_by_headers_that_name_the_machine(served: Any) -> None:
    tried = [
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Real-IP": "127.0.0.1"},
        {"Origin": served.url},
        {"Sec-Fetch-Site": "same-origin"},
        {"Authorization": "Basic cm9vdDo="},
        {"Remote-User": "root"},
    ]
    assert {each.status for each in ask_as(SOMEBODY, served, [("GET", "/v1/models", one) for one in tried])} == {401}


@as_root
def test_root_of_a_user_namespace_is_still_that_user(served: Any) -> None:
    (answer,) = ask_as(SOMEBODY, served, [("GET", "/v1/models", {})], own_namespace=True)
    assert answer.status == 401


@as_root
def test_root_needs_the_key_of_another_users_server(
    start_limited: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from turboprop.edges.http.limits import Limits

    monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    server = start_limited(Limits())
    assert httpx.get(f"{server.url}/v1/models").status_code == 401
    assert get_as(SOMEBODY, server, "/v1/models").status == 200


def test_the_own_user_needs_no_key_whatever_its_programs_send(served: Any) -> None:
    assert httpx.get(f"{served.url}/v1/models").status_code == 200
    for key in ("none", "sk-proj-abcdefghijklmnop", key_of(served)):
        assert served.client(key).embeddings.create(model="minilm", input="text").data
    with served.http() as client:  # one connection
        for _ in range(3):
            hits = client.post("/api/search", json={"query": "open the safe"}).json()["hits"]
            assert hits[0]["path"] == "safe.py"


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "Via", "X-Forwarded-For", "x-forwarded-host", "X-FORWARDED-PROTO", "X-Real-IP", "CF-Connecting-IP"],
)
def test_what_a_proxy_of_the_own_user_forwards_needs_the_key(served: Any, header: str) -> None:
    with served.http() as client:
        assert client.get("/v1/models", headers={header: "192.0.2.7"}).status_code == 401
        assert client.get("/v1/models").status_code == 200
        given = {header: "192.0.2.7", "Authorization": f"Bearer {key_of(served)}"}
        assert client.get("/v1/models", headers=given).status_code == 200
        assert client.get("/health", headers={header: "192.0.2.7"}).status_code == 200
    with pytest.raises(openai.AuthenticationError):
        served.client("none", default_headers={header: "192.0.2.7"}).models.list()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain", "Origin": "https://evil.example"},
        {"Content-Type": "application/x-www-form-urlencoded", "Origin": "null"},
        {"Content-Type": "text/plain", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Content-Type": "text/plain", "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
        {"Content-Type": "multipart/form-data", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Content-Type": "application/json", "Host": "rebound.example", "Origin": "http://rebound.example"},
        {"Connection": "Upgrade", "Upgrade": "websocket", "Origin": "https://evil.example"},
    ],
    ids=str,
)
def test_pages_of_other_sites_do_not_act_for_the_own_user(served: Any, headers: dict[str, str]) -> None:
    for path in ("/api/models/unload", "/api/models/download", "/api/index", "/v1/embeddings"):
        answer = httpx.post(f"{served.url}{path}", content=b'{"model": "minilm"}', headers=headers)
        assert answer.status_code == 403
    assert httpx.delete(f"{served.url}/api/models/minilm", headers=headers).status_code == 403


def test_the_key_stands_in_a_file_of_the_user_while_the_server_runs(
    start_server: Callable[..., Any], shared_cache: Path
) -> None:
    server = start_server()
    port = urlsplit(server.url).port
    (file,) = (shared_cache / "serve").glob(f"*-{port}.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    kept = json.loads(file.read_text())
    assert kept == {"url": server.url, "key": key_of(server), "pid": server.process.pid}
    assert len(kept["key"]) >= 22
    assert server.stop() == 0
    assert not file.exists()
    again = start_server()
    assert key_of(again) != kept["key"]
    again.stop()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal on this system")
def test_the_file_goes_when_the_terminal_is_closed(start_server: Callable[..., Any], shared_cache: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under `nohup` it is ignored here, and so it would be there
    server = start_server()
    signal.signal(signal.SIGHUP, before)
    (file,) = (shared_cache / "serve").glob(f"*-{urlsplit(server.url).port}.json")
    server.process.send_signal(signal.SIGHUP)
    assert server.process.wait() == 0
    assert not file.exists()


def test_a_file_of_another_server_stays(tmp_path: Path) -> None:
    from turboprop.edges.http.key_file import KeyFile

    first, second = (KeyFile(tmp_path, "http://127.0.0.1:1") for _ in range(2))
    assert first.write("one")
    assert second.write("two")
    first.remove()
    assert json.loads(second.path.read_text())["key"] == "two"
    second.remove()
    assert not second.path.exists()


def test_a_link_where_the_key_goes_is_replaced(tmp_path: Path) -> None:
    from turboprop.edges.http.key_file import KeyFile

    kept = KeyFile(tmp_path / "cache", "http://127.0.0.1:1")
    kept.path.parent.mkdir(parents=True)
    kept.path.symlink_to(tmp_path / "elsewhere")
    assert kept.write("one")
    assert not (tmp_path / "elsewhere").exists()
    assert not kept.path.is_symlink()


def test_a_cache_that_cannot_be_written_is_told(start_server: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "serve").write_text("a file")
    server = start_server(TP_CACHE=str(tmp_path))
    assert "cannot be kept" in "".join(server.log)
    assert httpx.get(f"{server.url}/v1/models").status_code == 200
    assert server.stop() == 0


@as_root
def test_no_key_serves_everybody_and_says_so(start_server: Callable[..., Any], shared_cache: Path) -> None:
    server = start_server("--no-key")
    said = "".join(server.log)
    assert "every user and container of this machine" in said
    assert "#key" not in said
    assert get_as(SOMEBODY, server, "/v1/models").status == 200
    assert httpx.get(f"{server.url}/v1/models", headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 200
    assert httpx.get(f"{server.url}/v1/models", headers={"Origin": "https://evil.example"}).status_code == 403
    assert not [*(shared_cache / "serve").glob(f"*-{urlsplit(server.url).port}.json")]
    server.stop()


@as_root
def test_a_key_that_is_given_is_wanted_from_everybody(start_server: Callable[..., Any], shared_cache: Path) -> None:
    server = start_server(TP_API_KEY="a-key-of-the-user")
    assert "a-key-of-the-user" not in "".join(server.log)
    assert not [*(shared_cache / "serve").glob(f"*-{urlsplit(server.url).port}.json")]
    assert httpx.get(f"{server.url}/v1/models").status_code == 401
    given = {"Authorization": "Bearer a-key-of-the-user"}
    assert httpx.get(f"{server.url}/v1/models", headers=given).status_code == 200
    assert get_as(SOMEBODY, server, "/v1/models").status == 401
    assert get_as(SOMEBODY, server, "/v1/models", **given).status == 200
    server.stop()


@pytest.mark.parametrize("options", [["--no-key", "--api-key", "x"], ["--no-key", "--host", "0.0.0.0"]])
def test_options_that_contradict_each_other(options: list[str]) -> None:
    done = CliRunner().invoke(serve, [*options, "--port", "0"])
    assert isinstance(done.exception, UsageError)
