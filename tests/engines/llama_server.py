#!/usr/bin/env python3
"""Speaks the HTTP of llama-server that is used, over its Unix socket. Its model adds: the next id is the sum of the
last two. An id of 13 ends it. `OLD` in its environment leaves options away that an older one does not have."""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

VOCABULARY = 512
OPTIONS = (
    "--model --host --ctx-size --batch-size --ubatch-size --threads --threads-batch --parallel --cache-type-k "
    "--cache-type-v --flash-attn --embeddings --pooling --chat-template --no-warmup --gpu-layers --offline --swa-full"
)
if "--help" in sys.argv:
    print("\n".join(option for option in OPTIONS.split() if option not in os.environ.get("OLD", "").split()))
    sys.exit()
if "--list-devices" in sys.argv:
    print("Available devices:")
    sys.exit()
known = {*OPTIONS.split()} - {*os.environ.get("OLD", "").split()}
if unknown := [word for word in sys.argv[1:] if word.startswith("--") and word not in known]:
    sys.exit(f"error: invalid argument: {unknown[0]}")
options = dict(zip(sys.argv[1:], sys.argv[2:], strict=False))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {os.environ['LLAMA_API_KEY']}":
            self.answer(401, {"error": {"message": "Invalid API Key"}})
            return
        ids = list(request["prompt"])
        if 13 in ids:
            os._exit(7)
        if not request["stream"]:
            self.answer(200, self.drawn(ids, 1, request["n_probs"]) | {"stop": True})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.event({"prompt_progress": {"cache": 0, "processed": len(ids), "total": len(ids)}})
        for count in range(1, request["n_predict"] + 1):
            self.event(self.drawn(ids, count, 0))
        self.event({"tokens": [], "tokens_predicted": request["n_predict"], "content": "", "stop": True})

    def drawn(self, ids: list[int], count: int, wanted: int) -> dict[str, Any]:
        token = sum(ids[-2:]) % VOCABULARY
        ids.append(token)
        top = [{"id": (token + more) % VOCABULARY, "logprob": -1.0 - more} for more in range(wanted)]
        probabilities = [{**top[0], "top_logprobs": top}] if top else []
        return {
            "tokens": [token],
            "tokens_predicted": count,
            "content": "x",
            "stop": False,
            "completion_probabilities": probabilities,
        }

    def event(self, content: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(content).encode() + b"\n\n")
        self.wfile.flush()

    def answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


class Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


if not Path(options["--model"]).is_file() or "LLAMA_API_KEY" not in os.environ:
    sys.exit(4)
Server(options["--host"], Handler).serve_forever()
