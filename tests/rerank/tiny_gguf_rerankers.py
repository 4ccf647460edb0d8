"""The tiny rerankers as GGUF files, as llama.cpp's converter writes those with rank pooling."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

from architectures.tiny_gguf import write_gguf
from architectures.tiny_models import TinyModel
from rerank.tiny_rerankers import RERANKERS

_PREFIXES = {"bert": "bert.", "xlm-roberta": "roberta.", "modernbert": "model.", "qwen3-reranker": "model."}
_HEADS = {
    "xlm-roberta": {"classifier.dense": "cls", "classifier.out_proj": "cls.output"},
    "modernbert": {"head.dense": "cls", "head.norm": "cls.norm", "classifier": "cls.output"},
    "bert": {"classifier": "cls.output"},  # the converter leaves the pooler out
}


@dataclass(frozen=True)
class Encoder(TinyModel):
    """The part of a tiny reranker below its head."""

    whole: TinyModel | None = None
    prefix: str = ""

    def weights(self) -> dict[str, np.ndarray]:
        assert self.whole is not None
        found = {
            name.removeprefix(self.prefix): value
            for name, value in self.whole.weights().items()
            if name.startswith(self.prefix) and "pooler" not in name
        }
        if self.prefix == "roberta.":  # the rows before the first position are cut off
            found["embeddings.position_embeddings.weight"] = found["embeddings.position_embeddings.weight"][2:]
        return found


def write_reranker(name: str, path: Path, pooling: gguf.PoolingType = gguf.PoolingType.RANK) -> Path:
    """Write one of `RERANKERS` as a GGUF file."""
    tiny = RERANKERS[name]
    model, prefix = tiny.model, _PREFIXES[name]
    family = model.gguf_family or "bert"
    weights = model.weights()
    tensors = {
        f"{new}.{part}": weights[f"{old}.{part}"]
        for old, new in _HEADS.get(name, {}).items()
        for part in ("weight", "bias")
        if f"{old}.{part}" in weights
    }
    state = json.loads(tiny.tokenizer().to_str())
    vocabulary = tiny.tokenizer().get_vocab(with_added_tokens=True)
    ids = [token for token, _ in sorted(vocabulary.items(), key=lambda item: item[1])]
    unused = [f"<unused{number}>" for number in range(len(ids), model.config["vocab_size"])]  # one token a row
    if family == "qwen3":
        rows = weights["model.embed_tokens.weight"]
        tensors["cls.output.weight"] = np.stack([rows[vocabulary[word]] for word in ("yes", "no")])

    def metadata(writer: gguf.GGUFWriter) -> None:
        if family == "qwen3":
            writer.add_array("qwen3.classifier.output_labels", ["yes", "no"])
            writer.add_value_length(model.config["head_dim"])
        elif family == "bert":
            writer.add_token_type_count(model.config["type_vocab_size"])
        special = {token["content"] for token in state["added_tokens"] if token["special"]}
        plain = {token["content"] for token in state["added_tokens"]} - special
        writer.add_token_list([*ids, *unused])
        writer.add_token_types(
            [
                gguf.TokenType.CONTROL
                if token in special
                else gguf.TokenType.USER_DEFINED
                if token in plain
                else gguf.TokenType.NORMAL
                for token in ids
            ]
            + [gguf.TokenType.UNUSED] * len(unused)
        )
        if name == "xlm-roberta":
            writer.add_tokenizer_model("t5")
            writer.add_token_scores([score for _, score in state["model"]["vocab"]] + [-1e4] * len(unused))
            writer.add_unk_token_id(vocabulary["<unk>"])
            begin, end = "<s>", "</s>"
        elif name == "bert":
            writer.add_tokenizer_model("bert")
            begin, end = "[CLS]", "[SEP]"
        else:
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre("gpt-2")
            writer.add_token_merges([" ".join(merge) for merge in state["model"]["merges"]])
            begin, end = ("[CLS]", "[SEP]") if name == "modernbert" else ("<|endoftext|>", "<|im_end|>")
        writer.add_bos_token_id(vocabulary[begin])
        writer.add_eos_token_id(vocabulary[end])
        writer.add_add_bos_token(name != "qwen3-reranker")
        writer.add_add_eos_token(name != "qwen3-reranker")

    config = dict(model.config)
    if name == "xlm-roberta":
        config["max_position_embeddings"] -= 2
    encoder = Encoder(config, model.shapes, family, model, prefix)
    return write_gguf(encoder, path, pooling=pooling, tokenizer=metadata, tensors=tensors)
