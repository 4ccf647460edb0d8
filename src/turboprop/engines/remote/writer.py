"""Conversations or texts to text, at a model behind an address."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from turboprop.closing import Closing
from turboprop.engines.generation_contract import TextPiece, TextRequest
from turboprop.engines.http_json import EventStream
from turboprop.engines.remote.server import NOT_TAKEN, Server, as_number
from turboprop.errors import EndpointError, UsageError
from turboprop.models.endpoint import CONTEXT

_MOST_STOPS = 4
"""Stop texts that OpenAI's interface takes; all of them are looked for here as well."""
_log = logging.getLogger("turboprop.engines")


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
            if error.status not in NOT_TAKEN:
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
            likeliest = tuple((str(each.get("token")), as_number(each.get("logprob"))) for each in top)
            found.append((row["token"], as_number(row["logprob"]), likeliest))
    return tuple(found)
