"""ONNX exports in OpenVINO, which reads them itself: no further package, and the weights as they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from turboprop.engines.contract import EngineOptions
from turboprop.engines.onnx_graph import check_inputs, choose_output, encode
from turboprop.errors import EngineError, ModelFormatError, ModelUnsupportedError
from turboprop.machine import usable_cores
from turboprop.models.checkpoint import Checkpoint
from turboprop.types import TokenBatch


class OnnxEncoder:
    """A compiled export. One inference at a time; it uses `threads` threads inside."""

    weights = "as stored"

    def __init__(self, checkpoint: Checkpoint, compiled: Any) -> None:
        self._checkpoint = checkpoint
        self._inputs = [port.get_any_name() for port in compiled.inputs]
        check_inputs(checkpoint, self._inputs)
        outputs = {port.get_any_name(): _rank(port) for port in compiled.outputs}
        self._output = choose_output(checkpoint, outputs)
        self._request = compiled.create_infer_request()
        one_token = TokenBatch(np.zeros(1, np.int32), np.ones(1, np.int32))
        self._dimensions = int(self.encode(one_token).shape[1])

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def encode(self, batch: TokenBatch) -> NDArray[np.float32]:
        if self._request is None:
            raise EngineError("this model is closed; load it again")
        return encode(batch, self._checkpoint, self._inputs, self._run)

    def close(self) -> None:
        self._request = None

    def _run(self, values: Mapping[str, NDArray[np.int64]]) -> NDArray[Any]:
        try:
            outputs = self._request.infer(dict(values), share_outputs=True)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on {self._checkpoint.name}: {error}") from error
        return np.asarray(outputs[self._output])


def load_encoder(checkpoint: Checkpoint, options: EngineOptions) -> OnnxEncoder:
    """Read and compile. Raises `ModelFormatError` for a damaged file, `ModelUnsupportedError` for an export that
    OpenVINO cannot run or that is of another kind of model."""
    plan(checkpoint, options)
    core = ov.Core()
    try:
        model = core.read_model(str(checkpoint.weight_files[0]))
    except RuntimeError as error:
        raise ModelFormatError(
            f"{checkpoint.weight_files[0]} cannot be read as ONNX: {_last_line(error)}; get it again, or try "
            "--engine fastembed"
        ) from error
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": options.threads or usable_cores(),
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    try:
        compiled = core.compile_model(model, "CPU", config)
    except RuntimeError as error:
        raise ModelUnsupportedError(
            f"OpenVINO cannot run {checkpoint.name}: {_last_line(error)}; try --engine fastembed"
        ) from error
    return OnnxEncoder(checkpoint, compiled)


def plan(checkpoint: Checkpoint, options: EngineOptions) -> tuple[str, int]:
    """The weights run as they are stored."""
    if options.weights != "auto":
        raise ModelUnsupportedError(
            f"an ONNX export runs with the weights that it has, not as {options.weights}; leave --weights away"
        )
    return "as stored", sum(path.stat().st_size for path in checkpoint.weight_files)


def _rank(port: Any) -> int | None:
    rank = port.partial_shape.rank
    return None if rank.is_dynamic else int(rank.get_length())


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [repr(error)])[-1][:300]
