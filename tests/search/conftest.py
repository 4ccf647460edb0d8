"""A small published index to search in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from turboprop.index.read import IndexReader
from turboprop.index.schema import IndexSpec, text_digest
from turboprop.index.write import TableWriter
from turboprop.types import Chunk, IndexedFile, Prompts

FILES = {
    "src/config.py": [("parse_config", "def parse_config(path):\n    return read_settings(path)\n", [1, 0, 0, 0])],
    "src/net/pool.py": [
        ("ConnectionPool", "class ConnectionPool:\n    size = 4\n", [0, 1, 0, 0]),
        ("ConnectionPool.acquire", "    def acquire(self):\n        return self.free.pop()\n", [0, 0.8, 0.6, 0]),
    ],
    "src/net/retry.go": [("RetryRequest", "func RetryRequest(times int) error {\n", [0, 0.6, 0, 0.8])],
    "tests/test_config.py": [
        ("test_parse_config", "def test_parse_config():\n    assert parse_config('x')\n", [0.9, 0, 0, 0.4])
    ],
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexReader]:
    directory: Path = tmp_path_factory.mktemp("search")
    spec = IndexSpec("by hand", "by-hand", 4, Prompts(), "by hand")
    with TableWriter.open(directory, spec) as writer:
        for path, entries in FILES.items():
            language = "go" if path.endswith(".go") else "python"
            chunks = [
                Chunk(path, language, "function", symbol, number * 10 + 1, number * 10 + 2, text)
                for number, (symbol, text, _) in enumerate(entries)
            ]
            vectors = np.array([vector for *_, vector in entries], np.float32)
            writer.begin_file(path)
            writer.add(chunks, [text_digest(chunk.text) for chunk in chunks], vectors)
            writer.end_file(IndexedFile(path, 1, 1, 1, "0" * 32, len(chunks), language))
        writer.publish()
    with IndexReader.open(directory) as opened:
        yield opened
