"""Where an ONNX export says that its weights are."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from turboprop.errors import ModelFormatError, ModelNotFoundError, TurboPropError  # noqa: E402
from turboprop.models.checkpoint.onnx_external import external_files  # noqa: E402


def tensor(location: str | None = "weights.data", offset: str | None = "0", length: str | None = "16") -> TensorProto:
    made = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 2], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            made.external_data.add(key=key, value=value)
    return made


def write(folder: Path, *initializers: TensorProto, place: str = "initializer") -> Path:
    graph = helper.make_graph([], "g", [], [])
    inner = helper.make_graph([], "inner", [], [])
    match place:
        case "initializer":
            graph.initializer.extend(initializers)
        case "constant":
            graph.node.append(helper.make_node("Constant", [], ["c"], value=initializers[0]))
        case "constants":
            graph.node.append(helper.make_node("X", [], ["c"], values=list(initializers)))
        case "subgraph":
            inner.initializer.extend(initializers)
            graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner))
        case "sparse":
            graph.sparse_initializer.add(values=initializers[0])
    model = helper.make_model(graph)
    if place == "function":
        model.functions.add(name="f").node.append(helper.make_node("Constant", [], ["c"], value=initializers[0]))
    if place == "training":
        model.training_info.add().initialization.initializer.extend(initializers)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    (folder / "weights.data").write_bytes(bytes(16))
    return path


PLACES = ["initializer", "constant", "constants", "subgraph", "sparse", "function", "training"]


@pytest.mark.parametrize("place", PLACES)
def test_files_within_the_folder(tmp_path: Path, place: str) -> None:
    path = write(tmp_path, tensor(), place=place)
    assert external_files(path) == (tmp_path / "weights.data",)


def test_an_export_that_holds_its_weights(tmp_path: Path) -> None:
    assert external_files(write(tmp_path, numpy_helper.from_array(np.zeros(9, np.float32), "w"))) == ()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "location",
    [
        "../outside.data",
        "/etc/passwd",
        "a/../../outside.data",
        "./weights.data",
        "",
        "C:/weights.data",
        "..\\outside.data",
        "*/_ORT_MEM_ADDR_/*",
        "weights.data\0",
        "\n",
        "x" * 5000,
    ],
)
def test_names_that_leave_the_folder(tmp_path: Path, place: str, location: str) -> None:
    folder = tmp_path / "m"
    (folder / "*" / "_ORT_MEM_ADDR_").mkdir(parents=True)
    (folder / "*" / "_ORT_MEM_ADDR_" / "*").write_bytes(bytes(16))
    (tmp_path / "outside.data").write_bytes(bytes(16))
    with pytest.raises(ModelFormatError):
        external_files(write(folder, tensor(location), place=place))


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        ("1", "16"),
        ("16", "1"),
        ("-1", "16"),
        ("0", "-1"),
        ("0", str(2**63)),
        (str(2**63), "1"),
        (str(2**64), "0"),
        ("0x0", "16"),
        (" 0", "16"),
        ("0", "1e1"),
        ("\u0660", "16"),
        ("9" * 900, "16"),
    ],
)
def test_ranges_beyond_the_file(tmp_path: Path, offset: str, length: str) -> None:
    with pytest.raises(ModelFormatError):
        external_files(write(tmp_path, tensor(offset=offset, length=length)))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"other\.data"):
        external_files(write(tmp_path, tensor("other.data")))
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelFormatError, match="regular file"):
        external_files(write(tmp_path, tensor("folder")))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(ModelFormatError, match="regular file"):
            external_files(write(tmp_path, tensor(name)))
    (tmp_path / "model.onnx").unlink()
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(ModelFormatError, match="regular file"):
        external_files(tmp_path / "model.onnx")


def test_a_key_twice(tmp_path: Path) -> None:
    twice = tensor()
    twice.external_data.add(key="location", value="../outside.data")
    with pytest.raises(ModelFormatError, match="twice"):
        external_files(write(tmp_path, twice))


def test_the_hubs_cache(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    snapshot = tmp_path / "snapshots" / "x"
    snapshot.mkdir(parents=True)
    write(snapshot, tensor())
    for name in ("model.onnx", "weights.data"):
        (snapshot / name).rename(tmp_path / "blobs" / f"blob-{name}")
        (snapshot / name).symlink_to(tmp_path / "blobs" / f"blob-{name}")
    assert external_files(snapshot / "model.onnx") == (snapshot / "weights.data",)


def test_damaged_bytes(tmp_path: Path) -> None:
    path = write(tmp_path, tensor(), place="subgraph")
    sound, chance = path.read_bytes(), random.Random(0)
    for data in (b"", b"\0", b"\xff" * 99, b"\x3a" * 5000, b"\x3a\x7f", b"PK\x03\x04", b"<html>"):
        path.write_bytes(data)
        with pytest.raises(ModelFormatError):
            external_files(path)
    for _ in range(3000):
        data = bytearray(sound)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
        path.write_bytes(data)
        try:
            found = external_files(path)
        except TurboPropError:
            continue
        assert all(file.parent == tmp_path for file in found)


def test_graphs_without_end(tmp_path: Path) -> None:
    data = b""
    for _ in range(300):  # graph { node { attribute { graph {
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            length = len(data)
            varint = b""
            while length > 127:
                varint += bytes([length & 127 | 128])
                length >>= 7
            data = tag + varint + bytes([length]) + data
    path = tmp_path / "model.onnx"
    length, varint = len(data), b""
    while length > 127:
        varint += bytes([length & 127 | 128])
        length >>= 7
    path.write_bytes(b"\x3a" + varint + bytes([length]) + data)
    with pytest.raises(ModelFormatError, match="too deep"):
        external_files(path)
