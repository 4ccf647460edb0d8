"""What the adapters share: a model by its name or as it is, and a sentence where the framework is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from turboprop.embed.model import EmbeddingModel
from turboprop.errors import UsageError

if TYPE_CHECKING:
    from turboprop.types import Hit


@contextlib.contextmanager
def framework(package: str) -> Iterator[None]:
    """Around the imports of a framework. Raises `ImportError` that says what to install."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f"this adapter needs {package}: pip install {package} ({error})") from error


def embedding_model(model: EmbeddingModel | str | None, options: dict[str, Any]) -> EmbeddingModel:
    """A loaded model, or the one that a name and the options of `EmbeddingModel.load` give. Raises as that does, and
    `UsageError` for options beside a model that is loaded."""
    if isinstance(model, EmbeddingModel):
        if options:
            raise UsageError(f"{', '.join(options)}: a loaded model has its options; give them to EmbeddingModel.load")
        return model
    return EmbeddingModel.load(model, **options)


def about(hit: Hit) -> dict[str, Any]:
    """What is told of a hit beside its text."""
    return {
        "path": hit.path,
        "start_line": hit.start_line,
        "end_line": hit.end_line,
        "symbol": hit.symbol,
        "score": hit.score,
        "sure": hit.sure,
    }
