"""Which engines there are, one row each, and which one runs a model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from turboprop.engines.contract import EngineOptions, Plan
from turboprop.errors import EngineError, ModelUnsupportedError, UsageError
from turboprop.types import WEIGHT_FORMATS, WeightFormat

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from turboprop.engines.contract import Encoder, EngineModule
    from turboprop.engines.generation_contract import Generator
    from turboprop.models.checkpoint.view import Checkpoint, FileFormat
    from turboprop.models.kind import Kind

_FILES = {
    "safetensors": "a safetensors folder",
    "gguf": "a GGUF file",
    "onnx": "an ONNX export",
    "endpoint": "an endpoint",
}
_PURPOSES = {"embedding": "embedding models", "language": "language models", "reranker": "rerankers"}


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine. `module` has the functions of `contract.EngineModule`; `suits` says what it is good for.

    `package` is a module that has to be installed, as it is with the extra `extra` of ours.
    """

    name: str
    module: str
    suits: str
    reads: tuple[FileFormat, ...]
    purposes: tuple[Kind, ...]
    formats: tuple[WeightFormat, ...]
    devices: tuple[str, ...] = ("cpu",)
    package: str | None = None
    extra: str | None = None
    merges: bool = False
    """Whether it reads weights through the checkpoint, which has an adapter's part in them, or runs the file itself."""
    tokenizes: bool = False
    """Whether it tokenizes texts itself where a file's rules are not known here."""

    @property
    def missing(self) -> str | None:
        """That its package is not installed, and the command that installs it."""
        if self.package is None or find_spec(self.package) is not None:
            return None
        return f"needs the package {self.package}, which is not installed: pip install 'turboprop-local[{self.extra}]'"

    def load(self) -> EngineModule:
        """Its module."""
        return cast("EngineModule", import_module(self.module))


ENGINES = (
    Engine(
        "native",
        "turboprop.engines.native.engine",
        "kernels of our own suit its architecture and this processor",
        reads=("safetensors", "gguf"),
        purposes=("embedding", "language", "reranker"),
        formats=("auto", "float32", "float16", "bfloat16", "int8", "int4", "stored"),
        merges=True,
    ),
    Engine(
        "onnx",
        "turboprop.engines.onnx",
        "ONNX Runtime runs ONNX exports",
        reads=("onnx",),
        purposes=("embedding",),
        formats=("auto",),
        package="onnxruntime",
        extra="onnx",
    ),
    Engine(
        "llamacpp",
        "turboprop.engines.llamacpp",
        "llama.cpp may know an architecture that has no file here",
        reads=("gguf",),
        purposes=("embedding", "language", "reranker"),
        formats=("auto",),
        package="xllamacpp",
        extra="llamacpp",
        tokenizes=True,
    ),
    Engine(
        "remote",
        "turboprop.engines.remote",
        "it runs behind an address",
        reads=("endpoint",),
        purposes=("embedding", "language", "reranker"),
        formats=("auto",),
        devices=("remote",),
    ),
    Engine(
        "numpy",
        "turboprop.engines.numpy_engine",
        "numpy runs its architecture anywhere",
        reads=("safetensors", "gguf"),
        purposes=("embedding", "language", "reranker"),
        formats=("auto", "float32"),
        merges=True,
    ),
)
"""In the order in which `auto` tries them."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An engine, in words why it is the one, and how it runs the model."""

    engine: Engine
    reason: str
    plan: Plan

    @property
    def name(self) -> str:
        """The engine's name."""
        return self.engine.name


@dataclass(frozen=True, slots=True)
class _Objection:
    engine: Engine
    why: str


def choose(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> Choice:
    """The engine that runs a model: the one of `options`, of `auto` the first that has no objection.

    Raises `UsageError` for an engine, a weight format or a device that is none; where no engine can run the model,
    `ModelUnsupportedError` (`EngineError` where a package is missing) with every objection, of an engine asked for by
    name with its own. Nothing is loaded.
    """
    _check_words(options)
    objections: list[_Objection] = []
    for engine in ENGINES:
        if options.engine not in ("auto", engine.name):
            continue
        if options.engine == "auto" and checkpoint.file_format not in engine.reads:
            continue
        if why := _objection(engine, checkpoint, purpose, options):
            objections.append(_Objection(engine, why))
            continue
        reason = "asked for" if options.engine != "auto" else engine.suits
        reason += "".join(f"; {each.engine.name} {each.why}" for each in objections)
        return Choice(engine, reason, engine.load().plan(checkpoint, purpose, options))
    error = EngineError if any(each.engine.missing == each.why for each in objections) else ModelUnsupportedError
    raise error(_refusal(checkpoint, purpose, options, objections))


def _check_words(options: EngineOptions) -> None:
    names = [engine.name for engine in ENGINES]
    if options.engine not in ("auto", *names):
        raise UsageError(f"there is no engine {options.engine!r}; there are: auto, {', '.join(names)}")
    if options.weights not in WEIGHT_FORMATS:
        raise UsageError(f"there is no weight format {options.weights!r}; there are: {', '.join(WEIGHT_FORMATS)}")
    devices = dict.fromkeys(device for engine in ENGINES for device in engine.devices)
    if options.device not in ("auto", *devices):
        raise UsageError(f"there is no device {options.device!r}; there are: auto, {', '.join(devices)}")


def _objection(engine: Engine, checkpoint: Checkpoint, purpose: Kind, options: EngineOptions) -> str | None:
    if checkpoint.file_format not in engine.reads:
        known = ", ".join(_FILES[each] for each in engine.reads)
        return f"reads {known}, and this is {_FILES[checkpoint.file_format]}"
    if purpose not in engine.purposes:
        return f"runs no {_PURPOSES[purpose]}"
    if checkpoint.adapter is not None and not engine.merges:
        return "runs a model's file as it is and merges no adapter into it"
    if options.weights not in engine.formats:
        return f"has no weights in {options.weights} (it has {', '.join(engine.formats)})"
    if options.device not in ("auto", *engine.devices):
        return f"does not run on {options.device} (it runs on {', '.join(engine.devices)})"
    if engine.missing and engine.name not in options.programs:
        return engine.missing
    if not (engine.tokenizes and purpose != "reranker") and (unknown := checkpoint.unknown_tokenizer):
        return f"cannot cut texts into tokens: the file {unknown}"
    return engine.load().why_not(checkpoint, purpose, options)


def _refusal(checkpoint: Checkpoint, purpose: Kind, options: EngineOptions, objections: list[_Objection]) -> str:
    if options.engine == "auto":
        told = "; ".join(f"the engine {each.engine.name} {each.why}" for each in objections)
        return f"no engine here runs {checkpoint.name}: {told}"
    refused = f"the engine {options.engine} cannot run {checkpoint.name}: it {objections[0].why}"
    try:
        other = choose(checkpoint, purpose, replace(options, engine="auto")).name
    except (EngineError, ModelUnsupportedError):
        return refused
    return f"{refused}; leave the engine away: that takes {other}"


def load_encoder(checkpoint: Checkpoint, options: EngineOptions, purpose: Kind = "embedding") -> tuple[Encoder, Choice]:
    """Load what embeds or reranks in the engine that `choose` finds. Raises what choosing and loading raise."""
    choice = choose(checkpoint, purpose, options)
    return choice.engine.load().load_encoder(checkpoint, options), choice


def load_generator(checkpoint: Checkpoint, options: EngineOptions) -> tuple[Generator, Choice]:
    """Load what writes, likewise."""
    choice = choose(checkpoint, "language", options)
    return choice.engine.load().load_generator(checkpoint, options), choice


def engines_here(programs: Mapping[str, Path] | None = None) -> dict[str, list[str]]:
    """Every engine with the devices that it finds, or why there is none, and the program of the user's that it runs."""
    found = {}
    for engine in ENGINES:
        program = (programs or {}).get(engine.name)
        try:
            if engine.missing and program is None:
                found[engine.name] = [f"not here: it {engine.missing}"]
            else:
                found[engine.name] = engine.load().devices() + ([f"in {program}"] if program else [])
        except EngineError as error:
            found[engine.name] = [f"not here: {error}"]
    return found
