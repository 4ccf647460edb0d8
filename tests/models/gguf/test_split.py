"""A model split over several files opens from any of them, and only if they fit together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.gguf_bytes import STRING, U16, U32, File, pair, tensor_info
from turboprop.errors import ModelNotFoundError
from turboprop.models.gguf.file import GGUFFile, GGUFFormatError, shard_paths


def shard(number: int, of: int, tensors: dict[str, float], total: int, **spoiled: int) -> bytes:
    pairs = [pair("general.architecture", STRING, "bert")] if number == 0 else []
    pairs += [
        pair("split.no", U16, spoiled.get("no", number)),
        pair("split.count", U16, spoiled.get("count", of)),
        pair("split.tensors.count", U32, total),
    ]
    infos = [tensor_info(name, [8], 0, 32 * place) for place, name in enumerate(tensors)]
    data = b"".join(np.full(8, value, "<f4").tobytes() for value in tensors.values())
    return File(pairs, infos, data).bytes()


def write(folder: Path, files: list[bytes], count: int | None = None) -> list[Path]:
    count = len(files) if count is None else count
    paths = [folder / f"model-{number:05}-of-{count:05}.gguf" for number in range(1, len(files) + 1)]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    return paths


SOUND = [shard(0, 3, {"a": 1}, 4), shard(1, 3, {}, 4), shard(2, 3, {"b": 2, "c": 3, "d": 4}, 4)]


@pytest.mark.parametrize("entry", [0, 1, 2])
def test_any_file_opens_the_whole(tmp_path: Path, entry: int) -> None:
    paths = write(tmp_path, SOUND)
    with GGUFFile.open(paths[entry]) as file:
        assert file.architecture == "bert"
        assert file.paths == tuple(paths)
        assert list(file.tensors) == ["a", "b", "c", "d"]
        assert [float(tensor.dequantize()[0]) for tensor in file.tensors.values()] == [1, 2, 3, 4]
        assert file.tensors["c"].path == paths[2]
        assert file.has_data


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    paths = write(tmp_path, SOUND)
    paths[1].unlink()
    with pytest.raises(ModelNotFoundError, match=r"missing beside it: model-00002-of-00003\.gguf"):
        GGUFFile.open(paths[0])


def test_many_missing_files_are_counted(tmp_path: Path) -> None:
    paths = write(tmp_path, [shard(0, 65_535, {}, 0)], 65_535)
    with pytest.raises(ModelNotFoundError, match="and 65529 more"):
        GGUFFile.open(paths[0])


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (shard(2, 3, {"b": 2, "c": 3, "d": 4}, 4, no=1), r"split\.no is 1, but the name says 2"),
        (shard(2, 3, {"b": 2, "c": 3, "d": 4}, 4, count=2), r"split\.count is 2, but 3"),
        (shard(2, 3, {"b": 2}, 4), r"split\.tensors\.count is 4, but the 3 files hold 2 tensors"),
        (shard(2, 3, {"a": 2, "c": 3, "d": 4}, 4), "tensor 'a' is in another file"),
        (File(tensors=[tensor_info("b", [8], 0, 0)], data=bytes(32)).bytes(), r"split\.count is 1, but 3"),
        (File([pair("split.count", U16, 3)]).bytes(), r"split\.no is -1"),
        (File([pair("split.count", STRING, "3")]).bytes(), "not an integer"),
        (b"GGUF\3", "needs 4 bytes"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, spoiled: bytes, words: str) -> None:
    paths = write(tmp_path, [*SOUND[:2], spoiled])
    with pytest.raises(GGUFFormatError, match=words):
        GGUFFile.open(paths[0])


def test_a_name_that_does_not_say_so(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(SOUND[0])
    with pytest.raises(GGUFFormatError, match="part of a model in 3 files"):
        GGUFFile.open(tmp_path / "model.gguf")
    paths = write(tmp_path, [shard(0, 3, {"a": 1}, 4)], 2)
    with pytest.raises(GGUFFormatError, match="part of a model in 3 files"):
        GGUFFile.open(paths[0])
    (tmp_path / "negative.gguf").write_bytes(File([pair("split.count", 5, -2)]).bytes())
    with pytest.raises(GGUFFormatError, match=r"split\.count is -2"):
        GGUFFile.open(tmp_path / "negative.gguf")


def test_a_split_of_one_is_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(shard(0, 1, {"a": 1}, 1))
    with GGUFFile.open(tmp_path / "model.gguf") as file:
        assert list(file.tensors) == ["a"]


def test_shard_paths() -> None:
    assert shard_paths(Path("d/m.gguf")) == (Path("d/m.gguf"),)
    assert shard_paths(Path("d/m-00002-of-00002.gguf")) == (
        Path("d/m-00001-of-00002.gguf"),
        Path("d/m-00002-of-00002.gguf"),
    )
