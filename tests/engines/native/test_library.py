"""Kernels that are missing, broken or of another version are refused with a reason."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from architectures.running import pack
from architectures.tiny_models import INPUTS, MODELS
from engines.loading import load_encoder
from turboprop.engines.contract import EngineOptions
from turboprop.engines.native import library
from turboprop.engines.registry import choose, engines_here
from turboprop.errors import ModelUnsupportedError
from turboprop.models.checkpoint.hf import open_folder

NEEDS_KERNELS = pytest.mark.skipif(bool(library.refusal()), reason=library.refusal() or "runs")
NEEDS_COMPILER = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture(autouse=True)
def kernels() -> None:
    """These tests are also about the kernels that are not there."""


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def other(*paths: Path) -> None:
        monkeypatch.setattr(library, "LIBRARIES", paths)
        library._load.cache_clear()

    yield other
    monkeypatch.undo()
    library._load.cache_clear()


def compile_one(source: str, path: Path) -> Path:
    path.with_suffix(".c").write_text(source, "ascii")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(path), str(path.with_suffix(".c"))], check=True)
    return path


def assert_out(reason: str, folder: Path) -> None:
    """The engine is refused with the reason, and `auto` takes numpy and says why."""
    checkpoint = open_folder(MODELS["qwen3"].save(folder / "model"))
    assert reason in library.refusal()
    assert reason in engines_here()["native"][0]
    for purpose in ("embedding", "language", "reranker"):
        with pytest.raises(ModelUnsupportedError, match=f"native .*is out: .*{reason}.*takes numpy$"):
            choose(checkpoint, purpose, EngineOptions(engine="native"))  # type: ignore[arg-type]
        choice = choose(checkpoint, purpose, EngineOptions())  # type: ignore[arg-type]
        assert (choice.name, reason in choice.reason) == ("numpy", True)
    encoder = load_encoder(checkpoint, "auto", EngineOptions())
    assert encoder.encode(pack(INPUTS)).any()
    encoder.close()


def test_no_library(use: Callable[[Path], None], tmp_path: Path) -> None:
    use(tmp_path / "kernels.so")
    assert_out("no C compiler", tmp_path)


def test_a_file_that_is_no_library(use: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "kernels.so").write_bytes(b"\x7fELF and then nothing that makes sense")
    use(tmp_path / "kernels.so")
    assert_out("cannot be loaded", tmp_path)


@NEEDS_COMPILER
def test_a_library_without_the_functions(use: Callable[[Path], None], tmp_path: Path) -> None:
    for number, source in enumerate(("int nothing;", "int kernels_supported(void) { return 1; }")):
        use(compile_one(source, tmp_path / f"kernels{number}.so"))
        assert "another version" in library.refusal()


SIZES = [ctypes.sizeof(kind) for kind in (library.Matrix, library.AttentionShape, library.Step, library.Run)]


def library_of(sizes: list[int], layout: int) -> str:
    """The source of one that has all functions."""
    names = (
        "team_new",
        "team_free",
        "panel_bytes",
        "cache_chunk_bytes",
        "attention_scratch_bytes",
        "run_program",
        "max_similarity",
    )
    source = "#include <stdint.h>\n" + "".join(f"int {name}(void) {{ return 0; }}\n" for name in names)
    source += "int kernels_supported(void) { return 1; }\n"
    source += f"int layout_version(void) {{ return {layout}; }}\n"
    filled = "".join(f"sizes[{number}] = {size}; " for number, size in enumerate(sizes))
    return source + f"void structure_sizes(int64_t *sizes) {{ {filled}}}\n"


@NEEDS_COMPILER
@pytest.mark.parametrize(("sizes", "layout"), [([64] * 4, library.LAYOUT_VERSION), (SIZES, library.LAYOUT_VERSION - 1)])
def test_a_library_of_other_structures_or_another_layout(
    use: Callable[[Path], None], tmp_path: Path, sizes: list[int], layout: int
) -> None:
    use(compile_one(library_of(SIZES, library.LAYOUT_VERSION), tmp_path / "same.so"))
    assert not library.refusal()
    use(compile_one(library_of(sizes, layout), tmp_path / "kernels.so"))
    assert_out("another version", tmp_path)


@NEEDS_COMPILER
def test_a_processor_without_the_instructions(use: Callable[[Path], None], tmp_path: Path) -> None:
    use(compile_one("int kernels_supported(void) { return 0; }", tmp_path / "kernels.so"))
    assert_out("no AVX2", tmp_path)


@NEEDS_KERNELS
def test_where_they_are_they_are_chosen(tmp_path: Path) -> None:
    checkpoint = open_folder(MODELS["qwen3"].save(tmp_path))
    for purpose in ("embedding", "language"):
        assert choose(checkpoint, purpose, EngineOptions()).name == "native"  # type: ignore[arg-type]
    assert engines_here()["native"] == ["cpu"]


def program(folder: Path, text: str) -> str:
    path = folder / "compiler"
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return str(path)


def here(build_hook: Any) -> tuple[str, ...]:
    """The sets that a processor of this kind may have."""
    return tuple(build_hook.PROCESSORS[platform.machine().lower()])


def test_without_a_compiler(build_hook: Any, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nonexistent")
    reasons = build_hook.compile_kernels(sources)
    assert reasons == dict.fromkeys(here(build_hook), "there is no C compiler (/nonexistent)")
    assert not list(sources.glob("kernels*.so"))


@NEEDS_COMPILER
def test_any_other_processor_has_plain_c(build_hook: Any, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert build_hook.compile_kernels(sources) == {"plain": ""}
    assert [path.name for path in sources.glob("kernels*.so")] == ["kernels-plain.so"]


def test_every_set_is_of_a_processor(build_hook: Any) -> None:
    assert set(build_hook.SETS) == set(library.SETS) == set().union(*build_hook.PROCESSORS.values())


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/bin/sh\necho 'no such instruction' >&2\nexit 1\n", "no such instruction"),
        ("#!/bin/sh\nexit 3\n", "ended with 3"),
        ("#!/bin/sh\nexit 0\n", "No such file"),  # it makes nothing
        ("this is no program", "rror"),
        ("#!/bin/sh\nprintf '\\377\\376' >&2\nexit 1\n", "\ufffd"),
    ],
)
def test_with_a_broken_compiler(
    build_hook: Any, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    monkeypatch.setenv("CC", program(tmp_path, script))
    reasons = build_hook.compile_kernels(sources)
    assert tuple(reasons) == here(build_hook)
    assert all(reason in found for found in reasons.values())
    assert not list(sources.glob("kernels*.so"))


@NEEDS_COMPILER
@NEEDS_KERNELS
@pytest.mark.parametrize(("variable", "sets"), [("", "avx512 avxvnni avx2"), ("cc -O1", "avx2"), ("  ", "avx2")])
def test_what_is_compiled_is_loaded(
    build_hook: Any,
    sources: Path,
    use: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    sets: str,
) -> None:
    monkeypatch.setenv("CC", variable)
    monkeypatch.setattr(build_hook, "SETS", {name: build_hook.SETS[name] for name in sets.split()})
    monkeypatch.setattr(build_hook, "FLAGS", [flag for flag in build_hook.FLAGS if flag != "-O3"])
    reasons = build_hook.compile_kernels(sources)
    made = [path for path in (sources / f"kernels-{name}.so" for name in library.SETS) if path.exists()]
    assert made
    assert sorted(sources.glob("*.so*")) == sorted(made)
    assert [f"kernels-{name}.so" for name, reason in reasons.items() if not reason] == [path.name for path in made]
    use(*made)
    assert library.refusal() == ""
    checkpoint = open_folder(MODELS["bert"].save(tmp_path / "model"))
    encoder = load_encoder(checkpoint, "native", EngineOptions(weights="int8", threads=2))
    assert np.isfinite(encoder.encode(pack(INPUTS))).all()
    encoder.close()


@NEEDS_COMPILER
def test_a_compiler_that_does_not_know_a_set(
    build_hook: Any, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = '#!/bin/sh\ncase "$*" in *-mavxvnni*) echo "unrecognized option" >&2; exit 1;; esac\nexec cc "$@"\n'
    monkeypatch.setenv("CC", program(tmp_path, script))
    monkeypatch.setattr(build_hook, "FLAGS", [flag for flag in build_hook.FLAGS if flag != "-O3"])
    monkeypatch.setattr(build_hook, "SETS", {name: build_hook.SETS[name] for name in ("avxvnni", "avx2")})
    old = sources / "kernels-avxvnni.so"
    old.write_bytes(b"of another version")
    reasons = build_hook.compile_kernels(sources)
    assert "unrecognized option" in reasons["avxvnni"]
    assert reasons["avx2"] == ""
    assert not old.exists()


@NEEDS_KERNELS
def test_the_first_that_runs_is_taken(use: Callable[..., None], tmp_path: Path) -> None:
    """A set that the processor has not, or that cannot be loaded, is passed over."""
    runs = next(path for path in library.LIBRARIES if library.load_one(path)[0] is not None)
    broken = tmp_path / "kernels-avx512.so"
    broken.write_bytes(b"\x7fELF and then nothing that makes sense")
    use(tmp_path / "none.so", broken, runs)
    assert library.refusal() == ""
    assert library.library()._name == str(runs)
    use(tmp_path / "none.so", broken)
    assert "cannot be loaded" in library.refusal()


@NEEDS_COMPILER
@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(build_hook: Any, sources: Path) -> None:
    sources.chmod(0o555)
    assert all("ermission" in reason for reason in build_hook.compile_kernels(sources).values())
    sources.chmod(0o755)
