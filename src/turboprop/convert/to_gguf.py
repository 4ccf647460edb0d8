"""One GGUF file from a Hugging Face checkpoint, or from another GGUF in another type.

Tensors stream through memory a block of rows at a time; the file appears under its name by one rename.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf

from turboprop.convert.gguf_metadata import gguf_architecture, write_hyperparameters
from turboprop.convert.gguf_tensors import TYPES, OutTensor, out_tensors, stored_kind
from turboprop.convert.gguf_tokenizer import write_tokenizer
from turboprop.errors import ModelUnsupportedError, StorageError, UsageError
from turboprop.files import replacing
from turboprop.models.checkpoint.open import open_checkpoint
from turboprop.models.checkpoint.reranker import is_reranker
from turboprop.models.gguf.file import GGUFArray, GGUFFile
from turboprop.progress import DownloadProgress, Transfers

if TYPE_CHECKING:
    from turboprop.models.local import LocalModel

_ROOM = 64_000_000  # for metadata and padding
_WRITERS_OWN = ("general.architecture", "general.file_type", "general.quantization_version")


def convert(
    local: LocalModel, out: Path, kind: str, *, force: bool = False, progress: DownloadProgress | None = None
) -> Path:
    """Write `out`. `kind` is one of `TYPES`; vectors and norms stay float32 whatever it is.

    Raises `UsageError` (unknown type, file exists), `ModelFormatError`, `ModelUnsupportedError` and
    `StorageError`; nothing is left of a conversion that fails or is interrupted.
    """
    kind = kind.upper()
    if kind not in TYPES:
        raise UsageError(f"there is no type {kind!r} to convert to; there are: {', '.join(TYPES)}")
    out = out.expanduser().absolute()
    if out.suffix != ".gguf":
        raise UsageError(f"{out.name} must end in .gguf")
    if out.exists() and not force:
        raise UsageError(f"{out} exists; give --force to replace it")
    if not out.parent.is_dir():
        raise UsageError(f"there is no folder {out.parent}")
    with _source(local, kind) as (writer, tensors), _placed(out) as temporary:
        needed = sum(tensor.nbytes for tensor in tensors) + _ROOM
        free = shutil.disk_usage(out.parent).free
        if needed > free:
            raise StorageError(f"{out} needs {needed / 1e9:.1f} GB and {out.parent} has {free / 1e9:.1f} GB left")
        _write(writer, tensors, temporary, f"converting to {kind}", Transfers(progress))
    return out


@contextlib.contextmanager
def _source(local: LocalModel, kind: str) -> Iterator[tuple[gguf.GGUFWriter, list[OutTensor]]]:
    """A writer with all metadata, and the tensors to write; the files stay open meanwhile."""
    if local.is_gguf:
        if local.adapter is not None:
            raise ModelUnsupportedError(f"{local.name}: an adapter is written into a GGUF file from safetensors alone")
        with GGUFFile.open(local.path) as file:
            yield _copied_metadata(file, kind), _same_tensors(file, kind)
        return
    if is_reranker(local):
        raise ModelUnsupportedError(f"{local.name} is a reranker, whose head would be lost; use it as it is")
    checkpoint = open_checkpoint(local)
    writer = gguf.GGUFWriter(None, gguf_architecture(checkpoint))
    tensors = out_tensors(checkpoint, kind)
    rows = next(tensor for tensor in tensors if tensor.name == "token_embd.weight").source.shape[0]
    writer.add_file_type(gguf.LlamaFileType[_file_type(kind)])
    write_hyperparameters(writer, checkpoint)
    # With the end token that an embedding model needs, so that the file does not forget it.
    write_tokenizer(writer, checkpoint, checkpoint.tokenizer(), rows)
    yield writer, tensors


def _copied_metadata(file: GGUFFile, kind: str) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(None, file.architecture)
    writer.add_file_type(gguf.LlamaFileType[_file_type(kind)])
    for key, value in file.metadata.items():
        if key in _WRITERS_OWN or key.startswith("split."):
            continue
        if isinstance(value, GGUFArray):
            element = gguf.GGUFValueType(int(value.element_type))
            writer.add_key_value(key, _plain(value), gguf.GGUFValueType.ARRAY, sub_type=element)
        else:
            writer.add_key_value(key, value, gguf.GGUFValueType(int(file.metadata.type_of(key))))
    return writer


def _plain(values: GGUFArray) -> list[Any]:
    return [_plain(item) if isinstance(item, GGUFArray) else item for item in values]


def _same_tensors(file: GGUFFile, kind: str) -> list[OutTensor]:
    made = []
    for name, tensor in file.tensors.items():
        small = tensor.type.name in ("F32", "I32", "I64", "I16", "I8", "F64")
        kept = "F32" if small and len(tensor.shape) < 2 else stored_kind(tensor.shape, kind, name)
        made.append(OutTensor(name, tensor, kept))
    return made


def _file_type(kind: str) -> str:
    return "ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"


@contextlib.contextmanager
def _placed(out: Path) -> Iterator[Path]:
    """A file beside `out` that takes its name at the end, and is removed on an error or an interrupt."""
    try:
        with replacing(out, mode=0o644) as stream:
            yield Path(stream.name)
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error.strerror or error}") from error


def _write(writer: gguf.GGUFWriter, tensors: list[OutTensor], path: Path, title: str, progress: Transfers) -> None:
    for tensor in tensors:
        tensor.announce(writer)
    progress.start({title: sum(4 * prod(tensor.source.shape) for tensor in tensors)})
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        file = writer.fout[0]
        writer.write_padding(file, file.tell())
        for tensor in tensors:
            for data, count in tensor.parts():
                file.write(data)
                progress.advance(title, count)
            writer.write_padding(file, file.tell())
        file.flush()
    finally:
        writer.close()
        progress.finish()
