"""One file an architecture, written in the vocabulary of `ops`; one row a family below."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from turboprop.errors import ModelUnsupportedError

if TYPE_CHECKING:
    from turboprop.architectures.ops import Architecture

# The family is `model_type` of config.json or `general.architecture` of a GGUF file.
FAMILIES = {
    "bert": "turboprop.architectures.bert",
    "roberta": "turboprop.architectures.bert",
    "xlm-roberta": "turboprop.architectures.bert",
    "camembert": "turboprop.architectures.bert",
    "distilbert": "turboprop.architectures.distilbert",
    "nomic_bert": "turboprop.architectures.nomic_bert",
    "nomic-bert": "turboprop.architectures.nomic_bert",
    "modernbert": "turboprop.architectures.modernbert",
    "modern-bert": "turboprop.architectures.modernbert",
    "qwen2": "turboprop.architectures.qwen2",
    "qwen3": "turboprop.architectures.qwen3",
    "llama": "turboprop.architectures.llama",
    "mistral": "turboprop.architectures.llama",
    "phi": "turboprop.architectures.phi2",
    "phi2": "turboprop.architectures.phi2",
    "gemma3_text": "turboprop.architectures.gemma3",
    "gemma3": "turboprop.architectures.gemma3",
    "gemma-embedding": "turboprop.architectures.gemma3",
    "static": "turboprop.architectures.static",
}


def architecture(family: str) -> Architecture:
    """The module of a family. Raises `ModelUnsupportedError` that lists what there is."""
    if family not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ModelUnsupportedError(f"there is no architecture {family or '(none stated)'!r} here; known: {known}")
    return cast("Architecture", import_module(FAMILIES[family]))
