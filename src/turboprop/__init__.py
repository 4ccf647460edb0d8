"""TurboProp: a local runtime for code and language models.

The public names are loaded on first use, so importing the package costs nothing: `Index`, the three kinds of models
with their options, results and events, `Settings`, and every error.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # as type checkers know it; importing typing takes 3 of the 45 ms of a warm search
if TYPE_CHECKING:
    from typing import Any

    from turboprop.embed.model import EmbeddingModel as EmbeddingModel
    from turboprop.embed.options import EmbeddingOptions as EmbeddingOptions
    from turboprop.errors import BusyError as BusyError
    from turboprop.errors import DownloadError as DownloadError
    from turboprop.errors import EndpointError as EndpointError
    from turboprop.errors import EngineError as EngineError
    from turboprop.errors import IndexBusyError as IndexBusyError
    from turboprop.errors import IndexDamagedError as IndexDamagedError
    from turboprop.errors import IndexMismatchError as IndexMismatchError
    from turboprop.errors import IndexNotFoundError as IndexNotFoundError
    from turboprop.errors import IndexUntrustedError as IndexUntrustedError
    from turboprop.errors import InputTooLongError as InputTooLongError
    from turboprop.errors import MemoryBudgetError as MemoryBudgetError
    from turboprop.errors import ModelError as ModelError
    from turboprop.errors import ModelFormatError as ModelFormatError
    from turboprop.errors import ModelLoadingError as ModelLoadingError
    from turboprop.errors import ModelNotFoundError as ModelNotFoundError
    from turboprop.errors import ModelUnsupportedError as ModelUnsupportedError
    from turboprop.errors import OutOfMemoryError as OutOfMemoryError
    from turboprop.errors import RepositoryIndexError as RepositoryIndexError
    from turboprop.errors import SettingsError as SettingsError
    from turboprop.errors import StorageError as StorageError
    from turboprop.errors import TurboPropError as TurboPropError
    from turboprop.errors import UsageError as UsageError
    from turboprop.generate.events import DoneEvent as DoneEvent
    from turboprop.generate.events import Generation as Generation
    from turboprop.generate.events import Message as Message
    from turboprop.generate.events import ReasoningEvent as ReasoningEvent
    from turboprop.generate.events import TextEvent as TextEvent
    from turboprop.generate.events import Timings as Timings
    from turboprop.generate.events import TokenLogprob as TokenLogprob
    from turboprop.generate.events import Usage as Usage
    from turboprop.generate.model import GenerationStream as GenerationStream
    from turboprop.generate.model import LanguageModel as LanguageModel
    from turboprop.generate.options import GenerationOptions as GenerationOptions
    from turboprop.index.build import Progress as Progress
    from turboprop.models.tokenizer.named import load_tokenizer as load_tokenizer
    from turboprop.progress import ModelProgress as ModelProgress
    from turboprop.rerank.model import Reranker as Reranker
    from turboprop.settings import Settings as Settings
    from turboprop.settings import load_settings as load_settings
    from turboprop.types import Chunk as Chunk
    from turboprop.types import Hit as Hit
    from turboprop.types import IndexScope as IndexScope
    from turboprop.types import IndexStatus as IndexStatus
    from turboprop.types import IndexSummary as IndexSummary
    from turboprop.types import Refresh as Refresh
    from turboprop.types import SearchFilter as SearchFilter
    from turboprop.workspace.index import Index as Index

_NAMES = {
    "embed.model": ("EmbeddingModel",),
    "embed.options": ("EmbeddingOptions",),
    "errors": (
        "BusyError",
        "DownloadError",
        "EndpointError",
        "EngineError",
        "IndexBusyError",
        "IndexDamagedError",
        "IndexMismatchError",
        "IndexNotFoundError",
        "IndexUntrustedError",
        "InputTooLongError",
        "MemoryBudgetError",
        "ModelError",
        "ModelFormatError",
        "ModelLoadingError",
        "ModelNotFoundError",
        "ModelUnsupportedError",
        "OutOfMemoryError",
        "RepositoryIndexError",
        "SettingsError",
        "StorageError",
        "TurboPropError",
        "UsageError",
    ),
    "generate.events": (
        "DoneEvent",
        "Generation",
        "Message",
        "ReasoningEvent",
        "TextEvent",
        "Timings",
        "TokenLogprob",
        "Usage",
    ),
    "generate.model": (
        "GenerationStream",
        "LanguageModel",
    ),
    "generate.options": ("GenerationOptions",),
    "index.build": ("Progress",),
    "models.tokenizer.named": ("load_tokenizer",),
    "progress": ("ModelProgress",),
    "rerank.model": ("Reranker",),
    "settings": (
        "Settings",
        "load_settings",
    ),
    "types": (
        "Chunk",
        "Hit",
        "IndexScope",
        "IndexStatus",
        "IndexSummary",
        "Refresh",
        "SearchFilter",
    ),
    "workspace.index": ("Index",),
}
_WHERE = {name: f"turboprop.{module}" for module, names in _NAMES.items() for name in names}
__all__ = [
    "BusyError",
    "Chunk",
    "DoneEvent",
    "DownloadError",
    "EmbeddingModel",
    "EmbeddingOptions",
    "EndpointError",
    "EngineError",
    "Generation",
    "GenerationOptions",
    "GenerationStream",
    "Hit",
    "Index",
    "IndexBusyError",
    "IndexDamagedError",
    "IndexMismatchError",
    "IndexNotFoundError",
    "IndexScope",
    "IndexStatus",
    "IndexSummary",
    "IndexUntrustedError",
    "InputTooLongError",
    "LanguageModel",
    "MemoryBudgetError",
    "Message",
    "ModelError",
    "ModelFormatError",
    "ModelLoadingError",
    "ModelNotFoundError",
    "ModelProgress",
    "ModelUnsupportedError",
    "OutOfMemoryError",
    "Progress",
    "ReasoningEvent",
    "Refresh",
    "RepositoryIndexError",
    "Reranker",
    "SearchFilter",
    "Settings",
    "SettingsError",
    "StorageError",
    "TextEvent",
    "Timings",
    "TokenLogprob",
    "TurboPropError",
    "Usage",
    "UsageError",
    "__version__",
    "load_settings",
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
