"""Models behind an address: any server that speaks OpenAI's interface or that of text-embeddings-inference (TEI).

- OpenAI's: `/embeddings`, `/chat/completions`, `/completions`, `/rerank` (as at Cohere and Jina) and `/models` below
  the address. An address without a path is asked whether it is TEI's, else `/v1` is put behind it.
- TEI's: `/embed`, `/rerank` and `/info`.

The servers tokenize: texts go there, and vectors, scores or text come back. A server of ours puts the model's prompts
before texts and averages the parts of long ones itself, so that its vectors are those of the model on its own machine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from turboprop.engines.contract import EngineOptions, Plan
from turboprop.engines.remote.encoder import RemoteEncoder
from turboprop.engines.remote.reranker import RemoteReranker
from turboprop.engines.remote.server import Server
from turboprop.engines.remote.writer import RemoteWriter

if TYPE_CHECKING:
    from turboprop.models.checkpoint.view import Checkpoint
    from turboprop.models.endpoint import Endpoint
    from turboprop.models.kind import Kind

DEVICE = "remote"
_AT_ONCE = 10_000_000
"""Characters that are given to an encoder together: all of a call, which it makes requests of."""
_LISTED = 8
"""Models of a server that are told."""
T = TypeVar("T")


def devices() -> list[str]:
    """Wherever the endpoint is."""
    return [DEVICE]


def why_not(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> str | None:
    """Nothing that is known before the server is asked."""
    return None


def plan(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> Plan:
    """It takes no memory here."""
    return Plan("as served", 0, DEVICE, batch_tokens=_AT_ONCE)


def load_encoder(checkpoint: Checkpoint, options: EngineOptions) -> RemoteEncoder:
    """Connect to a model that embeds; one text is embedded to learn the width. Raises `EndpointError`."""
    return _connected(checkpoint, RemoteEncoder)


def load_reranker(checkpoint: Checkpoint) -> RemoteReranker:
    """Connect to a model that reranks. Raises `EndpointError`."""
    return _connected(checkpoint, RemoteReranker)


def load_generator(checkpoint: Checkpoint, options: EngineOptions) -> RemoteWriter:
    """Connect to a model that writes. Raises `EndpointError`."""
    return _connected(checkpoint, partial(RemoteWriter, context=options.context))


def _connected(checkpoint: Checkpoint, make: Callable[[Server], T]) -> T:
    assert checkpoint.endpoint is not None
    server = Server(checkpoint.endpoint)
    try:
        server.look()
        return make(server)
    except BaseException:
        server.close()
        raise


def asked_facts(endpoint: Endpoint, kind: Kind) -> dict[str, Any]:
    """What the server of an endpoint says of itself and of the model, which is tried with one word: name to fact.

    Raises `EndpointError`.
    """
    with Server(endpoint) as server:
        server.look()
        speaks = "TEI's interface" if server.speaks == "tei" else "OpenAI's interface"
        facts: dict[str, Any] = {"server": "tp serve" if server.is_ours else speaks}
        if kind == "embedding":
            facts["dimensions"] = RemoteEncoder(server).dimensions
        elif kind == "reranker":
            RemoteReranker(server)
            facts["reranks"] = "yes"
        elif server.listed and not server.is_ours and endpoint.model not in server.listed:
            facts["missing"] = f"the server does not list {endpoint.model}"
        if server.context:
            facts["context"] = server.context
        if server.listed:
            more = f" and {len(server.listed) - _LISTED} more" if len(server.listed) > _LISTED else ""
            facts["models there"] = ", ".join(server.listed[:_LISTED]) + more
        return facts
