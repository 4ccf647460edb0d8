"""Write `adapters/<case>/`: adapters as PEFT saves them for the tiny models, and what its own merging makes of them.

    PYTHONPATH=tests python tests/models/checkpoint/peft_adapters.py [CASE...]

It needs torch, transformers and peft (any CPU build; last made with torch 2.14.1, transformers 5.24.0 and peft
0.21.2). `merged.npz` holds every tensor that `merge_and_unload` changed, float32, by the checkpoint's name.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from architectures.tiny_models import MODELS

GOLDEN = Path(__file__).with_name("adapters")

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("bert", {"r": 8, "lora_alpha": 16, "target_modules": ["query", "value"]}),
    "bert-biases": (
        "bert",
        {"r": 2, "lora_alpha": 3, "target_modules": ["query"], "bias": "lora_only", "modules_to_save": ["LayerNorm"]},
    ),
    "qwen2": ("qwen2", {"r": 8, "lora_alpha": 4, "use_rslora": True, "target_modules": r".*\.(q|v|down)_proj"}),
    "qwen3": (
        "qwen3",
        {
            "r": 8,
            "lora_alpha": 16,
            "target_modules": ["q_proj", "v_proj", "embed_tokens"],
            "rank_pattern": {r"layers\.[12]\.self_attn\.q_proj": 2},
            "alpha_pattern": {"v_proj": 5, "layers.0.self_attn.q_proj": 7},
        },
    ),
    "llama": ("llama-linear", {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "k_proj", "up_proj"]}),
    "llama-dora": (
        "llama-linear",
        {
            "r": 4,
            "lora_alpha": 8,
            "use_dora": True,
            "fan_in_fan_out": False,
            "target_modules": ["q_proj", "o_proj"],
            "layers_to_transform": [0, 2],
        },
    ),
}


def make(folder: Path, base: str, settings: dict[str, Any], out: Path) -> dict[str, np.ndarray]:
    """Save an adapter with random values into `out`; the tensors that merging it changes."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoModelForCausalLM

    torch.manual_seed(7)
    # `layers_to_transform` finds layers below another name alone.
    kind = AutoModelForCausalLM if "layers_to_transform" in settings else AutoModel
    model = kind.from_pretrained(MODELS[base].save(folder), dtype=torch.float32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    adapted = get_peft_model(model, LoraConfig(init_lora_weights=False, **settings))
    with torch.no_grad():
        for name, value in adapted.named_parameters():
            if value.requires_grad and "lora_" not in name:
                value.add_(0.1 * torch.randn_like(value))
            elif "lora_magnitude_vector" in name:
                value.mul_(1 + 0.1 * torch.randn_like(value))
    adapted.save_pretrained(out)
    after = adapted.merge_and_unload().state_dict()
    return {
        name.removeprefix("model."): value.numpy()
        for name, value in after.items()
        if "pooler" not in name and not torch.equal(value, before[name])
    }


def main(names: list[str]) -> None:
    for name in names or CASES:
        with tempfile.TemporaryDirectory() as folder:
            place, out = Path(folder) / "model", Path(folder) / "adapter"
            merged = make(place, *CASES[name], out)
            target = GOLDEN / name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(out / "adapter_model.safetensors", target)
            config = json.loads((out / "adapter_config.json").read_text())
            config["base_model_name_or_path"] = CASES[name][0]
            (target / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
        np.savez_compressed(target / "merged.npz", **merged)
        print(name, len(merged), sum(value.nbytes for value in merged.values()))


if __name__ == "__main__":
    main(sys.argv[1:])
