"""A BERT checkpoint written as an ONNX export, node by node, as exporters write it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from safetensors.numpy import load_file

_BESIDE = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "config.json", "sentence_bert_config.json")


def export_bert(source: Path, target: Path, *, quantised: bool = False, file: str = "model.onnx") -> Path:
    """Write `target/<file>` with float32 weights, and the files beside them; the path of the export.

    `quantised` runs the first linear layer through DynamicQuantizeLinear and MatMulInteger.
    """
    config = json.loads((source / "config.json").read_text("utf-8"))
    weights = {name.removeprefix("bert."): value for name, value in load_file(source / "model.safetensors").items()}
    graph = _Graph(weights, config, quantised)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "bert",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"])
                for name in ("input_ids", "attention_mask", "token_type_ids")
            ],
            [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["n", "length", graph.width])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    path = target / file
    path.parent.mkdir(parents=True, exist_ok=True)
    save(model, path)
    for name in _BESIDE:
        if (source / name).is_file():
            shutil.copy(source / name, target / name)
    return path


class _Graph:
    def __init__(self, weights: Mapping[str, np.ndarray], config: Mapping[str, int], quantised: bool) -> None:
        self.nodes: list = []
        self.constants: list = []
        self.width = config["hidden_size"]
        self._weights = weights
        self._heads = config["num_attention_heads"]
        self._epsilon = float(config["layer_norm_eps"])
        self._quantised = quantised
        x = self._embeddings()
        mask = self._op("Unsqueeze", self._op("Cast", "attention_mask", to=TensorProto.FLOAT), self._ints(1, 2))
        mask = self._op("Mul", self._op("Sub", mask, self._float(1)), self._float(1e9))
        for layer in range(config["num_hidden_layers"]):
            x = self._layer(x, mask, f"encoder.layer.{layer}.", last=layer == config["num_hidden_layers"] - 1)

    def _op(self, kind: str, *inputs: str, count: int = 1, name: str = "", **attributes: object) -> str:
        outputs = [name or f"{kind}{len(self.nodes)}" for _ in range(1)] + [
            f"{kind}{len(self.nodes)}-{number}" for number in range(1, count)
        ]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]

    def _constant(self, value: np.ndarray) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _ints(self, *values: int) -> str:
        return self._constant(np.array(values, np.int64))

    def _float(self, value: float) -> str:
        return self._constant(np.array(value, np.float32))

    def _weight(self, name: str) -> str:
        return self._constant(self._weights[name].astype(np.float32))

    def _norm(self, x: str, name: str, output: str = "") -> str:
        scale, bias = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        return self._op("LayerNormalization", x, scale, bias, name=output, axis=-1, epsilon=self._epsilon)

    def _linear(self, x: str, name: str) -> str:
        weight = self._weights[f"{name}.weight"].astype(np.float32).T
        if self._quantised:
            self._quantised = False
            scale = np.abs(weight).max() / 127
            steps = self._constant(np.round(weight / scale).astype(np.int8))
            self._op("DynamicQuantizeLinear", x, count=3)
            rounded, factor, zero = self.nodes[-1].output
            whole = self._op("Cast", self._op("MatMulInteger", rounded, steps, zero), to=TensorProto.FLOAT)
            product = self._op("Mul", self._op("Mul", whole, factor), self._float(float(scale)))
        else:
            product = self._op("MatMul", x, self._constant(weight))
        return self._op("Add", product, self._weight(f"{name}.bias"))

    def _embeddings(self) -> str:
        words = self._op("Gather", self._weight("embeddings.word_embeddings.weight"), "input_ids")
        types = self._op("Gather", self._weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
        length = self._op("Gather", self._op("Shape", "input_ids"), self._ints(1))
        places = self._op("Slice", self._weight("embeddings.position_embeddings.weight"), self._ints(0), length)
        return self._norm(self._op("Add", self._op("Add", words, types), places), "embeddings.LayerNorm")

    def _layer(self, x: str, mask: str, name: str, *, last: bool) -> str:
        size = self.width // self._heads
        split = self._ints(0, 0, self._heads, size)

        def heads(part: str, *order: int) -> str:
            linear = self._linear(x, f"{name}attention.self.{part}")
            return self._op("Transpose", self._op("Reshape", linear, split), perm=order)

        query, key, value = heads("query", 0, 2, 1, 3), heads("key", 0, 2, 3, 1), heads("value", 0, 2, 1, 3)
        scores = self._op("Div", self._op("MatMul", query, key), self._float(size**0.5))
        shares = self._op("Softmax", self._op("Add", scores, mask), axis=-1)
        mixed = self._op("Transpose", self._op("MatMul", shares, value), perm=(0, 2, 1, 3))
        joined = self._linear(self._op("Reshape", mixed, self._ints(0, 0, self.width)), f"{name}attention.output.dense")
        x = self._norm(self._op("Add", x, joined), f"{name}attention.output.LayerNorm")
        inner = self._linear(x, f"{name}intermediate.dense")
        bent = self._op("Add", self._op("Erf", self._op("Div", inner, self._float(2**0.5))), self._float(1))
        inner = self._op("Mul", self._op("Mul", inner, bent), self._float(0.5))
        outer = self._op("Add", x, self._linear(inner, f"{name}output.dense"))
        return self._norm(outer, f"{name}output.LayerNorm", "last_hidden_state" if last else "")
