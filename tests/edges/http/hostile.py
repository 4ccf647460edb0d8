"""Requests that nobody means well with: `python tests/edges/http/hostile.py URL [COUNT]`.

Each is made from a seed: bytes that are no HTTP, headers and paths of any form, bodies of the wrong kind, size and
encoding, bodies that stop half-way, answers that nobody reads. The server has to answer below 500, or hang up.
"""

from __future__ import annotations

import json
import random
import socket
import struct
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

PATHS = (
    "/",
    "/health",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/rerank",
    "/v1/models",
    "/tokenize",
    "/detokenize",
    "/api/search",
    "/api/grep",
    "/api/symbols",
    "/api/ask",
    "/api/source",
    "/api/similar",
    "/api/files",
    "/api/why",
    "/api/map",
    "/api/start",
    "/api/models/load",
    "/api/models/jobs/x",
    "/assets/x",
    "/metrics",
)
STRINGS = (
    "",
    "x",
    "../../../../etc/passwd",
    "/etc/passwd",
    "%2e%2e%2f",
    "a\x00b",
    "\u202e\ufeff\U0001f600",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}{% for i in range(10**9) %}{% endfor %}",
    "<|im_start|>system\n",
    "A" * 5_000,
    "' OR 1=1 --",
    "-1",
    "nan",
    "\\",
    "*" * 50,
)
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "CONNECT", "get", "X" * 30, "G\tT")
FIELDS = (
    "input",
    "prompt",
    "messages",
    "model",
    "query",
    "documents",
    "repo",
    "question",
    "content",
    "tokens",
    "stream",
)


def value(random: random.Random, depth: int = 0) -> object:
    kind = random.randrange(9 if depth < 4 else 6)
    if kind == 0:
        return random.choice(STRINGS)
    if kind == 1:
        return random.choice([0, -1, 1 << 63, 1 << 200, 1e308, -0.0, 0.5])
    if kind == 2:
        return random.choice([None, True, False])
    if kind == 3:
        return [random.randrange(-5, 600) for _ in range(random.randrange(5))]
    if kind == 4:
        return {"role": random.choice(["user", "system", "x"]), "content": random.choice(STRINGS)}
    if kind == 5:
        return {"type": random.choice(["text", "json_schema"]), "schema": {"$ref": "#"}}
    if kind == 6:
        return [value(random, depth + 1) for _ in range(random.randrange(4))]
    return {random.choice(FIELDS): value(random, depth + 1) for _ in range(random.randrange(4))}


def body(random: random.Random) -> bytes:
    kind = random.randrange(8)
    if kind == 0:
        return random.randbytes(random.randrange(2_000))
    if kind == 1:
        return b"[" * random.choice([10, 100_000]) + b"]" * random.randrange(10)
    if kind == 2:
        return json.dumps({name: value(random) for name in random.sample(FIELDS, 4)}).encode("utf-16")
    if kind == 3:
        return b'{"input": "\\ud800\\udfff\\u0000", "input": NaN}'
    if kind == 4:
        return b'{"input": "' + b"word " * random.choice([10, 50_000]) + b'"}'
    made = {name: value(random) for name in random.sample(FIELDS, random.randrange(1, 6))}
    return json.dumps(made | {"max_tokens": 4}).encode()


def request(random: random.Random) -> bytes:
    """The bytes of one."""
    if random.random() < 0.05:
        return random.randbytes(random.randrange(1, 4_000))
    path = random.choice(PATHS)
    if random.random() < 0.3:
        path += "?" + "&".join(
            f"{name}={random.choice(STRINGS).replace(' ', '+')[:300]}"
            for name in random.sample(["repo", "path", "line", "limit", "start", "end", "x"], 3)
        )
    if random.random() < 0.1:
        path += random.choice(STRINGS)
    data = body(random)
    headers = {"Host": "localhost", "Content-Type": "application/json", "Connection": "close"}
    if random.random() < 0.15:
        headers[random.choice(["Host", "Origin", "Authorization", "Content-Type", "Accept", "Range", "Cookie"])] = (
            random.choice(STRINGS)[:300]
        )
    if random.random() < 0.1:
        headers[random.choice(["Transfer-Encoding", "Expect", "Upgrade", "Content-Encoding"])] = random.choice(
            ["chunked", "100-continue", "websocket", "gzip", "x"]
        )
    length = random.choice([str(len(data))] * 9 + [str(len(data) + 7), "0", "-1", "9" * 30, "x"])
    head = f"{random.choice(METHODS) if random.random() < 0.2 else 'POST'} {path} HTTP/1.1\r\n"
    head += "".join(f"{name}: {text}\r\n" for name, text in headers.items()) + f"Content-Length: {length}\r\n\r\n"
    return head.encode("utf-8", "surrogatepass") + data


def attack(url: str, seed: int) -> str:
    """Send one, and say what came of it: a status, or how the connection ended."""
    chance = random.Random(seed)
    place = urlsplit(url)
    data = request(chance)
    leaves = chance.random() < 0.25
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        try:
            if leaves:  # half of it, or all, and then away with a reset
                connection.sendall(data[: chance.randrange(len(data))] if chance.random() < 0.5 else data)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return "left"
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while part := connection.recv(65_536):
                answer += part
        except OSError as error:
            return type(error).__name__
    return answer.split(b" ", 2)[1].decode("latin-1") if answer.startswith(b"HTTP/") else "closed"


def attack_all(url: str, seeds: range, clients: int = 16) -> Counter[str]:
    """What came of all of them."""
    with ThreadPoolExecutor(clients) as pool:
        return Counter(pool.map(lambda seed: attack(url, seed), seeds))


if __name__ == "__main__":
    print(attack_all(sys.argv[1], range(int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)))
