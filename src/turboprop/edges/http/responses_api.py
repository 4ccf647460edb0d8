"""`POST /v1/responses`: OpenAI's newer interface. What was said before is kept in memory, for a while."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictInt, StrictStr
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from turboprop import limits
from turboprop.edges.http.chat import ContentPart
from turboprop.edges.http.conversation import Answer, CallEvent, Conversation, Event, chosen, talk, whole
from turboprop.edges.http.failures import Failure, RequestError
from turboprop.edges.http.generation import EndEvent
from turboprop.edges.http.kept import KeptResponse
from turboprop.edges.http.schemas import ForeignBody, MaxTokens, Number, UpTo10000
from turboprop.edges.http.state import read_model, state_of, tell
from turboprop.edges.http.streams import EventStream, sse, told_errors, until_gone
from turboprop.edges.http.tools import Name, rendered_call, rendered_tool
from turboprop.generate.events import ReasoningEvent
from turboprop.generate.options import GenerationOptions
from turboprop.generate.tools import closed

if TYPE_CHECKING:
    from starlette.requests import Request

    from turboprop.edges.http.state import ServerState

_MOST_LISTED = 100
_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
NOT_OFFERED = "X-TurboProp-Tools-Not-Offered"


class Item(ForeignBody):
    """A message, a call, what came of a call, or a thought; which fields count depends on the type."""

    type: StrictStr | None = None
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: StrictStr | UpTo10000[ContentPart] | None = None
    id: StrictStr | None = None
    status: StrictStr | None = None
    call_id: StrictStr | None = None
    name: Name | None = None
    arguments: StrictStr | None = None
    output: StrictStr | UpTo10000[ContentPart] | None = None


class TextFormat(ForeignBody):
    type: Literal["text", "json_object", "json_schema"]
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    name: StrictStr | None = None
    strict: bool | None = None
    description: StrictStr | None = None


class TextOptions(ForeignBody):
    format: TextFormat | None = None


class ReasoningOptions(ForeignBody):
    effort: StrictStr | None = None
    summary: StrictStr | None = None


class ResponsesTool(ForeignBody):
    type: StrictStr
    name: Name | None = None
    description: StrictStr | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedTool(ForeignBody):
    type: StrictStr
    name: Name | None = None


class ChosenTool(NamedTool):
    """A function, or of the type `allowed_tools` several."""

    mode: Literal["auto", "required"] | None = None
    tools: Annotated[list[NamedTool], Field(max_length=512, fail_fast=True)] | None = None


class ResponsesRequest(ForeignBody):
    """As at OpenAI, without what only it has."""

    not_done: ClassVar[Mapping[str, str]] = {
        "background": "an answer is given at once; leave it away",
        "conversation": "give previous_response_id, or the items",
        "prompt": "no prompts are kept here; give instructions and input",
        "top_logprobs": "no logprobs are told here; ask /v1/chat/completions",
        "max_tool_calls": "this server calls no tools by itself",
    }

    input: StrictStr | UpTo10000[Item]
    model: StrictStr | None = None
    instructions: StrictStr | None = None
    max_output_tokens: MaxTokens = None
    temperature: Annotated[Number, limits.TEMPERATURE] | None = None
    top_p: Annotated[Number, limits.TOP_P] | None = None
    seed: StrictInt | None = None
    stream: bool | None = None
    tools: Annotated[list[ResponsesTool], Field(max_length=512, fail_fast=True)] | None = None
    tool_choice: Literal["auto", "none", "required"] | ChosenTool | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    previous_response_id: StrictStr | None = None
    store: bool | None = None
    parallel_tool_calls: bool | None = None
    truncation: StrictStr | None = None
    metadata: dict[str, StrictStr] | None = None

    def plain(self) -> list[dict[str, Any]]:
        """The input as a prompt takes it; calls that follow each other are of one message."""
        if isinstance(self.input, str):
            return [{"role": "user", "content": self.input}]
        made: list[dict[str, Any]] = []
        for number, item in enumerate(self.input):
            kind = item.type or "message"
            if kind == "message" and item.role is not None:
                role = "system" if item.role == "developer" else item.role
                made.append({"role": role, "content": _joined(item.content)})
            elif kind == "function_call" and item.name is not None:
                call = rendered_call(item.name, item.arguments or "{}")
                if not made or made[-1]["role"] != "assistant":
                    made.append({"role": "assistant", "content": ""})
                made[-1].setdefault("tool_calls", []).append(call)
            elif kind == "function_call_output":
                made.append({"role": "tool", "content": _joined(item.output)})
            elif kind != "reasoning":
                raise RequestError(
                    400, f"input.{number}: an item of the type {kind[:40]!r} is not read here", None, "input"
                )
        return made

    def items(self) -> list[dict[str, Any]]:
        """The input as `/input_items` lists it."""
        given = [Item(role="user", content=self.input)] if isinstance(self.input, str) else self.input
        return [_listed(item) for item in given]

    def conversation(self, before: list[dict[str, Any]]) -> Conversation:
        """What is asked, after what was said. Raises `UsageError` or `RequestError`."""
        functions = [tool for tool in self.tools or () if tool.type == "function" and tool.name]
        offered = [rendered_tool(each.name or "", each.description, each.parameters) for each in functions]
        tools, forced = self._chosen(offered)
        form = self.text.format if self.text else None
        effort = self.reasoning.effort if self.reasoning else None
        sampling = {name: getattr(self, name) for name in ("temperature", "top_p")}
        options = GenerationOptions(
            **{name: value for name, value in sampling.items() if value is not None},
            seed=None if self.seed is None else self.seed % 2**63,
            max_tokens=self.max_output_tokens,
            json_schema=None if form is None or form.type == "text" else closed(form.schema_ or {"type": "object"}),
            reasoning=None if effort is None else effort not in ("none", "minimal"),
        )
        system = [{"role": "system", "content": self.instructions}] if self.instructions else []
        return Conversation(_with_one_system([*system, *before, *self.plain()]), options, tools, forced)

    def _chosen(self, offered: list[dict[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], bool]:
        """The tools that may be called, and whether one has to be. Raises `RequestError`."""
        choice = self.tool_choice
        if not isinstance(choice, ChosenTool):
            return chosen(offered, choice or "auto")
        several = choice.type == "allowed_tools"
        names = []
        for tool in (choice.tools or ()) if several else (choice,):
            if tool.type != "function" or tool.name is None:
                said = f"tool_choice names a tool of the type {tool.type[:40]!r}; only functions are called, by name"
                raise RequestError(400, said, "unsupported_value", "tool_choice")
            names.append(tool.name)
        found = [chosen(offered, "auto", name)[0] for name in dict.fromkeys(names)]
        return chosen([tool for tools in found for tool in tools], "required" if not several else choice.mode or "auto")


class ResponsesAnswer(TypedDict):
    id: str
    object: Literal["response"]
    created_at: int
    status: str
    model: str
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None


async def create_response(request: Request) -> Response:
    """Answer a conversation."""
    state = state_of(request)
    wanted = await read_model(request, ResponsesRequest)
    others = [tool.type[:100] for tool in wanted.tools or () if tool.type != "function"]
    if others:
        tell(request, NOT_OFFERED, ", ".join(others))
    return await until_gone(request, _answer(state, wanted))


class ItemList(TypedDict):
    object: Literal["list"]
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedAnswer(TypedDict):
    id: str
    object: Literal["response"]
    deleted: bool


async def retrieve_response(request: Request) -> Response:
    """A response that is kept."""
    return JSONResponse(state_of(request).responses.get(request.path_params["id"]).answer)


async def delete_response(request: Request) -> Response:
    """Let a response go."""
    number = request.path_params["id"]
    state_of(request).responses.forget(number)
    return JSONResponse({"id": number, "object": "response", "deleted": True})


async def list_input_items(request: Request) -> Response:
    """What a response that is kept had as input, the last item first unless `order` is `asc`."""
    items = state_of(request).responses.get(request.path_params["id"]).items
    asked = request.query_params
    order, after, limit = asked.get("order", "desc"), asked.get("after"), asked.get("limit", "20")
    if order not in ("asc", "desc"):
        raise RequestError(400, "order is asc or desc", "invalid_value", "order")
    if not (limit.isascii() and limit.isdecimal() and len(limit) < 4 and 1 <= int(limit) <= _MOST_LISTED):
        raise RequestError(400, f"limit is a whole number from 1 to {_MOST_LISTED}", "invalid_value", "limit")
    rows = items if order == "asc" else items[::-1]
    if after is not None:
        at = next((place for place, row in enumerate(rows, 1) if row["id"] == after), None)
        if at is None:
            raise RequestError(400, "after names no item of this response", "invalid_value", "after")
        rows = rows[at:]
    page = rows[: int(limit)]
    ends = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    answer: ItemList = {
        "object": "list",
        "data": page,
        "first_id": ends[0],
        "last_id": ends[1],
        "has_more": len(rows) > len(page),
    }
    return JSONResponse(answer)


def _listed(item: Item) -> dict[str, Any]:
    kind = item.type or "message"
    row: dict[str, Any] = item.model_dump(exclude_none=True, exclude={"content"})
    row |= {"type": kind, "status": item.status or "completed"}
    row.setdefault("id", f"{_PREFIXES.get(kind, 'item')}_{secrets.token_hex(12)}")
    if item.content is not None:
        text = "output_text" if item.role == "assistant" else "input_text"
        row["content"] = [{"type": text, "text": _joined(item.content)}]
    return row


async def _answer(state: ServerState, wanted: ResponsesRequest) -> Response:
    name = await state.in_thread(state.names.language, wanted.model)
    earlier = wanted.previous_response_id
    before = state.responses.get(earlier, "previous_response_id").messages if earlier else []
    number = f"resp_{secrets.token_hex(24)}"
    frame = _frame(number, wanted, wanted.model or state.names.public(name))

    def keep(answer: Answer, told: dict[str, Any]) -> None:
        if wanted.store is not False:
            said: dict[str, Any] = {"role": "assistant", "content": answer.text}
            if answer.calls:
                said["tool_calls"] = [rendered_call(call.name, call.arguments) for call in answer.calls]
            state.responses.keep(number, KeptResponse([*before, *wanted.plain(), said], wanted.items(), told))

    async with AsyncExitStack() as held:
        events = await talk(state, held, name, wanted.conversation(before))
        if not wanted.stream:
            (answer,) = await whole(events)
            told = _ended(frame, answer)
            keep(answer, told)
            return JSONResponse(told)
        events_sent = count()
        chunks = told_errors(
            state, _chunks(events, frame, keep, events_sent), tell=lambda found: _told(found, frame, events_sent)
        )
        return EventStream(chunks, held.pop_all(), stall_seconds=state.limits.stall_seconds)


def _frame(number: str, wanted: ResponsesRequest, model: str) -> dict[str, Any]:
    form = wanted.text.format if wanted.text else None
    choice = wanted.tool_choice or "auto"
    return {
        "id": number,
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": wanted.instructions,
        "max_output_tokens": wanted.max_output_tokens,
        "metadata": wanted.metadata or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": wanted.parallel_tool_calls is not False,
        "previous_response_id": wanted.previous_response_id,
        "reasoning": {"effort": wanted.reasoning.effort if wanted.reasoning else None, "summary": None},
        "store": wanted.store is not False,
        "temperature": wanted.temperature,
        "text": {"format": form.model_dump(by_alias=True, exclude_none=True) if form else {"type": "text"}},
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(exclude_none=True),
        "tools": [tool.model_dump() for tool in wanted.tools or ()],
        "top_p": wanted.top_p,
        "truncation": "disabled",
        "usage": None,
    }


def _ended(frame: dict[str, Any], answer: Answer, output: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    usage = answer.end.done.usage
    cut = answer.end.reason == "length"
    return {
        **frame,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": list(_items(answer)) if output is None else output,
        "usage": {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {"cached_tokens": usage.cached_tokens},
            "output_tokens": usage.generated_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.prompt_tokens + usage.generated_tokens,
        },
    }


def _items(answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.reasoning:
        yield _thoughts(answer.reasoning)
    if answer.text or not answer.calls:
        yield _message(answer.text)
    for call in answer.calls:
        yield _call(call)


def _thoughts(text: str) -> dict[str, Any]:
    part = {"type": "reasoning_text", "text": text}
    return {"id": f"rs_{secrets.token_hex(12)}", "type": "reasoning", "summary": [], "content": [part]}


def _message(text: str, status: str = "completed") -> dict[str, Any]:
    number = f"msg_{secrets.token_hex(12)}"
    return {"id": number, "type": "message", "status": status, "role": "assistant", "content": [_part(text)]}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call(call: CallEvent) -> dict[str, Any]:
    told = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
    return {"id": f"fc_{secrets.token_hex(12)}", "type": "function_call", "status": "completed", **told}


async def _chunks(
    events: AsyncIterator[tuple[int, Event]], frame: dict[str, Any], keep: Any, numbers: Iterator[int]
) -> AsyncIterator[bytes]:
    def tell(kind: str, **more: Any) -> bytes:
        return sse({"type": kind, "sequence_number": next(numbers), **more}, kind)

    yield tell("response.created", response=frame)
    yield tell("response.in_progress", response=frame)
    output: list[dict[str, Any]] = []
    open_item: dict[str, Any] | None = None
    texts: dict[str, str] = {"message": "", "reasoning": ""}
    calls: list[CallEvent] = []

    def closing() -> Iterator[bytes]:
        nonlocal open_item
        item = open_item
        if item is None:
            return
        open_item = None
        where = {"item_id": item["id"], "output_index": len(output), "content_index": 0}
        part = item["content"][0]
        if item["type"] == "message":
            item["status"] = "completed"
            yield tell("response.output_text.done", **where, text=part["text"], logprobs=[])
        else:
            yield tell("response.reasoning_text.done", **where, text=part["text"])
        yield tell("response.content_part.done", **where, part=part)
        yield tell("response.output_item.done", output_index=len(output), item=item)
        output.append(item)

    async for _, event in events:
        if isinstance(event, EndEvent):
            for chunk in closing():
                yield chunk
            answer = Answer(event, texts["message"], texts["reasoning"], calls)
            made = _ended(frame, answer, output)
            keep(answer, made)
            yield tell(f"response.{made['status']}", response=made)
        elif isinstance(event, CallEvent):
            for chunk in closing():
                yield chunk
            calls.append(event)
            item = _call(event)
            where = {"item_id": item["id"], "output_index": len(output)}
            begun = {**item, "status": "in_progress", "arguments": ""}
            yield tell("response.output_item.added", output_index=len(output), item=begun)
            yield tell("response.function_call_arguments.delta", **where, delta=event.arguments)
            yield tell("response.function_call_arguments.done", **where, name=event.name, arguments=event.arguments)
            yield tell("response.output_item.done", output_index=len(output), item=item)
            output.append(item)
        elif event.text:
            kind = "reasoning" if isinstance(event, ReasoningEvent) else "message"
            if open_item is None or open_item["type"] != kind:
                for chunk in closing():
                    yield chunk
                open_item = _thoughts("") if kind == "reasoning" else _message("", "in_progress")
                part = open_item["content"][0]
                where = {"item_id": open_item["id"], "output_index": len(output), "content_index": 0}
                added = {**open_item, "content": []}
                yield tell("response.output_item.added", output_index=len(output), item=added)
                yield tell("response.content_part.added", **where, part=dict(part))
            texts[kind] += event.text
            part = open_item["content"][0]
            part["text"] += event.text
            where = {"item_id": open_item["id"], "output_index": len(output), "content_index": 0}
            if kind == "message":
                yield tell("response.output_text.delta", **where, delta=event.text, logprobs=[])
            else:
                yield tell("response.reasoning_text.delta", **where, delta=event.text)


def _told(failure: Failure, frame: dict[str, Any], numbers: Iterator[int]) -> bytes:
    """The two events that end a stream that failed."""
    told = {"code": failure.code, "message": failure.message, "param": failure.param}
    error = sse({"type": "error", "sequence_number": next(numbers), **told}, "error")
    failed = {
        **frame,
        "status": "failed",
        "error": {"code": failure.code or "server_error", "message": failure.message},
    }
    kind = "response.failed"
    return error + sse({"type": kind, "sequence_number": next(numbers), "response": failed}, kind)


def _joined(content: str | list[ContentPart] | None) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.text or part.refusal or "" for part in content or ())


def _with_one_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is said as system or developer, in one message at the beginning, where templates want it."""
    system = "\n\n".join(each["content"] for each in messages if each["role"] == "system")
    rest = [each for each in messages if each["role"] != "system"]
    return [{"role": "system", "content": system}, *rest] if system else rest
