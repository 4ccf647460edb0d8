"""TurboProp: a local runtime for code and language models.

The public names are loaded on first use, so importing the package costs nothing:
`Index`, `EmbeddingModel`, `EmbeddingOptions`, `Reranker`, `LanguageModel`, `GenerationOptions`, `Message`,
`load_tokenizer`, `Hit`, `Chunk`, `SearchFilter` and the errors.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # as type checkers know it; importing typing takes 3 of the 45 ms of a warm search
if TYPE_CHECKING:
    from typing import Any

    from turboprop.embed.model import EmbeddingModel as EmbeddingModel
    from turboprop.embed.options import EmbeddingOptions as EmbeddingOptions
    from turboprop.errors import TurboPropError as TurboPropError
    from turboprop.generate.events import Message as Message
    from turboprop.generate.model import LanguageModel as LanguageModel
    from turboprop.generate.options import GenerationOptions as GenerationOptions
    from turboprop.models.named_tokenizer import load_tokenizer as load_tokenizer
    from turboprop.rerank.model import Reranker as Reranker
    from turboprop.types import Chunk as Chunk
    from turboprop.types import Hit as Hit
    from turboprop.types import SearchFilter as SearchFilter
    from turboprop.workspace.index import Index as Index

_WHERE = {
    "Index": "turboprop.workspace.index",
    "EmbeddingModel": "turboprop.embed.model",
    "EmbeddingOptions": "turboprop.embed.options",
    "GenerationOptions": "turboprop.generate.options",
    "LanguageModel": "turboprop.generate.model",
    "Message": "turboprop.generate.events",
    "Reranker": "turboprop.rerank.model",
    "load_tokenizer": "turboprop.models.named_tokenizer",
    "Chunk": "turboprop.types",
    "Hit": "turboprop.types",
    "SearchFilter": "turboprop.types",
    "TurboPropError": "turboprop.errors",
}
__all__ = [
    "Chunk",
    "EmbeddingModel",
    "EmbeddingOptions",
    "GenerationOptions",
    "Hit",
    "Index",
    "LanguageModel",
    "Message",
    "Reranker",
    "SearchFilter",
    "TurboPropError",
    "__version__",
    "load_tokenizer",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _WHERE:
        value = getattr(import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'turboprop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
