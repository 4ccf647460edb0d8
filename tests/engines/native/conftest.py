"""Tests of the native engine are skipped where its kernels cannot run; those of `each_set` run once for each set."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.native.emulated import COMPILER, Emulated, refusal
from turboprop.engines.native import library

PROJECT = Path(__file__).parents[3]
SOURCES = library.LIBRARIES[0].parent
WITHIN_AVX512 = ["-mavx2", "-mavx512vl", "-mavx512vnni", *(f"-ffixed-xmm{number}" for number in range(16, 32))]
"""The instructions of AVX-VNNI in the encoding of AVX-512, and no more registers than AVX-VNNI has."""


@pytest.fixture(autouse=True)
def kernels() -> None:
    """Overridden where a test is about kernels that are missing."""
    if reason := library.refusal():
        pytest.skip(reason)


@pytest.fixture(scope="session")
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
    return copy_sources(tmp_path)


def copy_sources(folder: Path) -> Path:
    return Path(shutil.copytree(SOURCES, folder / "kernels", ignore=shutil.ignore_patterns("*.so", "*.new")))


Use = Callable[..., None]


@pytest.fixture(scope="session")
def kernel_sets(
    build_hook: Any, emulated_kernels: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The libraries that run here.

    AVX-VNNI is tried in the encoding of AVX-512 where the processor has only that, ARM's emulated where that can be.
    """
    found = dict(zip(library.SETS, library.LIBRARIES, strict=True))
    here = {name: path for name, path in found.items() if path.is_file() and library.load_one(path)[0] is not None}
    if "avx512" in here and "avxvnni" not in here and shutil.which("cc"):
        folder = copy_sources(tmp_path_factory.mktemp("avxvnni"))
        (folder / "support.c").write_text("int kernels_supported(void) { return 1; }\n", "ascii")
        define, *others = build_hook.SETS["avxvnni"]
        flags = [define, *(flag for flag in others if flag != "-mavxvnni"), *WITHIN_AVX512]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(build_hook, "SETS", {"avxvnni": flags})
            if not build_hook.compile_kernels(folder)["avxvnni"]:
                here["avxvnni"] = folder / "kernels-avxvnni.so"
    if "dotprod" not in here and emulated_kernels is not None:
        here["dotprod"] = emulated_kernels
    return here


@pytest.fixture(scope="session")
def emulated_kernels(build_hook: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """A library for ARM processors that is loaded as others are, and run by QEMU; None where it cannot be."""
    if refusal(tmp_path_factory.mktemp("emulated")):
        yield None
        return
    folder = copy_sources(tmp_path_factory.mktemp("dotprod"))
    path = folder / "kernels-dotprod.so"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", COMPILER)
        patch.setattr(platform, "machine", lambda: "aarch64")
        patch.setattr(build_hook, "SETS", {"dotprod": build_hook.SETS["dotprod"]})
        assert build_hook.compile_kernels(folder) == {"dotprod": ""}
    emulated, load_one = Emulated(path), library.load_one
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "load_one", lambda one: (emulated, "") if one == path else load_one(one))
        yield path
    emulated.close()


@pytest.fixture(scope="module")
def use_libraries() -> Iterator[Use]:
    """Call it with the libraries to take in place of those of the package, until the end of the module."""
    with pytest.MonkeyPatch.context() as patch:

        def use(*paths: Path) -> None:
            patch.setattr(library, "LIBRARIES", paths)
            library._load.cache_clear()

        yield use
    library._load.cache_clear()


@pytest.fixture(scope="module", params=library.SETS)
def each_set(request: pytest.FixtureRequest, kernel_sets: dict[str, Path], use_libraries: Use) -> str:
    """The tests of a module once with each set of kernels."""
    if request.param not in kernel_sets:
        pytest.skip(f"the processor has no {request.param}, or there is no compiler (or emulator) for it")
    use_libraries(kernel_sets[request.param])
    return str(request.param)
