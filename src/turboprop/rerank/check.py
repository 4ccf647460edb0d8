"""What can be known of a loaded reranker without another one beside it: its self-test.

A reranker whose head, special tokens or prompt are read wrongly still gives scores, and they differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from turboprop.embed.check import Check
from turboprop.errors import EngineError
from turboprop.models.tokenizer.load import encode_texts

if TYPE_CHECKING:
    from turboprop.rerank.model import Reranker

_QUERY = "how do I parse JSON in Python"
_FITTING = "To parse JSON in Python, import the json module and call json.loads(text), which returns the object."
_UNRELATED = "The weather in Lisbon is mild in spring, with some rain in March."
_TEXTS = (_FITTING, _UNRELATED, "x", "SELECT name, count(*) FROM users GROUP BY name HAVING count(*) > 1;")
_SAME = 1e-5
"""Scores of unrelated texts that are nearer than this are one: the model lost its input."""
_PADDING = 1e-3
_PADDING_QUANTIZED = 0.1
"""What padding may move a log-odds by; activations that are rounded are rounded in other groups."""
_RUN_WHOLE = 2048


def check_reranker(reranker: Reranker) -> list[Check]:
    """Every check. About ten inputs go through the model, one of them of up to 2,048 tokens."""
    served = reranker.checkpoint.endpoint is not None or reranker.is_late  # what it reads is not one input
    checks = [] if served else [_input(reranker)]
    try:
        together = reranker.scores(_QUERY, _TEXTS)
    except EngineError as error:
        return [*checks, Check("scores", False, str(error))]
    fitting, unrelated = float(together[0]), float(together[1])
    apart = float(np.ptp(together))
    seen = f"a text that answers has {fitting:.3f}, one about the weather {unrelated:.3f}"
    checks.append(Check("difference", apart > _SAME, f"scores of four texts lie {apart:.3g} apart"))
    checks.append(Check("order", fitting > unrelated, seen))
    alone = np.concatenate([reranker.scores(_QUERY, [text]) for text in _TEXTS])
    differ = float(np.abs(together - alone).max())
    allowed = _PADDING if reranker.weights == "float32" else _PADDING_QUANTIZED
    checks.append(Check("padding", differ <= allowed, f"a batch differs from single runs by {differ:.1e}"))
    return checks if served else [*checks, _limit(reranker)]


def _input(reranker: Reranker) -> Check:
    """The document's tokens stand whole in the input, with others around them."""
    tokenizer = reranker.checkpoint.tokenizer()
    (one,) = reranker.inputs("a", ["b"])
    (document,) = encode_texts(tokenizer, ["b"], add_special_tokens=False)
    shown = [str(tokenizer.id_to_token(number)) for number in one.ids]
    text = " ".join(shown if len(shown) <= 12 else [*shown[:4], "...", *shown[-8:]])
    told = f"; the second text begins at token {one.second + 1}" if one.second < len(one.ids) else ""
    inside = len(one.ids) > len(document) + 2
    return Check("input", inside, f"'a' and 'b' become {text}{told}")


def _limit(reranker: Reranker) -> Check:
    """A document that is too long is cut to exactly the limit."""
    text = "word " * (2 * reranker.max_tokens)
    (one,) = reranker.inputs(_QUERY, [text])
    ok = len(one.ids) == reranker.max_tokens
    seen = f"a longer document is cut to {len(one.ids)} tokens"
    if reranker.max_tokens <= _RUN_WHOLE:
        ok = ok and bool(np.isfinite(reranker.scores(_QUERY, [text])).all())
        seen += " and runs"
    return Check("long input", ok, seen)
