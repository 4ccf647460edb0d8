"""Checkpoints of true shape with seeded random weights: speed and memory do not depend on the values.

    scripts/bench shapes TARGET [--shape qwen3-embedding-0.6b] [--form safetensors|Q8_0|Q4_K|Q5_K|Q6_K|F16]

Writes what the model's repository would hold: a Hugging Face folder or a GGUF file, with a tokenizer of the
family's kind and true size (byte-level BPE learned from Python's own library; WordPiece from the bundled model).
Float and Q8_0 tensors hold normal values; K-quant blocks are random bytes whose scales give about the same spread.
"""

from __future__ import annotations

import argparse
import json
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer, models, normalizers, processors, trainers
from tokenizers import decoders as token_decoders

from turboprop.models.resolve import resolve
from turboprop.models.tokenizer.pretokenizers import PRE_TOKENIZERS
from turboprop.settings import load_settings

SPREAD = 0.02
ROWS = 1 << 22  # values made at a time
LEARNED = 24_000
END = "<|endoftext|>"
CONVERSATION = ("<|im_start|>", "<|im_end|>")


@dataclass(frozen=True)
class Shape:
    """`config` is config.json; `name` what GGUF calls the model; `extra` further GGUF keys. Without `pooling` it is
    a reranker, which is written as safetensors."""

    architecture: str
    name: str
    config: dict
    pooling: str
    query: str = ""
    document: str = ""
    extra: dict = field(default_factory=dict)


def _qwen(kind: str, **more: object) -> dict:
    return {
        "model_type": kind,
        "architectures": [f"{kind.capitalize()}Model"],
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        **more,
    }


QWEN3_600M = _qwen(
    "qwen3",
    vocab_size=151_669,
    hidden_size=1024,
    intermediate_size=3072,
    num_hidden_layers=28,
    num_attention_heads=16,
    num_key_value_heads=8,
    head_dim=128,
)
SHAPES = {
    "qwen3-embedding-0.6b": Shape(
        "qwen3",
        "Qwen3 Embedding 0.6B",
        QWEN3_600M,
        "last",
        query="Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
    ),
    "nomic-embed-code": Shape(
        "qwen2",
        "Nomic Embed Code",
        _qwen(
            "qwen2",
            vocab_size=151_665,
            hidden_size=3584,
            intermediate_size=18_944,
            num_hidden_layers=28,
            num_attention_heads=28,
            num_key_value_heads=4,
        ),
        "last",
        query="Represent this query for searching relevant code: ",
    ),
    "nomic-embed-text-v1.5": Shape(
        "nomic_bert",
        "nomic-embed-text-v1.5",
        {
            "model_type": "nomic_bert",
            "vocab_size": 30_528,
            "n_embd": 768,
            "n_inner": 3072,
            "n_layer": 12,
            "n_head": 12,
            "n_positions": 8192,
            "max_trained_positions": 2048,
            "type_vocab_size": 2,
            "layer_norm_epsilon": 1e-12,
            "rotary_emb_base": 1000,
            "rotary_emb_fraction": 1.0,
            "rotary_emb_interleaved": False,
            "qkv_proj_bias": False,
            "mlp_fc1_bias": False,
            "mlp_fc2_bias": False,
            "activation_function": "swiglu",
            "prenorm": False,
            "torch_dtype": "float32",
        },
        "mean",
        query="search_query: ",
        document="search_document: ",
    ),
    "ms-marco-minilm-l6-reranker": Shape(
        "bert",
        "ms-marco-MiniLM-L6-v2",
        {
            "model_type": "bert",
            "architectures": ["BertForSequenceClassification"],
            "id2label": {"0": "LABEL_0"},
            "vocab_size": 30_522,
            "hidden_size": 384,
            "intermediate_size": 1536,
            "num_hidden_layers": 6,
            "num_attention_heads": 12,
            "max_position_embeddings": 512,
            "type_vocab_size": 2,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-12,
            "torch_dtype": "float32",
        },
        "",
    ),
    "qwen3-reranker-0.6b": Shape(
        "qwen3",
        "Qwen3 Reranker 0.6B",
        QWEN3_600M,
        "",
    ),
}


def tensor_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Names as in the model's safetensors, shapes row-major."""
    c = shape.config
    if shape.architecture == "nomic_bert":
        width, ff = c["n_embd"], c["n_inner"]
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (c["vocab_size"], width),
            "embeddings.token_type_embeddings.weight": (c["type_vocab_size"], width),
            "emb_ln.weight": (width,),
            "emb_ln.bias": (width,),
        }
        for layer in range(c["n_layer"]):
            p = f"encoder.layers.{layer}."
            shapes |= {
                f"{p}attn.Wqkv.weight": (3 * width, width),
                f"{p}attn.out_proj.weight": (width, width),
                f"{p}mlp.fc11.weight": (ff, width),
                f"{p}mlp.fc12.weight": (ff, width),
                f"{p}mlp.fc2.weight": (width, ff),
            }
            shapes |= {f"{p}norm{n}.{part}": (width,) for n in (1, 2) for part in ("weight", "bias")}
        return shapes
    width, ff = c["hidden_size"], c["intermediate_size"]
    if shape.architecture == "bert":
        return _bert_reranker(c, width, ff)
    head = c.get("head_dim") or width // c["num_attention_heads"]
    q, kv = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
    shapes = {"embed_tokens.weight": (c["vocab_size"], width), "norm.weight": (width,)}
    for layer in range(c["num_hidden_layers"]):
        p = f"layers.{layer}."
        shapes |= {f"{p}{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}
        for name, rows in (("q", q), ("k", kv), ("v", kv)):
            shapes[f"{p}self_attn.{name}_proj.weight"] = (rows, width)
            if shape.architecture == "qwen2":
                shapes[f"{p}self_attn.{name}_proj.bias"] = (rows,)
        if shape.architecture == "qwen3":
            shapes |= {f"{p}self_attn.{name}_norm.weight": (head,) for name in "qk"}
        shapes |= {
            f"{p}self_attn.o_proj.weight": (width, q),
            f"{p}mlp.gate_proj.weight": (ff, width),
            f"{p}mlp.up_proj.weight": (ff, width),
            f"{p}mlp.down_proj.weight": (width, ff),
        }
    return shapes


def _bert_reranker(c: dict, width: int, ff: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (c["vocab_size"], width),
        "bert.embeddings.position_embeddings.weight": (c["max_position_embeddings"], width),
        "bert.embeddings.token_type_embeddings.weight": (c["type_vocab_size"], width),
    }
    layers = {"bert.embeddings.LayerNorm": (width,), "bert.pooler.dense": (width, width), "classifier": (1, width)}
    for layer in range(c["num_hidden_layers"]):
        p = f"bert.encoder.layer.{layer}."
        layers |= {f"{p}attention.self.{name}": (width, width) for name in ("query", "key", "value")}
        layers |= {
            f"{p}attention.output.dense": (width, width),
            f"{p}attention.output.LayerNorm": (width,),
            f"{p}intermediate.dense": (ff, width),
            f"{p}output.dense": (width, ff),
            f"{p}output.LayerNorm": (width,),
        }
    for name, extents in layers.items():
        shapes |= {f"{name}.weight": extents, f"{name}.bias": extents[:1]}
    return shapes


def values(name: str, extents: tuple[int, ...], seed: int) -> Iterator[np.ndarray]:
    """float32 values in pieces; norms near 1, biases near 0."""
    random = np.random.default_rng([seed, *name.encode()])
    if len(extents) == 1:
        centre = 1.0 if name.endswith("weight") else 0.0
        yield (centre + 0.02 * random.standard_normal(extents, np.float32)).astype(np.float32)
        return
    step = max(1, ROWS // extents[1])
    for start in range(0, extents[0], step):
        rows = min(step, extents[0] - start)
        yield random.standard_normal((rows, extents[1]), np.float32) * np.float32(SPREAD)


def learned_bpe(size: int) -> Tokenizer:
    """Byte-level BPE under Qwen's pre-tokenizer, learned from Python's library, filled up to `size` tokens."""
    rule = PRE_TOKENIZERS["qwen2"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = rule.build()
    library = Path(sysconfig.get_paths()["stdlib"])
    texts = [path.read_text("utf-8", "replace") for path in sorted(library.glob("*.py"))]
    trainer = trainers.BpeTrainer(
        vocab_size=LEARNED, initial_alphabet=sorted(bytes_alphabet()), special_tokens=[], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    state = json.loads(tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    for word in ("yes", "no"):
        vocabulary.setdefault(word, len(vocabulary))
    for number in range(len(vocabulary), size - 26):
        vocabulary[f"<fill{number}>"] = number
    made = Tokenizer.from_str(json.dumps(state))
    made.add_special_tokens([END, *CONVERSATION, *(f"<|special{number}|>" for number in range(23))])
    end = made.token_to_id(END)
    made.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, end)])
    made.decoder = token_decoders.ByteLevel()
    return made


def bytes_alphabet() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return ByteLevel.alphabet()


def make_tokenizer(shape: Shape) -> Tokenizer:
    if shape.architecture in ("nomic_bert", "bert"):
        return Tokenizer.from_file(str(resolve("minilm", load_settings()).path / "tokenizer.json"))
    return learned_bpe(shape.config["vocab_size"])


def write_folder(shape: Shape, folder: Path, seed: int) -> Path:
    """config.json, model.safetensors (bfloat16 or float32 as the config says), tokenizer and the rest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(shape.config, indent=1))
    make_tokenizer(shape).save(str(folder / "tokenizer.json"))
    if shape.pooling:
        _write_modules(shape, folder)
    _write_weights(shape, folder, seed)
    return folder


def _write_modules(shape: Shape, folder: Path) -> None:
    flags = {f"pooling_mode_{name}": False for name in ("cls_token", "mean_tokens", "lasttoken")}
    flags["pooling_mode_lasttoken" if shape.pooling == "last" else "pooling_mode_mean_tokens"] = True
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
                for n, (path, kind) in enumerate(modules)
            ]
        )
    )
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    prompts = {"query": shape.query, "document": shape.document}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))


def _write_weights(shape: Shape, folder: Path, seed: int) -> None:
    shapes = tensor_shapes(shape)
    half = shape.config["torch_dtype"] == "bfloat16"
    size = 2 if half else 4
    header, offset = {}, 0
    for name, extents in shapes.items():
        length = int(np.prod(extents)) * size
        header[name] = {
            "dtype": "BF16" if half else "F32",
            "shape": list(extents),
            "data_offsets": [offset, offset + length],
        }
        offset += length
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(head).to_bytes(8, "little"))
        file.write(head)
        for name, extents in shapes.items():
            for part in values(name, extents, seed):
                file.write((part.view(np.uint32) >> 16).astype(np.uint16).tobytes() if half else part.tobytes())


def _random_blocks(kind: gguf.GGMLQuantizationType, count: int, random: np.random.Generator) -> np.ndarray:
    """uint8 [count, block bytes] of a K-quant whose values are near zero on average, with a spread of 0.02."""
    block = gguf.GGML_QUANT_SIZES[kind][1]
    data = random.integers(0, 256, (count, block), np.uint8)
    scale = np.random.default_rng(0).uniform(0.8, 1.2, (count, 1))

    def half(number: np.ndarray) -> np.ndarray:
        return number.astype(np.float16).view(np.uint8).reshape(count, 2)

    # Sub-block scales and minima are about 31 of 63; q is 0 to 15 (or 31), so d * 31 * 7.5 = dmin * 31.
    if kind == gguf.GGMLQuantizationType.Q6_K:
        data[:, -2:] = half(scale * SPREAD / 1300)
        return data
    levels = 7.5 if kind == gguf.GGMLQuantizationType.Q4_K else 15.5
    data[:, :2] = half(scale * SPREAD / (26 * levels))
    data[:, 2:4] = half(scale * SPREAD / 26)
    return data


def encoded(name: str, extents: tuple[int, ...], kind: gguf.GGMLQuantizationType, seed: int) -> Iterator[np.ndarray]:
    """The bytes of a tensor in pieces."""
    if kind in (gguf.GGMLQuantizationType.Q4_K, gguf.GGMLQuantizationType.Q5_K, gguf.GGMLQuantizationType.Q6_K):
        random = np.random.default_rng([seed, *name.encode()])
        blocks = int(np.prod(extents)) // 256
        for start in range(0, blocks, 1 << 15):
            yield _random_blocks(kind, min(1 << 15, blocks - start), random)
        return
    for part in values(name, extents, seed):
        yield gguf.quants.quantize(part, kind)


_NAMES = {
    "embed_tokens": "token_embd",
    "norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "embeddings.word_embeddings": "token_embd",
    "embeddings.token_type_embeddings": "token_types",
    "emb_ln": "token_embd_norm",
    "attn.Wqkv": "attn_qkv",
    "attn.out_proj": "attn_output",
    "norm1": "attn_output_norm",
    "norm2": "layer_output_norm",
    "mlp.fc11": "ffn_up",
    "mlp.fc12": "ffn_gate",
    "mlp.fc2": "ffn_down",
}


def gguf_name(name: str) -> str:
    parts = name.split(".")
    if "layers" in parts:
        at = parts.index("layers")
        return f"blk.{parts[at + 1]}.{_NAMES['.'.join(parts[at + 2 : -1])]}.{parts[-1]}"
    return f"{_NAMES['.'.join(parts[:-1])]}.{parts[-1]}"


def write_gguf(shape: Shape, path: Path, form: str, seed: int) -> Path:
    """One GGUF file; matrices in `form`, vectors in float32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    c, kind = shape.config, gguf.GGMLQuantizationType[form]
    family = shape.architecture.replace("_", "-")
    writer = gguf.GGUFWriter(path, family)
    writer.add_name(shape.name)
    writer.add_block_count(c.get("num_hidden_layers") or c["n_layer"])
    writer.add_context_length(2048 if family == "nomic-bert" else c["max_position_embeddings"])
    writer.add_embedding_length(c.get("hidden_size") or c["n_embd"])
    writer.add_feed_forward_length(c.get("intermediate_size") or c["n_inner"])
    writer.add_head_count(c.get("num_attention_heads") or c["n_head"])
    writer.add_pooling_type(gguf.PoolingType.LAST if shape.pooling == "last" else gguf.PoolingType.MEAN)
    tokenizer = make_tokenizer(shape)
    if family == "nomic-bert":
        writer.add_layer_norm_eps(c["layer_norm_epsilon"])
        writer.add_causal_attention(False)
        writer.add_rope_freq_base(float(c["rotary_emb_base"]))
        _add_wordpiece(writer, tokenizer, c["vocab_size"])
    else:
        writer.add_head_count_kv(c["num_key_value_heads"])
        if "head_dim" in c:
            writer.add_key_length(c["head_dim"])
            writer.add_value_length(c["head_dim"])
        writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
        writer.add_rope_freq_base(c["rope_theta"])
        _add_bpe(writer, tokenizer, c["vocab_size"])
    shapes = tensor_shapes(shape)
    kinds = {
        name: kind if len(extents) > 1 and "token_type" not in name else gguf.GGMLQuantizationType.F32
        for name, extents in shapes.items()
    }
    for name, extents in shapes.items():
        block, size = gguf.GGML_QUANT_SIZES[kinds[name]]
        count = int(np.prod(extents))
        stored = np.float16 if form == "F16" and kinds[name] == kind else np.float32
        byte_shape = extents if kinds[name] in _PLAIN else (*extents[:-1], extents[-1] // block * size)
        dtype = np.dtype(stored if kinds[name] in _PLAIN else np.uint8)
        raw = None if kinds[name] in _PLAIN else kinds[name]
        writer.add_tensor_info(gguf_name(name), byte_shape, dtype, count // block * size, raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    out = writer.fout[0]
    writer.write_padding(out, out.tell())
    for name, extents in shapes.items():
        for part in encoded(name, extents, kinds[name], seed):
            out.write(part.tobytes())
        writer.write_padding(out, out.tell())
    writer.close()
    return path


_PLAIN = (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16)


def _by_id(tokenizer: Tokenizer, size: int) -> list[str]:
    known = {number: token for token, number in tokenizer.get_vocab(with_added_tokens=True).items()}
    return [known.get(number, f"<unused{number}>") for number in range(size)]


def _add_bpe(writer: gguf.GGUFWriter, tokenizer: Tokenizer, size: int) -> None:
    tokens = _by_id(tokenizer, size)
    state = json.loads(tokenizer.to_str())
    special = {token["content"] for token in state["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens])
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in state["model"]["merges"]]
    writer.add_token_merges(merges)
    end = tokenizer.token_to_id(END)
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(end)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(True)


def _add_wordpiece(writer: gguf.GGUFWriter, tokenizer: Tokenizer, size: int) -> None:
    tokens = _by_id(tokenizer, size)
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}

    def written(token: str) -> str:
        if token in special or token.startswith(("[unused", "<unused")):
            return token
        return token[2:] if token.startswith("##") else "\u2581" + token

    writer.add_tokenizer_model("bert")
    writer.add_token_list([written(token) for token in tokens])
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_type_count(2)
    for name, token in (("cls", "[CLS]"), ("seperator", "[SEP]"), ("padding", "[PAD]"), ("unknown", "[UNK]")):
        writer.add_uint32(f"tokenizer.ggml.{name}_token_id", tokenizer.token_to_id(token))


def write_checkpoint(name: str, target: Path, form: str, seed: int = 20_26) -> Path:
    """Write one checkpoint and return its path: a folder for `safetensors`, else a GGUF file."""
    shape = SHAPES[name]
    if form == "safetensors":
        return write_folder(shape, target, seed)
    if not shape.pooling:
        raise SystemExit(f"{name} is a reranker, which is written as safetensors")
    return write_gguf(shape, target, form, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-embedding-0.6b")
    parser.add_argument("--form", default="safetensors")
    parser.add_argument("--seed", type=int, default=20_26)
    options = parser.parse_args()
    print(write_checkpoint(options.shape, options.target, options.form, options.seed))


if __name__ == "__main__":
    main()
