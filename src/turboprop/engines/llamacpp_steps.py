"""Generation inside the llama.cpp worker: one id a call of its server, which keeps the prompt's state between them.

The server streams text, and of ids that end inside a UTF-8 character it streams nothing. So each id is asked for
by itself: the ids so far are the prompt, all but the last are in the cache, and a call costs 1.1 ms more than the
model does. A request has

    payload      int32 ids of the prompt
    max_tokens, stop_ids, context, logprobs (None or a count), seed
    whole_id     an id of whole characters, of which the server always tells probabilities
    temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty

and is answered by `token` frames (`token`, `cached` with the first, `logprob` and `top` where asked for) and
`done` with `finish`: stop, length or cancelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# A prompt of more is read before the first id in a call of its own, which can be cancelled between batches.
_READ_FIRST = 64
_SEARCHED = 1024
"""Of so many likeliest ids the server tells the probabilities where that of an unfinished character is looked up."""


class RefusedError(Exception):
    """The server refused the request; the message goes to the parent."""


def generate(
    runtime: Any, request: Mapping[str, Any], prompt: list[int], is_cancelled: Callable[[], bool]
) -> Iterator[dict[str, Any]]:
    """The answers to one request, without its id. Raises `RefusedError`."""
    ids = list(prompt)
    cached: int | None = None
    if len(ids) > _READ_FIRST:
        cached = _read(runtime, ids, is_cancelled)
    drawn: Counter[int] = Counter()
    for step in range(request["max_tokens"]):
        if is_cancelled():
            yield {"type": "done", "finish": "cancelled"}
            return
        if len(ids) >= request["context"]:
            break
        answer = _call(runtime, _step(request, ids, drawn, step))
        tokens = answer["__verbose"]["tokens"]
        if len(tokens) != 1:
            raise RefusedError(f"llama.cpp gave {len(tokens)} ids for one")
        token = int(tokens[0])
        if token in request["stop_ids"]:
            yield {"type": "done", "finish": "stop"}
            return
        frame: dict[str, Any] = {"type": "token", "token": token}
        if step == 0:
            frame["cached"] = cached if cached is not None else _cached(answer)
        if request["logprobs"] is not None:
            frame |= _probabilities(runtime, request, ids, token, answer)
        yield frame
        drawn[token] += 1
        ids.append(token)
    yield {"type": "done", "finish": "length"}


def _step(request: Mapping[str, Any], ids: list[int], drawn: Counter[int], step: int) -> dict[str, Any]:
    presence, frequency = request["presence_penalty"], request["frequency_penalty"]
    return {
        "prompt": ids,
        "n_predict": 1,
        "cache_prompt": True,
        "return_tokens": True,
        "n_probs": 0 if request["logprobs"] is None else max(1, request["logprobs"]),
        "samplers": ["penalties", "top_k", "top_p", "min_p", "temperature"],
        "temperature": request["temperature"],
        "top_k": request["top_k"],
        "top_p": request["top_p"],
        "min_p": request["min_p"],
        "repeat_penalty": request["repetition_penalty"],
        "repeat_last_n": request["context"],
        # Its own two count the ids of the prompt as well.
        "logit_bias": [[token, -presence - frequency * count] for token, count in drawn.items()]
        if presence or frequency
        else [],
        # One sampler a call, so each call has a seed of its own; 2^32 - 1 would mean a random one.
        "seed": (request["seed"] * 1_000_003 + step) % 0xFFFF_FFFF,
    }


def _read(runtime: Any, ids: list[int], is_cancelled: Callable[[], bool]) -> int:
    """Bring the prompt into the cache; how many of its ids were there."""
    seen: list[dict[str, Any]] = []

    def told(answer: Any) -> bool:
        # An exception in here would be lost: anything unexpected ends the call.
        if isinstance(answer, dict):
            seen.append(answer)
        return is_cancelled()

    request = {"prompt": ids, "n_predict": 0, "cache_prompt": True, "stream": True, "return_progress": True}
    runtime.handle_completions(request, told)
    for answer in seen:
        if "error" in answer:
            raise RefusedError(f"llama.cpp refused the prompt: {answer['error'].get('message', answer['error'])}")
    return next((int(answer["prompt_progress"]["cache"]) for answer in seen if "prompt_progress" in answer), 0)


def _call(runtime: Any, request: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = runtime.handle_completions(request)
    if "__verbose" not in answer:
        error = answer.get("error", answer)
        raise RefusedError(f"llama.cpp refused the request: {error.get('message', error)}")
    return answer


def _cached(answer: Mapping[str, Any]) -> int:
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


def _probabilities(
    runtime: Any, request: Mapping[str, Any], ids: list[int], token: int, answer: Mapping[str, Any]
) -> dict[str, Any]:
    """Natural logarithms of the model's own probabilities, before penalties and temperature."""
    told = answer["__verbose"].get("completion_probabilities") or []
    if not told:  # an unfinished character: ask again, for a whole one in its place
        step = _step(request, ids, Counter(), 0)
        step |= {"n_probs": max(_SEARCHED, request["logprobs"]), "logit_bias": [[request["whole_id"], 1e4]]}
        told = _call(runtime, step)["__verbose"].get("completion_probabilities") or []
    if not told:
        return {}
    top = [(int(entry["id"]), float(entry["logprob"])) for entry in told[0]["top_logprobs"]]
    known = {**dict(top), int(told[0]["id"]): float(told[0]["logprob"])}
    return {"logprob": known.get(token), "top": top[: request["logprobs"]]}
