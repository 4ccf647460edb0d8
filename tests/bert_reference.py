"""BERT in float64 numpy, written from the paper: an oracle that shares nothing with the engines."""

from __future__ import annotations

import json
from math import erf, sqrt
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

_erf = np.vectorize(erf)


class BertReference:
    """Mean-pooled, unit vectors of one input at a time."""

    def __init__(self, folder: Path) -> None:
        self.weights = {
            name: array.astype(np.float64) for name, array in load_file(folder / "model.safetensors").items()
        }
        self.config = json.loads((folder / "config.json").read_text())

    def vector(self, ids: list[int]) -> np.ndarray:
        x = self.hidden(ids).mean(axis=0)
        return x / np.linalg.norm(x)

    def hidden(self, ids: list[int]) -> np.ndarray:
        w, heads = self.weights, self.config["num_attention_heads"]
        x = (
            w["embeddings.word_embeddings.weight"][ids]
            + w["embeddings.position_embeddings.weight"][: len(ids)]
            + w["embeddings.token_type_embeddings.weight"][0]
        )
        x = self._norm(x, "embeddings.LayerNorm")
        for layer in range(self.config["num_hidden_layers"]):
            p = f"encoder.layer.{layer}."
            q, k, v = (
                self._linear(x, f"{p}attention.self.{name}").reshape(len(ids), heads, -1).transpose(1, 0, 2)
                for name in ("query", "key", "value")
            )
            scores = q @ k.transpose(0, 2, 1) / sqrt(q.shape[-1])
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ v
            mixed = mixed.transpose(1, 0, 2).reshape(len(ids), -1)
            x = self._norm(x + self._linear(mixed, f"{p}attention.output.dense"), f"{p}attention.output.LayerNorm")
            h = self._linear(x, f"{p}intermediate.dense")
            h = h * (1 + _erf(h / sqrt(2))) / 2
            x = self._norm(x + self._linear(h, f"{p}output.dense"), f"{p}output.LayerNorm")
        return x

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        mean, var = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
        y = (x - mean) / np.sqrt(var + self.config["layer_norm_eps"])
        return y * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
