"""What an engine reads of a checkpoint before it builds: the architecture, its shape, its weights' names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from turboprop.architectures import architecture
from turboprop.architectures.ops import Architecture
from turboprop.architectures.values import ImpossibleValueError
from turboprop.errors import ModelFormatError, ModelUnsupportedError, OutOfMemoryError
from turboprop.models.checkpoint.view import Checkpoint


def read_shape(checkpoint: Checkpoint) -> tuple[Architecture, Any, Mapping[str, str]]:
    """The architecture, its hyperparameters and its weights' names, all of them there."""
    module = architecture(checkpoint.family)
    with as_format_error(checkpoint):
        hp = module.hyperparameters(checkpoint.config, checkpoint.origin)
        names = module.weight_names(hp, checkpoint.origin, checkpoint.tensors)
    if missing := sorted(name for name in names.values() if name not in checkpoint.tensors):
        listed = ", ".join(missing[:20]) + (f" and {len(missing) - 20} more" if len(missing) > 20 else "")
        raise ModelFormatError(
            f"{checkpoint.name} lacks {len(missing)} tensors that {checkpoint.family} needs: {listed}"
        )
    _check_ranks(checkpoint, names)
    return module, hp, names


def _check_ranks(checkpoint: Checkpoint, names: Mapping[str, str]) -> None:
    """Norms and biases are vectors, all other weights matrices. Raises `ModelFormatError`."""
    for weight, name in names.items():
        shape = checkpoint.tensors[name].shape
        what, _, part = weight.rpartition(".")
        vector = part in ("bias", "rows", "factors") or what.endswith("norm") or weight == "rope_factors"
        if len(shape) != (1 if vector else 2) or 0 in shape:
            raise ModelFormatError(
                f"{checkpoint.name}: the tensor {name!r} has the shape {list(shape)}, which is no "
                f"{'vector' if vector else 'matrix'}; download the model again"
            )


def read_language_model(checkpoint: Checkpoint) -> tuple[Architecture, Any, Mapping[str, str]]:
    """As `read_shape`, with the names of the output head.

    Raises `ModelUnsupportedError` where the model does not generate text.
    """
    module, hp, names = read_shape(checkpoint)
    head = module.head_names(hp, checkpoint.origin, checkpoint.tensors)
    if head is None:
        raise ModelUnsupportedError(
            f"{checkpoint.name} ({checkpoint.family}) is no language model; `tp model list` shows which there are"
        )
    if "head.weight" not in head and checkpoint.config.get("tie_word_embeddings") is False:
        raise ModelUnsupportedError(
            f"{checkpoint.name} has no output head, so it gives embeddings and no text; `tp model list` shows "
            "language models"
        )
    if missing := sorted(name for name in head.values() if name not in checkpoint.tensors):
        raise ModelFormatError(f"{checkpoint.name} lacks {', '.join(missing)}, its output head; download it again")
    _check_ranks(checkpoint, head)
    return module, hp, {**names, **head}


@contextmanager
def as_format_error(checkpoint: Checkpoint) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise ModelFormatError(f"{checkpoint.name}: its configuration does not state {error}") from error
    except ImpossibleValueError as error:
        raise ModelFormatError(f"{checkpoint.name}: its configuration cannot be right: {error}") from error
    except ValueError as error:
        raise ModelUnsupportedError(f"{checkpoint.name}: not supported here: {error}") from error
    except MemoryError as error:
        raise OutOfMemoryError(
            f"{checkpoint.name} does not fit into the free memory: close other programs, or take a smaller model"
        ) from error
    except TypeError as error:  # an engine refuses shapes that do not meet
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise ModelFormatError(f"{checkpoint.name}: tensors do not fit its configuration: {reason}") from error
