"""Servers on the loopback interface that answer in the wire forms of OpenAI's interface and of TEI, or badly.

TEI's forms are those of its `docs/openapi.json` (version 1.7), OpenAI's those of its reference for `/v1/embeddings`.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = 8
MODEL = "small"


def vector_of(text: str, width: int = WIDTH) -> np.ndarray:
    """What a server gives for a text: float32, of unit length."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(width).astype(np.float32)
    return vector / np.linalg.norm(vector)


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """One answer. `raw` are the bytes of the body where it is no JSON; `after` closes the connection so early."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    promise: int = 0
    """Bytes more that Content-Length promises than come."""
    hold: bool = False
    """What was promised never comes, and the connection stays."""
    silence: float = 0.0


Respond = Callable[[Asked, int], Answer]


class EndpointServer:
    """`respond` gets each request and how many came before it."""

    def __init__(self, respond: Respond, tls: tuple[Path, Path] | None = None) -> None:
        self.asked: list[Asked] = []
        self.ended = threading.Event()
        self.at_once = self.most_at_once = 0
        lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.handle_it()

            def do_POST(self) -> None:
                self.handle_it()

            def handle_it(self) -> None:
                content = self.rfile.read(int(self.headers.get("content-length", 0)))
                asked = Asked(self.command, self.path, dict(self.headers), json.loads(content) if content else None)
                with lock:
                    server.asked.append(asked)
                    number = len(server.asked) - 1
                    server.at_once += 1
                    server.most_at_once = max(server.most_at_once, server.at_once)
                answer = respond(asked, number)
                if answer.silence:
                    server.ended.wait(answer.silence)
                body = answer.raw if answer.raw is not None else json.dumps(answer.body).encode()
                with lock:
                    server.at_once -= 1
                with contextlib.suppress(OSError):
                    self.send_response(answer.status)
                    for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body) + answer.promise))
                    self.end_headers()
                    self.wfile.write(body)
                    self.wfile.flush()
                    if answer.hold:
                        server.ended.wait()
                    if answer.promise:
                        self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        scheme = "http"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def texts(self) -> list[str]:
        """Texts that came to be embedded."""
        bodies = [each.body for each in self.asked if isinstance(each.body, dict)]
        return [text for body in bodies for text in body.get("input", body.get("inputs", []))]


def embedding_answer(body: dict[str, Any], width: int = WIDTH) -> dict[str, Any]:
    """As OpenAI's `/v1/embeddings`."""
    width = body.get("dimensions", width)
    rows = []
    for index, text in enumerate(body["input"]):
        vector: Any = vector_of(text, width)
        packed = base64.b64encode(vector.astype("<f4").tobytes()).decode()
        form = packed if body.get("encoding_format") == "base64" else vector.tolist()
        rows.append({"object": "embedding", "index": index, "embedding": form})
    tokens = sum(len(text.split()) for text in body["input"])
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": rows, "model": body["model"], "usage": usage}


def openai(asked: Asked, number: int) -> Answer:
    """A server with one model, as OpenAI's."""
    if asked.path == "/v1/models":
        row = {"id": MODEL, "object": "model", "created": 1, "owned_by": "somebody"}
        return Answer({"object": "list", "data": [row]})
    if asked.path == "/v1/embeddings":
        return Answer(embedding_answer(asked.body))
    if asked.path == "/v1/rerank":  # as Cohere's and Jina's
        scores = [(0.9 if asked.body["query"] in text else 0.1, at) for at, text in enumerate(asked.body["documents"])]
        rows = [{"index": at, "relevance_score": score} for score, at in sorted(scores, reverse=True)]
        return Answer({"id": "1", "results": rows, "meta": {}})
    return Answer({"error": {"message": "Not Found", "type": "invalid_request_error"}}, 404)


def tei(asked: Asked, number: int) -> Answer:
    """As text-embeddings-inference."""
    if asked.path == "/info":
        info = {
            "model_id": "BAAI/bge-small-en-v1.5",
            "model_sha": None,
            "model_dtype": "float16",
            "model_type": {"embedding": {"pooling": "cls"}},
            "max_concurrent_requests": 512,
            "max_input_length": 512,
            "max_batch_tokens": 16384,
            "max_batch_requests": None,
            "max_client_batch_size": 4,
            "auto_truncate": False,
            "tokenization_workers": 4,
            "version": "1.7.1",
            "sha": None,
            "docker_label": None,
        }
        return Answer(info)
    if asked.path == "/embed":
        inputs = asked.body["inputs"]
        if len(inputs) > 4:
            return Answer({"error": "batch size 5 > maximum allowed batch size 4", "error_type": "Validation"}, 413)
        return Answer([vector_of(text).tolist() for text in inputs])
    if asked.path == "/rerank":
        assert asked.body["raw_scores"] is True
        scores = [(2.0 if asked.body["query"] in text else -2.0, at) for at, text in enumerate(asked.body["texts"])]
        return Answer([{"index": at, "score": score} for score, at in sorted(scores, reverse=True)])
    return Answer(raw=b"", status=404)


@contextlib.contextmanager
def serving(respond: Respond = openai, tls: tuple[Path, Path] | None = None) -> Iterator[EndpointServer]:
    """A server until the end of the block."""
    server = EndpointServer(respond, tls)
    try:
        yield server
    finally:
        server.close()


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody else signed, and its key."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def after(seconds: float) -> str:
    """A Retry-After as a date."""
    from email.utils import formatdate

    return formatdate(time.time() + seconds, usegmt=True)
