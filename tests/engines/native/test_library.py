"""Kernels that are missing, broken or of another version are refused with a reason, and OpenVINO does their work."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from architectures.running import pack
from architectures.tiny_models import INPUTS, MODELS
from turboprop.engines import choose_engine, engines_here, load_encoder
from turboprop.engines.contract import EngineOptions
from turboprop.engines.generation_contract import GenerationEngineOptions
from turboprop.engines.generators import load_generator
from turboprop.engines.native import library
from turboprop.errors import ModelUnsupportedError
from turboprop.models.checkpoint_hf import open_folder

PROJECT = Path(__file__).parents[3]
SOURCES = Path(library.LIBRARY).parent
NEEDS_KERNELS = pytest.mark.skipif(bool(library.refusal("int8")), reason=library.refusal("int8"))
NEEDS_COMPILER = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture(autouse=True)
def kernels() -> None:
    """These tests are also about the kernels that are not there."""


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    def other(path: Path) -> None:
        monkeypatch.setattr(library, "LIBRARY", path)
        library._load.cache_clear()

    yield other
    monkeypatch.undo()
    library._load.cache_clear()


def compile_one(source: str, path: Path) -> Path:
    path.with_suffix(".c").write_text(source, "ascii")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(path), str(path.with_suffix(".c"))], check=True)
    return path


def assert_openvino_instead(reason: str, folder: Path) -> None:
    checkpoint = open_folder(MODELS["qwen3"].save(folder / "model"))
    assert reason in library.refusal("int8")
    choice = choose_engine(checkpoint)
    assert choice.name == "openvino"
    assert reason in choice.reason
    assert reason in engines_here()["native"][0]
    with pytest.raises(ModelUnsupportedError, match="does not run natively"):
        load_encoder(checkpoint, "native", EngineOptions(weights="int8"))
    with pytest.raises(ModelUnsupportedError, match="does not run natively"):
        load_generator(checkpoint, "native", GenerationEngineOptions(weights="int8"))
    encoder = load_encoder(checkpoint, "auto", EngineOptions(weights="int8", threads=1))
    assert encoder.encode(pack(INPUTS)).any()
    encoder.close()
    generator = load_generator(checkpoint, "auto", GenerationEngineOptions(weights="int8", threads=1))
    assert generator.engine == "openvino"
    generator.close()


def test_no_library(use: Callable[[Path], None], tmp_path: Path) -> None:
    use(tmp_path / "kernels.so")
    assert_openvino_instead("no C compiler", tmp_path)


def test_a_file_that_is_no_library(use: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "kernels.so").write_bytes(b"\x7fELF and then nothing that makes sense")
    use(tmp_path / "kernels.so")
    assert_openvino_instead("cannot be loaded", tmp_path)


@NEEDS_COMPILER
def test_a_library_without_the_functions(use: Callable[[Path], None], tmp_path: Path) -> None:
    for number, source in enumerate(("int nothing;", "int kernels_supported(void) { return 1; }")):
        use(compile_one(source, tmp_path / f"kernels{number}.so"))
        assert "another version" in library.refusal("int8")


@NEEDS_COMPILER
def test_a_library_of_other_structures(use: Callable[[Path], None], tmp_path: Path) -> None:
    names = ("team_new", "team_free", "panel_bytes", "cache_chunk_bytes", "attention_scratch_bytes", "run_program")
    source = "".join(f"int {name}(void) {{ return 0; }}\n" for name in names)
    source += "int kernels_supported(void) { return 1; }\n"
    source += "void structure_sizes(long *sizes) { for (int i = 0; i < 5; i++) sizes[i] = 64; }\n"
    use(compile_one(source, tmp_path / "kernels.so"))
    assert_openvino_instead("another version", tmp_path)


@NEEDS_COMPILER
def test_a_processor_without_the_instructions(use: Callable[[Path], None], tmp_path: Path) -> None:
    use(compile_one("int kernels_supported(void) { return 0; }", tmp_path / "kernels.so"))
    assert_openvino_instead("no AVX-512 VNNI", tmp_path)


@NEEDS_KERNELS
def test_where_they_are_they_are_chosen(tmp_path: Path) -> None:
    checkpoint = open_folder(MODELS["qwen3"].save(tmp_path))
    assert choose_engine(checkpoint).name == "native"
    assert choose_engine(checkpoint, weights="float32").name == "openvino"
    assert "float32" in choose_engine(checkpoint, weights="float32").reason
    assert engines_here()["native"] == ["CPU"]
    for weights, engine in (("auto", "native"), ("float32", "openvino")):
        options = GenerationEngineOptions(weights=weights, threads=1)  # type: ignore[arg-type]
        generator = load_generator(checkpoint, "auto", options)
        assert generator.engine == engine
        generator.close()


@pytest.fixture(scope="module")
def build_hook() -> Any:
    """`hatch_build.py`, with an empty base where the build system is not installed."""
    interface: Any = types.ModuleType("hatchling.builders.hooks.plugin.interface")
    interface.BuildHookInterface = type("BuildHookInterface", (), {"__class_getitem__": classmethod(lambda c, _: c)})
    missing = {"hatchling.builders.hooks.plugin.interface": interface}
    missing |= {name: types.ModuleType(name) for name in _parents(interface.__name__)}
    with pytest.MonkeyPatch.context() as patch:
        for name, module in missing.items():
            patch.setitem(sys.modules, name, module)
        spec = importlib.util.spec_from_file_location("hatch_build", PROJECT / "hatch_build.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the kernels' sources, nothing compiled."""
    return Path(shutil.copytree(SOURCES, tmp_path / "kernels", ignore=shutil.ignore_patterns("*.so", "*.new")))


def program(folder: Path, text: str) -> str:
    path = folder / "compiler"
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return str(path)


def test_without_a_compiler(build_hook: Any, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nonexistent")
    assert build_hook.compile_kernels(sources) == "there is no C compiler (/nonexistent)"
    assert not list(sources.glob("kernels.*o"))


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
    assert reason in build_hook.compile_kernels(sources)
    assert not (sources / "kernels.so").exists()


@NEEDS_COMPILER
@NEEDS_KERNELS
@pytest.mark.parametrize("variable", ["", "cc -O1", "  "])
def test_what_is_compiled_is_loaded(
    build_hook: Any,
    sources: Path,
    use: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setenv("CC", variable)
    monkeypatch.setattr(build_hook, "FLAGS", [flag for flag in build_hook.FLAGS if flag != "-O3"])
    assert build_hook.compile_kernels(sources) == ""
    assert sorted(path.name for path in sources.glob("*.so*")) == ["kernels.so"]
    use(sources / "kernels.so")
    assert library.refusal("int8") == ""
    checkpoint = open_folder(MODELS["bert"].save(tmp_path / "model"))
    encoder = load_encoder(checkpoint, "native", EngineOptions(weights="int8", threads=2))
    assert np.isfinite(encoder.encode(pack(INPUTS))).all()
    encoder.close()


@NEEDS_COMPILER
@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(build_hook: Any, sources: Path) -> None:
    sources.chmod(0o555)
    assert "ermission" in build_hook.compile_kernels(sources)
    sources.chmod(0o755)
