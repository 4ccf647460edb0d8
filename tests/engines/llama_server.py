#!/usr/bin/env python3
"""Speaks the HTTP of llama-server that is used, over its Unix socket. Its model adds: the next id is the sum of the
last two. An id of 13 ends it."""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

options = dict(zip(sys.argv[1:], sys.argv[2:], strict=False))
VOCABULARY = 512


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {os.environ['LLAMA_API_KEY']}":
            self.answer(401, {"error": {"message": "Invalid API Key"}})
            return
        ids = request["prompt"]
        if 13 in ids:
            os._exit(7)
        if request.get("stream"):
            self.send_response(200)
            self.end_headers()
            progress = {"prompt_progress": {"cache": 0, "total": len(ids)}}
            self.wfile.write(b"data: " + json.dumps(progress).encode() + b"\n\ndata: [DONE]\n\n")
            return
        token = sum(ids[-2:]) % VOCABULARY
        answer: dict[str, Any] = {
            "__verbose": {"tokens": [token]},
            "usage": {"prompt_tokens_details": {"cached_tokens": 0}},
        }
        if count := request["n_probs"]:
            top = [{"id": (token + more) % VOCABULARY, "logprob": -1.0 - more} for more in range(count)]
            answer["__verbose"]["completion_probabilities"] = [{**top[0], "top_logprobs": top}]
        self.answer(200, answer)

    def answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


class Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


if not Path(options["--model"]).is_file() or "LLAMA_API_KEY" not in os.environ:
    sys.exit(4)
Server(options["--host"], Handler).serve_forever()
