"""Texts to vectors, at a model behind an address."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turboprop.closing import Closing
from turboprop.engines.http_json import in_parallel
from turboprop.engines.remote.server import NOT_TAKEN, Server, as_count
from turboprop.errors import EndpointError
from turboprop.models.endpoint import CHARS_PER_TOKEN

_WIDEST = 65_536


class RemoteEncoder(Closing):
    """Texts to vectors, in requests of a few texts that run at the same time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._packed = server.speaks == "openai"
        self._ask_width = False
        self._closed = False
        self.tokens = 0
        """Tokens that went through the model, as the server counts them; characters by three where it does not."""
        wanted = server.endpoint.dimensions
        self.dimensions = 0
        self.dimensions = self._embed(("turboprop",), ()).shape[1]
        if wanted and self.dimensions != wanted:
            full, self.dimensions, self._ask_width = self.dimensions, 0, True
            try:
                self.dimensions = self._embed(("turboprop",), ()).shape[1]
            except EndpointError as error:
                raise server.error(
                    f"gives vectors of {full} dimensions, and its row says {wanted} ({error})"
                ) from error
            if self.dimensions != wanted:
                raise server.error(f"gives vectors of {self.dimensions} dimensions, and its row says {wanted}")

    @property
    def server(self) -> Server:
        """Where it is."""
        return self._server

    def encode(self, batch: Any) -> NDArray[np.float32]:
        """The vectors of `batch.texts`, float32 [n, dimensions], as the server gives them. Raises `EndpointError`."""
        texts = batch.texts
        if self._closed:
            raise EndpointError(f"the connection to {self._server.endpoint.host} is closed")
        if not texts:
            return np.zeros((len(batch.lengths), self.dimensions), np.float32)
        size = min(self._server.batch, max(1, -(-len(texts) // self._server.endpoint.parallel)))
        starts = range(0, len(texts), size)
        jobs = [partial(self._embed, texts[start : start + size], batch.asked) for start in starts]
        return np.concatenate(in_parallel(jobs, self._server.endpoint.parallel))

    def close(self) -> None:
        """End the connections; a second call does nothing."""
        self._closed = True
        self._server.close()

    def _embed(self, texts: tuple[str, ...], asked: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        try:
            answer = self._request(texts, asked)
        except EndpointError as error:
            if error.status != 413 or len(texts) == 1:
                raise
            half = len(texts) // 2  # more at once than it takes
            return np.concatenate([self._embed(texts[:half], asked), self._embed(texts[half:], asked)])
        if self._server.speaks == "tei":
            rows, tokens = answer, 0
        else:
            rows, usage = (answer.get("data"), answer.get("usage")) if isinstance(answer, dict) else (None, None)
            tokens = as_count(usage.get("total_tokens")) if isinstance(usage, dict) else 0
            rows = self._in_order(rows, len(texts))
        vectors = self._vectors(rows, len(texts))
        with self._lock:
            self.tokens += tokens or sum(map(len, texts)) // CHARS_PER_TOKEN
        return vectors

    def _request(self, texts: tuple[str, ...], asked: Sequence[tuple[str, str]]) -> Any:
        endpoint, client = self._server.endpoint, self._server.client
        patient = self.dimensions > 0  # who connects wants to know at once that nobody is there
        if self._server.speaks == "tei":
            body: dict[str, Any] = {"inputs": list(texts), "normalize": endpoint.normalize, "truncate": True}
            if self._ask_width:
                body["dimensions"] = endpoint.dimensions
            return client.post("/embed", body, patient=patient)
        body = {"model": endpoint.model, "input": list(texts), **dict(asked)}
        if self._ask_width:
            body["dimensions"] = endpoint.dimensions
        if not self._packed:
            return client.post("/embeddings", body, patient=patient)
        try:
            return client.post("/embeddings", {**body, "encoding_format": "base64"}, patient=patient)
        except EndpointError as error:
            if error.status not in NOT_TAKEN or self.dimensions:
                raise
            answer = client.post("/embeddings", body, patient=patient)
            self._packed = False
            return answer

    def _in_order(self, rows: Any, count: int) -> list[Any]:
        """The embeddings by their `index`, which need not be the order in which they come."""
        if not isinstance(rows, list) or len(rows) != count or not all(isinstance(row, dict) for row in rows):
            came = f"{len(rows)} vectors" if isinstance(rows, list) else "no list of vectors"
            raise self._server.error(f"was sent {count} texts and gives {came}; nothing of it is kept")
        places = [row.get("index", at) for at, row in enumerate(rows)]
        if sorted(map(str, places)) != sorted(map(str, range(count))):
            raise self._server.error("numbers its vectors so that some belong to no text; nothing of them is kept")
        ordered: list[Any] = [None] * count
        for place, row in zip(places, rows, strict=True):
            ordered[int(place)] = row.get("embedding")
        return ordered

    def _vectors(self, rows: Any, count: int) -> NDArray[np.float32]:
        if not isinstance(rows, list) or len(rows) != count:
            came = f"{len(rows)} vectors" if isinstance(rows, list) else "no list of vectors"
            raise self._server.error(f"was sent {count} texts and gives {came}; nothing of it is kept")
        width, found = self.dimensions, []
        for row in rows:
            vector = self._vector(row)
            width = width or len(vector)
            if len(vector) != width:
                raise self._server.error(
                    f"gives a vector of {len(vector)} dimensions where it gave {width} before; another model seems to "
                    "run there now under that name. Start the right one, or index again with `tp index --rebuild`"
                )
            found.append(vector)
        vectors = np.stack(found)
        if not np.isfinite(vectors).all():
            raise self._server.error(
                "gives a vector with values that are not finite, which is never stored; look at its log"
            )
        return vectors

    def _vector(self, row: Any) -> NDArray[np.float32]:
        try:
            if isinstance(row, str):
                vector = np.frombuffer(base64.b64decode(row, validate=True), "<f4").astype(np.float32)
            else:
                vector = np.asarray(row, np.float32)
        except (ValueError, TypeError, OverflowError, binascii.Error):
            vector = np.empty(0, np.float32)
        if vector.ndim != 1 or not 0 < len(vector) <= _WIDEST:
            raise self._server.error("gives a vector that is no list of numbers; is it an embedding model?")
        return vector
