"""Which files of a repository are fetched: what a loader of ours reads, and nothing else.

A repository of a sentence-transformers model holds its weights five times over (PyTorch, ONNX,
OpenVINO, TensorFlow, Flax). Only safetensors are taken, and never a pickle: loading one runs code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from turboprop.errors import DownloadError, ModelNotFoundError, ModelUnsupportedError
from turboprop.models.catalog import safe_member
from turboprop.models.store.contents import INDEX_FILE, split_names

_CONFIGURATION = re.compile(
    r"(config\w*|sentence_\w+_config|generation_config|tokenizer|tokenizer_config|special_tokens_map"
    r"|added_tokens|vocab|modules)\.json|chat_template\.(json|jinja)|(vocab|merges)\.txt"
    r"|(tokenizer|spiece|sentencepiece\.bpe)\.model"
)
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
# `1_Pooling`, `2_Dense`, `0_StaticEmbedding`: the folders that a modules.json numbers.
_MODULE_FOLDER = re.compile(r"\d+_\w+")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file as the hub lists it. `etag` names its blob: sha256 where LFS, else the Git object id."""

    name: str
    size: int
    etag: str

    @property
    def sha256(self) -> str | None:
        return self.etag if len(self.etag) == 64 else None


def choose_files(repo: str, names: list[str], file: str) -> list[str]:
    """Names of the files to fetch: the GGUF `file` with its splits, or a whole folder model.

    Raises `ModelNotFoundError` (no such file, or several to choose from), `ModelUnsupportedError`
    (weights only as a pickle) and `DownloadError` (a name that leaves the folder).
    """
    if file:
        return _refuse_unsafe(repo, _gguf(repo, names, file))
    chosen = [name for name in names if _is_wanted(name)]
    root = {name for name in names if "/" not in name}
    if "model.safetensors" in root:
        weights = ["model.safetensors"]
    elif INDEX_FILE in root:
        weights = [INDEX_FILE, *sorted(name for name in root if _SHARD.fullmatch(name))]
    else:
        weights = []
    if weights or any(name.endswith(".safetensors") for name in chosen):
        return _refuse_unsafe(repo, chosen + weights)
    models = sorted({split_names(name)[0] for name in names if name.endswith(".gguf")})
    if len(models) == 1:
        return _refuse_unsafe(repo, _gguf(repo, names, models[0]))
    if models:
        raise ModelNotFoundError(f"{repo} holds several models; name one: {_list_names(repo, models)}")
    if any(name.endswith((".bin", ".pt", ".pth", ".ckpt")) for name in names):
        raise ModelUnsupportedError(
            f"{repo} has its weights as a Python pickle only, which runs code when it is loaded; "
            "look for a repository that has them as .safetensors or .gguf"
        )
    raise ModelUnsupportedError(f"{repo} holds neither .safetensors nor .gguf weights; it is no model for us")


def _is_wanted(name: str) -> bool:
    folder, _, base = name.rpartition("/")
    if folder and not _MODULE_FOLDER.fullmatch(folder.rpartition("/")[2]):
        return False
    return bool(_CONFIGURATION.fullmatch(base)) or bool(folder and base == "model.safetensors")


def _gguf(repo: str, names: list[str], file: str) -> list[str]:
    parts = split_names(file)
    if set(parts) <= set(names):
        return parts
    there = [name for name in names if name.endswith(".gguf")]
    if not there:
        raise ModelNotFoundError(f"{repo} holds no .gguf file, so no {file!r}; try --model {repo}")
    import difflib

    near = difflib.get_close_matches(file, there, 5, 0.0)
    raise ModelNotFoundError(f"{repo} holds no {file!r}; it holds {_list_names(repo, near, len(there))}")


def _list_names(repo: str, names: list[str], count: int | None = None) -> str:
    shown = ", ".join(f"{repo}:{name}" for name in names[:12])
    more = (count or len(names)) - len(names[:12])
    return f"{shown} and {more} more" if more > 0 else shown


def _refuse_unsafe(repo: str, names: list[str]) -> list[str]:
    for name in names:
        if not safe_member(name):
            raise DownloadError(f"{repo} lists a file {name!r}, which would leave the model's folder; refused")
    return names
