"""The reader opens what is sound and names the defect and its byte of what is not."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import gguf as reference_gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.gguf_bytes import (
    ARRAY,
    BOOL,
    F32,
    F64,
    FORMATS,
    I8,
    I32,
    STRING,
    U8,
    U16,
    U32,
    U64,
    File,
    pair,
    payload,
    string,
    tensor_info,
    u32,
    u64,
)
from reference import reference
from turboprop.errors import ModelError, ModelNotFoundError, ModelUnsupportedError, UsageError
from turboprop.models.gguf import header as gguf_header
from turboprop.models.gguf import metadata as gguf_metadata
from turboprop.models.gguf.file import GGMLType, GGUFArray, GGUFFile, GGUFFormatError, GGUFValueType

# Any example may be the first to reach a line that numpy or the import system is slow on.
relaxed = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def opened(tmp_path: Path, data: bytes) -> GGUFFile:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return GGUFFile.open(path)


def refused(tmp_path: Path, data: bytes, defect: str) -> GGUFFormatError:
    with pytest.raises(GGUFFormatError, match=defect) as caught:
        opened(tmp_path, data)
    assert str(tmp_path / "model.gguf") in str(caught.value)
    return caught.value


SIX = File(
    pairs=[pair("general.architecture", STRING, "bert")],
    tensors=[tensor_info("a", [3, 2], 0, 0), tensor_info("b", [4], 1, 32)],
    data=np.arange(6, dtype="<f4").tobytes() + bytes(8) + np.arange(4, dtype="<f2").tobytes() + bytes(24),
)


def test_a_small_file(tmp_path: Path) -> None:
    with opened(tmp_path, SIX.bytes()) as file:
        assert file.version == 3
        assert file.architecture == "bert"
        assert dict(file.metadata) == {"general.architecture": "bert"}
        assert list(file.tensors) == ["a", "b"]
        first, second = file.tensors.values()
        assert (first.name, first.shape, first.type, first.nbytes) == ("a", (2, 3), GGMLType.F32, 24)
        assert first.offset % 32 == 0
        assert second.offset == first.offset + 32
        assert first.dequantize().tolist() == [[0, 1, 2], [3, 4, 5]]
        assert first.dequantize(slice(1, 2)).tolist() == [[3, 4, 5]]
        assert second.dequantize().tolist() == [0, 1, 2, 3]
        assert second.dequantize(slice(1, 3)).tolist() == [1, 2]
        assert file.has_data
        assert "1 keys, 2 tensors" in repr(file)


def test_version_2_is_read_alike(tmp_path: Path) -> None:
    two = File(SIX.pairs, SIX.tensors, SIX.data, version=2)
    with opened(tmp_path, two.bytes()) as file:
        assert file.version == 2
        assert file.tensors["a"].dequantize()[1, 2] == 5


def test_every_kind_of_value(tmp_path: Path) -> None:
    low = {kind: -1 if FORMATS[kind].islower() else 200 for kind in FORMATS}
    pairs = [pair(f"k{kind}", kind, 1 if kind == BOOL else low[kind]) for kind in FORMATS]
    pairs += [pair("text", STRING, "né"), pair("none", STRING, ""), pair("broken", STRING, b"a\xff")]
    pairs += [pair(f"a{kind}", ARRAY, (kind, [0, 1])) for kind in FORMATS]
    pairs += [pair("words", ARRAY, (STRING, ["x", "", "yé"])), pair("empty", ARRAY, (STRING, []))]
    pairs += [pair("nested", ARRAY, (ARRAY, [(U8, [1, 2]), (STRING, ["z"])]))]
    with opened(tmp_path, File(pairs).bytes()) as file:
        metadata = file.metadata
        for kind in FORMATS:
            value = metadata[f"k{kind}"]
            assert value == (1 if kind == BOOL else low[kind])
            assert isinstance(value, bool if kind == BOOL else float if kind in (F32, F64) else int)
            array = metadata.array(f"a{kind}")
            assert array.element_type == GGUFValueType(kind)
            assert array.numpy().tolist() == list(array) == [0, 1]
            assert array[-1] == 1
            assert isinstance(array[0], bool) == (kind == BOOL)
            with pytest.raises(UsageError, match="holds no strings"):
                array.strings()
        assert metadata["text"] == "né"
        assert metadata["none"] == ""
        assert metadata["broken"] == "a\ufffd"
        words = metadata.array("words")
        assert words.strings() == list(words) == words[:] == ["x", "", "yé"]
        with pytest.raises(UsageError, match="holds no numbers"):
            words.numpy()
        with pytest.raises(IndexError):
            words[3]
        assert metadata.array("empty").strings() == []
        inner = metadata.array("nested")[0]
        assert isinstance(inner, GGUFArray)
        assert list(inner) == [1, 2]
        assert metadata.array("nested")[1][0] == "z"  # type: ignore[index]


def test_lookups_check_the_kind(tmp_path: Path) -> None:
    pairs = [pair("n", U32, 7), pair("t", STRING, "s"), pair("b", BOOL, 1)]
    with opened(tmp_path, File(pairs).bytes()) as file:
        metadata = file.metadata
        assert metadata.integer("n") == 7
        assert (metadata.text("t"), metadata.flag("b")) == ("s", True)
        assert metadata.integer("absent", 3) == 3
        assert metadata.flag("absent", False) is False
        for call in (metadata.integer, metadata.text, metadata.array):
            with pytest.raises(GGUFFormatError, match="metadata key b is"):
                call("b")
        with pytest.raises(GGUFFormatError, match="metadata key n is 7, not a bool"):
            metadata.flag("n")
        with pytest.raises(GGUFFormatError, match="no key absent"):
            metadata.text("absent")
        with pytest.raises(GGUFFormatError, match=r"no key general\.architecture"):
            _ = file.architecture


ENTRY = len(File(pairs=SIX.pairs).header())  # where the tensor table of `SIX` begins
FIRST = ENTRY + 8 + 1  # the dimensions of tensor "a"


@pytest.mark.parametrize(
    ("file", "defect", "offset"),
    [
        (File(magic=b"GGML"), "is no GGUF file", 0),
        (File(magic=b"FUGG"), "byte-swapped", 0),
        (File(magic=b"lmgg"), "before August 2023", 0),
        (File(magic=b"PK\3\4"), "zip archive", 0),
        (File(version=0), "GGUF version 0", 4),
        (File(version=1), "version 1", 4),
        (File(version=4), "GGUF version 4", 4),
        (File(version=0x02000000), "big-endian", 4),
        (File(version=0x03000000), "big-endian", 4),
        (File(tensor_count=2**64 - 1), "claims 18446744073709551615 tensors", 8),
        (File(key_count=2**64 - 1), "claims 18446744073709551615 metadata keys", 16),
        (File(tensor_count=100), "more than its 32 bytes hold", 8),
        (File(key_count=100), "more than its 32 bytes hold", 8),
        (File([string("k") + u32(13) + u64(0)]), "value type 13", 33),
        (File([string("k" * 65_536) + u32(U8) + b"\0"]), "claims 65536 bytes", 24),
        (File([u64(2**64 - 1) + b"k" + u32(U8) + b"\0"]), "claims 18446744073709551615 bytes", 24),
        (File([pair("", U8, 1)]), "is empty", 24),
        (File([pair(b"\xff", U8, 1)]), "not UTF-8", 32),
        (File([pair("k", U8, 1), pair("k", U8, 1)]), "appears twice", 24 + 14),
        (File([string("k") + u32(STRING) + u64(2**63) + bytes(9)]), "claims 9223372036854775808 bytes", 37),
        (File([string("k") + u32(STRING) + u64(200)]), "needs 200 bytes", 45),
        (File([string("k") + u32(ARRAY) + u32(99) + u64(0)]), "value type 99", 37),
        (File([string("k") + u32(ARRAY) + u32(U64) + u64(2**61)]), "elements", 41),
        (File([string("k") + u32(ARRAY) + u32(U64) + u64(9)]), "needs 72 bytes", 49),
        (File([string("k") + u32(ARRAY) + u32(STRING) + u64(2**40)]), "elements", 41),
        (File([string("k") + u32(ARRAY) + u32(STRING) + u64(3)]), "more than the file can hold", 41),
        (File([string("k") + u32(ARRAY) + u32(STRING) + u64(1) + u64(99) + b"x"]), "claims 99 bytes", 49),
        (File([string("k") + u32(ARRAY) + u32(STRING) + u64(1) + u64(2**64 - 1)]), "claims 1844", 49),
        (File([pair("general.alignment", U32, 0)]), "general.alignment is 0", 53),
        (File([pair("general.alignment", U32, 24)]), "general.alignment is 24", 53),
        (File([pair("general.alignment", U32, 2**21)]), "more than the 1048576 allowed", 53),
        (File([pair("general.alignment", U64, 32)]), "not a uint32 power of two", 53),
        (File([pair("general.alignment", STRING, "32")]), "not a uint32 power of two", 53),
        (File(SIX.pairs, [tensor_info("n" * 64, [4], 0, 0)]), "claims 64 bytes", ENTRY),
        (File(SIX.pairs, [tensor_info("", [4], 0, 0)]), "is empty", ENTRY),
        (File(SIX.pairs, [tensor_info("a", [1] * 5, 0, 0)]), "has 5 dimensions", FIRST),
        (File(SIX.pairs, [tensor_info("a", [0], 0, 0)]), "impossible shape", FIRST + 4),
        (File(SIX.pairs, [tensor_info("a", [2**64 - 1], 0, 0)]), "impossible shape", FIRST + 4),
        (File(SIX.pairs, [tensor_info("a", [2**32, 2**32], 0, 0)]), "impossible shape", FIRST + 4),
        (File(SIX.pairs, [tensor_info("a", [2**62], 0, 0)]), "beyond any file", FIRST + 16),
        (File(SIX.pairs, [tensor_info("a", [8], 0, 2**64 - 32)]), "beyond any file", FIRST + 16),
        (File(SIX.pairs, [tensor_info("a", [33], 8, 0)]), "not a multiple of the 32", FIRST + 12),
        (File(SIX.pairs, [tensor_info("a", [8], 0, 8)]), "multiple of the alignment 32", FIRST + 16),
        (File(SIX.pairs, SIX.tensors, bytes(39)), "past the end of the file", None),
        (File(SIX.pairs, SIX.tensors, bytes(63)), "with their padding", ENTRY),
        (File(SIX.pairs, [tensor_info("a", [8], 0, 0)] * 2, bytes(64)), "appears twice", None),
        (File(SIX.pairs, [tensor_info("a", [9], 0, 0), tensor_info("b", [8], 0, 32)]), "overlaps 'a'", None),
        (File(SIX.pairs, [tensor_info("a", [8], 0, 0), tensor_info("b", [8], 0, 0)]), "overlaps 'a'", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_defects_are_named_with_their_byte(tmp_path: Path, file: File, defect: str, offset: int | None) -> None:
    error = refused(tmp_path, file.bytes(), defect)
    assert error.offset is not None
    if offset is not None:
        assert error.offset == offset
    assert f"(byte {error.offset})" in str(error)


def test_unknown_and_removed_types_name_the_tensor(tmp_path: Path) -> None:
    for kind, words in ((77, "does not know"), (4, "Q4_2"), (31, "removed"), (2**32 - 1, "4294967295")):
        with pytest.raises(ModelUnsupportedError, match=words) as caught:
            opened(tmp_path, File(tensors=[tensor_info("blk.0.x", [32], kind, 0)]).bytes())
        assert "blk.0.x" in str(caught.value)


def test_hostile_names_are_escaped_and_cut(tmp_path: Path) -> None:
    key = "\x1b[2J" + "é" * 300
    error = refused(tmp_path, File([pair(key, 7, 1), pair(key, 7, 1)]).bytes(), "appears twice")
    assert "\x1b" not in str(error)
    assert len(str(error)) < 400


def test_nesting_is_capped(tmp_path: Path) -> None:
    def nested(depth: int) -> tuple[int, list[object]]:
        return (U8, [1]) if depth == 1 else (ARRAY, [nested(depth - 1)])

    deepest = gguf_metadata.MAX_NESTING
    with opened(tmp_path, File([pair("k", ARRAY, nested(deepest))]).bytes()) as file:
        assert len(file.metadata.array("k")) == 1
    refused(tmp_path, File([pair("k", ARRAY, nested(deepest + 1))]).bytes(), "nested more than")
    many = (ARRAY, [(U8, [])] * (gguf_metadata.MAX_NESTED_ARRAYS + 1))
    refused(tmp_path, File([pair("k", ARRAY, many)]).bytes(), "arrays inside arrays")


@pytest.mark.parametrize("size", [1, 3, 4, 7, 8, 15, 23])
def test_cut_in_the_preamble(tmp_path: Path, size: int) -> None:
    refused(tmp_path, SIX.bytes()[:size], "needs . bytes but .* are left")


def test_every_prefix_of_a_file(tmp_path: Path) -> None:
    whole = SIX.bytes()
    header = len(SIX.header())
    for size in range(1, len(whole)):
        if header <= size <= header + -header % 32:
            with opened(tmp_path, whole[:size]) as file:  # a header without data is sound
                assert not file.has_data
                with pytest.raises(GGUFFormatError, match="has no data"):
                    file.tensors["a"].raw()
                with pytest.raises(GGUFFormatError, match="has no data"):
                    file.tensors["b"].dequantize()
        else:
            refused(tmp_path, whole[:size], r"\(byte \d+\)")


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        GGUFFile.open(tmp_path / "absent.gguf")
    with pytest.raises(GGUFFormatError, match="is a folder"):
        GGUFFile.open(tmp_path)
    with pytest.raises(ModelNotFoundError, match="cannot be opened"):
        GGUFFile.open(tmp_path / ("n" * 5000))
    with pytest.raises(ModelNotFoundError, match="cannot be opened"):
        GGUFFile.open("a\0b")
    refused(tmp_path, b"", "is empty")
    refused(tmp_path, b"<!DOCTYPE html><title>404", "is a web page")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(GGUFFormatError, match="no regular file"):
        GGUFFile.open(tmp_path / "pipe.gguf")
    with pytest.raises(GGUFFormatError, match="no regular file"):
        GGUFFile.open("/dev/zero")


def test_a_link_loop_and_a_link(tmp_path: Path) -> None:
    (tmp_path / "loop.gguf").symlink_to(tmp_path / "loop.gguf")
    with pytest.raises(ModelNotFoundError, match="cannot be opened"):
        GGUFFile.open(tmp_path / "loop.gguf")
    (tmp_path / "blob").write_bytes(SIX.bytes())
    (tmp_path / "link.gguf").symlink_to(tmp_path / "blob")
    with GGUFFile.open(tmp_path / "link.gguf") as file:
        assert len(file.tensors) == 2


def test_closing(tmp_path: Path) -> None:
    words = pair("words", ARRAY, (STRING, ["a"]))
    with opened(tmp_path, File([words], SIX.tensors, SIX.data).bytes()) as file:
        view = file.tensors["a"].raw()
        array = file.metadata.array("words")
        assert not view.flags.writeable
    assert view[4:8].tobytes() == struct.pack("<f", 1)  # it keeps the map alive
    del view
    file.close()
    for read in (file.tensors["a"].raw, array.strings, lambda: array[0]):
        with pytest.raises(UsageError, match="was closed"):
            read()


def test_pages_can_be_given_back(tmp_path: Path) -> None:
    values = np.arange(65_536, dtype="<f4")
    data = File(tensors=[tensor_info("t", [65_536], 0, 0)], data=values.tobytes()).bytes()
    with opened(tmp_path, data) as file:
        tensor = file.tensors["t"]
        assert np.array_equal(tensor.dequantize(), values)
        tensor.release()
        assert np.array_equal(tensor.dequantize(), values)
    tensor.release()  # harmless on a closed file


@pytest.mark.parametrize("name", ["ok-*.gguf", "bad-*.gguf"])
def test_the_reference_verdicts(name: str) -> None:
    paths = sorted(reference("gguf-malformed").glob(name))
    assert len(paths) >= 6
    for path in paths:
        if name.startswith("ok"):
            with GGUFFile.open(path) as file:
                for tensor in file.tensors.values():
                    if file.has_data:
                        assert tensor.raw().nbytes == tensor.nbytes
        else:
            with pytest.raises(GGUFFormatError) as caught:
                GGUFFile.open(path)
            assert caught.value.offset is not None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DATA_BAD_ALIGN", "general.alignment is 13"),
        ("DATA_INCONSISTENT_ALIGN", "not a multiple of the alignment 32"),
        ("DATA_NOT_ENOUGH_DATA", "the file at 903903"),
        ("HEADER_BAD_MAGIC", "byte-swapped"),
        ("HEADER_BAD_N_KV", "metadata keys"),
        ("HEADER_BAD_N_TENSORS", "tensors"),
        ("HEADER_BAD_VERSION_1", "version 1"),
        ("HEADER_BAD_VERSION_FUTURE", "version 4"),
        ("KV_BAD_ALIGN", "general.alignment is 13"),
        ("KV_BAD_KEY_SIZE", "a metadata key claims"),
        ("KV_BAD_TYPE", "value type 13"),
        ("KV_DUPLICATE_KEY", "'my_key_0' appears twice"),
        ("TENSORS_BAD_ALIGN", "general.alignment is 13"),
        ("TENSORS_BAD_NAME_SIZE", "claims 87 bytes"),
        ("TENSORS_BAD_N_DIMS", "5 dimensions"),
        ("TENSORS_BAD_OFFSET", "offset 18446744073709551615"),
        ("TENSORS_BAD_SHAPE", "impossible shape"),
        ("TENSORS_BAD_TYPE", "MXFP4 block"),
        ("TENSORS_DUPLICATE_NAME", "'my_tensor' appears twice"),
        ("TENSORS_INCONSISTENT_ALIGN", "not a multiple of the alignment 32"),
        ("TENSORS_NE_TOO_BIG", "impossible shape"),
    ],
)
def test_the_reference_defects_are_named(name: str, words: str) -> None:
    with pytest.raises(GGUFFormatError, match=words):
        GGUFFile.open(reference(f"gguf-malformed/bad-{name}-seed1.gguf"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ggml-vocab-llama.8548445f.gguf", "byte-swapped"),
        ("ggml-vocab-llama.c50db67d.gguf", "version 1"),
        ("test_writer.gguf", "value type 13"),
        ("git-lfs-pointer-ggml-vocab-bert-bge.gguf", "git lfs pull"),
    ],
)
def test_old_files_are_told_apart(name: str, words: str) -> None:
    with pytest.raises(GGUFFormatError, match=words):
        GGUFFile.open(reference("gguf-old") / name)


def test_a_sound_old_vocabulary_opens() -> None:
    with GGUFFile.open(reference("gguf-old/ggml-vocab-llama.568ffdc1.gguf")) as file:
        assert len(file.metadata.array("tokenizer.ggml.tokens")) == 32_016
        assert not file.tensors


@pytest.mark.parametrize("name", ["stories260K", "stories260K-Q4_K_M", "stories260K-BF16"])
def test_agrees_with_the_reference_reader(name: str) -> None:
    path = reference(f"gguf/{name}.gguf")
    theirs = reference_gguf.GGUFReader(path)
    with GGUFFile.open(path) as ours:
        assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
        for tensor in theirs.tensors:
            mine = ours.tensors[tensor.name]
            assert mine.shape == tuple(reversed([int(extent) for extent in tensor.shape]))
            assert int(mine.type) == int(tensor.tensor_type)
            assert mine.offset == tensor.data_offset
            assert np.array_equal(mine.raw(), tensor.data.reshape(-1).view(np.uint8))
        keys = [key for key in theirs.fields if not key.startswith("GGUF.")]
        assert list(ours.metadata) == keys
        for key in keys:
            value = ours.metadata[key]
            assert (list(value) if isinstance(value, GGUFArray) else value) == theirs.fields[key].contents()


def test_round_trip_through_the_reference_writer(tmp_path: Path) -> None:
    path = tmp_path / "written.gguf"
    writer = reference_gguf.GGUFWriter(path, "bert")
    writer.add_uint32("bert.block_count", 2)
    writer.add_bool("bert.attention.causal", False)
    writer.add_array("tokenizer.ggml.tokens", ["[PAD]", "▁a", "é"])
    writer.add_array("tokenizer.ggml.scores", [0.5, -1.5])
    values = np.random.default_rng(7).standard_normal((5, 64)).astype(np.float32)
    q8 = reference_gguf.quants.quantize(values, reference_gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("plain", values)
    writer.add_tensor("half", values.astype(np.float16))
    writer.add_tensor("q8", q8, raw_dtype=reference_gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GGUFFile.open(path) as file:
        assert file.metadata["bert.block_count"] == 2
        assert file.metadata["bert.attention.causal"] is False
        assert file.metadata.array("tokenizer.ggml.tokens").strings() == ["[PAD]", "▁a", "é"]
        assert file.metadata.array("tokenizer.ggml.scores").numpy().tolist() == [0.5, -1.5]
        assert np.array_equal(file.tensors["plain"].dequantize(), values)
        assert np.array_equal(file.tensors["half"].dequantize(), values.astype(np.float16).astype(np.float32))
        expected = reference_gguf.quants.dequantize(q8, reference_gguf.GGMLQuantizationType.Q8_0)
        assert np.array_equal(file.tensors["q8"].dequantize(), expected)


KEYS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=400)
NUMBERS = {
    kind: st.integers(0, 1)
    if kind == BOOL
    else st.floats(width=32 if kind == F32 else 64, allow_nan=False)
    if kind in (F32, F64)
    else st.integers(*(int(np.iinfo(FORMATS[kind]).min), int(np.iinfo(FORMATS[kind]).max)))
    for kind in FORMATS
}
VALUES = st.one_of(
    *(values.map(lambda value, kind=kind: (kind, value)) for kind, values in NUMBERS.items()),
    TEXTS.map(lambda text: (STRING, text)),
    *(
        st.lists(values, max_size=9).map(lambda items, kind=kind: (ARRAY, (kind, items)))
        for kind, values in NUMBERS.items()
    ),
    st.lists(TEXTS, max_size=9).map(lambda items: (ARRAY, (STRING, items))),
)


@relaxed
@given(pairs=st.dictionaries(KEYS, VALUES, max_size=8), version=st.sampled_from([2, 3]))
def test_any_metadata_comes_back(tmp_path: Path, pairs: dict[str, tuple[int, object]], version: int) -> None:
    for key in ("general.alignment", "split.count"):  # these two mean something to the reader itself
        pairs.pop(key, None)
    file = File([pair(key, *value) for key, value in pairs.items()], version=version)
    with opened(tmp_path, file.bytes()) as read:
        assert list(read.metadata) == list(pairs)
        for key, (kind, value) in pairs.items():
            found = read.metadata[key]
            if kind == ARRAY:
                assert isinstance(found, GGUFArray)
                assert list(found) == value[1]  # type: ignore[index]
                if value[0] == STRING:  # type: ignore[index]
                    assert found.strings() == value[1]  # type: ignore[index]
            else:
                assert found == value


@relaxed
@given(
    shapes=st.lists(st.lists(st.integers(1, 5), max_size=4), min_size=1, max_size=5),
    alignment=st.sampled_from([1, 8, 32, 64, 256]),
    order=st.randoms(use_true_random=False),
)
def test_any_layout_of_tensors_comes_back(
    tmp_path: Path, shapes: list[list[int]], alignment: int, order: object
) -> None:
    infos, data, arrays = [], b"", {}
    for number, shape in enumerate(shapes):
        name = f"t{number}"
        arrays[name] = np.arange(math.prod(shape), dtype="<f4").reshape(shape) + number
        infos.append(tensor_info(name, shape[::-1], 0, len(data)))
        data += arrays[name].tobytes()
        data += bytes(-len(data) % alignment)
    order.shuffle(infos)  # type: ignore[attr-defined]
    file = File([pair("general.alignment", U32, alignment)], infos, data, alignment)
    with opened(tmp_path, file.bytes()) as read:
        assert set(read.tensors) == set(arrays)
        for name, array in arrays.items():
            assert read.tensors[name].shape == array.shape
            assert read.tensors[name].size == array.size
            assert np.array_equal(read.tensors[name].dequantize(), array)


@relaxed
@given(data=st.binary(max_size=200), version=st.sampled_from([2, 3]))
def test_random_bytes_after_the_magic(tmp_path: Path, data: bytes, version: int) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + u32(version) + data)
    try:
        GGUFFile.open(path).close()
    except ModelError as error:
        assert str(path) in str(error)


@relaxed
@given(
    strings=st.lists(st.one_of(st.binary(max_size=12), st.binary(min_size=250, max_size=260)), max_size=300),
    zeros=st.booleans(),
)
def test_string_arrays_of_any_bytes(tmp_path: Path, strings: list[bytes], zeros: bool) -> None:
    if zeros:  # text that looks like length prefixes
        strings = [item.replace(b"\1", b"\0" * 9) + b"\0" * (len(item) % 3) for item in strings]
    file = File([pair("words", ARRAY, (STRING, strings)), pair("after", U16, 77)])
    with opened(tmp_path, file.bytes()) as read:
        expected = [item.decode("utf-8", "replace") for item in strings]
        assert read.metadata.array("words").strings() == list(read.metadata.array("words")) == expected
        assert read.metadata["after"] == 77


def test_a_long_string_array_crosses_windows(tmp_path: Path) -> None:
    strings = [str(number) * (1 + number % 40) for number in range(40_000)]
    strings[11_111] = "x" * 300_000
    strings[22_222] = ""
    strings[33_333] = "\0" * 70_000
    file = File([pair("words", ARRAY, (STRING, strings)), pair("after", I8, -7)])
    with opened(tmp_path, file.bytes()) as read:
        assert read.metadata.array("words").strings() == strings
        assert read.metadata["after"] == -7


def test_caps_hold_where_the_file_is_large_enough(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    start = File([string("k") + u32(ARRAY) + u32(U8) + u64(gguf_metadata.MAX_ARRAY_NUMBERS + 1)])
    path.write_bytes(start.bytes())
    os.truncate(path, 1 << 34)
    with pytest.raises(GGUFFormatError, match="claims 16777217 elements"):
        GGUFFile.open(path)
    counts = File(tensor_count=gguf_header.MAX_TENSORS + 1)
    path.write_bytes(counts.bytes())
    os.truncate(path, 1 << 34)
    with pytest.raises(GGUFFormatError, match="more than the 131072 allowed"):
        GGUFFile.open(path)


def test_a_tensor_beyond_four_gigabytes(tmp_path: Path) -> None:
    far = 5 << 30
    path = tmp_path / "sparse.gguf"
    start = File(tensors=[tensor_info("near", [8], 0, 0), tensor_info("far", [8], 0, far)]).bytes()
    with path.open("wb") as file:
        file.write(start)
        file.seek(len(start) + far)
        file.write(np.arange(8, dtype="<f4").tobytes())
    with GGUFFile.open(path) as model:
        assert model.tensors["far"].dequantize().tolist() == list(range(8))
        assert not model.tensors["near"].dequantize().any()


def test_payload_of_an_int32_array_is_packed(tmp_path: Path) -> None:
    data = payload(ARRAY, (I32, [-1, 2]))
    assert data == u32(5) + u64(2) + struct.pack("<ii", -1, 2)
