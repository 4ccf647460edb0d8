"""A model in an engine named, without the choice beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from turboprop.engines import registry
from turboprop.engines.contract import Encoder, EngineOptions
from turboprop.engines.generation_contract import Generator
from turboprop.models.checkpoint.view import Checkpoint

PLAIN = EngineOptions()


def load_encoder(checkpoint: Checkpoint, engine: str, options: EngineOptions = PLAIN) -> Encoder:
    """What embeds with a checkpoint in the engine named; `auto` is a name, too."""
    return registry.load_encoder(checkpoint, replace(options, engine=engine))[0]


def load_generator(checkpoint: Checkpoint, engine: str, options: EngineOptions = PLAIN) -> Generator:
    """The same of what writes."""
    return registry.load_generator(checkpoint, replace(options, engine=engine))[0]


def chosen(checkpoint: Checkpoint, engine: str = "auto", weights: Any = "auto") -> registry.Choice:
    """What would embed with it."""
    return registry.choose(checkpoint, "embedding", EngineOptions(weights, engine=engine))
