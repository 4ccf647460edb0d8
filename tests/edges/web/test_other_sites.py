"""Pages of other sites in the browser of the server's own user, whose connections need no key."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from edges.web.conftest import Script

EVIL = """<!doctype html><meta charset=utf-8><body><script>
const at = "TARGET";
const body = '{"model": "minilm", "repo": "store", "query": "x", "input": "x"}';
const models = ["/api/models/unload", "/api/models/load", "/api/models/download"];
const places = [...models, "/api/index", "/v1/embeddings", "/mcp"];
window.read = [];
window.tried = 0;
const done = (name) => (found) => { window.tried += 1; if (name && found) window.read.push(name); };
for (const place of places) {
  fetch(at + place, { method: "POST", mode: "no-cors", body }).then((r) => r.text()).then(done(place), done());
  fetch(at + place, { method: "POST", body }).then(() => true).then(done(place), done());
  const json = { method: "POST", body, headers: { "Content-Type": "application/json" } };
  fetch(at + place, json).then(() => true).then(done(place), done());
  navigator.sendBeacon(at + place, body);
  for (const sandbox of [null, "allow-scripts allow-forms"]) {
    const frame = document.createElement("iframe");
    if (sandbox !== null) frame.sandbox = sandbox;
    frame.onload = done();
    frame.srcdoc = `<form method=post enctype=text/plain action="${at + place}"><input name='{"model": "minilm", "x": "'
      value='"}'></form><script>document.forms[0].submit(); fetch("${at + place}", {method: "POST", mode: "no-cors",
      body: '{"model": "minilm"}'})</` + "script>";
    document.body.append(frame);
  }
}
fetch(at + "/api/models/minilm", { method: "DELETE" }).then(() => true).then(done("delete"), done());
for (const place of ["/api/status", "/api/source?path=README.md", "/api/models", "/v1/models", "/openapi.json"]) {
  fetch(at + place).then((r) => r.text()).then(done(place), done());
  fetch(at + place, { mode: "no-cors" }).then((r) => r.text()).then(done(place), done());
  for (const kind of ["img", "script", "video"]) {
    const element = document.createElement(kind);
    element.onload = () => done(place)(true);
    element.onerror = done();
    element.src = at + place;
    document.body.append(element);
  }
  const events = new EventSource(at + place);
  events.onopen = () => done(place)(true);
  events.onerror = done();
}
const socket = new WebSocket(at.replace("http", "ws") + "/mcp");
socket.onopen = () => done("socket")(true);
socket.onerror = done();
</script>"""


@pytest.fixture
def evil(web_server: Any) -> Iterator[int]:
    """The port of a server of the other site."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(EVIL.replace("TARGET", web_server.url.rstrip("/")).encode())

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def admitted(server: Any) -> list[str]:
    """How many requests of each kind came past the guard."""
    text = httpx.get(f"{server.url.rstrip('/')}/metrics").text
    return [line for line in text.splitlines() if line.startswith("tp_requests_total") and "/metrics" not in line]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["same site", "other site"])
def test_another_site_gets_nothing_done_and_reads_nothing(
    browser: Browser, web_server: Any, evil: int, host: str
) -> None:
    web_server.script = Script()
    assert httpx.get(f"{web_server.url.rstrip('/')}/v1/models").status_code == 200  # the user's own program
    before = admitted(web_server)
    tried: set[str] = set()
    statuses: set[int] = set()
    context = browser.new_context()
    page = context.new_page()
    page.on("request", lambda request: tried.add(f"{request.method} {request.url.removeprefix(web_server.url)}"))
    page.on("response", lambda answer: statuses.add(answer.status if answer.url.startswith(web_server.url) else 0))
    page.goto(f"http://{host}:{evil}/")
    page.wait_for_function("window.tried > 50")
    page.wait_for_load_state("networkidle")
    read = page.evaluate("window.read")
    context.close()
    assert read == []
    assert admitted(web_server) == before
    assert statuses - {0} == {403}
    assert {"POST api/models/unload", "POST api/index", "POST mcp", "GET api/status"} <= tried
