"""The native engine: our own kernels, see library.py for the processors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turboprop.engines.contract import EngineOptions, Plan
from turboprop.engines.native.library import refusal
from turboprop.engines.shape import read_language_model, read_shape
from turboprop.errors import EngineError, ModelUnsupportedError

if TYPE_CHECKING:
    from turboprop.engines.native.encoder import NativeEncoder
    from turboprop.engines.paged_generator import PagedGenerator
    from turboprop.models.checkpoint.view import Checkpoint
    from turboprop.models.kind import Kind


def devices() -> list[str]:
    """The processor, where the kernels run on it."""
    if reason := refusal():
        raise EngineError(reason)
    return ["cpu"]


def why_not(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> str | None:
    """That the architecture has no file or not all of what the model needs, that a format is not that of the file, or
    that the kernels do not run here."""
    try:
        _, _, names = (read_language_model if purpose == "language" else read_shape)(checkpoint)
    except ModelUnsupportedError as error:
        return f"is out: {error}"
    if "table" in names:
        return "multiplies matrices, and this is a table to average: int8 would only change its vectors"
    if options.weights != "auto":
        from turboprop.engines.native.weights import format_refusal

        if reason := format_refusal(checkpoint, names, options.weights):
            return reason
    reason = refusal()
    return f"is out: {reason}" if reason else None


def plan(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> Plan:
    """The weight format and the bytes of the converted weights."""
    # Generation brings what a command that searches can do without.
    if purpose == "language":
        from turboprop.engines.native import generate

        return Plan(*generate.plan(checkpoint, options))
    from turboprop.engines.native import encoder

    return Plan(*encoder.plan(checkpoint, options))


def load_encoder(checkpoint: Checkpoint, options: EngineOptions) -> NativeEncoder:
    """See `encoder.load_encoder`."""
    from turboprop.engines.native import encoder

    return encoder.load_encoder(checkpoint, options)


def load_generator(checkpoint: Checkpoint, options: EngineOptions) -> PagedGenerator:
    """See `generate.load_generator`."""
    from turboprop.engines.native import generate

    return generate.load_generator(checkpoint, options)
