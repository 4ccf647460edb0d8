"""ONNX exports as the package `fastembed` runs them: ONNX Runtime on the CPU, all of its graph optimisations on.

The package brings the runtime and a catalogue (models/fastembed_catalog.py). Tokens come from our tokenizer and the
pooling is ours, so that one model gives one vector in every engine; the package's own values are the test.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turboprop.engines.contract import EngineOptions
from turboprop.engines.onnx_graph import check_inputs, choose_output, encode
from turboprop.errors import EngineError, ModelFormatError, ModelUnsupportedError
from turboprop.machine import usable_cores
from turboprop.models.checkpoint import Checkpoint
from turboprop.models.fastembed_catalog import MISSING
from turboprop.types import TokenBatch


class FastembedEncoder:
    """A session of ONNX Runtime. One inference at a time; it uses `threads` threads inside."""

    weights = "as stored"

    def __init__(self, checkpoint: Checkpoint, session: Any) -> None:
        self._checkpoint = checkpoint
        self._inputs = [port.name for port in session.get_inputs()]
        check_inputs(checkpoint, self._inputs)
        outputs = {port.name: len(port.shape) if port.shape else None for port in session.get_outputs()}
        self._output = choose_output(checkpoint, outputs)
        self._session = session
        one_token = TokenBatch(np.zeros(1, np.int32), np.ones(1, np.int32))
        self._dimensions = int(self.encode(one_token).shape[1])

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def encode(self, batch: TokenBatch) -> NDArray[np.float32]:
        if self._session is None:
            raise EngineError("this model is closed; load it again")
        return encode(batch, self._checkpoint, self._inputs, self._run)

    def close(self) -> None:
        self._session = None

    def _run(self, values: Mapping[str, NDArray[np.int64]]) -> NDArray[Any]:
        try:
            return np.asarray(self._session.run([self._output], dict(values))[0])
        except Exception as error:  # the runtime's exceptions have no common class
            raise EngineError(f"ONNX Runtime failed on {self._checkpoint.name}: {str(error)[:300]}") from error


def load_encoder(checkpoint: Checkpoint, options: EngineOptions) -> FastembedEncoder:
    """Open a session. Raises `EngineError` where the extra is missing, `ModelFormatError` for a file that is no
    ONNX export, `ModelUnsupportedError` for one of another kind of model."""
    plan(checkpoint, options)
    if importlib.util.find_spec("fastembed") is None or importlib.util.find_spec("onnxruntime") is None:
        raise EngineError(MISSING)
    onnxruntime = import_module("onnxruntime")
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = options.threads or usable_cores()
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 4
    path = checkpoint.weight_files[0].resolve()  # a hub cache holds links, and external data lies beside the file
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions have no common class
        raise ModelFormatError(f"{path} cannot be loaded by ONNX Runtime: {str(error)[:300]}; get it again") from error
    return FastembedEncoder(checkpoint, session)


def plan(checkpoint: Checkpoint, options: EngineOptions) -> tuple[str, int]:
    """The weights run as they are stored."""
    if not checkpoint.is_onnx:
        raise ModelUnsupportedError(
            f"the engine fastembed runs ONNX exports, and {checkpoint.name} is none; take the engine openvino"
        )
    if options.weights != "auto":
        raise ModelUnsupportedError(
            f"an ONNX export runs with the weights that it has, not as {options.weights}; leave --weights away"
        )
    return "as stored", sum(path.stat().st_size for path in checkpoint.weight_files)
