"""What the tests of the index share: a deterministic embedder and a small repository on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import xxhash
from numpy.typing import NDArray

from turboprop.index.build import index_spec
from turboprop.index.schema import IndexSpec, text_digest
from turboprop.index.write import TableWriter
from turboprop.types import Chunk, IndexedFile, Prompts


class HashingEmbedder:
    """Feature hashing of words: texts that share words are near, without a model."""

    def __init__(
        self,
        dimensions: int = 32,
        fingerprint: str = "hashing-1",
        name: str = "hashing",
        max_chars: int = 400,
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.dimensions = dimensions
        self.prompts = Prompts()
        self.max_chars = max_chars
        self.tokens_embedded = 0
        self.cached = 0
        self.texts: list[str] = []
        self.longest = 2_000

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts.extend(texts)
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                number = xxhash.xxh3_64_intdigest(word.encode("utf-8", "replace"))
                vectors[row, number % self.dimensions] += 1.0 if number >> 63 else -1.0
            vectors[row, 0] += 0.01
            self.tokens_embedded += len(text.split())
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(norms == 0, 1, norms)

    def kept_vectors(self, texts: Sequence[str]) -> dict[int, np.ndarray]:
        return {}

    def fits(self, texts: Sequence[str]) -> list[bool]:
        return [len(text) <= self.longest for text in texts]


@pytest.fixture
def embedder() -> HashingEmbedder:
    return HashingEmbedder()


@pytest.fixture
def make_embedder() -> type[HashingEmbedder]:
    return HashingEmbedder


@pytest.fixture
def spec(embedder: HashingEmbedder) -> IndexSpec:
    return index_spec(embedder)


@pytest.fixture
def make_chunk() -> Callable[..., Chunk]:
    def make(path: str = "a.py", text: str = "def f(): pass\n", line: int = 1, **values: str) -> Chunk:
        fields = {"language": "python", "kind": "function", "symbol": "", "signature": "", **values}
        return Chunk(
            path=path,
            start_line=line,
            end_line=line + max(text.count("\n") - 1, 0),
            text=text,
            **fields,
        )

    return make


@pytest.fixture
def put(embedder: HashingEmbedder, make_chunk: Callable[..., Chunk]) -> Callable[..., None]:
    """Write one file with one chunk a text, without publishing."""

    def write(writer: TableWriter, path: str, *texts: str) -> None:
        chunks = [make_chunk(path, text, line) for line, text in enumerate(texts, start=1)]
        writer.begin_file(path)
        if chunks:
            writer.add(chunks, [text_digest(text) for text in texts], embedder.embed_documents(texts))
        writer.end_file(IndexedFile(path, 1, 1, 1, "0" * 32, len(chunks), "python"))

    return write


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder with six small source files; not a Git work tree."""
    root = tmp_path / "repository"
    (root / "src" / "net").mkdir(parents=True)
    (root / "tests").mkdir()
    for name, text in {
        "src/config.py": 'def parse_config(path):\n    """Read the settings file."""\n    return open(path).read()\n',
        "src/net/pool.py": "class ConnectionPool:\n    def acquire(self):\n        return self.free.pop()\n",
        "src/net/retry.go": "package net\n\nfunc RetryRequest(times int) error {\n\treturn nil\n}\n",
        "src/tokenizer.ts": "export function tokenizeQuery(text: string) {\n  return text.split(' ');\n}\n",
        "tests/test_config.py": "from config import parse_config\n\ndef test_parse():\n    assert parse_config('x')\n",
        "README.md": "# Example\n\nA connection pool with retries.\n",
    }.items():
        (root / name).write_text(text, "utf-8")
    return root
