"""The OpenVINO engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turboprop.architectures import FAMILIES
from turboprop.engines.contract import EngineOptions, Plan

if TYPE_CHECKING:
    from turboprop.models.checkpoint import Checkpoint
    from turboprop.models.kind import Kind


def devices() -> list[str]:
    return ["cpu"]


def why_not(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> str | None:
    if checkpoint.family not in FAMILIES:
        return f"has no file for the architecture {checkpoint.family or '(none stated)'}"
    if options.weights == "stored" and purpose != "language":
        return "has weights as stored for language models alone"
    return None


def plan(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> Plan:
    from turboprop.engines import openvino, openvino_generate

    made: Any = openvino_generate if purpose == "language" else openvino
    weights, size = made.plan(checkpoint, options)
    return Plan(weights, size, padded_to=16)


def load_encoder(checkpoint: Checkpoint, options: EngineOptions) -> Any:
    from turboprop.engines import openvino

    return openvino.load_encoder(checkpoint, options)


def load_generator(checkpoint: Checkpoint, options: EngineOptions) -> Any:
    from turboprop.engines import openvino_generate

    return openvino_generate.load_generator(checkpoint, options)
