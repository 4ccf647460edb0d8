"""Tiny late-interaction models: folders as PyLate saves them, with seeded weights.

Written from the models' own repositories, so that nothing here is read from the code under test.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer

from architectures.tiny_models import MODELS, TinyModel
from rerank.tiny_rerankers import word_pieces

QUERIES = ("how do i open a file", "open", "which of the many ways to open a file is the one that closes it again")
DOCUMENTS = (
    "def open(path): return handle(path)",
    "the weather is mild, in spring.",
    "",
    "open " * 40 + "a very long text that no model here takes whole",
)
WIDTH = 12


@dataclass(frozen=True)
class TinyColbert:
    """`stated` is config_sentence_transformers.json, `dense` the widths from layer to layer, the first its input."""

    model: TinyModel
    stated: dict[str, Any]
    dense: tuple[tuple[int, int, dict[str, Any]], ...] = ((32, WIDTH, {}),)
    tokens: tuple[str, ...] = ("[Q] ", "[D] ")
    extra: dict[str, Any] = field(default_factory=dict)

    def tokenizer(self) -> Tokenizer:
        """Word pieces, with the prefixes as tokens of their own."""
        made = word_pieces()
        made.add_tokens([AddedToken(token, normalized=True, special=False) for token in self.tokens])
        return made

    def save(self, folder: Path) -> Path:
        """The whole folder."""
        replace(self.model, config={**self.model.config, **self.extra}).save(folder)
        tokenizer = self.tokenizer()
        tokenizer.save(str(folder / "tokenizer.json"))
        special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
        _write(
            folder / "tokenizer_config.json",
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_input_names": ["input_ids", "attention_mask"],
                **special,
            },
        )
        _write(folder / "sentence_bert_config.json", {"max_seq_length": 47, "do_lower_case": False})
        _write(folder / "config_sentence_transformers.json", self.stated)
        modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
        for at, (wide, narrow, more) in enumerate(self.dense, 1):
            place = folder / f"{at}_Dense"
            place.mkdir()
            modules.append({"idx": at, "name": str(at), "path": place.name, "type": "pylate.models.Dense.Dense"})
            config = {"in_features": wide, "out_features": narrow, "bias": False}
            _write(
                place / "config.json",
                {**config, "activation_function": "torch.nn.modules.linear.Identity", "use_residual": False, **more},
            )
            weights = {"linear.weight": _values(f"{at}", (narrow, wide))}
            if more.get("use_residual") and wide != narrow:
                weights["residual.weight"] = _values(f"{at} residual", (narrow, wide))
            save_file(weights, place / "model.safetensors")
        _write(folder / "modules.json", modules)
        return folder


def _write(path: Path, what: Any) -> None:
    path.write_text(json.dumps(what))


def _values(name: str, shape: tuple[int, int]) -> np.ndarray:
    random = np.random.default_rng(zlib.crc32(name.encode()))
    return (random.standard_normal(shape) / np.sqrt(shape[1])).astype(np.float32)


_STATED = {
    "model_type": "ColBERT",
    "similarity_fn_name": "MaxSim",
    "prompts": {},
    "default_prompt_name": None,
    "query_prefix": "[Q] ",
    "document_prefix": "[D] ",
    "query_length": 16,
    "document_length": 24,
    "attend_to_expansion_tokens": False,
    "do_query_expansion": True,
    "skiplist_words": [".", ",", "(", ")", "!"],
}


def _sized(name: str) -> TinyModel:
    """The tokenizer has 71 tokens with the prefixes."""
    return replace(MODELS[name], config={**MODELS[name].config, "vocab_size": 72})


COLBERTS = {
    "plain": TinyColbert(_sized("bert"), _STATED),
    "seen": TinyColbert(_sized("bert"), {**_STATED, "attend_to_expansion_tokens": True}),
    "bare": TinyColbert(_sized("bert"), {**_STATED, "do_query_expansion": False, "query_prefix": "[D] "}),
    "modern": TinyColbert(
        _sized("modernbert"),
        {**_STATED, "skiplist_words": []},
        ((32, 20, {"use_residual": True}), (20, 20, {"use_residual": True}), (20, WIDTH, {})),
        extra={"local_attention": 40},
    ),
}
