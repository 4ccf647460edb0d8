"""What can be known of a loaded model without another one beside it: its self-test.

Implementations that get the end token, the prompts or the pooling wrong return plausible vectors, so
each is looked at. Where the catalogue holds golden values, the vectors are compared with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xxhash

import turboprop
from turboprop.embed.options import EmbeddingOptions
from turboprop.errors import EngineError, InputTooLongError
from turboprop.models.catalog import GOLDEN_TEXT
from turboprop.models.families import END_TOKENS
from turboprop.models.tokenizer.load import encode_texts

if TYPE_CHECKING:
    from turboprop.embed.model import EmbeddingModel

_APART = ("def parse(text: str) -> Node:", "The weather in Lisbon is mild.")
_TEXTS = (
    "x",
    "def add(a: int, b: int) -> int:\n    return a + b\n",
    "Wie spät ist es? 現在は何時ですか",
    "SELECT name, count(*) FROM users GROUP BY name HAVING count(*) > 1 ORDER BY 2 DESC;",
)
_SAME = 0.9999
"""Cosine at which two unrelated texts count as one. all-MiniLM-L6-v2 gives these two 0.05, random weights of the
Qwen3-0.6B shape 0.4; a model that overflowed or lost its input gives 1."""
_PADDING = 1e-4
_PADDING_QUANTIZED = 2e-2
_GOLDEN = {"float32": 1e-3, "float16": 2e-3, "bfloat16": 1.5e-2, "int8": 1.5e-2}
_GOLDEN_OTHERS = 6e-2
"""Largest difference of one component. 1e-3 is what fastembed's tests allow for the same values."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, whether it is as it must be, and what was seen."""

    name: str
    ok: bool
    seen: str


def check_model(model: EmbeddingModel) -> list[Check]:
    """Every check. About 30 inputs of up to `max_tokens` tokens go through the model."""
    checks = [*quick_checks(model), *_prompt_checks(model), *_vector_checks(model)]
    if model.tokenizer is None:  # where its limit is, the server knows
        return checks
    return [*checks, *_limit_check(model), *_golden(model)]


def refuse_if_broken(model: EmbeddingModel, remember: Path | None) -> None:
    """The cheap part, at every first load of a model in an engine and a weight format.

    That it passed is noted in the folder `remember`. Raises `EngineError` naming what failed.
    """
    note = None
    if remember is not None:
        key = f"{turboprop.__version__} {model.fingerprint} {model.engine} {model.weights}"
        note = remember / "checked" / xxhash.xxh3_128_hexdigest(key.encode())
        if note.exists():
            return
    failed = [check for check in quick_checks(model) if not check.ok]
    if failed:
        listed = "; ".join(f"{check.name}: {check.seen}" for check in failed)
        raise EngineError(
            f"{model.name} fails its self-test ({listed}). Its files may be damaged or belong to different models: "
            "compare them with `tp model verify`, or try `--weights float32`"
        )
    if note is not None:
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
        except OSError:
            pass  # a cache that cannot be written costs the check at each start, nothing else


def quick_checks(model: EmbeddingModel) -> list[Check]:
    """Tokenizer against weights, end token, finiteness, and that two texts differ: two short inputs."""
    checks = [_end_token(model)] if model.tokenizer is not None else []
    if model.checkpoint.late is not None:
        return [*checks, *_token_checks(model)]
    try:
        first, second = model.embed_documents(_APART, EmbeddingOptions(normalize=True), overlong="truncate")
    except EngineError as error:
        return [*checks, Check("vectors", False, str(error))]
    cosine = float(first @ second)
    empty = not (first.any() and second.any())
    checks.append(Check("vectors", not empty, "all components are zero" if empty else "finite, not zero"))
    checks.append(Check("difference", cosine < _SAME, f"two unrelated texts have a cosine of {cosine:.3f}"))
    return checks


def _token_checks(model: EmbeddingModel) -> list[Check]:
    """That the tokens of two texts differ, which all begin and end alike."""
    try:
        first, second = model.embed_tokens(_APART)
    except EngineError as error:
        return [Check("vectors", False, str(error))]
    cosine = float((first @ second.T).max(1).mean())
    empty = not (first.any() and second.any())
    checks = [Check("vectors", not empty, "all components are zero" if empty else "finite, not zero")]
    return [*checks, Check("difference", cosine < _SAME, f"tokens of unrelated texts have a cosine of {cosine:.3f}")]


def _end_token(model: EmbeddingModel) -> Check:
    tokenizer, checkpoint = model.tokenizer, model.checkpoint
    assert tokenizer is not None
    ids = encode_texts(tokenizer, ["a"])[0]
    shown = " ".join(str(tokenizer.id_to_token(number)) for number in ids)
    end = END_TOKENS.get(checkpoint.family)
    if end and "last" in checkpoint.pooling and tokenizer.token_to_id(end) is not None:
        return Check("end token", ids[-1:] == [tokenizer.token_to_id(end)], f"'a' becomes {shown}, to end with {end}")
    return Check("special tokens", bool(ids), f"'a' becomes {shown}" if ids else "'a' becomes no token at all")


def _prompt_checks(model: EmbeddingModel) -> list[Check]:
    checks = []
    for side, prompt in (("query", model.prompts.query), ("document", model.prompts.document)):
        if not prompt:
            checks.append(Check(f"{side} prompt", True, "none: texts stand bare"))
            continue
        if model.tokenizer is None:
            checks.append(Check(f"{side} prompt", True, repr(prompt)))
            continue
        embed = model.embed_queries if side == "query" else model.embed_documents
        whole = encode_texts(model.tokenizer, [prompt + _TEXTS[1]])[0]
        bare = encode_texts(model.tokenizer, [_TEXTS[1]])[0]
        vectors = embed([_TEXTS[1]], overlong="truncate")
        ok = len(whole) > len(bare) and bool(np.isfinite(vectors).all())
        checks.append(Check(f"{side} prompt", ok, f"{prompt!r}, {len(whole) - len(bare)} tokens"))
    return checks


def _vector_checks(model: EmbeddingModel) -> list[Check]:
    together = model.embed_documents(_TEXTS, overlong="truncate")
    alone = np.concatenate([model.embed_documents([text], overlong="truncate") for text in _TEXTS])
    apart = float(np.abs(together - alone).max()) / max(1e-9, float(np.abs(alone).max()))
    allowed = _PADDING if model.weights == "float32" else _PADDING_QUANTIZED
    finite = bool(np.isfinite(together).all())
    norms = np.linalg.norm(together, axis=1)
    pooled = " and ".join(model.checkpoint.pooling) or "as served"
    checks = [
        Check("pooling", True, f"{pooled}, {model.dimensions} dimensions"),
        Check("padding", apart <= allowed, f"a batch differs from single runs by {apart:.1e} of the largest component"),
        Check("finite", finite, f"{together.size} components" if finite else "some are not finite"),
    ]
    if model.checkpoint.normalize:
        far = float(np.abs(norms - 1).max())
        checks.append(Check("unit length", far < 1e-3, f"lengths differ from 1 by {far:.1e} at most"))
    return checks


def _limit_check(model: EmbeddingModel) -> list[Check]:
    """One input of exactly the limit runs, one of more is refused. At most 2,048 tokens are tried."""
    limit = min(model.max_tokens, 2048)
    options = EmbeddingOptions(max_length=limit)
    text = "word " * (2 * limit)
    try:
        model.embed_documents([text], options)
    except InputTooLongError:
        refused = True
    else:
        refused = False
    vector = model.embed_documents([text], options, overlong="truncate")
    ok = refused and bool(np.isfinite(vector).all())
    said = "refused unless cutting is asked for" if refused else "was cut without being asked for"
    return [Check("long input", ok, f"{limit} tokens run, more {said}")]


def _golden(model: EmbeddingModel) -> list[Check]:
    golden = model.checkpoint.golden
    if not golden or model.dimensions < len(golden):
        return []
    vector = model.embed_documents([GOLDEN_TEXT], EmbeddingOptions(normalize=True))[0]
    differ = float(np.abs(vector[: len(golden)] - np.asarray(golden, np.float32)).max())
    allowed = _GOLDEN.get(model.weights, _GOLDEN_OTHERS)
    seen = f"{GOLDEN_TEXT!r} differs from the published vector by {differ:.1e}, {allowed:.1e} allowed"
    return [Check("golden values", differ <= allowed, seen)]
