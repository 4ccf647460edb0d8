"""A real HTTP server that speaks the hub's protocol, with the faults of a bad day.

Two listeners: the hub (model info, `resolve` with commit, ETag and LFS headers, redirects for large
files) and a second origin that plays the CDN (ranges, no credentials expected). Standard library only;
`python hub_server.py FOLDER` serves `FOLDER/owner/name/...` and prints the endpoint, for benchmarks.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class ServedFile:
    content: bytes | Path
    lfs: bool
    size: int
    sha256: str
    git_id: str

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_id

    def read(self, start: int, stop: int) -> bytes:
        if isinstance(self.content, bytes):
            return self.content[start:stop]
        with self.content.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)


def served(content: bytes | Path, lfs: bool, sha256: str = "") -> ServedFile:
    data = content if isinstance(content, bytes) else b""
    size = len(data) if isinstance(content, bytes) else content.stat().st_size
    if isinstance(content, Path) and not sha256:
        with content.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    git_id = hashlib.sha1(b"blob %d\0" % size + data, usedforsecurity=False).hexdigest()
    return ServedFile(content, lfs, size, sha256 or hashlib.sha256(data).hexdigest(), git_id)


@dataclass
class Faults:
    """What goes wrong. Counters count down to none; lists are consumed from the front.

    Broken connections and bad bytes befall the large files only, which come from the CDN.
    """

    drop_at: list[float] = field(default_factory=list)
    """Fractions of a file at which the connection is cut, once each."""
    corrupt: int = 0
    """How many answers carry one wrong byte."""
    api_status: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    file_status: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    bytes_per_second: float = 0.0
    ignore_ranges: bool = False
    wrong_range: int = 0
    encode: bool = False
    """Send the body gzipped although nobody asked for it."""
    hide_metadata: bool = False
    """The list gives names only, as some mirrors do."""
    longer: int = 0
    """How many answers go on after the file's end."""
    stall: bool = False
    """Accept and never answer."""


@dataclass
class Request:
    origin: str
    method: str
    path: str
    headers: dict[str, str]
    sent: int = 0


class HubServer:
    """`with HubServer() as hub:` then `hub.add(...)`, `hub.endpoint`, `hub.faults`, `hub.requests`."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.requests: list[Request] = []
        self.repos: dict[str, dict[str, ServedFile]] = {}
        self.renamed: dict[str, str] = {}
        self.gated: set[str] = set()
        self.tokens: set[str] = set()
        self.lock = threading.Lock()
        self._hub = _listener(self, "hub")
        self._cdn = _listener(self, "cdn")
        # Another name for the same machine is another origin for every HTTP client.
        self.endpoint = f"http://127.0.0.1:{self._hub.server_address[1]}"
        self.cdn = f"http://localhost:{self._cdn.server_address[1]}"

    def add(self, repo: str, files: dict[str, bytes | Path], lfs: tuple[str, ...] = (".safetensors", ".gguf")) -> None:
        self.repos[repo] = {name: served(data, name.endswith(lfs)) for name, data in files.items()}

    def encrypt(self, certificate: Path, key: Path) -> None:
        """Speak TLS at the hub from now on (the CDN stays as it is)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._hub.socket = context.wrap_socket(self._hub.socket, server_side=True)
        self.endpoint = self.endpoint.replace("http:", "https:")

    def __enter__(self) -> HubServer:
        for server in (self._hub, self._cdn):
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in (self._hub, self._cdn):
            server.shutdown()
            server.server_close()
            # A client keeps connections open; the next server may get this port, and must get them anew.
            for connection in server.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def sent(self, origin: str = "cdn") -> int:
        """Bytes of file bodies that went out from one origin."""
        return sum(request.sent for request in self.requests if request.origin == origin)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    hub: HubServer
    origin: str
    connections: list[socket.socket]

    def process_request(self, request: socket.socket, client_address: object) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is what these tests are about."""


def _listener(hub: HubServer, origin: str) -> _Server:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.hub, server.origin, server.connections = hub, origin, []
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server.hub
        if hub.faults.stall:
            time.sleep(3600)
        self.seen = Request(self.server.origin, self.command, self.path, dict(self.headers.items()))
        with hub.lock:
            hub.requests.append(self.seen)
        address = urlsplit(self.path)
        path = unquote(address.path)
        if self.server.origin == "cdn":
            digest = path.rpartition("/")[2]
            file = next(f for files in hub.repos.values() for f in files.values() if f.sha256 == digest)
            self._send_file(file, {"ETag": f'"{digest}"'})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", path):
            self._send_info(match[1], match[2], "blobs" in parse_qs(address.query))
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._send_resolved(match[1], match[2], match[3])
        else:
            self._send_error(404, "", "not a page of the hub")

    def _refused(self, repo: str, statuses: list[tuple[int, dict[str, str]]]) -> bool:
        hub = self.server.hub
        with hub.lock:
            status = statuses.pop(0) if statuses else None
        if status is not None:
            self._send_error(status[0], status[1].get("X-Error-Code", ""), "fault", status[1])
            return True
        if repo in hub.renamed:
            new = hub.renamed[repo]
            self._send(307, b"", {"Location": self.path.replace(repo, new, 1)})
            return True
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and hub.tokens and token not in hub.tokens:
            self._send_error(401, "", "Invalid credentials in Authorization header")
            return True
        if repo not in hub.repos:
            self._send_error(404 if token else 401, "RepoNotFound", "Repository not found")
            return True
        return False

    def _send_info(self, repo: str, revision: str, blobs: bool) -> None:
        hub = self.server.hub
        if self._refused(repo, hub.faults.api_status):
            return
        if revision not in ("main", COMMIT):
            self._send_error(404, "RevisionNotFound", "Invalid rev id")
            return
        siblings: list[dict[str, object]] = []
        for name, file in hub.repos[repo].items():
            sibling: dict[str, object] = {"rfilename": name}
            if blobs and not hub.faults.hide_metadata:
                sibling |= {"size": file.size, "blobId": file.git_id}
                if file.lfs:
                    sibling["lfs"] = {"size": file.size, "sha256": file.sha256, "pointerSize": 130}
            siblings.append(sibling)
        body = json.dumps({"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings, "tags": []})
        self._send(200, body.encode(), {"Content-Type": "application/json"})

    def _send_resolved(self, repo: str, revision: str, name: str) -> None:
        hub = self.server.hub
        if self._refused(repo, hub.faults.file_status):
            return
        if repo in hub.gated and not self.headers.get("Authorization"):
            self._send_error(403, "GatedRepo", f"Access to model {repo} is restricted")
            return
        file = hub.repos[repo].get(name)
        if file is None:
            self._send_error(404, "EntryNotFound", "Entry not found")
            return
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
            self._send(302, b"", {**headers, "Location": f"{hub.cdn}/blobs/{file.sha256}"})
        else:
            self._send_file(file, headers)

    def _send_file(self, file: ServedFile, headers: dict[str, str]) -> None:
        hub, faults = self.server.hub, self.server.hub.faults
        start, stop, status = 0, file.size, 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and not faults.ignore_ranges:
            start = int(asked[1])
            stop = min(int(asked[2]) + 1 if asked[2] else file.size, file.size)
            if start >= file.size:
                self._send(416, b"", {"Content-Range": f"bytes */{file.size}"})
                return
            with hub.lock:
                if faults.wrong_range > 0:
                    faults.wrong_range -= 1
                    start = 0
            status = 206
            headers = {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{file.size}"}
        with hub.lock:
            large = self.server.origin == "cdn"
            wrong = large and faults.corrupt > 0
            longer = large and faults.longer > 0
            faults.corrupt -= wrong
            faults.longer -= longer
        if faults.encode:
            body = gzip.compress(file.read(0, file.size))
            self._send(200, body, {**headers, "Content-Encoding": "gzip"})
            return
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(stop - start + 100 * longer)}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(file.content, Path) and not (wrong or longer or faults.bytes_per_second or faults.drop_at):
            with file.content.open("rb") as source:
                self.wfile.flush()
                self.seen.sent += self.connection.sendfile(source, start, stop - start)
            return
        at = start
        while at < stop:
            end = min(at + 65536, stop)
            with hub.lock:
                cut = next(
                    (c for c in faults.drop_at if large and at <= c * file.size < end and c * file.size > start), None
                )
                if cut is not None:
                    faults.drop_at.remove(cut)
            if cut is not None:
                end = int(cut * file.size)
            block = bytearray(file.read(at, end))
            if wrong and block:
                block[0] ^= 1
                wrong = False
            self.wfile.write(block)
            self.seen.sent += len(block)
            if cut is not None:
                self.wfile.flush()
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            at = end
            if faults.bytes_per_second:
                time.sleep(len(block) / faults.bytes_per_second)
        if longer:
            self.wfile.write(b"x" * 100)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_error(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        extra = {"X-Error-Code": code} if code else {}
        body = json.dumps({"error": message}).encode()
        self._send(status, body, {"X-Error-Message": message, **extra, **(headers or {})})


def main() -> None:
    root = Path(sys.argv[1])
    rate = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    with HubServer() as hub:
        hub.faults.bytes_per_second = rate
        for owner in sorted(root.iterdir()):
            for repo in sorted(owner.iterdir()):
                files = {str(p.relative_to(repo)): p for p in sorted(repo.rglob("*")) if p.is_file()}
                # A Git object id needs the bytes, so that small files are read and large ones are not.
                hub.add(
                    f"{owner.name}/{repo.name}",
                    {n: p if p.stat().st_size > 1 << 20 else p.read_bytes() for n, p in files.items()},
                )
        print(hub.endpoint, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
