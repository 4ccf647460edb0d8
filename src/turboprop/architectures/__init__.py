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
    "gemma2": "turboprop.architectures.gemma2",
    "ministral": "turboprop.architectures.llama",
    "mixtral": "turboprop.architectures.llama",
    "phi3": "turboprop.architectures.phi3",
    "smollm3": "turboprop.architectures.smollm3",
    "granite": "turboprop.architectures.granite",
    "granitemoe": "turboprop.architectures.granite",
    "olmo2": "turboprop.architectures.olmo",
    "olmoe": "turboprop.architectures.olmo",
    "qwen2_moe": "turboprop.architectures.qwen_moe",
    "qwen2moe": "turboprop.architectures.qwen_moe",
    "qwen3_moe": "turboprop.architectures.qwen_moe",
    "qwen3moe": "turboprop.architectures.qwen_moe",
    "static": "turboprop.architectures.static",
}


def architecture(family: str) -> Architecture:
    """The module of a family. Raises `ModelUnsupportedError` that lists what there is."""
    if family not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ModelUnsupportedError(f"there is no architecture {family or '(none stated)'!r} here; known: {known}")
    return cast("Architecture", import_module(FAMILIES[family]))
