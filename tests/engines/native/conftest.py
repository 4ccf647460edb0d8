"""Tests of the native engine are skipped where its kernels cannot run; those of `each_set` run once for each set."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engines.native.emulated import ARM_COMPILER, Emulated, arm_runner, runs
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
    """`hatch_build.py`."""
    spec = importlib.util.spec_from_file_location("hatch_build", PROJECT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the kernels' sources, nothing compiled."""
    return copy_sources(tmp_path)


def copy_sources(folder: Path) -> Path:
    return Path(shutil.copytree(SOURCES, folder / "kernels", ignore=shutil.ignore_patterns("*.so", "*.dll", "*.new")))


Use = Callable[..., None]


@pytest.fixture(scope="session")
def kernel_sets(
    build_hook: Any, emulated_kernels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The libraries that run here.

    AVX-VNNI is tried in the encoding of AVX-512 where the processor has only that.
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
    return emulated_kernels | here


@pytest.fixture(scope="session")
def emulated_kernels(build_hook: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Libraries for other processors and systems that are loaded as others are, and run as `emulated.py` says.

    Those for ARM are GCC's. The others are as in the wheels of a release, where Zig's compiler is.
    """
    arm = arm_runner()
    ways = {name: (ARM_COMPILER, name.split()[0], "aarch64-linux-gnu", arm) for name in ("dotprod", "plain on ARM")}
    if importlib.util.find_spec("ziglang") is not None:
        # Those of Windows run with AVX2 and without: `long` has 32 bits there.
        wheels = {"manylinux2014_aarch64": (["dotprod", "plain"], arm)}
        if platform.machine() == "x86_64":
            wheels |= {
                "win_amd64": (["avx2", "plain"], ["wine"]),
                "musllinux_1_2_x86_64": (["avx2"], ["/lib/ld-musl-x86_64.so.1"]),
            }
        for wheel, (kernels, runner) in wheels.items():
            ways |= {f"{name} of {wheel}": ("", name, build_hook.WHEELS[wheel], runner) for name in kernels}
    running: dict[Path, Emulated] = {}
    found, load_one = {}, library.load_one
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINEPREFIX", str(tmp_path_factory.mktemp("wine")))
        patch.setenv("WINEDEBUG", "-all")
        for name, (own, kernels, target, runner) in ways.items():
            compiler = [own] if own else build_hook._compiler(target)[0]
            for_programs = [*compiler, "-dynamic"] if "musl" in target else compiler
            if not runs(tmp_path_factory.mktemp("emulated"), for_programs, runner):
                continue
            folder = copy_sources(tmp_path_factory.mktemp("kernels"))
            with pytest.MonkeyPatch.context() as building:
                building.setattr(build_hook, "_compiler", lambda _, compiler=compiler: (compiler, ""))
                building.setattr(build_hook, "SETS", {kernels: build_hook.SETS[kernels]})
                assert build_hook.compile_kernels(folder, target=target) == {kernels: ""}
            found[name] = next(path for path in folder.glob("kernels-*") if path.suffix in (".so", ".dll"))
            running[found[name]] = Emulated(found[name], for_programs, runner)
        patch.setattr(library, "load_one", lambda one: (running[one], "") if one in running else load_one(one))
        yield found
        for emulated in running.values():
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
