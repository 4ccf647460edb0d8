"""Models behind an address: any server that speaks OpenAI's interface or that of text-embeddings-inference (TEI).

- OpenAI's: `/embeddings`, `/chat/completions`, `/completions`, `/rerank` (as at Cohere and Jina) and `/models` below
  the address. An address without a path is asked whether it is TEI's, else `/v1` is put behind it.
- TEI's: `/embed`, `/rerank` and `/info`.

The servers tokenize: texts go there, and vectors, scores or text come back. A server of ours puts the model's prompts
before texts and averages the parts of long ones itself, so that its vectors are those of the model on its own machine.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from turboprop.closing import Closing
from turboprop.engines.contract import EngineOptions, Plan
from turboprop.engines.generation_contract import TextPiece, TextRequest
from turboprop.engines.http_json import EventStream, JsonClient, in_parallel
from turboprop.errors import EndpointError, UsageError
from turboprop.models.endpoint import API_KEY, CHARS_PER_TOKEN, CONTEXT

if TYPE_CHECKING:
    from turboprop.models.checkpoint.view import Checkpoint
    from turboprop.models.endpoint import Endpoint
    from turboprop.models.kind import Kind

DEVICE = "remote"
_AT_ONCE = 10_000_000
"""Characters that are given to an encoder together: all of a call, which it makes requests of."""
_WIDEST = 65_536
_NOT_TAKEN = (400, 422)
"""What servers answer to a parameter that they do not know."""
_LISTED = 8
"""Models of a server that are told."""
_MOST_STOPS = 4
"""Stop texts that OpenAI's interface takes; all of them are looked for here as well."""
T = TypeVar("T")
_log = logging.getLogger("turboprop.engines")


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


class Server(Closing):
    """The server behind an endpoint: which interface it speaks, and what it says of the model."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        key, advice = _key(endpoint)
        self.client = JsonClient(
            endpoint.url,
            timeout=endpoint.timeout,
            connections=endpoint.parallel,
            headers={"authorization": f"Bearer {key}"} if key else {},
            secret=key,
            key_advice=advice,
            per_minute=endpoint.requests_per_minute,
            # A proxy has no way to this machine's own ports.
            through_proxy=endpoint.reach != "loopback",
        )
        self.speaks: Literal["openai", "tei"] = "openai"
        self.is_ours = False
        self.owner = ""
        self.context = endpoint.context
        self.batch = endpoint.batch
        self.listed: list[str] = []
        """The models that it names, where it does."""

    def look(self) -> None:
        """Ask what it is. Raises `EndpointError` where it cannot be reached or refuses."""
        if not urlsplit(self.endpoint.url).path:
            if (info := self._info()) is not None:
                self.speaks = "tei"
                self.context = self.context or _count(info.get("max_input_length"))
                self.batch = min(self.batch, _count(info.get("max_client_batch_size")) or self.batch)
                self.listed = [str(info["model_id"])]
                return
            self.client.base += "/v1"
        rows = self._asked("/models")
        rows = rows.get("data") if isinstance(rows, dict) else None
        rows = rows if isinstance(rows, list) else []
        found = [row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
        self.listed = [row["id"] for row in found]
        mine = next((row for row in found if row["id"] == self.endpoint.model), None)
        # By another of its names a model of ours is not listed; all of its rows are ours then.
        owners = {str(row.get("owned_by", "")) for row in ([mine] if mine is not None else found)}
        self.owner = owners.pop() if len(owners) == 1 else ""
        self.is_ours = self.owner == "turboprop"
        if mine is not None:
            meta: dict[str, Any] = mine["meta"] if isinstance(mine.get("meta"), dict) else {}
            told = mine.get("max_model_len") or meta.get("n_ctx_train") or meta.get("context")
            self.context = self.context or _count(told)

    def to_tei(self) -> bool:
        """Whether it is TEI after all, and was named with `/v1`; it is spoken to as such from then on."""
        before, root = self.client.base, self.client.base.removesuffix("/v1")
        self.client.base = root
        if before != root and self._info() is not None:
            self.speaks = "tei"
            return True
        self.client.base = before
        return False

    def error(self, what: str) -> EndpointError:
        """An answer that is none."""
        return EndpointError(f"{self.endpoint.model} at {self.endpoint.url} {what}")

    def close(self) -> None:
        """End the connections; a second call does nothing."""
        self.client.close()

    def _info(self) -> dict[str, Any] | None:
        info = self._asked("/info")
        return info if isinstance(info, dict) and {"model_id", "max_input_length"} <= set(info) else None

    def _asked(self, path: str) -> Any:
        """What a GET answers; None where it has no such thing."""
        try:
            return self.client.get(path, patient=False)
        except EndpointError as error:
            if error.status in (400, 404, 405, 501):
                return None
            raise


def _key(endpoint: Endpoint) -> tuple[str, str]:
    """The key to send, and what to do where the server wants another. Raises `EndpointError` for what is no key."""
    name = endpoint.api_key_env
    if not name:
        return "", (
            "no key was sent, since an address gets one by a [[models]] row of your settings file alone: write one "
            f"with its url and model, and put the key into {API_KEY}"
        )
    key = os.environ.get(name, "").strip()
    if not key:
        return "", f"set {name} to its key"
    if not key.isascii() or not key.isprintable() or " " in key:
        raise EndpointError(
            f"the variable {name} holds signs that a key does not have; set it to the key of {endpoint.host}"
        )
    if not endpoint.is_encrypted and not endpoint.plain_http:
        return "", (
            f"the key in {name} was not sent, since {endpoint.url} is not encrypted: take an https address, or set "
            "plain_http = true in its row where you know the network"
        )
    return key, f"it does not accept the key in {name}"


def _float(value: object) -> float:
    """A number of an answer; nan for one that no float holds, or what is none."""
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.nan


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31 else 0


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
            tokens = _count(usage.get("total_tokens")) if isinstance(usage, dict) else 0
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
            if error.status not in _NOT_TAKEN or self.dimensions:
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
                scores[place] = _float(value)
        if not np.isfinite(scores).all():
            raise server.error(f"was sent {len(texts)} texts to rank and does not give a number for each of them")
        return scores


class RemoteWriter(Closing):
    """Conversations or texts to text, piece by piece. Generations that run at the same time share it."""

    def __init__(self, server: Server, *, context: int | None = None) -> None:
        self._server = server
        self._dropped = False
        self.context = context or server.context or CONTEXT["language"]
        self.constraints: frozenset[Literal["json_schema", "grammar"]] = frozenset({"json_schema"})
        if server.speaks == "tei":
            raise server.error("embeds or reranks and writes no text")
        if server.listed and not server.is_ours and server.endpoint.model not in server.listed:
            # Some servers list aliases only: the request itself decides.
            _log.info("%s does not list %s", server.endpoint.host, server.endpoint.model)
        # Others leave a parameter that they do not know away, and answer without a grammar.
        if server.is_ours or server.owner == "llamacpp":
            self.constraints |= {"grammar"}

    @property
    def server(self) -> Server:
        """Where it is."""
        return self._server

    def write(self, request: TextRequest) -> RemoteText:
        """Begin a generation. Raises `EndpointError`, and `UsageError` for what the server has no way to do."""
        path, body = self._body(request)
        more = {} if self._dropped else self._more(request)
        client = self._server.client
        try:
            return RemoteText(client.events(path, {**body, **more}))
        except EndpointError as error:
            if error.status not in _NOT_TAKEN:
                raise
            if "max_completion_tokens" in str(error) and "max_tokens" in body:  # OpenAI's models that think
                body["max_completion_tokens"] = body.pop("max_tokens")
            elif not more:
                raise
        found = RemoteText(client.events(path, body))
        if more and not self._dropped:
            self._dropped = True
            _log.warning("tp: %s takes no %s; left away", self._server.endpoint.host, ", ".join(sorted(more)))
        return found

    def close(self) -> None:
        """End the connections; a second call does nothing."""
        self._server.close()

    def _body(self, request: TextRequest) -> tuple[str, dict[str, Any]]:
        """What OpenAI's interface has."""
        how = request.sampling
        body: dict[str, Any] = {
            "model": self._server.endpoint.model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": how.temperature,
            "top_p": how.top_p,
        }
        if how.presence_penalty:
            body["presence_penalty"] = how.presence_penalty
        if how.frequency_penalty:
            body["frequency_penalty"] = how.frequency_penalty
        if how.seed is not None:
            body["seed"] = how.seed
        if how.bias:
            body["logit_bias"] = {str(number): value for number, value in how.bias}
        if request.max_tokens is not None:
            body["max_tokens"] = request.max_tokens
        if request.stops:
            body["stop"] = list(request.stops[:_MOST_STOPS])
        if request.json_schema is not None:
            form = {"name": "answer", "schema": request.json_schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if request.grammar is not None:
            body["grammar"] = request.grammar
        if request.tools:
            body["tools"] = [dict(tool) for tool in request.tools]
        if isinstance(request.prompt, str):
            if request.tools:
                raise UsageError("an endpoint takes tools with conversations only; leave them away, or use chat")
            if request.logprobs is not None:
                raise UsageError("an endpoint tells logprobs of conversations only; leave them away, or use chat")
            return "/completions", {**body, "prompt": request.prompt}
        if request.logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": request.logprobs}
        return "/chat/completions", {**body, "messages": _messages(request.prompt)}

    def _more(self, request: TextRequest) -> dict[str, Any]:
        """What many servers have beside it; left away where one refuses it."""
        how = request.sampling
        more: dict[str, Any] = {}
        if how.temperature:
            more = {"top_k": how.top_k, "min_p": how.min_p}
        if how.repetition_penalty != 1:
            more["repetition_penalty"] = how.repetition_penalty
        if request.reasoning is not None and not isinstance(request.prompt, str):
            if self._server.is_ours:
                more["reasoning"] = request.reasoning
            else:
                more["chat_template_kwargs"] = {"enable_thinking": request.reasoning}
        return more


def _messages(prompt: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A conversation as OpenAI's interface has it: arguments as text, and an id for each call and what came of it."""
    messages: list[dict[str, Any]] = []
    waiting: list[str] = []
    count = 0
    for each in prompt:
        message = dict(each)
        if message["role"] == "assistant" and "tool_calls" in message:
            calls = []
            for call in message["tool_calls"]:
                given = call["function"]["arguments"]
                text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
                function = {"name": call["function"]["name"], "arguments": text}
                calls.append({"id": call.get("id", f"call_{count}"), "type": "function", "function": function})
                count += 1
            message |= {"tool_calls": calls, "content": message["content"] or None}
            waiting = [call["id"] for call in calls]
        elif message["role"] == "tool":
            known = message.setdefault("tool_call_id", waiting[0] if waiting else "call_0")
            waiting = [each for each in waiting if each != known]
        messages.append(message)
    return messages


class RemoteText:
    """The text of one generation as it comes; the calls of tools at its end, as JSON between `<tool_call>` tags."""

    def __init__(self, events: EventStream) -> None:
        self._events = events
        self.finish: Literal["stop", "length", "cancelled"] | None = None
        self.usage: Mapping[str, Any] = {}

    def __iter__(self) -> Iterator[TextPiece]:
        """Raises `EndpointError` where the server failed or broke off before it said why the text ends."""
        calls: dict[int, dict[str, str]] = {}
        for event in self._events:
            if not isinstance(event, dict):
                continue
            if isinstance(event.get("usage"), dict):
                self.usage = event["usage"]
            choices = event.get("choices")
            first: Any = choices[0] if isinstance(choices, list) and choices else None
            choice: dict[str, Any] = first if isinstance(first, dict) else {}
            delta: Any = choice.get("delta")
            delta = delta if isinstance(delta, dict) else {"content": choice.get("text")}
            thought = delta.get("reasoning_content") or delta.get("reasoning")  # some send both, with the same text
            for text, thinks in ((thought, True), (delta.get("content"), False)):
                if isinstance(text, str) and text:
                    yield TextPiece(text, thinks, _logprobs(choice.get("logprobs")))
            _join_calls(calls, delta.get("tool_calls"))
            if isinstance(choice.get("finish_reason"), str):
                self.finish = "length" if choice["finish_reason"] == "length" else "stop"
                yield from map(_written_call, calls.values())
                calls = {}
        if self.finish is None and not self._events.cancelled:
            raise EndpointError(f"{self._events.host} broke off in the middle of a text; look at its log")

    def cancel(self) -> None:
        """End it now, from any thread; a second call does nothing."""
        if self.finish is None:
            self.finish = "cancelled"
        self._events.cancel()


def _join_calls(calls: dict[int, dict[str, str]], parts: Any) -> None:
    """Put pieces of calls behind what came of each; servers that send whole calls may leave the number away."""
    for place, part in enumerate(parts if isinstance(parts, list) else []):
        function = part.get("function") if isinstance(part, dict) else None
        if not isinstance(function, dict):
            continue
        number = part.get("index")
        call = calls.setdefault(number if isinstance(number, int) else place, {"name": "", "arguments": ""})
        for key in call:
            text = function.get(key)
            call[key] += text if isinstance(text, str) else json.dumps(text) if isinstance(text, dict) else ""


def _written_call(call: Mapping[str, str]) -> TextPiece:
    """A call as models that run here write it. Arguments that are no JSON stay a text, as the server gave them."""
    try:
        arguments = json.loads(call["arguments"] or "{}")
    except (ValueError, RecursionError):
        arguments = call["arguments"]
    written = json.dumps({"name": call["name"], "arguments": arguments}, ensure_ascii=False)
    # A closing tag within an argument would end the call.
    written = written.replace("<", "\\u003c")
    return TextPiece(f"<tool_call>\n{written}\n</tool_call>")


def _logprobs(stated: Any) -> tuple[tuple[str, float, tuple[tuple[str, float], ...]], ...]:
    """(text, logarithm, likeliest) of each token of a piece."""
    rows = stated.get("content") if isinstance(stated, dict) else None
    found = []
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and isinstance(row.get("token"), str) and isinstance(row.get("logprob"), int | float):
            top = [each for each in row.get("top_logprobs") or [] if isinstance(each, dict)]
            likeliest = tuple((str(each.get("token")), _float(each.get("logprob"))) for each in top)
            found.append((row["token"], _float(row["logprob"]), likeliest))
    return tuple(found)


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
