"""The hyperparameters of a Hugging Face checkpoint as the keys that llama.cpp reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from turboprop.errors import ModelUnsupportedError

if TYPE_CHECKING:
    import gguf

    from turboprop.models.checkpoint.view import Checkpoint

# model_type of config.json: general.architecture of GGUF.
ARCHITECTURES = {
    "bert": "bert",
    "nomic_bert": "nomic-bert",
    "modernbert": "modern-bert",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma3_text": "gemma-embedding",
    "llama": "llama",
    "mistral": "llama",
}
_POOLING = {"mean": 1, "cls": 2, "last": 3}
MAX_TOKENS_KEY = "turboprop.max_tokens"
PROMPT_KEYS = {"query": "turboprop.prompt.query", "document": "turboprop.prompt.document"}


def gguf_architecture(checkpoint: Checkpoint) -> str:
    """What GGUF calls the family. Raises `ModelUnsupportedError` for one that cannot be written."""
    if checkpoint.family not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise ModelUnsupportedError(
            f"{checkpoint.name} is of the family {checkpoint.family or '(none stated)'!r}, which cannot be written as "
            f"GGUF here; can be: {known}"
        )
    return ARCHITECTURES[checkpoint.family]


def write_hyperparameters(writer: gguf.GGUFWriter, checkpoint: Checkpoint) -> None:
    """Shape, pooling and prompts. Raises `ModelUnsupportedError` for what GGUF has no key for."""
    c = checkpoint.config
    names = tuple(checkpoint.pooling)
    if len(names) != 1 or names[0] not in _POOLING:
        raise ModelUnsupportedError(f"{checkpoint.name} pools by {' and '.join(names)}, which GGUF cannot state")
    window = c.get("sliding_window")
    windowed = checkpoint.family == "mistral" or bool(c.get("use_sliding_window"))
    if checkpoint.family != "gemma3_text" and windowed and window and window < checkpoint.max_tokens:
        raise ModelUnsupportedError(
            f"{checkpoint.name} attends within {window} tokens, which its GGUF form cannot state"
        )
    if checkpoint.dense:
        raise ModelUnsupportedError(f"{checkpoint.name} has Dense layers after its pooling, which GGUF cannot state")
    writer.add_name(checkpoint.name.rstrip("/").rpartition("/")[2])
    # llama.cpp wants the rows of a table of positions here; what the model was tuned for stands beside it.
    positions = checkpoint.tensors.get("embeddings.position_embeddings.weight")
    writer.add_context_length(positions.shape[0] if positions is not None else checkpoint.max_tokens)
    writer.add_uint32(MAX_TOKENS_KEY, checkpoint.max_tokens)
    writer.add_block_count(_first(c, "num_hidden_layers", "n_layer"))
    writer.add_embedding_length(_first(c, "hidden_size", "n_embd"))
    writer.add_feed_forward_length(_first(c, "intermediate_size", "n_inner"))
    heads = _first(c, "num_attention_heads", "n_head")
    writer.add_head_count(heads)
    writer.add_uint32(f"{writer.arch}.pooling_type", _POOLING[names[0]])
    for side, key in PROMPT_KEYS.items():
        if prompt := getattr(checkpoint.prompts, side):
            writer.add_string(key, prompt)
    if checkpoint.family in ("bert", "nomic_bert", "modernbert"):
        default = 1e-5 if checkpoint.family == "modernbert" else 1e-12
        keys = ("layer_norm_eps", "layer_norm_epsilon", "norm_eps")
        writer.add_layer_norm_eps(float(next((c[key] for key in keys if key in c), default)))
        writer.add_causal_attention(False)
    else:
        writer.add_head_count_kv(int(c.get("num_key_value_heads") or heads))
        writer.add_layer_norm_rms_eps(float(c.get("rms_norm_eps", 1e-6)))
    _write_rope(writer, checkpoint)


def _write_rope(writer: gguf.GGUFWriter, checkpoint: Checkpoint) -> None:
    c, family = checkpoint.config, checkpoint.family
    if c.get("rope_scaling"):
        raise ModelUnsupportedError(f"{checkpoint.name} scales its rotary positions, which is not written here")
    parameters = c.get("rope_parameters") or {}
    flat = parameters.get("full_attention", parameters)
    if flat.get("rope_type", "default") != "default":
        raise ModelUnsupportedError(f"{checkpoint.name} scales its rotary positions, which is not written here")
    if family == "bert":
        return
    defaults = {"nomic_bert": 1000.0, "modernbert": 160_000.0, "gemma3_text": 1_000_000.0}
    stated = (c.get(key) for key in ("rotary_emb_base", "rope_theta", "global_rope_theta"))
    base = next((value for value in (flat.get("rope_theta"), *stated) if value), defaults.get(family, 10_000.0))
    writer.add_rope_freq_base(float(base))
    if family in ("qwen3", "gemma3_text") or c.get("head_dim"):
        head = int(c.get("head_dim") or {"qwen3": 128, "gemma3_text": 256}[family])
        writer.add_key_length(head)
        writer.add_value_length(head)
    if family == "llama" or family == "mistral":
        head = int(c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"])
        writer.add_rope_dimension_count(head)
    if family == "modernbert":
        near = (parameters.get("sliding_attention") or {}).get("rope_theta") or c.get("local_rope_theta") or 10_000.0
        writer.add_float32(f"{writer.arch}.rope.freq_base_swa", float(near))
        writer.add_sliding_window(int(c.get("local_attention", 128)))
        writer.add_uint32(
            f"{writer.arch}.attention.sliding_window_pattern", int(c.get("global_attn_every_n_layers", 3))
        )
    if family == "gemma3_text":
        writer.add_sliding_window(int(c.get("sliding_window", 4096)))


def _first(config: Mapping[str, Any], *keys: str) -> int:
    return int(next(config[key] for key in keys if key in config))
