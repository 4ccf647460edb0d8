"""A query and texts to scores, at a model behind an address."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turboprop.closing import Closing
from turboprop.engines.http_json import in_parallel
from turboprop.engines.remote.server import Server, as_number
from turboprop.errors import EndpointError
from turboprop.models.endpoint import CHARS_PER_TOKEN


class RemoteReranker(Closing):
    """A query and texts to one score each."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.scored = 0
        """Tokens that went through the model; characters by three."""
        self.scores("turboprop", ["turboprop"], patient=False)

    @property
    def server(self) -> Server:
        """Where it is."""
        return self._server

    def scores(self, query: str, texts: Sequence[str], *, patient: bool = True) -> NDArray[np.float32]:
        """float32 [n], log-odds. Most servers give probabilities: where all are 0 to 1 they are taken for such.
        Raises `EndpointError`."""
        size = self._server.batch
        jobs = [partial(self._some, query, texts[at : at + size], patient) for at in range(0, len(texts), size)]
        scores = np.concatenate([np.empty(0), *in_parallel(jobs, self._server.endpoint.parallel)])
        self.scored += sum(len(query) + len(text) for text in texts) // CHARS_PER_TOKEN
        if self._server.speaks == "openai" and len(scores) and scores.min() >= 0 and scores.max() <= 1:
            scores = np.clip(scores, 1e-7, 1 - 1e-7)
            scores = np.log(scores / (1 - scores))
        return scores.astype(np.float32)

    def close(self) -> None:
        """End the connections; a second call does nothing."""
        self._server.close()

    def _some(self, query: str, texts: Sequence[str], patient: bool) -> NDArray[np.float64]:
        server = self._server
        try:
            if server.speaks == "tei":
                body: dict[str, Any] = {"query": query, "texts": list(texts), "raw_scores": True, "truncate": True}
                rows = server.client.post("/rerank", body, patient=patient)
            else:
                body = {"model": server.endpoint.model, "query": query, "documents": list(texts), "top_n": len(texts)}
                answer = server.client.post("/rerank", body, patient=patient)
                rows = answer.get("results", answer.get("data")) if isinstance(answer, dict) else answer
        except EndpointError as error:
            if error.status == 404 and server.speaks == "openai" and server.to_tei():
                return self._some(query, texts, patient)
            raise
        scores = np.full(len(texts), np.nan)
        for row in rows if isinstance(rows, list) else []:
            place = row.get("index") if isinstance(row, dict) else None
            value = row.get("relevance_score", row.get("score")) if isinstance(row, dict) else None
            if isinstance(place, int) and 0 <= place < len(texts) and isinstance(value, int | float):
                scores[place] = as_number(value)
        if not np.isfinite(scores).all():
            raise server.error(f"was sent {len(texts)} texts to rank and does not give a number for each of them")
        return scores
