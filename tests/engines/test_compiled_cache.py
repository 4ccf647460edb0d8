"""Compiled forms beside their graph: written once, checked, never needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from turboprop.engines import openvino
from turboprop.engines.contract import EngineOptions
from turboprop.models.checkpoint import Checkpoint
from turboprop.models.open_checkpoint import open_checkpoint
from turboprop.models.resolve import resolve
from turboprop.settings import load_settings
from turboprop.types import TokenBatch

BATCH = TokenBatch(np.array([101, 7592, 2088, 102, 101, 102], np.int32), np.array([4, 2], np.int32))


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return open_checkpoint(resolve(None, load_settings()))


def vectors(checkpoint: Checkpoint, cache: Path, threads: int = 2) -> np.ndarray:
    encoder = openvino.load_encoder(checkpoint, EngineOptions("float32", threads, cache))
    try:
        return encoder.encode(BATCH)
    finally:
        encoder.close()


def test_the_second_start_reads_what_the_first_one_wrote(checkpoint: Checkpoint, tmp_path: Path) -> None:
    first = vectors(checkpoint, tmp_path)
    (blob,) = tmp_path.glob("graphs/*/compiled-*/*.blob")
    written = blob.stat().st_mtime_ns
    np.testing.assert_array_equal(vectors(checkpoint, tmp_path), first)
    assert [file.stat().st_mtime_ns for file in tmp_path.glob("graphs/*/compiled-*/*.blob")] == [written]
    assert not list(tmp_path.glob("graphs/*/.compiled-*"))


def test_another_number_of_threads_is_another_form(checkpoint: Checkpoint, tmp_path: Path) -> None:
    np.testing.assert_allclose(vectors(checkpoint, tmp_path, 1), vectors(checkpoint, tmp_path, 2), atol=1e-5)
    assert len(list(tmp_path.glob("graphs/*/compiled-*"))) == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "list", "more"])
def test_a_damaged_form_is_made_again(checkpoint: Checkpoint, tmp_path: Path, damage: str) -> None:
    first = vectors(checkpoint, tmp_path)
    (blob,) = tmp_path.glob("graphs/*/compiled-*/*.blob")
    blob.chmod(0o600)
    data = bytearray(blob.read_bytes())
    match damage:
        case "cut":
            blob.write_bytes(data[: len(data) // 2])
        case "changed":
            data[len(data) // 2] ^= 1
            blob.write_bytes(data)
        case "gone":
            blob.unlink()
        case "list":
            blob.with_name("compiled.json").write_text("{}")
        case "more":
            blob.with_name("other.blob").write_bytes(b"x")
    np.testing.assert_array_equal(vectors(checkpoint, tmp_path), first)
    (again,) = tmp_path.glob("graphs/*/compiled-*/*.blob")
    assert again.stat().st_size > 1_000_000


def test_a_folder_that_cannot_be_written(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = vectors(checkpoint, tmp_path)
    (place,) = tmp_path.glob("graphs/*/compiled-*")
    place.rename(tmp_path / "away")

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    np.testing.assert_array_equal(vectors(checkpoint, tmp_path), first)
    assert not list(tmp_path.glob("graphs/*/compiled-*"))
