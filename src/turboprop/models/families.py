"""What is true of a model by its family and name, where neither its files nor the catalogue say it.

A GGUF file states neither prompts nor the widths that its vectors may be cut to, and nobody's file states
that nomic-embed-text-v1.5 is normalised before it is cut. Facts are from the model cards. A model is
recognised by its family and its name: `general.name` and the like in a GGUF file, `_name_or_path` in
config.json, the name it was asked for by, the names of its file and folder. A renamed file without any of
these is run bare: wrong prompts would be worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from turboprop.types import Prompts

_NOMIC_CODE = "Represent this query for searching relevant code: "
_QWEN3_CODE = "Instruct: Given a code search query, retrieve code that answers the query\nQuery:"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """`widths` are the dimensions that the model was trained to be cut to, smallest first; with `from_width`
    every width from it to the full one."""

    prompts: Prompts = field(default_factory=Prompts)
    widths: tuple[int, ...] = ()
    from_width: int = 0
    layer_norm_before_cut: bool = False

    def all_widths(self, full: int) -> Sequence[int]:
        """The widths below `full` that a vector may be cut to."""
        return range(self.from_width, full) if self.from_width else self.widths


# (families, pattern of the name in lower case with - for every other sign, facts); the first match counts.
_FACTS: tuple[tuple[frozenset[str], re.Pattern[str], ModelFacts], ...] = (
    (
        frozenset({"qwen3"}),
        re.compile("qwen3-(embedding|0-6b-embedding|4b-embedding|8b-embedding)"),
        ModelFacts(Prompts(query=_QWEN3_CODE), from_width=32),
    ),
    (
        frozenset({"qwen2"}),
        re.compile("nomic-embed-code"),
        ModelFacts(Prompts(query=_NOMIC_CODE)),
    ),
    (
        frozenset({"nomic-bert", "nomic_bert"}),
        re.compile("coderankembed|code-rank-embed"),
        ModelFacts(Prompts(query=_NOMIC_CODE)),
    ),
    (
        frozenset({"nomic-bert", "nomic_bert"}),
        re.compile(r"nomic-embed-text-v1-5"),
        ModelFacts(Prompts("search_query: ", "search_document: "), (64, 128, 256, 512), layer_norm_before_cut=True),
    ),
    (
        frozenset({"nomic-bert", "nomic_bert"}),
        re.compile("nomic-embed-text"),
        ModelFacts(Prompts("search_query: ", "search_document: ")),
    ),
    (
        frozenset({"gemma-embedding", "gemma3_text"}),
        re.compile("embeddinggemma|embedding-gemma"),
        ModelFacts(Prompts("task: code retrieval | query: ", "title: none | text: "), (128, 256, 512)),
    ),
    (
        frozenset({"bert"}),
        re.compile("bge-(small|base|large)-en-v1-5|snowflake-arctic-embed-(xs|s|m|l)(-v1-5)?(-|$)"),
        ModelFacts(Prompts(query="Represent this sentence for searching relevant passages: ")),
    ),
)


def model_facts(family: str | None, names: Sequence[str]) -> ModelFacts:
    """The facts of the first row whose family is `family` (None: any) and whose pattern occurs in one of `names`."""
    plain = [re.sub(r"[^a-z0-9]+", "-", name.lower()) for name in names]
    for families, pattern, facts in _FACTS:
        if (family is None or family in families) and any(pattern.search(name) for name in plain):
            return facts
    return ModelFacts()


END_TOKENS = {"qwen3": "<|endoftext|>"}
"""The token that ends every input of a family's embedding models. Early and third-party GGUF files of
Qwen3-Embedding lack `tokenizer.ggml.add_eos_token`, so it is appended where a tokenizer appends nothing."""
